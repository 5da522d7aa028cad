"""A transcript as plain values: the keys that programs rely on, there and back, and what is refused."""

import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_sparse import InputError, Segment, Transcript, Word

HEARD = Transcript(
    text="all right",
    segments=(
        Segment("all right", 0.0, 1.2345678, (Word("all", 0.1234, 0.4, 1.0), Word("right", 0.5, 0.9, 0.123456))),
    ),
    duration=1.2345678,
    seconds=0.0123456789,
    model="an4-gru",
    source="call.wav",
    lm_score=-3.25,
)


def test_the_form_of_a_transcript_in_json_is_this_and_stays_so():
    assert HEARD.to_dict() == {
        "text": "all right",
        "segments": [
            {
                "text": "all right",
                "start": 0.0,
                "end": 1.235,
                "words": [
                    {"text": "all", "start": 0.123, "end": 0.4, "confidence": 1.0},
                    {"text": "right", "start": 0.5, "end": 0.9, "confidence": 0.1235},
                ],
            }
        ],
        "duration": 1.235,
        "seconds": 0.0123456789,
        "real_time_factor": 0.0123456789 / 1.235,
        "model": "an4-gru",
        "source": "call.wav",
        "lm_score": -3.25,
    }


def test_its_documentation_names_every_key():
    values = HEARD.to_dict()
    segment = values["segments"][0]
    for key in (*values, *segment, *segment["words"][0]):
        assert key in Transcript.to_dict.__doc__, key


def test_keys_of_later_versions_are_passed_over():
    values = HEARD.to_dict()
    values["speaker"] = values["segments"][0]["channel"] = values["segments"][0]["words"][0]["stress"] = 1
    assert Transcript.from_dict(values) == Transcript.from_dict(HEARD.to_dict())


def test_no_audio_takes_no_time_per_second():
    assert dataclasses.replace(HEARD, duration=0.0).real_time_factor == 0
    assert dataclasses.replace(HEARD, duration=1e-5).to_dict()["real_time_factor"] == 0


times = st.floats(0, 1e5)
words = st.builds(
    lambda text, edges, sure: Word(text, *sorted(edges), sure), st.text(), st.tuples(times, times), st.floats(0, 1)
)
segments = st.builds(
    lambda text, edges, words: Segment(text, *sorted(edges), tuple(words)),
    st.text(),
    st.tuples(times, times),
    st.lists(words, max_size=3),
)
transcripts = st.builds(
    Transcript,
    st.text(),
    st.lists(segments, max_size=3).map(tuple),
    times,
    times,
    st.text(),
    st.text(),
    st.none() | st.floats(-1e6, 1e6),
)


@settings(deadline=None)
@given(transcripts)
def test_to_json_and_back_changes_nothing_but_digits(transcript):
    values = transcript.to_dict()
    back = Transcript.from_dict(json.loads(json.dumps(values)))
    assert back.to_dict() == values
    assert (back.text, back.lm_score, len(back.words)) == (transcript.text, transcript.lm_score, len(transcript.words))
    for word, exact in zip(back.words, transcript.words):
        assert dataclasses.astuple(word)[1:] == pytest.approx(dataclasses.astuple(exact)[1:], abs=0.00051)


@pytest.mark.parametrize(
    "path, value, complaint",
    [
        (["text"], None, "text = None is no text"),
        (["duration"], "1", "duration = '1' is no number"),
        (["duration"], True, "duration = True is no number"),
        (["seconds"], math.nan, "seconds = nan must be a number from 0 to"),
        (["duration"], 10**400, "must be a number from 0 to 1e+09"),
        (["duration"], -1, "duration = -1 must be"),
        (["lm_score"], math.inf, "lm_score = inf must be"),
        (["segments"], {}, "segments = {} is no list"),
        (["segments", 0], "all right", "segments[0]: has no text"),
        (["segments", 0, "words"], None, "segments[0]: words = None is no list"),
        (["segments", 0, "words", 1, "confidence"], 1.5, "segments[0]: words[1]: confidence = 1.5 must be"),
        (["segments", 0, "words", 1, "end"], 0.1, "segments[0]: words[1]: ends at 0.1 s, before it begins at 0.5 s"),
    ],
)
def test_what_is_no_transcript_is_refused_by_name(path, value, complaint):
    values = HEARD.to_dict()
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(InputError) as error:
        Transcript.from_dict(values, "old.json")
    assert str(error.value).startswith("old.json: ") and complaint in str(error.value)


@pytest.mark.parametrize("key", ["text", "segments", "duration", "seconds", "model", "source"])
def test_what_is_missing_is_named(key):
    values = HEARD.to_dict()
    del values[key]
    with pytest.raises(InputError, match=f"transcript: has no {key}"):
        Transcript.from_dict(values)
    with pytest.raises(InputError, match="has no"):
        Transcript.from_dict([values])
