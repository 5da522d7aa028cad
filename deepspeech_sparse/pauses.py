"""Where a long recording is cut: in the middle of pauses, or with an overlap where nobody pauses.

Only loudness is looked at, in frames of 10 ms after a first difference, which takes away DC and most of a mains hum.
What counts as silence is measured on the last seconds themselves: loudness near their quiet end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

FRAME = 0.01  # s
QUIETEST = 1e-10  # mean square added to each frame: digital silence is -100 dB
FLAT = 6.0  # dB from quiet to loud frames: less is steady noise or nothing, not speech


@dataclass(frozen=True)
class CuttingConfig:
    """How a recording is cut; all in seconds.

    Args:
        whole: recordings up to this long stay in one piece
        shortest, longest: of a piece; a pause is looked for between the two
        pause: shortest that counts: closures of stops inside words are shorter
        overlap: of two pieces where there is no pause
    """

    whole: float = 25.0
    shortest: float = 3.0
    longest: float = 20.0
    pause: float = 0.25
    overlap: float = 4.0


@dataclass(frozen=True)
class Piece:
    """A stretch of a recording that the network hears at once."""

    start: int  # its first sample in the recording, a multiple of the step
    samples: np.ndarray  # (N,) float32
    overlaps: bool = False  # the end of the piece before is in it too
    silent: bool = False  # steady noise or nothing


def pieces_of(
    blocks: Iterable[np.ndarray], sample_rate: int, step: int, config: CuttingConfig = CuttingConfig()
) -> Iterator[Piece]:
    """Cut blocks (N_i,) of one recording; no more than `config.whole` seconds and a block are held.

    Args:
        step: samples from one output frame of the network to the next: each piece begins at a multiple of it, so that
            frames of overlapping pieces coincide

    Returns:
        At least one piece unless there are no samples; pieces without overlap follow each other without a gap
    """
    whole = round(config.whole * sample_rate)
    held, start, overlaps, cut = np.zeros(0, np.float32), 0, False, False
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > whole:
            end = place_to_cut(held, sample_rate, config)
            follows = end is None  # the next piece begins before this one ends
            if end is None:
                end = round(config.longest * sample_rate)
            end -= end % step
            yield Piece(start, held[:end].copy(), overlaps, is_silent(held[:end], sample_rate))
            begin = end - round(config.overlap * sample_rate) // step * step if follows else end
            held, start, overlaps, cut = held[begin:], start + begin, follows, True
    if len(held):
        yield Piece(start, held.copy(), overlaps, cut and is_silent(held, sample_rate))


def loudness(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """(frames,) dB of the first difference in frames of 10 ms, the incomplete last one left out."""
    size = round(FRAME * sample_rate)
    frames = np.diff(samples, prepend=samples[:1])[: len(samples) // size * size].reshape(-1, size)
    return 10 * np.log10(np.square(frames, dtype=np.float64).mean(1) + QUIETEST)


def place_to_cut(samples: np.ndarray, sample_rate: int, config: CuttingConfig) -> int | None:
    """The middle of the longest pause in the window, the last of equals; None where nobody pauses."""
    levels = loudness(samples, sample_rate)
    quiet, loud = np.percentile(levels, [5, 98])
    if loud - quiet < FLAT:  # steady: nothing is cut in two
        return round(config.longest * sample_rate)
    below = levels < quiet + 0.35 * (loud - quiet)
    edges = np.flatnonzero(np.diff(below.astype(np.int8), prepend=0, append=0))
    best, longest = None, 0.0
    for begin, end in edges.reshape(-1, 2) * FRAME:
        # What of the pause lies in the window
        begin, end = max(begin, config.shortest), min(end, config.longest)
        if end - begin >= max(config.pause, longest):
            best, longest = (begin + end) / 2, end - begin
    return None if best is None else round(best * sample_rate)


def is_silent(samples: np.ndarray, sample_rate: int) -> bool:
    """Whether loudness never changes: steady noise, hum, or nothing. Quiet speech changes as loud speech does."""
    levels = loudness(samples, sample_rate)
    if not len(levels):
        return False
    smooth = np.convolve(levels, np.full(5, 0.2), "valid") if len(levels) >= 5 else levels
    return bool(np.ptp(np.percentile(smooth, [10, 99.5])) < FLAT)
