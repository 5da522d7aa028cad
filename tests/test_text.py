"""Text: labels and normal forms."""

import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import deepspeech_sparse.text
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.text import Alphabet, normalise


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(deepspeech_sparse.text).failed == 0


@given(st.text(alphabet=Alphabet().symbols))
def test_decoding_undoes_encoding(text):
    labels = Alphabet().encode(text)
    assert 0 not in labels and all(label < Alphabet().size for label in labels)
    assert Alphabet().decode(labels) == text


def test_blanks_are_skipped_and_repeats_kept():
    assert Alphabet("ab").decode([0, 1, 1, 0, 2, 0]) == "aab"


def test_foreign_characters_are_named_once_and_sorted():
    assert Alphabet().foreign("zoë, zoë") == [",", "ë"]
    with pytest.raises(InputError, match="'ë'"):
        Alphabet().encode("zoë")


@pytest.mark.parametrize("symbols", ["", "aa"])
def test_impossible_alphabets_are_refused(symbols):
    with pytest.raises(InputError, match="each symbol once"):
        Alphabet(symbols)


@pytest.mark.parametrize("symbol", ["\n", "\t", "\x00", "\x85", "\u2028", "\u2029", "\ud800"])
def test_symbols_that_would_break_lines_are_refused_by_name(symbol):
    with pytest.raises(InputError, match=re.escape(repr(symbol)) + " would break"):
        Alphabet("ab" + symbol)


def test_joiners_are_letters_of_their_scripts():
    assert Alphabet("\u0646\u200c ").size == 4


@given(st.text())
def test_normalising_twice_changes_nothing_more(text):
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    "text, normal",
    [
        ("  HELLO\n world ", "hello world"),
        ("don\u2019t", "don't"),
        ("o\u00b4clock", "o'clock"),
        ("ﬁve", "five"),
        ("٣", "٣"),
    ],
)
def test_normal_forms(text, normal):
    assert normalise(text) == normal


@pytest.mark.parametrize(
    "symbols, text, written",
    [
        (" 'DNOPST", "Don\u2019t stop", "DON'T STOP"),
        (" \u00c9", "e\u0301", "\u00c9"),
        (" abcdpu", "Add \u00bd cup", "add 1\u20442 cup"),
        (" ABC", "a, b", "A, B"),  # one foreign character spoils no other
        (" abc", "A, B", "a, b"),
        ("AB ", "a  b", "A B"),
    ],
)
def test_texts_are_written_in_the_case_of_the_alphabet(symbols, text, written):
    assert Alphabet(symbols).written(text) == written
