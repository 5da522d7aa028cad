"""What was tried: a row of tune.csv each, so that nothing is lost, and the table of all."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..decoder_config import DecoderConfig

FIELDS = ("alpha", "beta", "wer", "cer", "key")


@dataclass(frozen=True)
class Trial:
    """What one pair gave."""

    alpha: float
    beta: float
    wer: float
    cer: float
    gamma: float = 0.0

    @property
    def rank(self) -> tuple[float, ...]:
        """The smallest wins: fewest word errors, then character errors, then the weakest language model."""
        return self.wer, self.cer, self.alpha, abs(self.beta), abs(self.gamma)


@dataclass(frozen=True)
class Tuning:
    """All pairs tried, and the decoder with the best one."""

    manifest: str
    greedy: Trial  # without beam search and language model, for comparison
    trials: tuple[Trial, ...]
    best: Trial
    decoder: DecoderConfig

    @property
    def surface(self) -> list[Trial]:
        """The pairs tried with the best gamma."""
        return [trial for trial in self.trials if trial.gamma == self.best.gamma]

    def print(self, console: Console) -> None:
        """The surface of the best gamma as a table, the winner marked, and the best of each gamma."""
        rates = {(trial.alpha, trial.beta): trial.wer for trial in self.surface}
        alphas, betas = (sorted({pair[axis] for pair in rates}) for axis in (0, 1))
        table = Table(title=f"WER in % on {self.manifest}, alpha to the right, beta down", title_justify="left")
        table.add_column("", justify="right")
        for alpha in alphas:
            table.add_column(f"{alpha:g}", justify="right")
        for beta in betas:
            cells = [rates.get((alpha, beta)) for alpha in alphas]
            marks = ["*" if (alpha, beta) == (self.best.alpha, self.best.beta) else "" for alpha in alphas]
            shown = ["" if rate is None else f"{mark}{100 * rate:.2f}" for mark, rate in zip(marks, cells)]
            table.add_row(f"{beta:g}", *shown)
        console.print(table)
        gammas = sorted({trial.gamma for trial in self.trials})
        if len(gammas) > 1:
            least = {gamma: min(trial.wer for trial in self.trials if trial.gamma == gamma) for gamma in gammas}
            said = ", ".join(f"{gamma:g} {wer:.2%}" for gamma, wer in least.items())
            console.print(f"table of gamma {self.best.gamma:g}; the best WER of each gamma: {said}", highlight=False)
        best, gamma = self.best, f", gamma {self.best.gamma:g}" if len(gammas) > 1 or any(gammas) else ""
        console.print(
            f"best: alpha {best.alpha:g}, beta {best.beta:g}{gamma}: WER {best.wer:.2%}, "
            f"CER {best.cer:.2%}; greedy {self.greedy.wer:.2%}, {self.greedy.cer:.2%}",
            highlight=False,
        )


def read_trials(path: Path, key: str) -> dict[tuple[float, float], Trial]:
    """Finished searches of the same model, manifest and decoder; lines that a kill cut short do not count."""
    if not path.is_file():
        return {}
    trials = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                if row["key"] == key:
                    trial = Trial(*(float(row[name]) for name in FIELDS[:-1]))
                    trials[trial.alpha, trial.beta] = trial
            except (KeyError, TypeError, ValueError):
                continue
    return trials


def append_trial(path: Path, key: str, trial: Trial) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    before = path.read_bytes() if path.is_file() else b""
    if not before:  # a full disk may have left an empty file
        writer.writerow(FIELDS)
    elif not before.endswith(b"\n"):  # and a kill half a line
        text.write("\r\n")
    writer.writerow([trial.alpha, trial.beta, trial.wer, trial.cer, key])
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(text.getvalue())
