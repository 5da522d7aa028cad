"""Sparse gradients where they were invented: a character language model, 3 LSTM layers of 256 units, sequences of 100.

    python benchmarks/character_lm.py --text ../shared/corpora/librispeech-train-clean-100-text.gz --out figures.json
    python benchmarks/character_lm.py --text TEXT --out carry.json --carry

Trains one model for each rule and seed and prints validation loss (nats per character), share of zeros among the gate
gradients, redundant multiply-accumulates (six products a step) and the correlation of the weight gradients with exact
ones, the last three as means over the last quarter of the training. Runs that are in the file already are not repeated.

With --carry, short trainings ask which rule carries over: with other batch sizes, and with a loss a hundred times
smaller or larger, which changes nothing else under Adam.
"""

import argparse
import gzip
import json
import logging
import platform
import statistics
import time
import warnings
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn

from deepspeech_sparse.files import write_json
from deepspeech_sparse.gradients import LSTM, Absolute, GradientsConfig, Relative, SparseGradients, Target, Units

LENGTH = 100  # characters of a sequence
VALIDATION = 200_000  # characters
ABSOLUTE = [Absolute("absolute", threshold) for threshold in (0.0, 1e-7, 1e-6, 1e-5, 1e-4)]
RULES = {
    **{f"threshold {rule.threshold:g}": GradientsConfig(rule) for rule in ABSOLUTE},
    **{f"threshold {rule.threshold:g} from 10 %": GradientsConfig(rule, start=0.1) for rule in ABSOLUTE[1:]},
    **{f"sparsity {share}": GradientsConfig(Target("sparsity", share)) for share in (0.8, 0.9)},
    **{
        f"sparsity {share} from 10 %": GradientsConfig(Target("sparsity", share), start=0.1)
        for share in (0.8, 0.81, 0.85, 0.9, 0.95)
    },
    "relative 0.01 from 10 %": GradientsConfig(Relative("relative"), start=0.1),
    "units 0.8": GradientsConfig(Units("units", 0.8)),
    "units 0.8, exact from 75 %": GradientsConfig(Units("units", 0.8), end=0.75),
    "units 0.5 from 10 %": GradientsConfig(Units("units", 0.5), start=0.1),
    "units 0.5 from 10 %, exact from 75 %": GradientsConfig(Units("units", 0.5), start=0.1, end=0.75),
    "units 0.8 from 50 %": GradientsConfig(Units("units", 0.8), start=0.5),
}
CARRY = ("threshold 1e-06 from 10 %", "relative 0.01 from 10 %", "sparsity 0.8 from 10 %")


class CharacterModel(L.LightningModule):
    """Characters (B, T) -> scores of the next ones (B, T, V).

    Args:
        symbols: V
        rate: Adam's learning rate, which falls to zero in a line
        scale: the loss is multiplied with it
    """

    def __init__(self, symbols: int, rate: float, scale: float = 1.0) -> None:
        super().__init__()
        self.symbols, self.rate, self.scale = symbols, rate, scale
        self.lstm = LSTM(symbols, 256, 3, batch_first=True)
        self.head = nn.Linear(256, symbols)

    def start(self) -> None:
        """Initial weights: uniform, and forget gates that remember, or the first hundreds of steps learn little."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.08, 0.08)
        for name, bias in self.lstm.named_parameters():
            if name.startswith("bias_ih"):
                nn.init.ones_(bias[256:512])

    def loss(self, batch: Tensor) -> Tensor:
        """Mean over all characters of windows (B, T + 1), in nats, times `scale`."""
        x = nn.functional.one_hot(batch[:, :-1], self.symbols).float()
        scores = self.head(self.lstm(x)[0])
        return self.scale * nn.functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return self.loss(batch)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), self.rate, eps=1e-8 * self.scale)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, self.trainer.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}


class Windows(torch.utils.data.Dataset):
    """Batches of windows at random places, each of its step's own random numbers."""

    def __init__(self, text: Tensor, batch: int, steps: int, seed: int) -> None:
        self.text, self.batch, self.steps, self.seed = text, batch, steps, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Tensor:
        if step >= self.steps:
            raise IndexError(step)
        random = torch.Generator().manual_seed(1_000_003 * self.seed + step)
        starts = torch.randint(len(self.text) - LENGTH, (self.batch,), generator=random)
        return self.text[starts[:, None] + torch.arange(LENGTH + 1)]


