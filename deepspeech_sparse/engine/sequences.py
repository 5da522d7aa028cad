"""Utterances of different lengths without their padding, packed by time as torch's PackedSequence is.

utterance 0   a b c          a d f b e c       counts 3 2 1
utterance 1   d e        ->  (longest first within a time)
utterance 2   f
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the frames of a batch lie once packed."""

    frames: tuple[int, ...]  # of each utterance
    order: tuple[int, ...]  # utterances, longest first
    counts: Tensor  # (T,) int64, utterances that have a frame t
    starts: Tensor  # (T,) int64, first frame of time t

    @classmethod
    def of(cls, frames: Sequence[int]) -> Packing:
        """For utterances of so many frames, 0 included."""
        order = sorted(range(len(frames)), key=lambda index: -frames[index])
        times = torch.arange(max(frames, default=0))
        counts = (times[:, None] < torch.tensor(frames)).sum(1)
        return cls(tuple(frames), tuple(order), counts, counts.cumsum(0) - counts)

    def pack(self, sequences: Sequence[Tensor]) -> Tensor:
        """(frames, F) of each utterance -> (all frames, F)."""
        if len(sequences) == 1:
            return sequences[0].contiguous()
        packed = torch.empty(sum(self.frames), sequences[0].shape[1])
        for place, index in enumerate(self.order):
            packed[self.starts[: self.frames[index]] + place] = sequences[index]
        return packed

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """(all frames, F) -> (frames, F) of each utterance."""
        if len(self.order) == 1:
            return [packed]
        places = {index: place for place, index in enumerate(self.order)}
        return [packed[self.starts[:frames] + places[index]] for index, frames in enumerate(self.frames)]
