"""The LightningModule: front end, network and CTC loss, with the optimizer and its learning-rate schedule.

Batches come from `batches.py`, pruning is a callback, the run folder and its checkpoints are `runs.py`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import jiwer
import lightning as L
import torch
from torch import Tensor

from ..decoding.greedy import greedy
from ..errors import InputError
from ..features import FeaturesConfig, FrontEnd, SpecAugment, SpecAugmentConfig
from ..model import AnyNetworkConfig, network_of
from ..text import Alphabet
from .batches import Batch


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights move.

    Args:
        name: adamw, or sgd with Nesterov momentum
        learning_rate: the highest rate, reached at the end of the warm-up
        weight_decay: decoupled from the gradient in adamw; never on biases and norms
        momentum: of sgd; the first beta of adamw
        warm_up: share of all steps over which the rate rises from 1/25 of the highest
        final: rate at the last step, as share of the highest, reached along a cosine
        clip: largest norm of the gradient
    """

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.9
    warm_up: float = 0.1
    final: float = 1e-3
    clip: float = 5.0

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not self.clip > 0:
            raise InputError(f"optimizer: learning_rate {self.learning_rate} and clip {self.clip} must be positive")
        if not 0 <= self.warm_up < 1 or not 0 <= self.final <= 1 or not 0 < self.momentum < 1 or self.weight_decay < 0:
            raise InputError(
                f"optimizer: warm_up {self.warm_up} in [0, 1), final {self.final} in [0, 1], momentum {self.momentum} "
                f"in (0, 1) and weight_decay {self.weight_decay} >= 0 are required"
            )

    def rate(self, step: int, total_steps: int) -> float:
        """Learning rate at `step` of `total_steps`, as share of the highest: linear warm-up, then cosine."""
        warm_up = max(1, round(self.warm_up * total_steps))
        if step < warm_up:
            return 1 / 25 + (1 - 1 / 25) * step / warm_up
        progress = min(1.0, (step - warm_up) / max(1, total_steps - warm_up))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


def ctc_loss(logits: Tensor, frames: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    """CTC loss per label, averaged over utterances; always in float32, half precision overflows in its sums.

    Shapes: logits (B, T, V), frames (B,), labels (B, L), label_lengths (B,) -> ().
    """
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)  # (T, B, V)
    with torch.autocast(logits.device.type, enabled=False):
        return torch.nn.functional.ctc_loss(log_probs, labels, frames, label_lengths, blank=0, zero_infinity=True)


class SpeechRecognition(L.LightningModule):
    """Spectrogram front end, network and CTC head under training.

    Args:
        features, spec_augment, network, optimizer: see their classes; no `spec_augment`, no masks
        alphabet: label 0 is the blank
        seed: with the step, the only source of dropout's and SpecAugment's randomness
        total_steps: length of the training, for the learning rate
    """

    def __init__(
        self,
        features: FeaturesConfig,
        network: AnyNetworkConfig,
        alphabet: Alphabet,
        *,
        spec_augment: SpecAugmentConfig | None = None,
        optimizer: OptimizerConfig = OptimizerConfig(),
        seed: int = 0,
        total_steps: int = 1,
    ) -> None:
        super().__init__()
        self.front_end = FrontEnd(features)
        self.spec_augment = SpecAugment(spec_augment) if spec_augment else None
        self.network = network_of(network, features.bins, alphabet.size)
        self.alphabet = alphabet
        self.optimizer_config = optimizer
        self.seed = seed
        self.total_steps = total_steps
        self.dev_pairs: list[tuple[str, str]] = []  # (reference, hypothesis) of the dev set, this epoch

    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """samples (B, N), lengths (B,) -> logits (B, T', V), frames (B,)."""
        features, frames = self.front_end(samples, lengths)
        if self.spec_augment is not None:
            features = self.spec_augment(features, frames)
        return self.network(features, frames)

    def output_frames(self, seconds: float) -> int:
        """Output frames of `seconds` of audio."""
        samples = int(seconds * self.front_end.config.sample_rate)
        return int(self.network.output_frames(self.front_end.frames(samples)))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Randomness is a function of seed and step alone, so a resumed run draws what the unbroken one would have.
        torch.manual_seed(self.seed * 1_000_003 + self.global_step)

    def loss(self, batch: Batch) -> Tensor:
        """CTC loss of a batch."""
        logits, frames = self(batch.samples, batch.lengths)
        return ctc_loss(logits, frames, batch.labels, batch.label_lengths)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        if not torch.isfinite(loss):
            raise InputError(
                f"training: the loss is {loss.item()} at step {self.global_step} on utterances {', '.join(batch.ids)}. "
                "Run `deepspeech-sparse data check`, or train anew in another --out with a lower "
                "optimizer.learning_rate or optimizer.clip, perhaps with --init_from the last checkpoint"
            )
        self.log("loss", loss, on_step=True, on_epoch=False, batch_size=len(batch))
        return loss

    def on_validation_epoch_start(self) -> None:
        self.dev_pairs = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits, frames = self(batch.samples, batch.lengths)
        loss = ctc_loss(logits, frames, batch.labels, batch.label_lengths)
        self.log("dev_loss", loss, on_epoch=True, batch_size=len(batch))
        self.dev_pairs += zip(batch.texts, greedy(logits, frames, self.alphabet))

    def on_validation_epoch_end(self) -> None:
        references, hypotheses = (list(texts) for texts in zip(*self.dev_pairs))
        self.log("dev_wer", jiwer.wer(references, hypotheses))
        self.log("dev_cer", jiwer.cer(references, hypotheses))

    def configure_optimizers(self):
        config = self.optimizer_config
        matrices = [parameter for parameter in self.network.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in self.network.parameters() if parameter.dim() <= 1]
        groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        if config.name == "adamw":
            betas = (config.momentum, 0.999)
            optimizer = torch.optim.AdamW(
                groups, lr=config.learning_rate, betas=betas, weight_decay=config.weight_decay
            )
        else:
            optimizer = torch.optim.SGD(
                groups,
                lr=config.learning_rate,
                momentum=config.momentum,
                nesterov=True,
                weight_decay=config.weight_decay,
            )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: config.rate(step, self.total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
