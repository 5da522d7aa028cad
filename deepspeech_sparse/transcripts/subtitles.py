"""Which words stand on the screen together, and when: a transcript becomes cues. Knows nothing of file formats."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .transcript import Segment, Transcript

LINE = 42  # characters, as Netflix has them; the BBC has 37
LINES = 2
PAUSE = 600  # ms without a word that end a cue; within a phrase the gaps of AN4 are shorter in 95 of 100 places
LONGEST = 7000  # ms that a cue stands
SHORTEST = 1000  # ms, where no other cue and no end of the recording comes before


@dataclass(frozen=True)
class Cue:
    """One or two lines, and when they stand on the screen."""

    start: int  # ms
    end: int  # ms, later than `start`
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """A word, or what of a longer one fits into a line."""

    text: str
    start: float  # ms
    end: float  # ms


def cues_of(transcript: Transcript) -> list[Cue]:
    """The cues of a transcript, in order, none before the other has ended.

    A pause ends a cue. What is said between two pauses becomes as few cues as can hold it, of lengths as even as can
    be, and a cue's lines are balanced. Only words longer than a line are divided. Where a segment has no word times,
    its words share its time by their number of characters.
    """
    pieces = [piece for segment in transcript.segments for piece in pieces_of(segment)]
    groups = [group for phrase in phrases(pieces) for group in divided(phrase)]
    cues: list[Cue] = []
    for index, group in enumerate(groups):
        start = max(round(group[0].start), cues[-1].end if cues else 0)
        after = round(groups[index + 1][0].start if index + 1 < len(groups) else 1000 * transcript.duration)
        end = min(max(round(group[-1].end), min(start + SHORTEST, after)), start + LONGEST)
        if index + 1 < len(groups):
            end = min(end, after)
        cues.append(Cue(start, max(end, start + 1), balanced([piece.text for piece in group])))
    return cues


def pieces_of(segment: Segment) -> Iterator[Piece]:
    """What a segment's cues are made of: each fits into a line, and has no white space."""
    timed = segment.words or (segment,)
    for item in timed:
        parts = [word[at : at + LINE] for word in clean(item.text).split() for at in range(0, len(word), LINE)]
        total, before = sum(map(len, parts)), 0
        start, length = 1000 * item.start, 1000 * (item.end - item.start)
        for part in parts:
            after = before + len(part)
            yield Piece(part, start + length * before / total, start + length * after / total)
            before = after


def clean(text: str) -> str:
    """Without control characters, and without `-->`, which both formats keep for times."""
    text = "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)
    return re.sub("-{2,}>", "->", text)


def phrases(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """What is said between two pauses."""
    phrase: list[Piece] = []
    for piece in pieces:
        if phrase and piece.start - phrase[-1].end >= PAUSE:
            yield phrase
            phrase = []
        phrase.append(piece)
    if phrase:
        yield phrase


def divided(phrase: list[Piece]) -> list[list[Piece]]:
    """A phrase as few groups that fit into a cue, of lengths as even as can be.

    Dynamic programming over the end of the last group; the cost is (groups, sum of their squared lengths).
    """
    best: list[tuple[int, int]] = [(0, 0)]
    begins = []
    for end in range(1, len(phrase) + 1):
        options = []
        for begin in range(end - 1, -1, -1):
            group = phrase[begin:end]
            if begin < end - 1 and not fits(group):
                break
            groups, squares = best[begin]
            options.append(((groups + 1, squares + length_of([piece.text for piece in group]) ** 2), begin))
        cost, begin = min(options)
        best.append(cost)
        begins.append(begin)
    found, end = [], len(phrase)
    while end:
        found.append(phrase[begins[end - 1] : end])
        end = begins[end - 1]
    return found[::-1]


def fits(group: list[Piece]) -> bool:
    """Whether a cue can hold it."""
    return group[-1].end - group[0].start <= LONGEST and balanced([piece.text for piece in group]) != ()


def balanced(words: list[str]) -> tuple[str, ...]:
    """Words as one line, or as two of lengths as equal as can be, the upper one rather the shorter; () if too long."""
    if length_of(words) <= LINE:
        return (" ".join(words),)
    splits = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    upper, lower = min(splits, key=lambda lines: max(map(len, lines)), default=("", ""))
    return (upper, lower) if 0 < max(len(upper), len(lower)) <= LINE else ()


def length_of(words: list[str]) -> int:
    """Characters of a line of them."""
    return sum(map(len, words)) + len(words) - 1
