"""How texts are found in the scores of a network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import InputError


@dataclass(frozen=True)
class DecoderConfig:
    """How texts are found in the scores of a network.

    Args:
        kind: greedy, the best label of every frame; beam, beam search by flashlight-text; ctcdecode, where that package
            is installed
        lm: language model, ARPA or KenLM binary: of words with a lexicon, of characters without
        lexicon: words that may be written, one in a line with its spelling; without one every text may be
        alpha: weight of the language model's score
        beta: added for every word
        priors: how often each label occurs in the training texts, as `lm build --priors` counts it
        gamma: part of the priors that is taken off the scores: the network has learned them, lexicon and language
            model know better; 0 for nothing
        beam_width: hypotheses kept from frame to frame
        cutoff_top_n: labels looked at in each frame, the best ones
        cutoff_prob: or as many of the best as have this probability together, 1 for all
        hot_words: words and phrases made likelier, in any case
        hot_word_boost: added to the score for each of their words; without a lexicon, a fifth of it for each letter
    """

    kind: Literal["greedy", "beam", "ctcdecode"] = "greedy"
    lm: Path | None = None
    lexicon: Path | None = None
    alpha: float = 0.5
    beta: float = 0.0
    priors: Path | None = None
    gamma: float = 0.0
    beam_width: int = 100
    cutoff_top_n: int = 40
    cutoff_prob: float = 1.0
    hot_words: tuple[str, ...] = ()
    hot_word_boost: float = 5.0

    def __post_init__(self) -> None:
        for name in ("lm", "lexicon", "priors"):  # people write them as strings
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Path(getattr(self, name)))
        if isinstance(self.hot_words, str):
            object.__setattr__(self, "hot_words", (self.hot_words,))
        if min(self.beam_width, self.cutoff_top_n) < 1:
            raise InputError(
                f"decoder: beam_width {self.beam_width} and cutoff_top_n {self.cutoff_top_n} must be at least 1"
            )
        if not all(map(math.isfinite, (self.alpha, self.beta, self.gamma, self.hot_word_boost))):
            raise InputError(
                f"decoder: alpha {self.alpha}, beta {self.beta}, gamma {self.gamma} and hot_word_boost "
                f"{self.hot_word_boost} must be finite"
            )
        if self.gamma and self.priors is None:
            raise InputError(f"decoder: gamma {self.gamma} is a part of priors; give a file, see `lm build --priors`")
        if not 0 < self.cutoff_prob <= 1:
            raise InputError(f"decoder: cutoff_prob {self.cutoff_prob} must be above 0 and at most 1")
