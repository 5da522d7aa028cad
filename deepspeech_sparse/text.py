"""Text: the alphabet a network writes, and the normal form of transcripts. Knows nothing of audio."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .errors import InputError

APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4", "'"))

SPACE_MARK = "|"  # the space in language models of characters: a real one divides the columns of ARPA files

LINE_BREAKING = (
    "Cc",
    "Cs",
    "Zl",
    "Zp",
)  # Unicode's control, surrogate, line and paragraph; joiners (Cf) belong to scripts

BLANK_NAME, SPACE_NAME = "<blank>", "<space>"  # of two labels in files that list labels


def counted(number: int, noun: str) -> str:
    """1 speaker, 2 speakers."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def spelled_out(name: str) -> str:
    """A name with what is no character written as \\udce9: names of files need not be UTF-8, what lists them is.

    Example:
        >>> spelled_out("caf\\udce9")
        'caf\\\\udce9'
    """
    return name.encode(errors="backslashreplace").decode()


@dataclass(frozen=True)
class Alphabet:
    """Symbols that a network writes. Label 0 is the CTC blank, symbol i has label i + 1.

    Example:
        >>> Alphabet().encode("a b")
        [3, 1, 4]
        >>> Alphabet().decode([3, 0, 1, 4])
        'a b'
    """

    symbols: str = " 'abcdefghijklmnopqrstuvwxyz"

    def __post_init__(self) -> None:
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise InputError(f"alphabet {self.symbols!r}: give each symbol once, and at least one")
        broken = [symbol for symbol in self.symbols if unicodedata.category(symbol) in LINE_BREAKING]
        if broken:
            raise InputError(
                f"alphabet {self.symbols!r}: {', '.join(map(repr, broken))} would break the lines of lexicons and "
                "subtitles; give symbols that can be written"
            )

    @property
    def size(self) -> int:
        """Labels of the network (V), the blank included."""
        return len(self.symbols) + 1

    def written(self, text: str) -> str:
        """`text` in the case of these symbols, normalised if it can be; what fits best if nothing fits.

        Example:
            >>> Alphabet("AB ").written("a  b")
            'A B'
        """
        usual = normalise(text)
        forms = [" ".join(form.split()) for form in (usual, usual.upper(), text, text.upper())]
        fits = (form for form in forms if form and not self.foreign(form))
        return next(fits, min(forms[:2], key=lambda form: len(self.foreign(form))))

    def encode(self, text: str) -> list[int]:
        """Labels of `text`.

        Raises:
            InputError: names the characters that the alphabet does not have
        """
        foreign = self.foreign(text)
        if foreign:
            raise InputError(
                f"text {text!r} has characters outside the alphabet: {foreign}; normalise it or extend the alphabet"
            )
        return [self.symbols.index(symbol) + 1 for symbol in text]

    def decode(self, labels: Iterable[int]) -> str:
        """Text of labels; blanks are skipped, repeats kept."""
        return "".join(self.symbols[label - 1] for label in labels if label)

    def foreign(self, text: str) -> list[str]:
        """Characters of `text` that the alphabet does not have, sorted, each once."""
        return sorted(set(text) - set(self.symbols))


def frames_needed(labels: Sequence[int]) -> int:
    """Output frames without which CTC has no path: one for each label, and a blank between two that are equal."""
    return len(labels) + sum(left == right for left, right in pairwise(labels))


def normalise(text: str) -> str:
    """NFKC, lower case, typographic apostrophes as ', white space collapsed. No character is dropped.

    Example:
        >>> normalise("  Don’t\\tSTOP ")
        "don't stop"
    """
    # Apostrophes first: NFKC would turn the acute accent into a space and a combining mark.
    text = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).lower()
    return re.sub(r"\s+", " ", text).strip()
