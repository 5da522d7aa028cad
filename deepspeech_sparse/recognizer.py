"""A trained model that turns audio into text: one recording, or a batch of arrays."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .audio import check_samples, load_audio, name_of, read_blocks, resample
from .decoder_config import DecoderConfig
from .decoding import Hypothesis, decoder_of
from .decoding.alignment import mean_confidence, words_of
from .engine.products import threads_of_torch
from .errors import InputError
from .features import pad
from .inference import Engine, checked_threads, network_to_run
from .joining import Stretch
from .model_file import Model, StoredModel
from .models import model_name, opened_model
from .pooling import Sound, no_one, transcribe_pooled
from .sources import Excerpt
from .text import normalise
from .transcript import Failure, Segment, Transcript

# Mean confidence of a text that is not said. On AN4 dev, with both released models, 5 of 208 right texts lie below it
# and 597 of 604 texts of other utterances.
UNLIKELY = 0.05

log = logging.getLogger(__name__)


class Recognizer:
    """A trained model that turns audio into text.

    Args:
        model: what to recognise with
        name: how tables and transcripts call it
        engine: native, the sparse engine, or torch, the dense network of the training. The texts are the same. A
            network that the sparse engine does not know runs in torch, and the log says so
        threads: how many work at the same time, 1 to 1024; torch.get_num_threads() unless given
        decoder: how texts are found in the scores of the network

    Raises:
        InputError: threads out of range, and all of `decoder_of`

    Example:
        recognizer = Recognizer.load("model.safetensors")
        print(recognizer.transcribe("call.wav").text)
    """

    def __init__(
        self,
        model: Model | StoredModel,
        name: str = "model",
        *,
        engine: Engine = "native",
        threads: int | None = None,
        decoder: DecoderConfig = DecoderConfig(),
    ) -> None:
        self.given_threads = checked_threads(threads)
        self.front_end = model.front_end.eval()
        self.network, self.engine = network_to_run(model, engine, threads)
        self.alphabet = model.alphabet
        self.decoder = decoder_of(decoder, model.alphabet)
        self.config = model.config
        self.name = name

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        engine: Engine = "native",
        threads: int | None = None,
        decoder: DecoderConfig = DecoderConfig(),
    ) -> Recognizer:
        """From a model file (.safetensors), a run folder (its best checkpoint) or a checkpoint (.ckpt).

        Args:
            engine, threads, decoder: as of the class

        Raises:
            InputError: whatever is wrong with it, threads out of range, and all of `decoder_of`
        """
        checked_threads(threads)
        return cls(opened_model(path), model_name(path), engine=engine, threads=threads, decoder=decoder)

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
        """The text in a recording, and when its words were said; of hours too, in constant memory.

        A recording longer than `CuttingConfig.whole` is cut at pauses, and each piece becomes a segment.

        Args:
            source: audio file, its bytes, a binary stream, or samples of shape (N,) or (N, channels)
            sample_rate: of samples, Hz; files know their own

        Raises:
            InputError: audio that cannot be read or holds nothing, samples without their rate
        """
        [result] = transcribe_pooled(self, [self.sound_of(source, sample_rate)])
        if isinstance(result, Transcript):
            return result
        raise result.reason

    def transcribe_many(
        self, sources: Iterable[Excerpt | str | Path | bytes | BinaryIO], *, on_audio: Callable[[float], None] = no_one
    ) -> Iterator[Transcript | Failure]:
        """What is said in many recordings, in their order, each as soon as it is known.

        Pieces of several recordings are heard together, batched by length; what cannot be read becomes a Failure, and
        the rest is done.

        Args:
            on_audio: called with the seconds of audio that have been heard, now and then
        """
        for result in transcribe_pooled(self, (self.sound_of(source, None) for source in sources), on_audio):
            yield result if isinstance(result, Transcript) else Failure(result.source, str(result.reason))

    def sound_of(self, source: Excerpt | str | Path | bytes | BinaryIO | np.ndarray, sample_rate: int | None) -> Sound:
        """What a user gave, not yet read.

        Raises:
            InputError: neither encoded audio nor samples with their rate
        """
        if isinstance(source, Excerpt):
            return Sound(source.name, source.blocks(self.sample_rate))
        if isinstance(source, (str, Path, bytes)) or hasattr(source, "read"):
            name = name_of(source)
            if sample_rate is None:
                return Sound(name, read_blocks(source, sample_rate=self.sample_rate))
        samples, duration, name = self.read(source, sample_rate)
        return Sound(name, iter([samples]), duration)

    def heard(
        self, stretch: Stretch, name: str, duration: float, *, alone: bool
    ) -> tuple[Segment | None, float | None]:
        """A stretch of a recording of `duration` s so far -> what was said in it, if anything, and the LM's score.

        Args:
            name: of the recording
            alone: the stretch is all of the recording
        """
        [[best, *_]] = self.hypotheses([stretch.log_probs])
        if not best.text:
            return None, best.lm_score
        start = stretch.start * self.seconds_per_frame
        end = duration if alone else min(start + len(stretch.log_probs) * self.seconds_per_frame, duration)
        try:
            words = words_of(stretch.log_probs, best.text, self.alphabet, self.seconds_per_frame, start, duration=end)
        except InputError as error:  # the text is worth more than its times
            log.warning("%s: no word times: %s", name, error)
            words = ()
        return Segment(best.text, start, end, words), best.lm_score

    @property
    def step(self) -> int:
        """Samples from one output frame to the next."""
        return self.config.features.hop_samples * self.config.network.time_stride

    def align(
        self, source: str | Path | bytes | BinaryIO | np.ndarray, text: str, *, sample_rate: int | None = None
    ) -> Transcript:
        """When the words of a known text are said in a recording.

        The whole recording is heard in one piece: some minutes, not hours. Words of low confidence are not in it; the
        log says so if that is the whole text.

        Args:
            source, sample_rate: as of `transcribe`
            text: what is said, normalised as training texts are (`text.normalise`)

        Raises:
            InputError: characters outside the alphabet, more text than the recording can hold, and all of `transcribe`
        """
        started = time.perf_counter()
        text = normalise(text)
        foreign = self.alphabet.foreign(text)
        if foreign:  # said before the network works for nothing
            raise InputError(
                f"align: the text has characters outside the alphabet of {self.name}: {foreign}; spell them in "
                f"{self.alphabet.symbols!r} or leave them out"
            )
        samples, duration, name = self.read(source, sample_rate)
        [log_probs] = self.log_probs([samples])
        segments = self.segments(text, log_probs, duration)
        seconds = time.perf_counter() - started
        transcript = Transcript(text, segments, duration, seconds, self.name, name)
        if transcript.words and mean_confidence(transcript.words) < UNLIKELY:
            log.warning("%s: mean confidence of the words is below %g; is this what is said?", name, UNLIKELY)
        return transcript

    def segments(self, text: str, log_probs: Tensor, duration: float) -> tuple[Segment, ...]:
        """One, with the times of its words; none without text. log_probs: (T, V) of a recording of `duration` s."""
        words = words_of(log_probs, text, self.alphabet, self.seconds_per_frame, duration=duration)
        return (Segment(text, 0.0, duration, words),) if text else ()

    def read(
        self, source: str | Path | bytes | BinaryIO | np.ndarray, sample_rate: int | None
    ) -> tuple[np.ndarray, float, str]:
        """What a user gave -> samples (N,) float32 at the model's rate, seconds, what errors call it."""
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
        return samples, duration, name

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
        return [best.text for best, *_ in self.hypotheses(self.log_probs(recordings))]

    def log_probs(self, recordings: list[np.ndarray]) -> list[Tensor]:
        """Log-probabilities of one batch: recordings (N_i,) float32 at the model's rate -> as many (T_i, V) float32."""
        heard = [index for index, samples in enumerate(recordings) if len(samples)]
        found = [torch.zeros(0, self.alphabet.size)] * len(recordings)
        if heard:
            log_probs, frames = self.score(*self.features_of([recordings[index] for index in heard]))
            for index, rows, length in zip(heard, log_probs, frames.tolist()):
                found[index] = rows[:length]
        return found

    def hypotheses(self, log_probs: list[Tensor]) -> list[list[Hypothesis]]:
        """What the decoder finds: log-probabilities (T_i, V) -> for each its hypotheses, best first, at least one."""
        if not log_probs:
            return []
        padded = torch.nn.utils.rnn.pad_sequence(log_probs, batch_first=True)
        return self.decoder.decode(padded, torch.tensor([len(rows) for rows in log_probs]))

    @property
    def seconds_per_frame(self) -> float:
        """Of the network's output."""
        return self.config.features.hop * self.config.network.time_stride

    @torch.inference_mode()
    def features_of(self, recordings: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        """What the network hears: recordings (N_i,), none empty -> features (B, T, F), frames (B,)."""
        with threads_of_torch(self.threads):
            return self.front_end(*pad(recordings))

    @torch.inference_mode()
    def score(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """What the network says: features (B, T, F), frames (B,) -> log-probabilities (B, T', V), frames (B,)."""
        with threads_of_torch(self.threads):
            logits, frames = self.network(features, frames)
            return logits.log_softmax(-1), frames

    def recognize_features(self, features: Tensor, frames: Tensor) -> list[str]:
        """Features to text: features (B, T, F), frames (B,) -> B texts."""
        return [best.text for best, *_ in self.decoder.decode(*self.score(features, frames))]
