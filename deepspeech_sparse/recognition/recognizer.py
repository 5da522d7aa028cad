"""A trained model that turns audio into text: one recording, or a batch of arrays."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio import HIGHEST_RATE, LOWEST_RATE, Source, check_samples, name_of, read_blocks, resample
from ..decoder_config import DecoderConfig
from ..decoding import GreedyDecoder, Hypothesis, decoder_of
from ..decoding.alignment import mean_confidence, words_of
from ..engine.network import SparseNetwork
from ..engine.products import threads_of_torch
from ..errors import InputError
from ..features import pad
from ..model_file import Model, StoredModel
from ..models import model_name, opened_model
from ..transcripts.transcript import Failure, Segment, Transcript, Word
from .inference import Engine, checked_threads, network_to_run
from .phrases import PhraseFinder
from .recordings import Pool, Recording, Waiting
from .sources import Excerpt
from .streaming import Stream, refuse_what_cannot_stream

# Mean confidence of a text that is not said. On AN4 dev, with both released models, 5 of 208 right texts lie below it
# and 597 of 604 texts of other utterances.
UNLIKELY = 0.05

Recordable = Source | Excerpt | np.ndarray

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
        self.finder = PhraseFinder(self.front_end, self.log_probs, model.config.network.time_stride, model.alphabet)
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

    def transcribe(self, source: Recordable, *, sample_rate: int | None = None) -> Transcript:
        """The text in a recording, and when its words were said.

        Args:
            source: audio file, its bytes, a binary stream, an `Excerpt`, or samples of shape (N,) or (N, channels)
            sample_rate: of samples, Hz; files know their own

        Raises:
            InputError: audio that cannot be read or holds nothing, samples without their rate
        """
        [result] = self.transcribe_many([source], sample_rate=sample_rate)
        if isinstance(result, Failure):
            raise InputError(result.error)
        return result

    def transcribe_many(
        self,
        sources: Iterable[Recordable],
        *,
        sample_rate: int | None = None,
        on_audio: Callable[[float], None] = lambda seconds: None,
    ) -> Iterator[Transcript | Failure]:
        """The texts in many recordings, each as soon as it and those before it are done.

        Phrases of all recordings are heard together in batches; memory depends neither on how many recordings there
        are nor on how long they are.

        Args:
            sources, sample_rate: each as of `transcribe`
            on_audio: told how many more seconds of audio were read, now and then

        Returns:
            for each source, in order, its transcript, or why there is none
        """
        queue: deque[Recording] = deque()
        pool = Pool(self.hear, 1 / self.config.features.hop)
        for source in sources:
            recording = Recording(source_name(source))
            queue.append(recording)
            for _ in self.read_into(pool, recording, source, sample_rate, on_audio):
                while queue[0].done:  # not the one that is read
                    yield queue.popleft().result(self.name)
            while queue and queue[0].done:
                yield queue.popleft().result(self.name)
        pool.empty()
        yield from (recording.result(self.name) for recording in queue)

    def stream(self) -> Stream:
        """Live recognition with a model that can: chunks of samples in, text out, see `streaming.py`.

        Raises:
            InputError: a model, an engine or a decoder that cannot
        """
        refuse_what_cannot_stream(self.config)
        if not isinstance(self.network, SparseNetwork):
            raise InputError("stream: live recognition runs in the sparse engine; leave --engine torch out")
        if not isinstance(self.decoder, GreedyDecoder):
            raise InputError("stream: live recognition decodes greedily; leave --decoder out")
        return Stream(self.config, self.front_end, self.network, self.alphabet)

    def read_into(
        self,
        pool: Pool,
        recording: Recording,
        source: Recordable,
        sample_rate: int | None,
        on_audio: Callable[[float], None],
    ) -> Iterator[None]:
        """All phrases of a source into the pool, one at a time; what goes wrong into the recording."""

        def watched(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            samples = 0  # seconds added up would round
            for block in blocks:
                samples += len(block)
                recording.duration = samples / self.sample_rate
                on_audio(len(block) / self.sample_rate)
                yield block

        started = time.perf_counter()
        try:
            blocks = watched(self.blocks(source, sample_rate))
            for phrase in self.finder.phrases(blocks):
                recording.seconds += time.perf_counter() - started
                pool.add(recording, phrase)
                yield
                started = time.perf_counter()
        except (InputError, OSError) as error:
            recording.error = str(error)
        if isinstance(source, np.ndarray) and recording.error is None:
            recording.duration = len(source) / sample_rate
        recording.duration = recording.duration or 1 / self.sample_rate  # one sample at a high rate may become none
        recording.seconds += time.perf_counter() - started
        recording.read = True

    def hear(self, batch: list[Waiting]) -> None:
        """What is said in phrases, given to their recordings."""
        started = time.perf_counter()
        features = torch.nn.utils.rnn.pad_sequence([item.phrase.features for item in batch], batch_first=True)
        log_probs, frames = self.score(features, torch.tensor([item.length for item in batch]))
        rows = []
        for item, scores, length in zip(batch, log_probs, frames.tolist()):
            skip, counted = item.phrase.skip, item.phrase.frames
            rows.append(scores[skip : length if counted is None else min(length, skip + counted)])
        for item, scores, [best, *_] in zip(batch, rows, self.hypotheses(rows)):
            item.recording.heard[item.number] = self.segment(item, scores, best), best.lm_score
        seconds_per_frame = (time.perf_counter() - started) / sum(item.length for item in batch)
        for item in batch:
            item.recording.seconds += seconds_per_frame * item.length

    def segment(self, item: Waiting, log_probs: Tensor, best: Hypothesis) -> Segment | None:
        """A phrase with the times of its words; None if nothing was said."""
        duration = item.recording.duration
        start = item.phrase.start * self.seconds_per_frame
        whole = item.phrase.frames is None
        end = duration if whole else min(duration, start + len(log_probs) * self.seconds_per_frame)
        text = best.text
        if not text:
            return None
        written, spelled = text.split(" "), self.alphabet.decode(best.labels).split()
        if len(spelled) != len(written):  # which letters are whose is not known
            spelled = written
        try:
            found = words_of(
                log_probs,
                " ".join(spelled),
                self.alphabet,
                self.seconds_per_frame,
                offset_seconds=start,
                duration=duration,
            )
            words = tuple(replace(word, text=own) for word, own in zip(found, written))
        except InputError as error:  # the text is worth more than its times
            log.warning("%s: no word times: %s", item.recording.name, error)
            words = ()
        return Segment(text, start, end, words)

    def align(self, source: Recordable, text: str, *, sample_rate: int | None = None) -> Transcript:
        """When the words of a known text are said in a recording.

        The whole recording is heard in one piece: some minutes, not hours. Words of low confidence are not in it; the
        log says so if that is the whole text.

        Args:
            source, sample_rate: as of `transcribe`
            text: what is said, in any case (`Alphabet.written`)

        Raises:
            InputError: characters outside the alphabet, more text than the recording can hold, and all of `transcribe`
        """
        started = time.perf_counter()
        text = self.alphabet.written(text)
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
        if transcript.words and unlikely(transcript.words):
            log.warning("%s: mean confidence of the words is below %g; is this what is said?", name, UNLIKELY)
        return transcript

    def segments(self, text: str, log_probs: Tensor, duration: float) -> tuple[Segment, ...]:
        """One, with the times of its words; none without text. log_probs: (T, V) of a recording of `duration` s."""
        words = words_of(log_probs, text, self.alphabet, self.seconds_per_frame, duration=duration)
        return (Segment(text, 0.0, duration, words),) if text else ()

    def read(self, source: Recordable, sample_rate: int | None) -> tuple[np.ndarray, float, str]:
        """What a user gave -> samples (N,) float32 at the model's rate, seconds, what errors call it."""
        blocks = [np.zeros(0, np.float32), *self.blocks(source, sample_rate)]  # of a few samples resampling leaves none
        samples = np.concatenate(blocks)
        seconds = len(source) / sample_rate if isinstance(source, np.ndarray) else len(samples) / self.sample_rate
        return samples, seconds or 1 / self.sample_rate, source_name(source)

    def blocks(self, source: Recordable, sample_rate: int | None) -> Iterator[np.ndarray]:
        """What a user gave -> its samples at the model's rate, (N_i,) float32 one after the other.

        Raises:
            InputError: see `transcribe`
        """
        name = source_name(source)
        if isinstance(source, np.ndarray):
            yield self.samples_of(source, sample_rate, name)
            return
        if isinstance(source, Excerpt):
            yield from source.blocks(self.sample_rate)
            return
        if not isinstance(source, (str, Path, bytes)) and not hasattr(source, "read"):
            raise InputError(f"{name}: give a path, bytes, a binary stream or a numpy array")
        if sample_rate is not None:
            raise InputError(f"{name}: sample_rate is for arrays; encoded audio knows its own, leave it out")
        yield from read_blocks(source, sample_rate=self.sample_rate)

    def samples_of(self, array: np.ndarray, sample_rate: int | None, name: str) -> np.ndarray:
        """Samples of a user at any rate -> (N,) float32 at the model's rate."""
        if sample_rate is None or not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise InputError(
                f"{name}: sample_rate = {sample_rate}; say at how many Hz it was recorded, e.g. sample_rate=16000. "
                "A wrong rate makes any model deaf"
            )
        if array.ndim == 2 and 0 < array.shape[0] < array.shape[1]:
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

    def hypotheses(self, log_probs: list[Tensor], n_best: int = 1) -> list[list[Hypothesis]]:
        """What the decoder finds: log-probabilities (T_i, V) -> for each 1 to `n_best` hypotheses, best first."""
        if not log_probs:
            return []
        padded = torch.nn.utils.rnn.pad_sequence(log_probs, batch_first=True)
        return self.decoder.decode(padded, torch.tensor([len(rows) for rows in log_probs]), n_best)

    @property
    def seconds_per_frame(self) -> float:
        """Of the network's output."""
        return self.config.seconds_per_frame

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


def unlikely(words: Sequence[Word]) -> bool:
    """Whether what the words were aligned with is probably something else."""
    return mean_confidence(words) < UNLIKELY


def source_name(source: Any) -> str:
    """How errors and transcripts call what a user gave."""
    if isinstance(source, np.ndarray):
        return f"array of shape {source.shape}"
    if isinstance(source, Excerpt):
        return source.name
    known = isinstance(source, (str, Path, bytes)) or hasattr(source, "read")
    return name_of(source) if known else type(source).__name__
