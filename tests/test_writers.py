"""Transcripts as files: strict readers of the formats accept them, and lose no word."""

import itertools
import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_sparse import InputError, Segment, Transcript, Word
from deepspeech_sparse.cli import main
from deepspeech_sparse.files import write_json, write_whole
from deepspeech_sparse.recognition.transcription import transcribe_files
from deepspeech_sparse.transcripts.subtitles import LINE, LONGEST, PAUSE, SHORTEST, balanced, cues_of
from deepspeech_sparse.transcripts.writers import WRITERS, formats_of, rendered, stems_of, write_transcript

SRT_CUE = re.compile(
    r"(\d+)\n(\d{2,}):([0-5]\d):([0-5]\d),(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d),(\d{3})\n(.+(?:\n.+)*)\n"
)
VTT_CUE = re.compile(  # W3C WebVTT, section 4: a cue without identifier and settings, its text without tags
    r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})\n"
    r"((?:[^\n\r&<>]|&amp;|&lt;|&gt;)+(?:\n(?:[^\n\r&<>]|&amp;|&lt;|&gt;)+)*)\n"
)


def milliseconds(parts) -> int:
    hours, minutes, seconds, rest = map(int, parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def read_srt(text: str) -> list[tuple[int, int, list[str]]]:
    """SubRip, strictly: numbers from 1, one empty line between cues, nothing else."""
    cues, position = [], 0
    while position < len(text):
        if cues:
            assert text[position] == "\n"
            position += 1
        match = SRT_CUE.match(text, position)
        assert match and int(match[1]) == len(cues) + 1, text[position : position + 80]
        cues.append((milliseconds(match.groups()[1:5]), milliseconds(match.groups()[5:9]), match[10].split("\n")))
        position = match.end()
    return cues


def read_vtt(text: str) -> list[tuple[int, int, list[str]]]:
    """WebVTT, strictly: header, two line ends, then cues with an empty line between."""
    assert text.startswith("WEBVTT\n\n") and "\0" not in text and "\r" not in text
    cues, position = [], len("WEBVTT\n\n")
    while position < len(text):
        if cues:
            assert text[position] == "\n"
            position += 1
        match = VTT_CUE.match(text, position)
        assert match and "-->" not in match[9], text[position : position + 80]
        payload = match[9].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        cues.append((milliseconds(match.groups()[0:4]), milliseconds(match.groups()[4:8]), payload.split("\n")))
        position = match.end()
    return cues


def check_cues(cues) -> None:
    for start, end, lines in cues:
        assert 0 <= start < end <= start + LONGEST
        assert 1 <= len(lines) <= 2 and all(0 < len(line) <= LINE for line in lines)
    for (_, end, _), (start, *_) in itertools.pairwise(cues):
        assert end <= start


def transcript_of(words: list[Word], duration: float | None = None) -> Transcript:
    text = " ".join(word.text for word in words)
    duration = words[-1].end if duration is None else duration
    return Transcript(text, (Segment(text, 0.0, duration, tuple(words)),), duration, 1.0, "model", "call.wav")


def spoken(text: str, *, rate: float = 0.3, gap: float = 0.1, start: float = 0.0) -> list[Word]:
    """Words of `rate` s each."""
    step = rate + gap
    return [Word(word, start + step * i, start + step * i + rate, 0.9) for i, word in enumerate(text.split())]


EMPTY = Transcript("", (), 2.0, 0.1, "model", "call.wav")
times = st.floats(0, 4e5)
hostile = st.text(st.sampled_from("ab \n\t\r\0&<>-é\u2028\x85漢0:,."), max_size=100) | st.text(max_size=50)
words = st.builds(lambda text, edges: Word(text, *sorted(edges), 0.5), hostile, st.tuples(times, times))
segments = st.builds(
    lambda text, edges, words: Segment(text, *sorted(edges), tuple(words)),
    hostile,
    st.tuples(times, times),
    st.lists(words, max_size=6),
)
transcripts = st.builds(
    lambda segments, duration: Transcript("", tuple(segments), duration, 1.0, "m", "s"),
    st.lists(segments, max_size=4),
    times,
)


@settings(deadline=None, max_examples=300)
@given(transcripts)
def test_strict_readers_accept_subtitles_of_anything_and_find_every_word(transcript):
    cues = read_srt(rendered(transcript, "srt"))
    assert cues == read_vtt(rendered(transcript, "vtt"))
    check_cues(cues)
    said = "".join(item.text for segment in transcript.segments for item in segment.words or (segment,))
    shown = "".join(line for *_, lines in cues for line in lines)
    kept = [c for c in said if not c.isspace() and (ord(c) > 0x9F or 0x20 <= ord(c) < 0x7F) and c not in "->"]
    assert [c for c in shown if c not in "-> "] == kept


fluent = st.lists(
    st.tuples(st.integers(1, 30), st.floats(0.05, 1.5), st.floats(0, 1.2)).map(lambda t: ("x" * t[0], *t[1:])),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(fluent)
def test_cues_of_speech_end_at_pauses_and_show_words_while_they_are_said(spelled):
    now, said = 0.3, []
    for text, length, gap in spelled:
        said.append(Word(text, now, now + length, 0.9))
        now += length + gap
    transcript = transcript_of(said, now + 2)
    cues = cues_of(transcript)
    check_cues([(cue.start, cue.end, list(cue.lines)) for cue in cues])
    assert " ".join(line for cue in cues for line in cue.lines) == transcript.text  # no word is divided
    left = list(said)
    for cue, following in itertools.zip_longest(cues, cues[1:]):
        count = len(" ".join(cue.lines).split())
        shown, left = left[:count], left[count:]
        assert cue.start == pytest.approx(1000 * shown[0].start, abs=1)
        assert cue.end >= 1000 * shown[-1].end - 1
        assert all(later.start - word.end < PAUSE / 1000 + 1e-6 for word, later in itertools.pairwise(shown))
        room = following.start - cue.start if following else SHORTEST
        assert cue.end - cue.start >= min(SHORTEST, room)


@pytest.mark.parametrize("seed", range(6))
def test_a_phrase_is_divided_into_as_few_and_as_even_cues_as_can_be(seed):
    """Brute force over all ways to divide ten words."""
    import random

    draw = random.Random(seed)
    said = spoken(" ".join("x" * draw.randint(8, 30) for _ in range(10)))
    texts = [word.text for word in said]

    def divisions():
        for cuts in itertools.product([False, True], repeat=len(texts) - 1):
            edges = [0, *(index + 1 for index, cut in enumerate(cuts) if cut), len(texts)]
            groups = [texts[a:b] for a, b in itertools.pairwise(edges)]
            if all(balanced(group) for group in groups):
                yield len(groups), sum(len(" ".join(group)) ** 2 for group in groups)

    cues = cues_of(transcript_of(said))
    assert (len(cues), sum(len(" ".join(cue.lines)) ** 2 for cue in cues)) == min(divisions())


def test_lines_are_balanced_and_the_upper_one_is_rather_the_shorter():
    assert balanced(["ab"] * 14) == (" ".join(["ab"] * 14),)  # 41 characters
    assert balanced(["abcd"] * 9) == (" ".join(["abcd"] * 4), " ".join(["abcd"] * 5))
    assert balanced(["x" * 42, "y" * 42]) == ("x" * 42, "y" * 42)
    assert balanced(["x" * 43]) == balanced(["x" * 30, "y" * 30, "z" * 30]) == ()


def test_a_word_longer_than_a_line_is_divided_and_shares_its_time():
    cues = cues_of(transcript_of([Word("x" * 100, 1.0, 2.0, 0.9)]))
    assert "".join(line for cue in cues for line in cue.lines) == "x" * 100
    assert [(cue.start, cue.end) for cue in cues] in ([(1000, 1840), (1840, 2000)], [(1000, 1420), (1420, 2000)])


def test_a_transcript_without_word_times_shares_the_time_of_its_segments():
    text = " ".join(["word"] * 40)
    segments = (Segment(text, 10.0, 30.0, ()), Segment("the end", 31.0, 32.0, ()))
    cues = cues_of(Transcript(f"{text} the end", segments, 40.0, 1.0, "model", "call.wav"))
    assert len(cues) == 4 and cues[0].start == 10_000 and cues[2].end == 30_000
    assert (cues[3].start, cues[3].end, cues[3].lines) == (31_000, 32_000, ("the end",))
    for cue in cues[:3]:
        share = len(" ".join(cue.lines).split()) / 40
        assert cue.end - cue.start == pytest.approx(20_000 * share, abs=2)


def test_short_words_stay_on_the_screen_for_a_second_where_there_is_room():
    said = [Word("a", 1.0, 1.1, 0.9), Word("b", 5.0, 5.1, 0.9), Word("c", 5.8, 5.9, 0.9)]
    assert [(cue.start, cue.end) for cue in cues_of(transcript_of(said, 6.0))] == [
        (1000, 2000),
        (5000, 5800),
        (5800, 6000),
    ]


def test_nothing_heard_gives_files_that_are_valid_and_empty():
    assert {format: rendered(EMPTY, format) for format in ("txt", "srt", "vtt", "tsv")} == {
        "txt": "\n",
        "srt": "",
        "vtt": "WEBVTT\n\n",
        "tsv": "start\tend\ttext\n",
    }
    assert json.loads(rendered(EMPTY, "json")) == EMPTY.to_dict()


def test_subtitles_of_two_words_look_like_this():
    said = [Word("r&d", 359_999.5, 360_000.25, 0.9), Word("<b>--->", 360_002.0, 360_003.0, 0.9)]
    transcript = transcript_of(said, 360_010.0)
    assert rendered(transcript, "srt") == (
        "1\n99:59:59,500 --> 100:00:00,500\nr&d\n\n2\n100:00:02,000 --> 100:00:03,000\n<b>->\n"
    )
    assert rendered(transcript, "vtt") == (
        "WEBVTT\n\n99:59:59.500 --> 100:00:00.500\nr&amp;d\n\n100:00:02.000 --> 100:00:03.000\n&lt;b&gt;-&gt;\n"
    )


def test_tsv_has_a_row_of_three_columns_for_each_segment():
    segments = (Segment("tab\tand\nline", 0.0004, 1.2346, ()), Segment("b", 3, 4.5, ()))
    transcript = Transcript("tab\tand\nline b", segments, 5.0, 1.0, "model", "call.wav")
    assert rendered(transcript, "tsv") == "start\tend\ttext\n0\t1235\ttab and line\n3000\t4500\tb\n"
    assert rendered(transcript, "txt") == "tab and line b\n"


def test_json_is_one_line_that_gives_the_transcript_back():
    transcript = transcript_of(spoken("größe\u2028 zwei"))
    text = rendered(transcript, "json")
    assert text.count("\n") == 1 and text.endswith("\n")
    assert Transcript.from_dict(json.loads(text)).to_dict() == transcript.to_dict()


def test_files_are_named_after_stem_and_format(tmp_path):
    transcript = transcript_of(spoken("one two"))
    paths = write_transcript(transcript, tmp_path, "calls/monday.v1", tuple(WRITERS))
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        f"calls/monday.v1.{format}" for format in ("txt", "srt", "vtt", "tsv", "json")
    ]
    assert {path.suffix[1:]: path.read_bytes().decode() for path in paths} == {
        format: rendered(transcript, format) for format in WRITERS
    }
    assert len(list((tmp_path / "calls").iterdir())) == 5  # no partial file is left


def test_results_of_files_that_share_a_name_do_not_overwrite_each_other():
    paths = [Path(f"/in/{name}") for name in ("a/call.wav", "b/call.wav", "b/call.flac", "talk.v1.wav", "b/call")]
    assert [stems_of(paths)[path] for path in paths] == ["a/call.wav", "b/call.wav", "call.flac", "talk.v1", "call"]
    tricky = [Path(f"/{name}") for name in ("a.x", "a.y", "a.x.z", "b/a.x", "b/c/a.x", "a.x/c/a.x")]
    assert len(set(stems_of(tricky).values())) == 6
    assert stems_of([]) == {} and stems_of([Path("x.wav")] * 2) == {Path("x.wav"): "x"}


def test_results_are_named_after_a_link_and_not_after_what_it_leads_to(tmp_path):
    (tmp_path / "5a1e").write_bytes(b"")
    (tmp_path / "monday.wav").symlink_to("5a1e")
    assert stems_of([tmp_path / "monday.wav"]) == {tmp_path / "monday.wav": "monday"}


def test_names_that_are_no_utf8_do_not_keep_a_transcript_from_being_written(tmp_path):
    transcript = replace(transcript_of(spoken("one")), source=os.fsdecode(b"caf\xe9.wav"))
    [path] = write_transcript(transcript, tmp_path, "cafe", ("json",))
    assert json.loads(path.read_text())["source"] == "caf?.wav"
    write_json(path, {"model": os.fsdecode(b"caf\xe9")})
    assert os.fsencode(json.loads(path.read_text())["model"]) == b"caf\xe9"


def test_a_link_stays_and_a_pipe_is_written_into(tmp_path):
    target, link, pipe = (tmp_path / name for name in ("target", "link", "pipe"))
    target.write_bytes(b"old")
    link.symlink_to("target")
    write_whole(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    os.mkfifo(pipe)
    writer = threading.Thread(target=write_whole, args=(pipe, b"through"))
    writer.start()
    assert pipe.read_bytes() == b"through"
    writer.join()
    assert pipe.is_fifo() and len(list(tmp_path.iterdir())) == 3


def test_a_name_may_be_as_long_as_the_system_allows_and_no_longer(tmp_path, monkeypatch):
    write_whole(tmp_path / ("n" * 255), b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("n" * 255, b"whole")]
    with pytest.raises(InputError, match="nnn: cannot be written .*choose another name"):
        write_whole(tmp_path / ("n" * 256), b"never")

    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.replace", refused)
    monkeypatch.setattr("pathlib.Path.unlink", refused)
    with pytest.raises(InputError, match="short: cannot be written .Read-only"):
        write_whole(tmp_path / "short", b"never")


def test_what_makes_no_sense_on_stdout_is_refused(tmp_path):
    with pytest.raises(InputError, match="--format all needs --out FOLDER"):
        formats_of("all", None, 1)
    with pytest.raises(InputError, match="--format srt of 2 recordings needs --out FOLDER"):
        formats_of("srt", None, 2)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        formats_of("srt", tmp_path / "file", 2)
    assert formats_of("srt", None, 1) == ("srt",) and formats_of("json", None, 2) == ("json",)
    assert formats_of("all", tmp_path, 2) == ("txt", "srt", "vtt", "tsv", "json")


@pytest.fixture()
def recordings(tmp_path) -> list[Path]:
    import numpy as np

    paths = [tmp_path / "in" / name for name in ("a/call.wav", "b/call.wav", "talk.flac")]
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, 16_000), 16_000)
    return paths


def test_transcribe_writes_every_format_of_every_file_into_a_folder(model, recordings, tmp_path, capsys):
    broken = tmp_path / "in" / "broken.wav"
    broken.write_bytes(b"RIFF")
    out = tmp_path / "out"
    files = [str(path) for path in (*recordings[:2], broken, recordings[2])]
    assert main(["transcribe", str(model), *files, "--format", "all", "--out", str(out)]) == 1
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    stems = ("a/call.wav", "b/call.wav", "talk")
    assert written == sorted(f"{stem}.{format}" for stem in stems for format in WRITERS)
    shown = capsys.readouterr()
    assert sorted(shown.out.splitlines()) == sorted(str(out / name) for name in written) and "broken.wav" in shown.err
    for stem, recording in zip(stems, recordings):
        transcript = Transcript.from_dict(json.loads((out / f"{stem}.json").read_text()))
        assert transcript.source == str(recording)
        assert (out / f"{stem}.txt").read_text() == transcript.text + "\n"
        check_cues(read_vtt((out / f"{stem}.vtt").read_text()))


def test_subtitles_of_one_file_go_to_stdout(model, recordings, capsys):
    assert transcribe_files(model, recordings[:1], format="vtt") == 0
    assert read_vtt(capsys.readouterr().out)
