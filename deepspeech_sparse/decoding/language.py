"""What a beam search adds to the network's score, unit by unit: language model, word bonus, hot words.

Two of the three are C++ alone (KenLM, or nothing); hot words, and a word bonus without a lexicon, go through Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchaudio.models.decoder._ctc_decoder import CTCDecoderLM

from .hot_words import HotWords, Match

Bonus = Callable[[int | None, int | None], float]  # of a unit after another; None is the begin or the end


class FavouringLanguageModel(CTCDecoderLM):
    """Another language model's weighted score, a bonus for units, and credit for hot words.

    flashlight makes one state for every different text, and the one of the inner model serves here, too.

    Args:
        inner: KenLM, or flashlight's ZeroLM
        weight: of its score
        bonus: of a unit
        hot_words: over the units; `edge` is a unit that every text begins and ends with, if phrases say so
    """

    def __init__(self, inner: Any, weight: float, bonus: Bonus, hot_words: HotWords, edge: int | None = None) -> None:
        super().__init__()
        self.inner, self.weight, self.bonus, self.hot_words, self.edge = inner, weight, bonus, hot_words, edge
        self.seen: dict[Any, tuple[Match, int | None]] = {}  # of every state: hot words matched, last unit

    def start(self, start_with_nothing: bool) -> Any:
        state = self.inner.start(start_with_nothing)
        match = Match()
        if self.edge is not None:
            _, match = self.hot_words.step(match, self.edge)
        self.seen = {state: (match, None)}
        return state

    def score(self, state: Any, unit: int) -> tuple[Any, float]:
        match, last = self.seen[state]
        after, score = self.inner.score(state, unit)
        gain, match = self.hot_words.step(match, unit)
        self.seen[after] = match, unit
        return after, self.weight * score + self.bonus(last, unit) + gain

    def finish(self, state: Any) -> tuple[Any, float]:
        match, last = self.seen[state]
        after, score = self.inner.finish(state)
        gain = 0.0
        if self.edge is not None:
            gain, match = self.hot_words.step(match, self.edge)
        return after, self.weight * score + self.bonus(last, None) + gain + self.hot_words.finish(match)
