"""From label scores to text.

A decoder has one method, `decode(log_probs, frames) -> list of n-best lists of Hypothesis`; `decoder_of` makes the one
of a config.
"""

from dataclasses import fields
from typing import Protocol

from torch import Tensor

from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..text import Alphabet
from .greedy import GreedyDecoder, greedy
from .hypothesis import Hypothesis
from .kenlm import refuse_without_flashlight
from .priors import WithoutPriors, read_priors

__all__ = ["Decoder", "GreedyDecoder", "Hypothesis", "decoder_of", "greedy"]


class Decoder(Protocol):
    """What every decoder offers."""

    def decode(self, log_probs: Tensor, frames: Tensor, n_best: int = 1) -> list[list[Hypothesis]]:
        """log_probs (B, T, V), frames (B,) -> for each utterance 1 to `n_best` hypotheses, best first."""


def decoder_of(config: DecoderConfig, alphabet: Alphabet) -> Decoder:
    """The decoder that a config means.

    Raises:
        InputError: a package, language model or lexicon that is not there or does not fit, an option that the kind of
            decoder does not know
    """
    if config.kind == "greedy":
        refuse_options(config, *(field.name for field in fields(config) if field.name != "kind"))
        return GreedyDecoder(alphabet)
    priors = None if config.priors is None else read_priors(config.priors, alphabet)
    decoder = beam_search(config, alphabet)
    return WithoutPriors(decoder, priors, config.gamma) if config.gamma else decoder


def beam_search(config: DecoderConfig, alphabet: Alphabet) -> Decoder:
    """The search that a config means, of whichever package."""
    if config.kind == "ctcdecode":
        refuse_options(config, "lexicon", "hot_words")
        from .ctcdecode import CtcdecodeDecoder

        return CtcdecodeDecoder(config, alphabet)
    refuse_without_flashlight()
    from .beam import BeamDecoder  # needs flashlight-text, which is an extra

    return BeamDecoder(config, alphabet)


def refuse_options(config: DecoderConfig, *names: str) -> None:
    """InputError for what a decoder would pass over in silence."""
    for name in names:
        if getattr(config, name) != getattr(DecoderConfig(), name):
            raise InputError(f"decoder: {config.kind} knows no {name}; choose kind beam, e.g. --decoder.kind beam")
