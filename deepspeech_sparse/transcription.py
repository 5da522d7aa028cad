"""From audio to text with a trained model: one recording, many files, or a batch of arrays.

Decoding is greedy and a recording is recognised in one piece.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from .audio import check_samples, load_audio, name_of, resample
from .decoding import greedy
from .engine.products import threads_of_torch
from .errors import InputError
from .features import pad
from .inference import Engine, checked_threads, network_to_run
from .model_file import Model, StoredModel
from .models import model_name, opened_model


@dataclass(frozen=True)
class Transcript:
    """What was heard in one recording."""

    text: str
    duration: float  # s of audio
    seconds: float  # taken to read and recognise it
    model: str  # name of the model
    source: str  # path of the file, or what else was given

    @property
    def real_time_factor(self) -> float:
        """Seconds taken per second of audio; below 1 is faster than speech."""
        return self.seconds / self.duration

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"real_time_factor": self.real_time_factor}


@dataclass(frozen=True)
class Failure:
    """A file that could not be transcribed."""

    source: str
    error: str  # names the file, what is wrong and the remedy


@dataclass(frozen=True)
class Transcription:
    """What became of a list of files."""

    transcripts: tuple[Transcript, ...]
    failures: tuple[Failure, ...]


class Recognizer:
    """A trained model that turns audio into text.

    Args:
        model: what to recognise with
        name: how tables and transcripts call it
        engine: native, the sparse engine, or torch, the dense network of the training. The texts are the same. A
            network that the sparse engine does not know runs in torch, and the log says so
        threads: how many work at the same time, 1 to 1024; torch.get_num_threads() unless given

    Raises:
        InputError: threads out of range

    Example:
        recognizer = Recognizer.load("model.safetensors")
        print(recognizer.transcribe("call.wav").text)
    """

    def __init__(
        self, model: Model | StoredModel, name: str = "model", *, engine: Engine = "native", threads: int | None = None
    ) -> None:
        self.given_threads = checked_threads(threads)
        self.front_end = model.front_end.eval()
        self.network, self.engine = network_to_run(model, engine, threads)
        self.alphabet = model.alphabet
        self.config = model.config
        self.name = name

    @classmethod
    def load(cls, path: str | Path, *, engine: Engine = "native", threads: int | None = None) -> Recognizer:
        """From a model file (.safetensors), a run folder (its best checkpoint) or a checkpoint (.ckpt).

        Args:
            engine, threads: as of the class

        Raises:
            InputError: whatever is wrong with it, threads out of range
        """
        checked_threads(threads)
        return cls(opened_model(path), model_name(path), engine=engine, threads=threads)

    @property
    def threads(self) -> int:
        """How many work at the same time."""
        return self.given_threads or torch.get_num_threads()

    @property
    def sample_rate(self) -> int:
        """Rate of the model, Hz; audio of any other is converted."""
        return self.config.features.sample_rate

    def transcribe(
        self, source: str | Path | bytes | BinaryIO | np.ndarray, *, sample_rate: int | None = None
    ) -> Transcript:
        """The text in a recording.

        Args:
            source: audio file, its bytes, a binary stream, or samples of shape (N,) or (N, channels)
            sample_rate: of samples, Hz; files know their own

        Raises:
            InputError: audio that cannot be read or holds nothing, samples without their rate
        """
        started = time.perf_counter()
        if isinstance(source, np.ndarray):
            name = f"array of shape {source.shape}"
            samples = self.samples_of(source, sample_rate, name)
            duration = len(source) / sample_rate
        elif isinstance(source, (str, Path, bytes)) or hasattr(source, "read"):
            name = name_of(source)
            if sample_rate is not None:
                raise InputError(f"{name}: sample_rate is for arrays; encoded audio knows its own, leave it out")
            samples = load_audio(source, sample_rate=self.sample_rate)
            duration = max(1, len(samples)) / self.sample_rate  # one sample at a high rate may become none
        else:
            raise InputError(f"{type(source).__name__}: give a path, bytes, a binary stream or a numpy array")
        [text] = self.recognize([samples])
        return Transcript(text, duration, time.perf_counter() - started, self.name, name)

    def samples_of(self, array: np.ndarray, sample_rate: int | None, name: str) -> np.ndarray:
        """Samples of a user at any rate -> (N,) float32 at the model's rate."""
        if sample_rate is None or not sample_rate > 0:
            raise InputError(
                f"{name}: sample_rate = {sample_rate}; say at how many Hz it was recorded, e.g. sample_rate=16000. "
                "A wrong rate makes any model deaf"
            )
        if array.ndim == 2 and array.shape[0] < array.shape[1]:
            raise InputError(f"{name}: more channels than samples; transpose it to (samples, channels)")
        return resample(check_samples(array, name), sample_rate, self.sample_rate)

    def recognize(self, recordings: list[np.ndarray]) -> list[str]:
        """Texts of one batch: recordings (N_i,) float32 at the model's rate -> as many texts, "" for no samples."""
        heard = [index for index, samples in enumerate(recordings) if len(samples)]
        texts = [""] * len(recordings)
        if heard:
            features, frames = self.features_of([recordings[index] for index in heard])
            for index, text in zip(heard, self.recognize_features(features, frames)):
                texts[index] = text
        return texts

    @torch.inference_mode()
    def features_of(self, recordings: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """What the network hears: recordings (N_i,), none empty -> features (B, T, F), frames (B,)."""
        with threads_of_torch(self.threads):
            return self.front_end(*pad(recordings))

    @torch.inference_mode()
    def recognize_features(self, features: Tensor, frames: Tensor) -> list[str]:
        """The rest of the way: features (B, T, F), frames (B,) -> B texts."""
        with threads_of_torch(self.threads):
            return greedy(*self.network(features, frames), self.alphabet)


def transcribe(
    model: Path,
    files: Iterable[Path],
    *,
    engine: Engine = "native",
    threads: int | None = None,
    on_transcript: Callable[[Transcript], None] = lambda transcript: None,
    on_failure: Callable[[Failure], None] = lambda failure: None,
) -> Transcription:
    """Transcribe files one after the other; what cannot be read is noted and the rest is done.

    Args:
        model: model file, run folder or checkpoint
        files: audio files
        engine, threads: see `Recognizer`
        on_transcript, on_failure: called as soon as a file is done

    Raises:
        InputError: whatever is wrong with the model, threads out of range
    """
    recognizer = Recognizer.load(model, engine=engine, threads=threads)
    transcripts, failures = [], []
    for file in files:
        try:
            transcript = recognizer.transcribe(file)
        except (InputError, OSError) as error:
            failures.append(Failure(str(file), str(error)))
            on_failure(failures[-1])
        else:
            transcripts.append(transcript)
            on_transcript(transcript)
    return Transcription(tuple(transcripts), tuple(failures))


def transcribe_files(
    model: Path,
    files: Iterable[Path],
    *,
    format: Literal["txt", "json"] = "txt",
    engine: Engine = "native",
    threads: int | None = None,
) -> int:
    """The verb `transcribe`: texts to stdout as each is done, broken files to stderr; the exit code."""

    def show(transcript: Transcript) -> None:
        print(json.dumps(transcript.to_dict(), ensure_ascii=False) if format == "json" else transcript.text, flush=True)

    def complain(failure: Failure) -> None:
        print(f"error: {failure.error}", file=sys.stderr, flush=True)

    done = transcribe(model, files, engine=engine, threads=threads, on_transcript=show, on_failure=complain)
    return 1 if done.failures else 0
