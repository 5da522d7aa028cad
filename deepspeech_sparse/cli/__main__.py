"""`python -m deepspeech_sparse.cli`."""

import sys

from .main import main

sys.exit(main())
