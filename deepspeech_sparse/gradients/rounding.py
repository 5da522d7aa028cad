"""Which gate gradients become zero before they are used."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Rounding:
    """What is rounded to zero in the gate gradients dnet of a recurrent layer; the default is nothing.

    Args:
        threshold: single gradients, where |dnet| <= threshold (Zhu et al., "Sparsified SGD")
        dropped: share of the gate units that are dropped at each time, for all utterances: those whose largest |dnet|
            of any utterance is smallest, so that the products shrink (arXiv 1806.00512)

    Raises:
        InputError: a threshold below zero or not finite, a share outside [0, 1)
    """

    threshold: float = 0.0
    dropped: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < math.inf:
            raise InputError(f"gradients: a threshold of {self.threshold}; it must be finite and at least 0")
        if not 0 <= self.dropped < 1:
            raise InputError(
                f"gradients: dropping a share of {self.dropped}; at least 0 and below 1, or no gradient would be left"
            )

    def kept(self, units: int) -> int:
        """Gate units that stay at each time, of `units`; 0 where none is dropped."""
        if not self.dropped:
            return 0
        return max(1, units - int(round(self.dropped * units, 6)))  # 0.7 * 10 must not be 6.999...

    def __bool__(self) -> bool:
        """Whether anything is rounded."""
        return self.threshold > 0 or self.dropped > 0


EXACT = Rounding()
