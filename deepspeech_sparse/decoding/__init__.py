"""From label scores to text.

A decoder has one method, `decode(log_probs, frames) -> list of n-best lists of Hypothesis`; `decoder_of` makes the one
of a config.
"""

from typing import Protocol

from torch import Tensor

from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..text import Alphabet
from .greedy import GreedyDecoder, greedy
from .hypothesis import Hypothesis

__all__ = ["Decoder", "GreedyDecoder", "Hypothesis", "decoder_of", "greedy"]


class Decoder(Protocol):
    """What every decoder offers."""

    def decode(self, log_probs: Tensor, frames: Tensor) -> list[list[Hypothesis]]:
        """log_probs (B, T, V), frames (B,) -> for each utterance its hypotheses, best first, at least one."""


def decoder_of(config: DecoderConfig, alphabet: Alphabet) -> Decoder:
    """The decoder that a config means.

    Raises:
        InputError: a package, language model or lexicon that is not there or does not fit
    """
    if config.kind == "greedy":
        return GreedyDecoder(alphabet)
    raise InputError(f"decoder: {config.kind} is not there yet")
