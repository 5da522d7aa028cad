"""Lexicons: the words that beam search may write, one in a line with its spelling.

word<TAB>w o r d
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..errors import InputError
from ..text import Alphabet

UNKNOWN = "<unk>"
MOST_ALIKE = 6  # words of one spelling that flashlight's trie holds
Lexicon = dict[str, list[str]]  # word: its spellings


def read_lexicon(path: Path, alphabet: Alphabet) -> Lexicon:
    """The words of a file and how they are spelled; one word may have several spellings, a line for each.

    A line that comes again counts once.

    Raises:
        InputError: no such file, not UTF-8, or a line that is not a word and its letters, in the alphabet; names it
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error.reason
        raise InputError(f"{path}: cannot be read ({reason}); `lm build --lexicon` writes a lexicon") from error
    lexicon: Lexicon = {}
    alike: Counter[str] = Counter()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        word, _, letters = line.partition("\t")
        spelling = "".join(letters.split(" "))
        if not spelling or not word.strip() or " " in word or any(len(letter) != 1 for letter in letters.split(" ")):
            raise InputError(f"{path}, line {number}: {line[:60]!r} is no word, tab and letters: word<TAB>w o r d")
        if foreign := alphabet.foreign(spelling):
            raise InputError(
                f"{path}, line {number}: the alphabet of the model does not have {foreign} of {word!r}; "
                "leave the word out or spell it otherwise"
            )
        if word == UNKNOWN:
            raise InputError(f"{path}, line {number}: {UNKNOWN} stands for words that a lexicon lacks; remove the line")
        if spelling in lexicon.setdefault(word, []):  # twice it would be twice as likely
            continue
        lexicon[word].append(spelling)
        alike[spelling] += 1
        if alike[spelling] > MOST_ALIKE:
            raise InputError(
                f"{path}, line {number}: more than {MOST_ALIKE} words are spelled {letters!r}, of which the search "
                "keeps no more; leave out the rarest"
            )
    if not lexicon:
        raise InputError(f"{path}: holds no word; `lm build --lexicon` writes a lexicon")
    return lexicon
