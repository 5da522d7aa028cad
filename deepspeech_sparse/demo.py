"""The demo: a recognizer learns synthesised speech twice, dense and 90 % sparse, and both are compared."""

import dataclasses
import shutil
import time
from pathlib import Path

from rich.console import Console

from .augment import AugmentConfig
from .corpora.manifest import read_manifest
from .corpora.spoken import prepare_spoken
from .errors import InputError
from .evaluation.comparison import compare
from .export import export
from .features import FeaturesConfig, SpecAugmentConfig
from .model import ConvolutionConfig, NetworkConfig
from .pruning import Goal, Narang, PruningConfig
from .recognition.recognizer import Recognizer
from .training.batches import DataConfig
from .training.config import RunConfig
from .training.module import OptimizerConfig
from .training.runs import train

EPOCHS = 14


def demo_config(folder: Path, *, seed: int, epochs: int = EPOCHS) -> RunConfig:
    """The dense network of the demo: small enough for two minutes on two cores."""
    return RunConfig(
        data=DataConfig(folder / "train.jsonl", folder / "dev.jsonl", batch_seconds=40),
        features=FeaturesConfig(kind="log_mel", mels=40),
        augment=AugmentConfig(noise_probability=0.3),
        spec_augment=SpecAugmentConfig(time_masks=1, time_width=0.05, frequency_masks=1, frequency_width=0.15),
        network=NetworkConfig(
            convolutions=(ConvolutionConfig(16, (7, 11), (2, 2)), ConvolutionConfig(16, (5, 5), (2, 2))),
            layers=2,
            hidden=160,
            merge="concat",
            dropout=0.1,
        ),
        optimizer=OptimizerConfig(learning_rate=4e-3, clip=1.0),
        epochs=epochs,
        seed=seed,
    )


def sparse_twin(dense: RunConfig) -> RunConfig:
    """The same run with 90 % of the recurrent weights pruned on the way."""
    return dataclasses.replace(dense, pruning=PruningConfig(recurrent=Goal(sparsity=0.9), schedule=Narang(every=10)))


def run_demo(out: Path, *, seed: int = 0, epochs: int = EPOCHS, utterances: int = 1200) -> None:
    """Everything the project does, once, on speech made on the spot.

    Args:
        out: folder of an earlier demo, or one that does not exist yet
        seed: of the corpus and of both trainings
        epochs, utterances: smaller values make it quicker and worse

    Raises:
        InputError: when `out` holds something else than a demo, or espeak-ng is missing
    """
    console = Console()
    started = time.monotonic()
    mark = out / ".demo"
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is no folder; choose another with --out")
    if out.exists() and any(out.iterdir()):
        if not mark.exists():
            raise InputError(f"{out}: this folder is not a demo's and is not empty; choose another with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()

    console.rule("1. speech: sentences spoken by espeak-ng, voices of train, dev and test all different")
    prepare_spoken(out / "spoken", utterances=utterances, seed=seed)

    dense = demo_config(out / "spoken", seed=seed, epochs=epochs)
    models = []
    for name, title, config in (
        ("dense", "2. a dense network learns", dense),
        ("sparse", "3. its twin learns while 90 % of its recurrent weights are pruned", sparse_twin(dense)),
    ):
        console.rule(title)
        run = train(config, out / name)
        models.append(out / f"{name}.safetensors")
        export(run, out=models[-1])

    console.rule("4. both on the dev set")
    # No rounds: networks this small say nothing about speed.
    compare(models[0], models[1:], dense.data.dev, rounds=0).print(console)

    console.rule("5. three dev files, transcribed by the sparse network")
    recognizer = Recognizer.load(models[1])
    for utterance in read_manifest(dense.data.dev)[:3]:
        heard = recognizer.transcribe(utterance.audio).text
        console.print(f"{utterance.audio.name}\n    said  {utterance.text}\n    heard {heard}", highlight=False)
    console.print(f"\n{(time.monotonic() - started) / 60:.1f} minutes. Next: recipes/an4/README.md, real recordings.")
