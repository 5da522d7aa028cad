"""What every recurrent layer with rounded gate gradients has: how they are rounded, and notes of what happened."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .function import Way
from .rounding import EXACT, Rounding
from .seen import Seen


class RoundedGradients:
    """To be inherited beside a torch module, which says how many `directions` all its layers have.

    Attributes:
        rounding: of all gate gradients, from the next forward pass on; or one for each direction of each layer, those
            of the first layer first
        seen: take notes of backward passes, one for each direction of each layer; none where nobody wants to know
    """

    directions: int
    rounding: Rounding | Sequence[Rounding] = EXACT
    seen: Sequence[Seen] | None = None

    @property
    def roundings(self) -> tuple[Rounding, ...]:
        """One for each direction of each layer."""
        one = isinstance(self.rounding, Rounding)
        roundings = (self.rounding,) * self.directions if one else tuple(self.rounding)
        if len(roundings) != self.directions:
            raise ValueError(f"{len(roundings)} roundings, one for each of {self.directions} directions is needed")
        return roundings

    def way(self, cell: str, index: int, backwards: bool, lengths: Tensor) -> Way:
        """How direction `index` of all is computed; lengths (B,) on the CPU."""
        seen = None if self.seen is None else self.seen[index]
        return Way(cell, backwards, lengths, self.roundings[index], seen)
