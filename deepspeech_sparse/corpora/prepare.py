"""The verb `data prepare`: one corpus, one folder, manifests. What is in a corpus is told in the file of its name."""

from pathlib import Path
from typing import Literal, get_args

from ..errors import InputError
from .an4 import prepare_an4
from .digits import prepare_digits
from .folder import prepare_folder
from .fsdd import prepare_fsdd
from .librispeech import prepare_librispeech

Corpus = Literal["an4", "librispeech", "fsdd", "digits", "spoken", "folder"]


def prepare(
    corpus: Corpus,
    *,
    out: Path | None = None,
    archive: Path | None = None,
    subsets: list[str] | None = None,
    table: Path | None = None,
) -> dict[str, Path]:
    """Turn a corpus into audio files and manifests for training, choosing (dev) and measuring (test).

    Args:
        corpus: an4 (64 MB, spelling and commands), librispeech (read books), fsdd (spoken digits one at a time), digits
            (strings of them), spoken (synthesised here, needs the extra `demo`), or folder (audio of your own with a
            CSV, TSV or JSON lines table)
        out: folder for the manifests and new audio files; data/CORPUS if absent
        archive: local tar, zip or folder; absent, the corpus is downloaded from its public address
        subsets: librispeech only: names such as train-clean-100; absent, all that the archive holds
        table: folder only: the table of audio and text; absent, those at the top of the folder

    Returns:
        split -> manifest
    """
    if corpus not in get_args(Corpus):
        raise InputError(f"no corpus {corpus!r}; there are {', '.join(get_args(Corpus))}")
    out = Path("data") / corpus if out is None else Path(out)
    archive = None if archive is None else Path(archive)
    if subsets is not None and corpus != "librispeech":
        raise InputError(f"subsets = {subsets} is for librispeech, not for {corpus}")
    if table is not None and corpus != "folder":
        raise InputError(f"table = {table} is for folder, not for {corpus}")
    if corpus == "folder" and archive is None:
        raise InputError("a folder has no public address. Name it with --archive")
    if corpus == "spoken" and archive is not None:
        raise InputError(f"archive = {archive}: spoken is synthesised, not read from an archive. Leave it out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot make this folder ({error.strerror}). Choose another with --out") from None

    if corpus == "an4":
        return prepare_an4(archive, out)
    if corpus == "fsdd":
        return prepare_fsdd(archive, out)
    if corpus == "digits":
        return prepare_digits(archive, out)
    if corpus == "librispeech":
        return prepare_librispeech(archive, out, subsets=subsets)
    if corpus == "folder":
        assert archive is not None
        return prepare_folder(archive, out, table=table)
    from .spoken import prepare_spoken  # espeak-ng comes with an extra

    return prepare_spoken(out)
