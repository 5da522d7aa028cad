"""Public corpora turned into manifests: one file per corpus, and the manifest itself.

An importer is a function `prepare_X(archive, out, ...)` that writes audio and train/dev/test manifests into `out` and
returns split -> manifest. `prepare.py` is the verb over all of them.
"""
