"""Hot words: every position counts once, credit is paid back, whatever the phrases are."""

from hypothesis import given
from hypothesis import strategies as st

from deepspeech_sparse.decoding.hot_words import HotWords, Match

units = st.lists(st.integers(0, 2), max_size=12)
phrases = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=5)


def covered(text: list[int], phrases: list[list[int]]) -> set[int]:
    """Positions that lie in a phrase."""
    return {
        place
        for phrase in phrases
        for start in range(len(text))
        if text[start : start + len(phrase)] == phrase
        for place in range(start, start + len(phrase))
    }


@given(units, phrases)
def test_a_text_gains_once_for_every_position_that_a_phrase_covers(text, phrases):
    hot_words = HotWords(phrases, lambda unit: 1.0 + unit)
    assert hot_words.total(text) == sum(1.0 + text[place] for place in covered(text, phrases))


@given(units, phrases)
def test_no_text_owes_more_than_the_match_it_is_in(text, phrases):
    """What was gained so far is what is covered, and credit for the beginning of a phrase."""
    hot_words = HotWords(phrases, lambda unit: 1.0)
    match, gained = Match(), 0.0
    for place, unit in enumerate(text, start=1):
        gain, match = hot_words.step(match, unit)
        gained += gain
        sure = len(covered(text[:place], phrases))
        assert sure <= gained <= sure + max(map(len, phrases), default=0)
        assert gained + hot_words.finish(match) == sure


def test_the_example_of_the_docstring():
    new, york, city, hall = range(4)
    hot_words = HotWords([[new, york], [york, city]], lambda unit: 1.0)
    gains, match = [], Match()
    for unit in (new, new, york, city, hall):
        gain, match = hot_words.step(match, unit)
        gains.append(gain)
    assert gains == [1, 0, 1, 1, 0] and hot_words.finish(match) == 0
