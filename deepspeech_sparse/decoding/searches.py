"""The two searches of flashlight: over words of a lexicon, and over characters.

Each makes a decoder of `torchaudio.models.decoder` and knows what its results mean: the units of a text (words or
characters), by number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from flashlight.lib.text.decoder import (
    CriterionType,
    LexiconDecoderOptions,
    LexiconFreeDecoderOptions,
    ZeroLM,
)
from torch import Tensor
from torchaudio.models.decoder import CTCDecoder

from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..text import BLANK_NAME, SPACE_MARK, Alphabet
from .hot_words import HotWords, written_phrases
from .kenlm import LOG10, dictionary, load_kenlm
from .language import FavouringLanguageModel
from .lexicon import UNKNOWN, read_lexicon

IMPOSSIBLE = -1e5  # stands for minus infinity, which flashlight cannot add
LETTERS = 5  # of a word, about: without a lexicon each has that share of the boost
THRESHOLD = 10.0  # what lies below the best of a frame by a factor of e^10 is dropped; AN4 dev: as good as e^50
WIDE = 50.0  # where that leaves none that ends with a whole word


def search(decoder: CTCDecoder, rows: Tensor) -> list[Any]:
    """Results of flashlight's own decoder, without torchaudio's dressing."""
    return decoder.decoder.decode(rows.data_ptr(), *rows.shape)


def options_of(
    config: DecoderConfig, alphabet: Alphabet, hot_words: HotWords, weight: float, threshold: float
) -> dict[str, Any]:
    """What both searches are told; `weight` is that of the language model's score."""
    return {
        "beam_size": config.beam_width,
        "beam_size_token": min(config.cutoff_top_n, alphabet.size),
        "beam_threshold": threshold + max(0.0, hot_words.most_credit),
        "lm_weight": weight,
        "sil_score": 0.0,
        "log_add": True,
        "criterion_type": CriterionType.CTC,
    }


class LexiconSearch:
    """Texts are words of a lexicon, divided by spaces.

    A word ends with its space; the last one gets it from a frame of space that is appended to every utterance.
    """

    def __init__(self, config: DecoderConfig, alphabet: Alphabet) -> None:
        if " " not in alphabet.symbols:
            raise InputError("decoder: a lexicon needs an alphabet with a space, which this model does not have")
        lexicon = read_lexicon(config.lexicon, alphabet)
        phrases = [phrase.split() for phrase in written_phrases(config.hot_words, alphabet)]
        for word in (word for phrase in phrases for word in phrase):
            lexicon.setdefault(word, [word])
        self.words = list(lexicon)
        numbers = {word: number for number, word in enumerate(self.words)}
        self.space = alphabet.symbols.index(" ") + 1
        self.lm = None if config.lm is None else load_kenlm(config.lm, self.words, f"the words of {config.lexicon}")
        self.hot_words = HotWords(
            [[numbers[word] for word in phrase] for phrase in phrases], lambda word: config.hot_word_boost
        )
        inner, weight = self.lm or ZeroLM(), config.alpha * LOG10
        if phrases:
            inner, weight = FavouringLanguageModel(inner, weight, lambda last, word: 0.0, self.hot_words), 1.0
        self.make = lambda threshold: CTCDecoder(
            config.beam_width,
            {word: [[*spelling, " "] for spelling in spellings] for word, spellings in lexicon.items()},
            dictionary([*self.words, UNKNOWN]),
            dictionary([BLANK_NAME, *alphabet.symbols]),
            inner,
            LexiconDecoderOptions(
                **options_of(config, alphabet, self.hot_words, weight, threshold),
                word_score=config.beta,
                unk_score=float("-inf"),
            ),
            BLANK_NAME,
            " ",
            UNKNOWN,
        )
        self.decoder = self.make(THRESHOLD)

    @cached_property
    def wide(self) -> CTCDecoder:
        """A slower search that keeps more."""
        return self.make(WIDE)

    def results(self, rows: Tensor) -> list[Any]:
        """What flashlight finds in log-probabilities (T, V), best first.

        A network that is sure of a spelling that the lexicon lacks throws all that end with a whole word off the beam;
        what is left then breaks off within a word, and is searched again.
        """
        found = search(self.decoder, rows)
        return found if found and found[0].score > IMPOSSIBLE / 2 else search(self.wide, rows)

    def framed(self, rows: Tensor) -> Tensor:
        """Log-probabilities (T, V) as the search takes them."""
        end = torch.full((1, rows.shape[1]), IMPOSSIBLE)
        end[0, self.space] = 0.0
        return torch.cat([rows, end])

    def units(self, result: Any, path: Sequence[int]) -> list[int]:
        """The words of a result whose labels, frame by frame, are `path`."""
        return [word for word in result.words if word >= 0]

    def text(self, units: Sequence[int]) -> str:
        return " ".join(self.words[word] for word in units)

    def number_of_words(self, units: Sequence[int]) -> int:
        return len(units)

    def hot_word_score(self, units: Sequence[int]) -> float:
        return self.hot_words.total(units)


