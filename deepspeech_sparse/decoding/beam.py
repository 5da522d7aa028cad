"""Beam search by flashlight-text, through `torchaudio.models.decoder`: with a lexicon, or free of one.

Both sum the probabilities of all alignments of a text (Graves and Jaitly 2014). With a lexicon every text is words of
it and the language model one of words; without one it is any string and the model one of characters.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

from ..decoder_config import DecoderConfig
from ..text import Alphabet
from .greedy import begins_of
from .hypothesis import Hypothesis
from .kenlm import LOG10
from .searches import IMPOSSIBLE, FreeSearch, LexiconSearch


class BeamDecoder:
    """Beam search for a config.

    Args:
        config: its kind does not matter
        alphabet: label 0 is the blank

    Raises:
        InputError: a language model, lexicon or hot word that does not fit
    """

    def __init__(self, config: DecoderConfig, alphabet: Alphabet) -> None:
        self.config = config
        self.search = (FreeSearch if config.lexicon is None else LexiconSearch)(config, alphabet)
        # flashlight keeps a search's state in the decoder, and hot words let other Python threads run in between.
        self.lock = threading.Lock()

    def decode(self, log_probs: Tensor, frames: Tensor, n_best: int = 1) -> list[list[Hypothesis]]:
        """The likeliest texts of each utterance.

        Args:
            log_probs: (B, T, V) log-probabilities
            frames: (B,) frames that are real
            n_best: most texts for each

        Returns:
            B lists of 1 to `n_best` hypotheses of different texts, best first
        """
        utterances = (rows[:length] for rows, length in zip(log_probs.float().cpu(), frames.tolist()))
        with self.lock:
            return [self.hypotheses(rows, n_best) for rows in utterances]

    def hypotheses(self, rows: Tensor, n_best: int) -> list[Hypothesis]:
        """Of one utterance (T, V)."""
        total = len(rows)
        rows = self.search.framed(cut_off(rows, self.config.cutoff_prob)).contiguous()
        if not len(rows):
            return [self.hypothesis([], [], 0.0)]
        scores: dict[str, list[float]] = {}
        best: dict[str, tuple[list[int], list[int]]] = {}
        for result in self.search.results(rows):
            path = result.tokens[1 : total + 1]  # before and after the frames stands one more
            units = self.search.units(result, path)
            text = self.search.text(units)  # may come twice: ended by a label, and by a blank
            scores.setdefault(text, []).append(result.score)
            best.setdefault(text, (units, path))
        summed = {text: log_sum(same) for text, same in scores.items()}
        ranked = sorted(summed, key=summed.__getitem__, reverse=True)[:n_best]
        return [self.hypothesis(*best[text], summed[text]) for text in ranked]

    def hypothesis(self, units: list[int], path: list[int], score: float) -> Hypothesis:
        """From words or characters, the labels of all frames, and the score by which it was ranked."""
        search, config = self.search, self.config
        lm_score = None if search.lm is None else self.lm_score(units)
        hot_word_score = search.hot_word_score(units)
        added = config.alpha * (lm_score or 0.0) + config.beta * search.number_of_words(units) + hot_word_score
        begins = without_idle_spaces(begins_of(path), search.space)
        labels, frames = zip(*begins) if begins else ((), ())
        return Hypothesis(search.text(units), labels, frames, score, score - added, lm_score, hot_word_score)

    def lm_score(self, units: Sequence[int]) -> float:
        """Natural logarithm of the language model's probability of a whole text."""
        state, total = self.search.lm.start(False), 0.0
        for unit in units:
            state, score = self.search.lm.score(state, unit)
            total += score
        return LOG10 * (total + self.search.lm.finish(state)[1])


def log_sum(logarithms: Sequence[float]) -> float:
    """Logarithm of the sum of what these are the logarithms of."""
    most = max(logarithms)
    return most + math.log(sum(math.exp(score - most) for score in logarithms))


def cut_off(rows: Tensor, share: float) -> Tensor:
    """Log-probabilities (T, V) without the labels that the likeliest ones of a frame, with `share` together, beat."""
    rows = rows.nan_to_num(nan=IMPOSSIBLE).clamp(min=IMPOSSIBLE)
    if share == 1.0:
        return rows
    ordered, labels = rows.sort(-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    return rows.masked_fill(torch.zeros_like(rows, dtype=torch.bool).scatter(-1, labels, before >= share), IMPOSSIBLE)


def without_idle_spaces(begins: list[tuple[int, int]], space: int | None) -> list[tuple[int, int]]:
    """The same without spaces at both ends and after another space."""
    kept = [pair for index, pair in enumerate(begins) if pair[0] != space or (index and begins[index - 1][0] != space)]
    return kept[:-1] if kept and kept[-1][0] == space else kept
