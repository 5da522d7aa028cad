"""From texts to a language model and a lexicon on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files import refuse_unwritable
from ..text import Alphabet
from .arpa import write_arpa
from .counts import count
from .kneser_ney import smooth
from .labels import LabelCounts
from .lexicon import write_lexicon
from .sentences import Units, read_sentences, units_of


@dataclass(frozen=True)
class LanguageModelSummary:
    """What was built."""

    sentences: int
    units: int  # words or characters in the texts
    ngrams: tuple[int, ...]  # of each order, after pruning
    lexicon: int | None  # words in it, None without one

    def __str__(self) -> str:
        ngrams = ", ".join(f"{number:,} of order {k}" for k, number in enumerate(self.ngrams, start=1))
        lexicon = "" if self.lexicon is None else f"; lexicon of {self.lexicon:,} words"
        return f"{self.units:,} units in {self.sentences:,} sentences: n-grams {ngrams}{lexicon}"


def build_language_model(
    texts: Iterable[Path],
    *,
    out: Path,
    order: int = 3,
    units: Units = "words",
    prune: Sequence[int] = (),
    lexicon: Path | None = None,
    priors: Path | None = None,
    alphabet: Alphabet = Alphabet(),
) -> LanguageModelSummary:
    """Count, smooth and write, see `kneser_ney.py`.

    Args:
        texts: text files, one sentence in a line, .gz too, or manifests (.jsonl)
        out: the ARPA file
        order: longest n-gram, 2 to 6
        units: what is predicted: words for a decoder with a lexicon, characters for one without
        prune: see `smooth`
        lexicon: also write the words, as far as `alphabet` can write them, with their spelling
        priors: also write how often each label occurs, see `labels.py`

    Raises:
        InputError: texts that cannot be read or are empty, options out of range, files that cannot be written
    """
    if units == "characters" and lexicon is not None:
        raise InputError("lm: a lexicon goes with a model of words; leave one of the two out")
    texts = [Path(text) for text in texts]
    places = [Path(path).resolve() for path in (*texts, out, lexicon, priors) if path is not None]
    twice = next((path for path in places if places.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"lm: {twice} is given twice; texts, model, lexicon and priors are different files")
    for path in (out, lexicon, priors):
        if path is not None:
            refuse_unwritable(path)
    labels = LabelCounts()
    counts = count((units_of(sentence, units) for sentence in labels.through(read_sentences(texts, alphabet))), order)
    smoothed = smooth(counts, prune)
    write_arpa(out, counts, smoothed)
    words = None if lexicon is None else write_lexicon(lexicon, counts.vocabulary[3:], alphabet)
    if priors is not None:
        labels.write(priors)
    kept = tuple(int(level.kept.sum()) for level in smoothed)
    return LanguageModelSummary(counts.sentences, counts.units, kept, words)
