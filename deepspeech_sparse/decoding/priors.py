"""Label priors: what a network expects before it listens, taken off its scores in part.

A CTC network's P(label | audio) has learned how frequent labels are in its training texts, which lexicon and language
model know better. The search then sees P(label | audio) / P(label)^gamma (Miao, Gowayyed, Metze 2015, EESEN, arXiv
1507.08240, with gamma 1).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import InputError
from ..text import BLANK_NAME, SPACE_NAME, Alphabet
from .hypothesis import Hypothesis

if TYPE_CHECKING:
    from . import Decoder

REMEDY = "`lm build --priors` writes such a file"


class WithoutPriors:
    """A decoder that hears scores without a part of the priors.

    Args:
        decoder: of these scores
        log_priors: (V,) logarithms of P(label)
        gamma: the part
    """

    def __init__(self, decoder: Decoder, log_priors: Tensor, gamma: float) -> None:
        self.decoder = decoder
        self.offsets = gamma * log_priors

    def decode(self, log_probs: Tensor, frames: Tensor, n_best: int = 1) -> list[list[Hypothesis]]:
        """Log-probabilities (B, T, V), frames (B,) -> B lists, best first."""
        return self.decoder.decode((log_probs.float().cpu() - self.offsets).log_softmax(-1), frames, n_best)


def read_priors(path: Path, alphabet: Alphabet) -> Tensor:
    """(V,) log P(label) from a file of counts; labels that it lacks are counted once, others passed over.

    Raises:
        InputError: no such file, not UTF-8, a line that is no label and count, no blank, no label of the alphabet
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error.reason
        raise InputError(f"{path}: cannot be read ({reason}); {REMEDY}") from error
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        label, _, count = line.partition("\t")
        if not (label in (BLANK_NAME, SPACE_NAME) or len(label) == 1) or not count.isascii() or not count.isdigit():
            raise InputError(f"{path}, line {number}: {line[:60]!r} is no label, tab and count; {REMEDY}")
        counts[" " if label == SPACE_NAME else label] = int(count)
    if BLANK_NAME not in counts or not set(alphabet.symbols) & set(counts):
        raise InputError(f"{path}: has no {BLANK_NAME}, or no label that the model writes; {REMEDY}")
    shares = torch.tensor(
        [max(1, counts.get(label, 0)) for label in (BLANK_NAME, *alphabet.symbols)], dtype=torch.float64
    )
    return (shares / shares.sum()).log().float()
