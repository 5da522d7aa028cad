"""From manifests to batches of audio and labels. Augmentation touches training batches only."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..augment import Augment
from ..corpora.manifest import Utterance, read_manifest, samples_of
from ..errors import InputError
from ..features import pad
from ..text import Alphabet
from .epoch_plan import EpochPlan, fill_batches, plan_epoch


@dataclass(frozen=True)
class DataConfig:
    """Manifests and how they become batches.

    Args:
        train: training manifest (JSON lines), or several of them, e.g. [data/an4/train.jsonl, data/my/train.jsonl]
        dev: manifest on which the best checkpoint is chosen
        batch_seconds: seconds of audio in a batch, padding included
        sorta_grad: first epoch shortest utterances first (Deep Speech 2, section 3.3)
        workers: processes that load and augment audio beside the training; 0 does it in the training process
    """

    train: tuple[Path, ...] | Path
    dev: Path
    batch_seconds: float = 120.0
    sorta_grad: bool = True
    workers: int = 0

    def __post_init__(self) -> None:
        if not self.batch_seconds > 0:
            raise InputError(f"data: batch_seconds = {self.batch_seconds} must be positive")
        if self.workers < 0:
            raise InputError(f"data: workers = {self.workers} must be 0 or more")
        if not self.train_manifests:
            raise InputError("data: train names no manifest; `deepspeech-sparse data prepare` writes one")

    @property
    def train_manifests(self) -> tuple[Path, ...]:
        """Those of `train`, be it one or several."""
        return self.train if isinstance(self.train, tuple) else (self.train,)


@dataclass
class Batch:
    """Utterances padded to the longest.

    samples (B, N) float32, lengths (B,) samples, labels (B, L) padded with the blank, label_lengths (B,).
    """

    samples: Tensor
    lengths: Tensor
    labels: Tensor
    label_lengths: Tensor
    texts: list[str]
    ids: list[str]

    def __len__(self) -> int:
        return len(self.texts)


class Utterances(Dataset):
    """The audio and labels of a manifest, augmented when `augment` is given (training only)."""

    def __init__(
        self,
        utterances: list[Utterance],
        alphabet: Alphabet,
        sample_rate: int,
        *,
        augment: Augment | None = None,
        epoch: int = 0,
    ) -> None:
        self.utterances = utterances
        self.alphabet = alphabet
        self.sample_rate = sample_rate
        self.augment = augment
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Utterance]:
        utterance = self.utterances[index]
        samples = samples_of(utterance, self.sample_rate)
        if self.augment is not None:
            samples = self.augment(samples, epoch=self.epoch, utterance=utterance.id)
        return samples, utterance

    def collate(self, items: list[tuple[np.ndarray, Utterance]]) -> Batch:
        samples, lengths = pad([array for array, _ in items])
        encoded = [torch.tensor(self.alphabet.encode(utterance.text), dtype=torch.long) for _, utterance in items]
        return Batch(
            samples=samples,
            lengths=lengths,
            labels=torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True),
            label_lengths=torch.tensor([len(labels) for labels in encoded]),
            texts=[utterance.text for _, utterance in items],
            ids=[utterance.id for _, utterance in items],
        )


class SpeechData(L.LightningDataModule):
    """Training and dev batches of a run.

    Args:
        config: manifests and batch size
        alphabet: labels of the network
        sample_rate: rate of the front end, Hz
        augment: applied to training utterances
        epochs: length of the training, for the number of steps
        seed: order of batches
    """

    def __init__(
        self,
        config: DataConfig,
        alphabet: Alphabet,
        sample_rate: int,
        *,
        augment: Augment | None = None,
        epochs: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.alphabet = alphabet
        self.sample_rate = sample_rate
        self.augment = augment
        self.epochs = epochs
        self.seed = seed
        self.train_utterances = [utterance for path in config.train_manifests for utterance in self.read(path)]
        self.dev_utterances = self.read(config.dev)
        self.count_steps()

    def read(self, manifest: Path) -> list[Utterance]:
        """Utterances of a manifest, refused when a text cannot be written with the alphabet."""
        utterances = read_manifest(manifest)
        if not utterances:
            raise InputError(f"{manifest}: the manifest holds no utterance")
        for utterance in utterances:
            foreign = self.alphabet.foreign(utterance.text)
            if foreign:
                raise InputError(
                    f"{manifest}: utterance {utterance.id} has characters outside the alphabet: {foreign}. "
                    f"Run `deepspeech-sparse data check {manifest}`, normalise the texts or extend the alphabet"
                )
        return utterances

    def keep_trainable(self, trainable) -> list[Utterance]:
        """Drop training utterances for which `trainable(utterance)` is false; returns those dropped."""
        kept, dropped = [], []
        for utterance in self.train_utterances:
            (kept if trainable(utterance) else dropped).append(utterance)
        if dropped:
            self.train_utterances = kept
            self.count_steps()
        return dropped

    def count_steps(self) -> None:
        # Plans differ a little in length from epoch to epoch, so the total is counted, not multiplied.
        self.steps_of_epoch = [len(self.plan(epoch)) for epoch in range(self.epochs)]
        self.total_steps = sum(self.steps_of_epoch)

    @property
    def digest(self) -> str:
        """Of all utterances, wherever their audio lies: a resumed training wants the same ones."""
        told = [
            (each.id, each.duration, each.offset, each.text) for each in self.train_utterances + self.dev_utterances
        ]
        return hashlib.sha256(repr(told).encode(errors="surrogatepass")).hexdigest()

    def plan(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch, by the length that utterances have once their speed has been changed."""
        augment = self.augment
        durations = [utterance.duration for utterance in self.train_utterances]
        if augment is not None:
            speeds = (augment.speed(epoch, utterance.id) for utterance in self.train_utterances)
            durations = [duration / speed for duration, speed in zip(durations, speeds)]
        return plan_epoch(
            durations,
            seconds=self.config.batch_seconds,
            seed=self.seed,
            epoch=epoch,
            sorta_grad=self.config.sorta_grad,
            # An utterance should meet other neighbours in every epoch; where speeds vary, it does anyway.
            blur=0.1 if augment is None or len(set(augment.config.speed)) == 1 else 0.0,
        )

    def train_dataloader(self) -> DataLoader:
        """Batches of the trainer's current epoch; needs `reload_dataloaders_every_n_epochs=1`."""
        epoch = self.trainer.current_epoch
        done = max(0, self.trainer.global_step - sum(self.steps_of_epoch[:epoch]))
        dataset = Utterances(self.train_utterances, self.alphabet, self.sample_rate, augment=self.augment, epoch=epoch)
        return self.loader(dataset, EpochPlan(self.plan(epoch), done))

    def val_dataloader(self) -> DataLoader:
        dataset = Utterances(self.dev_utterances, self.alphabet, self.sample_rate)
        durations = [utterance.duration for utterance in self.dev_utterances]
        order = sorted(range(len(durations)), key=durations.__getitem__)
        return self.loader(dataset, fill_batches(durations, order, self.config.batch_seconds))

    def loader(self, dataset: Utterances, batches) -> DataLoader:
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=dataset.collate,
            num_workers=self.config.workers,
            pin_memory=torch.cuda.is_available(),
        )