class FreeSearch:
    """Texts are any strings."""

    def __init__(self, config: DecoderConfig, alphabet: Alphabet) -> None:
        if config.lm is not None and SPACE_MARK in alphabet.symbols:
            raise InputError(
                f"decoder: {SPACE_MARK} stands for the space in models of characters, this alphabet has it as a letter"
            )
        phrases = written_phrases(config.hot_words, alphabet)
        self.alphabet = alphabet
        self.space = alphabet.symbols.index(" ") + 1 if " " in alphabet.symbols else None
        characters = [SPACE_MARK if symbol == " " else symbol for symbol in alphabet.symbols]
        # Label 0, the blank, is never scored; it stands first so that labels are the numbers of characters.
        self.lm = None if config.lm is None else load_kenlm(config.lm, [BLANK_NAME, *characters], "the alphabet")
        edge = [] if self.space is None else [self.space]
        self.hot_words = HotWords(
            [[*edge, *alphabet.encode(phrase), *edge] for phrase in phrases],
            lambda label: 0.0 if label == self.space else config.hot_word_boost / LETTERS,
        )
        inner, weight = self.lm or ZeroLM(), config.alpha * LOG10
        if phrases or config.beta:
            inner = FavouringLanguageModel(
                inner,
                weight,
                lambda last, label: config.beta * self.begins_word(last, label),
                self.hot_words,
                self.space,
            )
            weight = 1.0
        self.decoder = CTCDecoder(
            config.beam_width,
            None,
            None,
            dictionary([BLANK_NAME, *alphabet.symbols]),
            inner,
            LexiconFreeDecoderOptions(
                **options_of(config, alphabet, self.hot_words, weight, THRESHOLD),
            ),
            BLANK_NAME,
            BLANK_NAME,  # flashlight takes this for a text's beginning; a space there would be lost
            UNKNOWN,
        )

    def results(self, rows: Tensor) -> list[Any]:
        """What flashlight finds in log-probabilities (T, V), best first."""
        return search(self.decoder, rows)

    def framed(self, rows: Tensor) -> Tensor:
        """Log-probabilities (T, V) as the search takes them."""
        return rows

    def units(self, result: Any, path: Sequence[int]) -> list[int]:
        """The characters of a result whose labels, frame by frame, are `path`."""
        return [label for label, _ in groupby(path) if label]

    def text(self, units: Sequence[int]) -> str:
        return " ".join(self.alphabet.decode(units).split())

    def begins_word(self, last: int | None, label: int | None) -> bool:
        """Whether a label after another is the first letter of a word."""
        return label not in (None, self.space) and last in (None, self.space)

    def number_of_words(self, units: Sequence[int]) -> int:
        return sum(self.begins_word(last, label) for last, label in zip([None, *units], units))

    def hot_word_score(self, units: Sequence[int]) -> float:
        edge = [] if self.space is None else [self.space]
        return self.hot_words.total([*edge, *units, *edge])
