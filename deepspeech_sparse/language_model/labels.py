"""How often each label stands in texts: what a CTC network has learned to expect before it listens.

label<TAB>count, the space as <space>, the blank as <blank>
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..files import write_whole
from ..text import BLANK_NAME, SPACE_NAME


class LabelCounts:
    """Characters of the sentences that pass through it, and blanks: one before, behind and between all characters.

    Miao, Gowayyed, Metze 2015 (EESEN, arXiv 1507.08240): priors from label sequences with blanks in between.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def through(self, sentences: Iterable[str]) -> Iterator[str]:
        """The same sentences, counted."""
        for sentence in sentences:
            self.counts.update(sentence)
            self.counts[BLANK_NAME] += len(sentence) + 1
            yield sentence

    def write(self, path: Path) -> None:
        """Raises InputError where it cannot."""
        counts = {SPACE_NAME if label == " " else label: count for label, count in self.counts.items()}
        lines = [f"{label}\t{count}\n" for label, count in sorted(counts.items())]
        write_whole(path, "".join(lines).encode())
