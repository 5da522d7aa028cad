"""Pieces of a recording put together again: log-probabilities of overlapping pieces become those of one stretch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .pauses import Piece

LONGEST = 6000  # output frames of a stretch: two minutes at 20 ms; then it ends even inside a word
OUTER = 0.25  # share of an overlap, at either end, where one of the two pieces hears too little of what is around


@dataclass(frozen=True)
class Stretch:
    """Log-probabilities between two pauses, or between two words."""

    start: int  # output frame of the recording
    log_probs: Tensor  # (T, V)


class Joiner:
    """Joins the pieces of one recording, in their order.

    Two that overlap are cut where both hear a space most surely; if neither does, where both hear the blank, and then
    they stay one stretch, so that no word is torn.

    Args:
        step: samples from one output frame to the next
        space: label of the space, None where the alphabet has none
    """

    def __init__(self, step: int, space: int | None) -> None:
        self.step = step
        self.space = space
        self.start = 0
        self.held: list[Tensor] = []

    def add(self, piece: Piece, log_probs: Tensor) -> Iterator[Stretch]:
        """What is now complete. log_probs (T, V) of the piece; T = 0 of one that nobody listened to."""
        start = piece.start // self.step
        if not (piece.overlaps and self.held and len(log_probs)):
            yield from self.rest()
            self.start, self.held = start, [log_probs] * bool(len(log_probs))
            return
        before = torch.cat(self.held)
        end = self.start + len(before)
        cut, torn = self.place(before[start - self.start :], log_probs[: end - start])
        before = before[: start - self.start + cut]
        if torn and len(before) < LONGEST:
            self.held = [before, log_probs[cut:]]
            return
        yield Stretch(self.start, before)
        self.start, self.held = start + cut, [log_probs[cut:]]

    def rest(self) -> Iterator[Stretch]:
        """What is held, when nothing more comes."""
        if self.held:
            yield Stretch(self.start, torch.cat(self.held))
        self.held = []

    def place(self, left: Tensor, right: Tensor) -> tuple[int, bool]:
        """Frame of the overlap at which right begins, and whether a word may be torn. left, right: (about T, V)."""
        frames = min(len(left), len(right))
        first, last = int(OUTER * frames), max(int(OUTER * frames) + 1, frames - int(OUTER * frames))
        both = torch.minimum(left[first:last], right[first:last])
        if self.space is not None and (spaces := both[:, self.space]).numel() and spaces.max() > -0.7:
            return first + int(spaces.argmax()), False
        return first + (int(both[:, 0].argmax()) if len(both) else 0), True