class Notes(L.Callback):
    """What was logged in the last quarter of the training."""

    NAMES = ("gradient_sparsity", "redundant_macs", "gradient_correlation")

    def __init__(self, steps: int) -> None:
        self.after = 3 * steps // 4
        self.values: dict[str, list[float]] = {name: [] for name in self.NAMES}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step > self.after:
            for name, values in self.values.items():
                values.append(float(trainer.callback_metrics[name]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="plain text, or gzipped")
    parser.add_argument("--out", type=Path, required=True, help="figures, as JSON")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8, help="sequences in a batch")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate of Adam")
    parser.add_argument("--scale", type=float, default=100.0, help="of the mean loss; 100 sums it over a sequence")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), help="all by default")
    parser.add_argument("--carry", action="store_true", help="other batch sizes and scales, a quarter of the steps")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    train, validation, symbols = read(options.text)
    figures = json.loads(options.out.read_text()) if options.out.exists() else {}
    figures["machine"] = f"{platform.machine()}, torch {torch.__version__}, {options.threads} threads"
    runs = figures.setdefault("runs", {})
    for seed in options.seeds:
        for rule, batch, scale in trials(options):
            steps = options.steps // 4 if options.carry else options.steps
            name = f"{rule}, batch {batch}, loss x {scale:g}, {steps} steps, rate {options.rate:g}, seed {seed}"
            if name not in runs:
                model = CharacterModel(symbols, options.rate, scale)
                runs[name] = {"rule": rule, "batch": batch, "scale": scale, "seed": seed, "steps": steps}
                windows = Windows(train, batch, steps, seed)
                runs[name] |= trained(model, RULES[rule], windows, validation, seed)
                write_json(options.out, figures)
            print(f"{name}: {runs[name]}", flush=True)
    print(table(list(runs.values())))


def trials(options: argparse.Namespace) -> list[tuple[str, int, float]]:
    """Rule, batch size and scale of the loss of each training."""
    if not options.carry:
        return [(rule, options.batch, options.scale) for rule in options.rules]
    batch, scale = options.batch, options.scale
    sizes = [(size, scale) for size in (batch, batch // 4, 2 * batch)]
    others = [*sizes, (batch, scale / 100), (batch, 100 * scale)]
    # An exact training is the same at every scale.
    return [("threshold 0", *size) for size in sizes] + [(rule, *other) for rule in CARRY for other in others]


def read(path: Path) -> tuple[Tensor, Tensor, int]:
    """Characters for training and for validation, the last ones of the text, and how many there are."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    text = raw.decode("utf-8").lower()
    symbols = {symbol: index for index, symbol in enumerate(sorted(set(text)))}
    coded = torch.tensor([symbols[symbol] for symbol in text])
    if len(coded) < 2 * VALIDATION:
        raise SystemExit(f"{path}: {len(coded)} characters; at least {2 * VALIDATION} are needed")
    return coded[:-VALIDATION], coded[-VALIDATION:], len(symbols)


def trained(model: CharacterModel, config: GradientsConfig, windows: Windows, validation: Tensor, seed: int) -> dict:
    """Train, and what came of it."""
    torch.manual_seed(seed)
    model.start()
    steps = len(windows)
    notes = Notes(steps)
    trainer = L.Trainer(
        max_epochs=-1,
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=5.0 * model.scale,
        callbacks=[SparseGradients(config, total_steps=steps), notes],
    )
    started = time.monotonic()
    # A probe at the first batch of each epoch: twenty epochs of a twentieth of the steps.
    parts = [torch.utils.data.Subset(windows, range(i * steps // 20, (i + 1) * steps // 20)) for i in range(20)]
    model.train_dataloader = lambda: torch.utils.data.DataLoader(parts[trainer.current_epoch], batch_size=None)
    trainer.reload_dataloaders_every_n_epochs = 1
    trainer.fit(model)
    seconds = time.monotonic() - started
    model.eval()
    whole = validation[: len(validation) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1)
    with torch.no_grad():
        loss = statistics.fmean(float(model.loss(part)) / model.scale for part in whole.split(len(whole) // 8)[:8])
    means = {name: statistics.fmean(values) for name, values in notes.values.items()}
    return {"loss": loss, **means, "seconds": round(seconds, 1)}


def table(runs: list[dict]) -> str:
    """Markdown, a row for each rule, batch and scale: means over seeds."""
    rows: dict[tuple, list[dict]] = {}
    for run in runs:
        rows.setdefault((run["rule"], run["batch"], run["scale"]), []).append(run)
    lines = [
        "| rule | batch | loss x | seeds | validation loss | against exact | zeros | redundant MACs | correlation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (rule, batch, scale), same in rows.items():
        mean = {name: statistics.fmean(run[name] for run in same) for name in ("loss", *Notes.NAMES)}
        exact = rows.get(("threshold 0", batch, scale))
        change = f"{mean['loss'] / statistics.fmean(run['loss'] for run in exact) - 1:+.2%}" if exact else ""
        lines.append(
            f"| {rule} | {batch} | {scale:g} | {len(same)} | {mean['loss']:.4f} | {change} | "
            f"{mean['gradient_sparsity']:.1%} | {mean['redundant_macs']:.1%} | {mean['gradient_correlation']:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
