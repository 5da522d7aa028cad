"""Word and character error rate of a model on a manifest, and how sure one can be of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..corpora.manifest import Utterance, read_manifest, samples_of
from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..files import refuse_unwritable, write_json
from ..recognition.inference import Engine
from ..recognition.recognizer import Recognizer
from ..significance import RESAMPLES, bootstrap_rates, percentile_interval
from ..training.epoch_plan import fill_batches

log = logging.getLogger(__name__)

TOTALS = ("words", "hits", "substitutions", "deletions", "insertions", "characters", "character_errors", "duration")


@dataclass(frozen=True)
class UtteranceErrors:
    """What was said, what was heard, and the fewest edits between the two."""

    id: str
    reference: str
    hypothesis: str
    duration: float  # s
    words: int  # in the reference
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int  # in the reference, spaces included
    character_errors: int

    @property
    def errors(self) -> int:
        """Words wrong, missing or too many."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def word_errors(self) -> str:
        """Where they are, see `word_error_digits`."""
        return word_error_digits(self.reference, self.hypothesis)


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model on a manifest; rates are errors per word or character said, and may exceed 1."""

    model: str
    manifest: str
    utterances: tuple[UtteranceErrors, ...]  # in the manifest's order
    wer_interval: tuple[float, float]  # 95 %, bootstrap over utterances
    seconds: float  # taken to read and recognise the audio
    engine: Engine  # what computed the network
    threads: int

    @property
    def wer(self) -> float:
        return self.total("errors") / self.total("words")

    @property
    def cer(self) -> float:
        return self.total("character_errors") / self.total("characters")

    @property
    def real_time_factor(self) -> float:
        """Seconds taken per second of audio."""
        return self.seconds / self.total("duration")

    def total(self, field: str):
        """Sum of a field over the utterances."""
        return sum(getattr(utterance, field) for utterance in self.utterances)

    def worst(self, count: int) -> list[UtteranceErrors]:
        """The utterances with most word errors; among equals those with fewer words."""
        wrong = [utterance for utterance in self.utterances if utterance.errors]
        return sorted(wrong, key=lambda utterance: (-utterance.errors, utterance.words))[:count]

    def summary(self) -> dict[str, Any]:
        """Plain values, without the utterances."""
        return {
            "model": self.model,
            "manifest": self.manifest,
            "wer": self.wer,
            "wer_interval": list(self.wer_interval),
            "cer": self.cer,
            **{name: self.total(name) for name in TOTALS},
            "engine": self.engine,
            "threads": self.threads,
            "seconds": self.seconds,
            "real_time_factor": self.real_time_factor,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return self.summary() | {"utterances": [asdict(utterance) for utterance in self.utterances]}

    def print(self, console: Console, worst: int = 5) -> None:
        """A table of the rates, then the `worst` utterances, said above heard."""
        low, high = self.wer_interval
        table = Table(title=f"{self.model} on {self.manifest}", title_justify="left", show_header=False, box=None)
        table.add_row("WER", f"{self.wer:.2%}", f"95 % interval {low:.2%} to {high:.2%}")
        wrong, characters = self.total("character_errors"), self.total("characters")
        table.add_row("CER", f"{self.cer:.2%}", f"{wrong} errors in {characters} characters")
        table.add_row(
            "words",
            str(self.total("words")),
            f"{self.total('hits')} right, {self.total('substitutions')} substituted, "
            f"{self.total('deletions')} deleted, {self.total('insertions')} inserted",
        )
        table.add_row(
            "audio",
            f"{self.total('duration') / 60:.1f} min",
            f"{len(self.utterances)} utterances in {self.seconds:.1f} s, real-time factor {self.real_time_factor:.3f} "
            f"(engine {self.engine}, threads {self.threads})",
        )
        console.print(table)
        for utterance in self.worst(worst):
            lines = aligned(utterance.reference, utterance.hypothesis)
            title = f"\n{utterance.id}: {utterance.errors} errors in {utterance.words} words"
            console.print(title, *lines, sep="\n", highlight=False, markup=False)


def evaluate(
    model: Path,
    manifest: Path,
    *,
    json: Path | None = None,
    engine: Engine = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
    batch_seconds: float = 120.0,
    seed: int = 0,
    keep: bool = True,
) -> Evaluation:
    """Word and character error rate of a model on a manifest.

    Args:
        model: run folder, checkpoint or model file; a run folder gets the result as `result.json`, if `keep`
        manifest: JSON lines with `audio_filepath`, `duration`, `text`
        json: also write the result here
        engine, threads, decoder: see `Recognizer`
        batch_seconds: seconds of audio recognised at once; memory grows with it, results do not change
        seed: of the bootstrap
        keep: whether a run folder keeps it, in the place of the one before

    Raises:
        InputError: no model, no manifest, an utterance whose audio cannot be read, no word in any text,
            threads out of range
    """
    if not batch_seconds > 0:
        raise InputError(f"evaluate: batch_seconds = {batch_seconds} must be positive")
    results = [Path(json)] if json is not None else []
    if keep and Path(model).is_dir():
        results.append(Path(model) / "result.json")
    for path in results:
        refuse_unwritable(path)
    utterances = read_manifest(manifest)
    if not any(utterance.text.split() for utterance in utterances):
        raise InputError(f"{manifest}: no word in {len(utterances)} utterances; an error rate needs texts")
    recognizer = Recognizer.load(model, engine=engine, threads=threads, decoder=decoder)
    warn_of_foreign_characters(recognizer, utterances, manifest)

    started = time.perf_counter()
    texts = recognize_all(recognizer, utterances, manifest, batch_seconds)
    seconds = time.perf_counter() - started
    errors = tuple(count_errors(utterance, text) for utterance, text in zip(utterances, texts))
    interval = bootstrap_interval(
        np.array([row.errors for row in errors]), np.array([row.words for row in errors]), seed=seed
    )
    evaluation = Evaluation(
        recognizer.name, str(manifest), errors, interval, seconds, recognizer.engine, recognizer.threads
    )
    for path in results:
        write_json(path, evaluation.to_dict())
    return evaluation


def warn_of_foreign_characters(recognizer: Recognizer, utterances: list[Utterance], manifest: Path) -> None:
    """A text that the model cannot write at all is counted as it stands, and said."""
    foreign = sorted({symbol for utterance in utterances for symbol in recognizer.alphabet.foreign(utterance.text)})
    if foreign:
        log.warning(
            "%s: texts have characters that %s cannot write: %s. Each counts as an error; normalise the texts if that "
            "is not meant",
            manifest,
            recognizer.name,
            foreign,
        )


def recognize_all(
    recognizer: Recognizer, utterances: list[Utterance], manifest: Path, batch_seconds: float
) -> list[str]:
    """The text of every utterance, similar lengths recognised together."""
    texts = [""] * len(utterances)
    for batch in in_batches(utterances, batch_seconds, recognizer.name):
        recordings = [read_utterance(utterances[index], recognizer.sample_rate, manifest) for index in batch]
        for index, text in zip(batch, recognizer.recognize(recordings)):
            texts[index] = text
    return texts


def in_batches(utterances: list[Utterance], batch_seconds: float, title: str) -> Iterable[list[int]]:
    """Which utterances to recognise together, similar lengths beside each other, with a progress bar on terminals."""
    durations = [utterance.duration for utterance in utterances]
    order = sorted(range(len(utterances)), key=durations.__getitem__)
    console = Console(stderr=True)
    batches = fill_batches(durations, order, batch_seconds)
    return track(batches, title, console=console, transient=True, disable=not console.is_terminal)


def read_utterance(utterance: Utterance, sample_rate: int, manifest: Path) -> np.ndarray:
    try:
        return samples_of(utterance, sample_rate)
    except InputError as error:
        raise InputError(f"{manifest}: utterance {utterance.id}: {error}") from error


def count_errors(utterance: Utterance, hypothesis: str) -> UtteranceErrors:
    """Edits between text and hypothesis, white space aside."""
    reference, hypothesis = " ".join(utterance.text.split()), " ".join(hypothesis.split())
    words, characters = len(reference.split()), len(reference)
    if reference:
        by_word = jiwer.process_words(reference, hypothesis)
        by_character = jiwer.process_characters(reference, hypothesis)
        counts = (by_word.hits, by_word.substitutions, by_word.deletions, by_word.insertions)
        character_errors = by_character.substitutions + by_character.deletions + by_character.insertions
    else:  # jiwer before 4 refuses silence; everything heard in it is inserted
        counts, character_errors = (0, 0, 0, len(hypothesis.split())), len(hypothesis)
    return UtteranceErrors(
        utterance.id, reference, hypothesis, utterance.duration, words, *counts, characters, character_errors
    )


def word_error_digits(reference: str, hypothesis: str) -> str:
    """Where the errors are: a digit for each word said, and one for the end.

    0 right, 1 wrong or missing, plus the words inserted before it; 9 stands for 9 or more.

    Example:
        >>> word_error_digits("go to the north", "well go two north")   # well inserted, to wrong, the missing
        '11100'
    """
    said, heard = reference.split(), hypothesis.split()
    if not said:  # jiwer before 4 refuses silence; everything heard in it is inserted
        return str(min(9, len(heard)))
    errors = [0] * (len(said) + 1)
    for chunk in jiwer.process_words(" ".join(said), " ".join(heard)).alignments[0]:
        if chunk.type == "insert":
            errors[chunk.ref_start_idx] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for position in range(chunk.ref_start_idx, chunk.ref_end_idx):
                errors[position] += 1
    return "".join(str(min(9, count)) for count in errors)


def bootstrap_interval(
    errors: np.ndarray, words: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of sum(errors) / sum(words) when utterances are drawn anew with replacement.

    Bisani and Ney, ICASSP 2004. errors, words: (N,) per utterance.
    """
    [rates] = bootstrap_rates(errors[None], words, resamples=resamples, seed=seed)
    return percentile_interval(rates)


def aligned(reference: str, hypothesis: str) -> tuple[str, str, str]:
    """Three lines: said, heard, and a letter under each substituted, deleted or inserted word.

    Example:
        >>> print(*aligned("go to the north", "go two north"), sep="\\n")
        said   go  to the north
        heard  go two *** north
                    S   D
    """
    said, heard = reference.split(), hypothesis.split()
    columns: list[tuple[str, str, str]] = []
    if said:
        for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
            first = said[chunk.ref_start_idx : chunk.ref_end_idx]
            second = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
            mark = "" if chunk.type == "equal" else chunk.type[0].upper()
            stars = ["*" * len(word) for word in first or second]
            columns += [(a, b, mark) for a, b in zip(first or stars, second or stars)]
    else:
        columns = [("*" * len(word), word, "I") for word in heard]
    lines = []
    for title, row in zip(("said ", "heard", ""), zip(*columns)):
        words = [word.rjust(max(map(len, column))) for word, column in zip(row, columns)]
        lines.append(f"{title:5}  {' '.join(words)}".rstrip())
    return tuple(lines) or ("said", "heard", "")
