"""Hot words: words and phrases that a beam search favours, each position of a text at most once.

A position is favoured when it lies in a phrase that the text has. While a phrase is being matched, its positions are
favoured on credit, so that the search does not drop it on the way; where the match breaks off, the credit of positions
that no finished phrase covers is taken back:

    phrases "new york", "york city"

    text      new   new   york   city   hall
    credit    +1    +1-1  +1     +1     0         in all 3: new york city, york counted once

The automaton is that of Aho and Corasick 1975: its state is the longest end of the text that begins a phrase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..errors import InputError
from ..text import Alphabet


@dataclass(frozen=True)
class Match:
    """How far the phrases are matched by a text."""

    node: int = 0
    covered: int = 0  # bits of the last positions, the newest lowest, that a finished phrase covers


@dataclass
class Node:
    """An end of a text that begins a phrase."""

    path: tuple[int, ...] = ()
    children: dict[int, int] = field(default_factory=dict)
    fail: int = 0  # the longest proper end of `path` that begins a phrase
    finished: int = 0  # length of the longest phrase that ends here


class HotWords:
    """Phrases, as sequences of units (words or characters, by number).

    Args:
        phrases: one or more units each
        weight: of a unit; a text gains that of every position that a phrase covers
    """

    def __init__(self, phrases: Iterable[Sequence[int]], weight: Callable[[int], float]) -> None:
        self.weight = weight
        self.nodes = [Node()]
        for phrase in phrases:
            self.add(tuple(phrase))
        self.link()

    def add(self, phrase: tuple[int, ...]) -> None:
        node = 0
        for length, unit in enumerate(phrase, start=1):
            children = self.nodes[node].children
            if unit not in children:
                children[unit] = len(self.nodes)
                self.nodes.append(Node(phrase[:length]))
            node = children[unit]
        self.nodes[node].finished = len(phrase)

    def link(self) -> None:
        """Where to go on when a match breaks off; shorter paths first."""
        for node in sorted(self.nodes[1:], key=lambda node: len(node.path)):
            node.fail = self.longest_end(node.path[1:])
            node.finished = max(node.finished, self.nodes[node.fail].finished)

    def longest_end(self, path: tuple[int, ...]) -> int:
        """The node of the longest end of `path` that begins a phrase, 0 for none."""
        for start in range(len(path)):
            node = 0
            for unit in path[start:]:
                node = self.nodes[node].children.get(unit, 0)
                if not node:
                    break
            else:
                return node
        return 0

    @property
    def most_credit(self) -> float:
        """Of a phrase that may still break off."""
        return max(sum(map(self.weight, node.path)) for node in self.nodes)

    def step(self, match: Match, unit: int) -> tuple[float, Match]:
        """One unit more: what the text gains or gives back, and the match after it."""
        node = match.node
        while node and unit not in self.nodes[node].children:
            node = self.nodes[node].fail
        node = self.nodes[node].children.get(unit, 0)
        length = len(self.nodes[node].path)
        old = self.nodes[match.node].path
        gain = self.weight(unit) if length else 0.0
        staying = max(0, length - 1)
        gain -= self.open_credit(old[: len(old) - staying], match.covered >> staying)
        covered = (match.covered << 1) & ((1 << length) - 1) | ((1 << self.nodes[node].finished) - 1)
        return gain, Match(node, covered)

    def finish(self, match: Match) -> float:
        """What a text gives back at its end, 0 or negative."""
        return -self.open_credit(self.nodes[match.node].path, match.covered)

    def open_credit(self, units: tuple[int, ...], covered: int) -> float:
        """Of positions that no finished phrase covers; the last unit has the lowest bit."""
        return sum(self.weight(unit) for bit, unit in enumerate(reversed(units)) if not covered >> bit & 1)

    def total(self, units: Iterable[int]) -> float:
        """What a whole text gains."""
        match, gained = Match(), 0.0
        for unit in units:
            gain, match = self.step(match, unit)
            gained += gain
        return gained + self.finish(match)


def written_phrases(hot_words: Iterable[str], alphabet: Alphabet) -> list[str]:
    """Phrases as the alphabet writes them, in whatever case they were given.

    Raises:
        InputError: an empty one, one with characters that the alphabet does not have in any case
    """
    phrases = []
    for phrase in hot_words:
        form = alphabet.written(phrase)
        if not form or alphabet.foreign(form):
            raise InputError(
                f"decoder: hot word {phrase!r} has characters that the model cannot write: "
                f"{alphabet.foreign(form) or 'it is empty'}; spell it with those of {alphabet.symbols!r}"
            )
        phrases.append(form)
    return phrases
