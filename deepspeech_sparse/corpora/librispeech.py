"""LibriSpeech (Panayotov et al. 2015): 1000 hours of read English, in any of its seven subsets.

    LibriSpeech/train-clean-100/909/131041/909-131041-0000.flac
                subset        speaker chapter     id
    LibriSpeech/train-clean-100/909/131041/909-131041.trans.txt    `ID TEXT` in capitals, a line per utterance

The FLAC files stay as they are. Addresses and checksums of the archives come from torchaudio.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path, PurePosixPath

from ..audio import probe_audio
from ..errors import InputError
from ..text import normalise
from .archive import download, unpack
from .manifest import Utterance, write_manifests
from .splits import hold_out

log = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")
USUAL_SUBSETS = ("train-clean-100", "dev-clean", "test-clean")
DEV_SHARE = 0.05  # of the training utterances, where there is no dev subset


def prepare_librispeech(archive: Path | None, out: Path, *, subsets: list[str] | None = None) -> dict[str, Path]:
    """Manifests of LibriSpeech in `out`: train, dev, test, and one per subset.

    Without a dev subset whole speakers leave the training subsets for dev; the log says how many.

    Args:
        archive: tar, zip, or folder that holds subset folders; None downloads the subsets
        out: folder for the manifests, and for the audio where `archive` is no folder
        subsets: names such as train-clean-100; None takes all that the archive holds, or downloads `USUAL_SUBSETS`

    Returns:
        split or subset -> manifest

    Raises:
        InputError: no such subset, nothing found, transcripts without audio, or a damaged archive.
    """
    sources = _download(subsets or list(USUAL_SUBSETS), out / "download") if archive is None else [archive]
    found: dict[str, list[Utterance]] = defaultdict(list)
    for source in sources:
        files = unpack(source, out / "audio", lambda path: _wanted(path, subsets))
        for transcript in sorted(file for file in files if file.name.endswith(".trans.txt")):
            found[transcript.parts[-4]] += _read_chapter(transcript)
    missing = [subset for subset in subsets or [] if subset not in found]
    if missing or not found:
        raise InputError(
            f"{archive}: no {' and no '.join(missing) or 'train-*, dev-* or test-* subset'} inside; "
            f"found {', '.join(sorted(found)) or 'nothing'}. Pass an archive or the folder with the subset folders"
        )

    splits = {split: [u for name in sorted(found) if name.startswith(split) for u in found[name]] for split in SPLITS}
    if splits["train"] and not splits["dev"]:
        splits["train"], splits["dev"] = hold_out(splits["train"], DEV_SHARE)
        held = {utterance.id for utterance in splits["dev"]}
        for subset, utterances in found.items():
            found[subset] = [utterance for utterance in utterances if utterance.id not in held]
        log.info(
            "no dev subset: %d utterances of %d speakers left the training subsets for dev",
            len(held),
            len({utterance.speaker for utterance in splits["dev"]}),
        )
    return write_manifests(out, {name: utterances for name, utterances in (splits | found).items() if utterances})


def _download(subsets: list[str], folder: Path) -> list[Path]:
    from torchaudio.datasets import librispeech  # heavy, and needed for this alone

    addresses = {address.rsplit("/", 1)[-1].removesuffix(".tar.gz"): address for address in librispeech._CHECKSUMS}
    unknown = [subset for subset in subsets if subset not in addresses]
    if unknown:
        raise InputError(f"LibriSpeech has no subset {', '.join(unknown)}. It has {', '.join(sorted(addresses))}")
    return [
        download(addresses[subset], folder / f"{subset}.tar.gz", sha256=librispeech._CHECKSUMS[addresses[subset]])
        for subset in subsets
    ]


def _wanted(path: PurePosixPath, subsets: list[str] | None) -> bool:
    if path.suffix != ".flac" and not path.name.endswith(".trans.txt"):
        return False
    subset = path.parts[-4] if len(path.parts) >= 4 else ""
    return subset in subsets if subsets else subset.startswith(tuple(f"{split}-" for split in SPLITS))


def _read_chapter(transcript: Path) -> list[Utterance]:
    utterances = []
    for number, line in enumerate(transcript.read_text(encoding="utf-8").splitlines(), start=1):
        id, _, text = line.strip().partition(" ")
        audio = transcript.parent / f"{id}.flac"
        if not id or not audio.is_file():
            raise InputError(f"{transcript}, line {number}: no {audio.name} beside it. Fetch the corpus again")
        duration = probe_audio(audio).duration
        utterances.append(Utterance(id, audio.resolve(), duration, normalise(text), speaker=id.split("-")[0]))
    return utterances
