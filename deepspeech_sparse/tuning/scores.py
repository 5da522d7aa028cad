"""What a network says of a manifest, kept on disk: computed once, decoded many times."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..corpora.manifest import Utterance
from ..evaluation.wer import in_batches, read_utterance
from ..files import write_whole
from ..model_file import is_run
from ..recognition.recognizer import Recognizer

BATCH_SECONDS = 120.0

log = logging.getLogger(__name__)


def saved_scores(
    recognizer: Recognizer, utterances: list[Utterance], manifest: Path, folder: Path, key: str
) -> list[Tensor]:
    """Log-probabilities (T, V) of every utterance, from `folder` if they are there by this `key`.

    Raises:
        InputError: audio that cannot be read, a file that cannot be written
    """
    path = folder / f"log_probs-{key}.safetensors"
    found = read_scores(path, utterances)
    if found is not None:
        log.info("%s: log-probabilities of %d utterances taken from it", path, len(found))
        return found
    scores = [torch.empty(0)] * len(utterances)
    for batch in in_batches(utterances, BATCH_SECONDS, recognizer.name):
        recordings = [read_utterance(utterances[index], recognizer.sample_rate, manifest) for index in batch]
        for index, rows in zip(batch, recognizer.log_probs(recordings)):
            scores[index] = rows.contiguous()
    write_whole(path, save({str(index): rows for index, rows in enumerate(scores)}))
    return scores


def heard(model: Path, manifest: Path, utterances: list[Utterance]) -> str:
    """The key of what a model says of a corpus: manifests of the same lines may lie beside other audio."""
    return fingerprint(model, manifest, *dict.fromkeys(utterance.audio for utterance in utterances))


def read_scores(path: Path, utterances: list[Utterance]) -> list[Tensor] | None:
    """None if they are not there, damaged, or not for as many utterances."""
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError):
        return None
    names = [str(index) for index in range(len(utterances))]
    return [tensors[name] for name in names] if sorted(names) == sorted(tensors) else None


def fingerprint(*paths: Path) -> str:
    """Of the contents of files; a run folder stands for its best checkpoint."""
    digest = hashlib.sha256()
    for path in paths:
        if is_run(path):
            from ..training.runs import run_checkpoint  # brings Lightning, which a model file needs not wait for

            path = run_checkpoint(Path(path))
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
