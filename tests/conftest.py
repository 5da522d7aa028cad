"""What several tests share: the folder of real corpora, and a tiny corpus of tones made on the spot."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from untrained import tiny_config, tiny_module

from deepspeech_sparse.corpora.manifest import Utterance, write_manifest
from deepspeech_sparse.corpora.spoken import prepare_spoken
from deepspeech_sparse.machine.runtime import native
from deepspeech_sparse.model_file import save_model

torch.set_num_threads(1)  # tests are small; two threads that wait for each other on a busy machine are slower

SAMPLE_RATE = 16_000
KERNELS = native()
TONES = {"a": 400.0, "b": 900.0, "c": 1600.0}  # a letter is 80 ms of its tone: learned in seconds


@pytest.fixture(autouse=True)
def the_kernels_are_put_back():
    """Tests may select those of another instruction set."""
    path = KERNELS.path() if KERNELS else None
    yield
    if path:
        KERNELS.select(path)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder with the real corpora; tests that need them are skipped elsewhere."""
    folder = os.environ.get("DEEPSPEECH_SPARSE_CORPORA")
    if not folder:
        pytest.skip("DEEPSPEECH_SPARSE_CORPORA does not name a folder of real corpora")
    return Path(folder)


def tone_word(text: str, rng: np.random.Generator) -> np.ndarray:
    """`text` spelled in tones, with short silences between letters."""
    time = np.arange(int(0.08 * SAMPLE_RATE)) / SAMPLE_RATE
    silence = np.zeros(int(0.04 * SAMPLE_RATE))
    pieces = [silence]
    for letter in text:
        pieces += [0.3 * np.sin(2 * np.pi * TONES[letter] * rng.uniform(0.97, 1.03) * time), silence]
    samples = np.concatenate(pieces)
    return (samples + 0.01 * rng.standard_normal(len(samples))).astype(np.float32)


def make_tones(folder: Path, *, count: int, seed: int) -> Path:
    """A manifest of `count` utterances of 1 to 6 tones."""
    draw, rng = random.Random(seed), np.random.default_rng(seed)
    utterances = []
    for index in range(count):
        text = "".join(draw.choice(list(TONES)) for _ in range(draw.randint(1, 6)))
        samples = tone_word(text, rng)
        path = folder / f"{seed}-{index}.flac"
        soundfile.write(path, samples, SAMPLE_RATE)
        utterances.append(Utterance(path.stem, path, len(samples) / SAMPLE_RATE, text))
    manifest = folder / f"tones-{seed}.jsonl"
    write_manifest(manifest, utterances)
    return manifest


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The file of a tiny recognizer with random weights."""
    config = tiny_config()
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, tiny_module(config), config.model, {})
    return path


@pytest.fixture(scope="session")
def tones(tmp_path_factory) -> dict[str, Path]:
    """Manifests {"train", "dev"} of the corpus of tones."""
    folder = tmp_path_factory.mktemp("tones")
    return {"train": make_tones(folder, count=48, seed=1), "dev": make_tones(folder, count=12, seed=2)}


@pytest.fixture(scope="session")
def spoken(tmp_path_factory) -> dict[str, Path]:
    """Manifests {"train", "dev", "test"} of 40 synthesised utterances; skipped where there is no synthesiser."""
    pytest.importorskip("espeakng_loader")
    return prepare_spoken(tmp_path_factory.mktemp("spoken"), utterances=40, seed=5)


class StopAt(Exception):
    """A training was stopped on purpose."""


@pytest.fixture
def train_until(monkeypatch):
    """(config, folder, step): a training that breaks off behind an optimizer step, as by a crash."""
    import deepspeech_sparse.training.runs as runs

    def stopped(config, out: Path, step: int) -> None:
        class Bomb(runs.Monitor):
            def on_train_batch_end(self, trainer, *arguments):
                super().on_train_batch_end(trainer, *arguments)
                if trainer.global_step == step:
                    raise StopAt

        with monkeypatch.context() as patch:
            patch.setattr(runs, "Monitor", Bomb)
            with pytest.raises(StopAt):
                runs.train(config, out)

    return stopped
