"""Corpora: turned into manifests, looked through."""

from pathlib import Path
from typing import Literal


def data_prepare(
    corpus: Literal["an4", "librispeech", "fsdd", "digits", "spoken", "folder"],
    *,
    out: Path | None = None,
    archive: Path | None = None,
    subsets: list[str] | None = None,
    table: Path | None = None,
) -> None:
    """Turn a speech corpus into manifests train.jsonl, dev.jsonl and test.jsonl.

    Args:
        corpus: an4, librispeech, fsdd, digits (strings of those of fsdd), spoken (synthesised, needs the extra `demo`),
            or folder for your own recordings
        out: folder for manifests and audio, by default data/CORPUS
        archive: tar, zip or folder of the corpus; without it the corpus is downloaded where it has a public address.
            For `folder`: a folder of audio with one CSV, TSV or JSONL table of audio paths and texts
        subsets: librispeech only: [train-clean-100, dev-clean, ...]; by default all that the archive holds
        table: folder only: the table, if it does not lie at the top of the folder
    """
    from ...corpora.prepare import prepare

    for split, manifest in prepare(corpus, out=out, archive=archive, subsets=subsets, table=table).items():
        print(f"{split}: {manifest}")


def data_check(manifest: Path, *, config: Path | None = None) -> int:
    """Look for everything in a manifest that would spoil a training; exit code 1 if training would fail.

    Args:
        config: a recipe; its alphabet and frame strides then decide which utterances are too short for their text, and
            audio is decoded at its sample rate
    """
    from rich.console import Console

    from ...corpora.check import check_manifest
    from ...text import Alphabet

    options = {"alphabet": Alphabet()}
    if config is not None:
        from ...training.config import load_config
        from ...training.runs import speech_recognition

        run = load_config(config)
        module = speech_recognition(run)
        fastest = max(run.augment.speed) if run.augment else 1.0  # as training, which leaves out what is too short then
        options = {
            "alphabet": Alphabet(run.alphabet),
            "frames": lambda seconds: module.output_frames(seconds / fastest),
            "sample_rate": run.features.sample_rate,
        }
    report = check_manifest(manifest, **options)
    report.print(Console())
    return 1 if report.fatal else 0


def data_splice(model: Path, manifest: Path, *, out: Path, copies: int = 5, seed: int = 0) -> None:
    """Make new utterances of a small corpus: recordings are cut between words, the pieces joined in other orders.

    Train on both, --data.train "[MANIFEST, OUT/MANIFEST]", with so many fewer epochs.

    Args:
        model: run folder, checkpoint or model file that tells where the words are; one trained on the same corpus
        manifest: of the recordings to cut
        out: folder for audio/ and the new manifest, which has the name of the old one
        copies: new utterances for each old one
        seed: of everything that is drawn
    """
    from ...corpora.manifest import read_manifest
    from ...splicing import splice

    written = splice(model, manifest, out, copies=copies, seed=seed)
    utterances = read_manifest(written)
    print(f"{written}: {len(utterances)} utterances, {sum(item.duration for item in utterances) / 3600:.2f} hours")
