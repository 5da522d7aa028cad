"""How long recordings are heard: phrase by phrase, divided by the pauses of what the network itself hears.

A network that learned from utterances hears utterances best: with some of AN4 at once it errs half as often again,
while the mean and deviation of their neighbourhood do no harm (benchmarks/README.md, "Long recordings"). So a recording
of more than `WINDOW` s is heard twice:

    heard first   ..go.left......................stop.now....    windows of 30 s: where are letters, where is none?
    pauses                  |--------------------|               no letter for `PAUSE` s or more
    phrases       [..go.left..]              [..stop.now..]      some of it is left on each side
    heard then    each phrase alone, in batches, normalised with the statistics of at least `CONTEXT` s of phrases

Where nobody pauses for 30 s, the cut is at the longest stretch without a letter, one with a space if there is any, and
both sides hear `OVERLAP` s beyond it, of which the frames are thrown away. A shorter recording is one phrase, heard
once.
Memory does not depend on the length of a recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from ..features import FrontEnd, Statistics
from ..text import Alphabet

WINDOW = 30.0  # s heard at once when looking for pauses, and the longest phrase
BATCH = 4  # windows
PAUSE = 0.8  # s without a letter
MARGIN = 0.3  # s of a pause that are left on each side, half of it at most
OVERLAP = 2.0  # s heard beyond a cut that is in no pause
CONTEXT = 20.0  # s of phrases whose statistics normalise them

BLANK, SPACE, LETTER = 0, 1, 2  # what a frame may hold

LogProbs = Callable[[list[np.ndarray]], list[Tensor]]  # recordings (N_i,) -> (T_i, V)


@dataclass(frozen=True)
class Phrase:
    """What the network hears at once, and which of its frames count."""

    features: Tensor  # (T, F), normalised
    start: int  # output frame of the recording at which it begins to count
    skip: int = 0  # output frames before that
    frames: int | None = None  # that count, all when None


@dataclass(frozen=True)
class Span:
    """A phrase before its features are normalised."""

    logarithms: Tensor  # (T, F) of power
    start: int
    skip: int
    frames: int


@dataclass(frozen=True)
class Cut:
    """Where a phrase lies among the frames at hand."""

    start: int
    end: int
    next: int  # where the next may start
    after: int  # frames heard beyond the end


class PhraseFinder:
    """Divides recordings.

    Args:
        front_end: of the model
        log_probs: what the network says of recordings
        time_stride: frames of the features for each frame of the output
        alphabet: what counts as a letter
    """

    def __init__(self, front_end: FrontEnd, log_probs: LogProbs, time_stride: int, alphabet: Alphabet) -> None:
        self.front_end, self.log_probs = front_end, log_probs
        config = front_end.config
        self.grain = config.hop_samples * time_stride  # samples of an output frame
        self.seconds = self.grain / config.sample_rate
        self.window = round(WINDOW / self.seconds)  # this and what follows in output frames
        self.pause = max(2, round(PAUSE / self.seconds))
        self.margin = min(round(MARGIN / self.seconds), self.pause // 2)
        self.overlap = round(OVERLAP / self.seconds)
        self.space = alphabet.symbols.index(" ") + 1 if " " in alphabet.symbols else 0

    def phrases(self, blocks: Iterable[np.ndarray]) -> Iterator[Phrase]:
        """The phrases of a recording, in order.

        Args:
            blocks: its samples at the model's rate, (N_i,) float32 one after the other
        """
        blocks = iter(blocks)
        limit = self.window * self.grain
        first: list[np.ndarray] = []
        while sum(map(len, first)) <= limit:
            block = next(blocks, None)
            if block is None:
                samples = np.concatenate(first) if first else np.zeros(0, np.float32)
                if len(samples):
                    features, _ = self.front_end(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
                    yield Phrase(features[0], 0)
                return
            first.append(block)
        yield from self.normalised(self.spans(chain(first, blocks)))

    def spans(self, blocks: Iterable[np.ndarray]) -> Iterator[Span]:
        """The phrases of a long recording; silence is left out."""
        samples = np.zeros(0, np.float32)  # from output frame `origin` on
        kinds = np.zeros(0, np.int8)  # BLANK, SPACE or LETTER, of the same frames
        origin = begin = 0
        before = 0  # frames heard, but not counted, at the start of the next phrase
        for windows, last in self.windows(blocks):
            samples = np.concatenate([samples, *windows])
            kinds = np.concatenate([kinds, *self.kinds_of(windows, last)])
            while cut := self.next_cut(kinds, begin, last):
                start, end = cut.start - before, cut.end + cut.after
                part = torch.from_numpy(samples[start * self.grain : end * self.grain])
                logarithms, _ = self.front_end.log_features(part[None], torch.tensor([len(part)]))
                yield Span(logarithms[0], origin + cut.start, before, cut.end - cut.start)
                begin, before = cut.next, cut.after
            begin = max(begin, self.silent_until(kinds, begin))
            gone = max(0, begin - self.overlap)
            samples, kinds = samples[gone * self.grain :], kinds[gone:]
            origin, begin = origin + gone, begin - gone

    def windows(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[list[np.ndarray], bool]]:
        """A recording in windows, some at a time, and whether they are its last; the very last is shorter."""
        limit = self.window * self.grain
        rest, windows = np.zeros(0, np.float32), []
        for block in blocks:
            rest = np.concatenate([rest, block])
            while len(rest) > limit:
                windows.append(rest[:limit])
                rest = rest[limit:]
                if len(windows) == BATCH:
                    yield windows, False
                    windows = []
        yield [*windows, rest], True

    def kinds_of(self, windows: list[np.ndarray], last: bool) -> list[np.ndarray]:
        """What the network hears in the frames of windows; one frame more at the end of all."""
        kinds = []
        for index, rows in enumerate(self.log_probs(windows)):
            labels = rows.argmax(-1).numpy()
            if not last or index < len(windows) - 1:
                labels = labels[: self.window]
            kinds.append(np.where(labels == 0, BLANK, np.where(labels == self.space, SPACE, LETTER)).astype(np.int8))
        return kinds

    def next_cut(self, kinds: np.ndarray, begin: int, last: bool) -> Cut | None:
        """The next phrase from frame `begin` on; None if there is none, or not enough is known yet."""
        letters = begin + np.flatnonzero(kinds[begin:] == LETTER)
        if not len(letters):
            return None
        start = max(begin, int(letters[0]) - self.margin)
        pauses = np.flatnonzero(np.diff(letters) > self.pause)
        if len(pauses):
            end, following = int(letters[pauses[0]]) + 1 + self.margin, int(letters[pauses[0] + 1]) - self.margin
        elif len(kinds) - letters[-1] > self.pause or last:
            end = min(int(letters[-1]) + 1 + self.margin, len(kinds))
            following = end
        else:
            end = following = len(kinds) + self.overlap  # not known yet
        if end - start > self.window and len(kinds) - start > self.window:
            middle = self.best_gap(kinds[start : start + self.window - self.overlap])
            return Cut(start, start + middle, start + middle, self.overlap)
        return Cut(start, end, following, 0) if end <= len(kinds) else None

    def best_gap(self, kinds: np.ndarray) -> int:
        """The middle of the longest stretch without a letter in the later two thirds; of those with a space, if any."""
        first = len(kinds) // 3
        quiet = np.concatenate([[False], kinds[first:] != LETTER, [False]])
        edges = np.flatnonzero(np.diff(quiet.astype(np.int8))).reshape(-1, 2)
        if not len(edges):
            return len(kinds)
        spaces = [bool((kinds[first + a : first + b] == SPACE).any()) for a, b in edges]
        lengths = edges[:, 1] - edges[:, 0]
        a, b = edges[int(np.lexsort((lengths, spaces))[-1])]
        return first + int(a + b) // 2

    def silent_until(self, kinds: np.ndarray, begin: int) -> int:
        """How far nothing is said from `begin` on; what a next letter would need before it is left."""
        silent = not (kinds[begin:] == LETTER).any()
        return len(kinds) - self.margin if silent else begin

    def normalised(self, spans: Iterable[Span]) -> Iterator[Phrase]:
        """Phrases of spans, each normalised together with those around it."""
        if self.front_end.config.normalise == "global":
            yield from (self.phrase(span, None) for span in spans)
            return
        enough = round(CONTEXT / self.front_end.config.hop)
        waiting: list[Span] = []
        past: deque[Statistics] = deque()  # of the spans before, enough of them for a last one that is short
        for span in chain(spans, [None]):
            if span is not None:
                waiting.append(span)
                if sum(len(other.logarithms) for other in waiting) < enough:
                    continue
            here = [Statistics.of(other.logarithms) for other in waiting]
            known = sum(here, Statistics())
            for older in reversed(past):
                if known.count >= enough:
                    break
                known += older
            yield from (self.phrase(other, known) for other in waiting)
            past.extend(here)
            while sum(other.count for other in past) - past[0].count >= enough if past else False:
                past.popleft()
            waiting = []

    def phrase(self, span: Span, statistics: Statistics | None) -> Phrase:
        return Phrase(self.front_end.normalised(span.logarithms, statistics), span.start, span.skip, span.frames)
