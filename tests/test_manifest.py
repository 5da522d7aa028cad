"""Manifests: what is written is read back, and every malformed line is named with its number."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_sparse.corpora.manifest import Utterance, read_manifest, write_manifest
from deepspeech_sparse.errors import InputError

GOOD = {"id": "a", "audio_filepath": "a.wav", "duration": 1.5, "text": "hello"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.wav").touch()
    return tmp_path


def write_lines(folder, *lines):
    path = folder / "m.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path):
    audio = tmp_path / "audio" / "é 1.flac"
    audio.parent.mkdir()
    audio.touch()
    utterances = [
        Utterance("one", audio, 2.125, "l'été", "ann", 0.5),
        Utterance("two", audio, 0.1, 'a "quoted" text\twith tab', None),
    ]
    write_manifest(tmp_path / "lists" / "m.jsonl", utterances)
    assert read_manifest(tmp_path / "lists" / "m.jsonl") == utterances
    assert "../audio/é 1.flac" in (tmp_path / "lists" / "m.jsonl").read_text(encoding="utf-8")


@given(text=st.text(), id=st.text(min_size=1), duration=st.floats(0.001, 1e6))
def test_any_text_survives(tmp_path_factory, text, id, duration):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.wav").touch()
    utterance = Utterance(id, folder / "a.wav", round(duration, 6), text)
    write_manifest(folder / "m.jsonl", [utterance])
    assert read_manifest(folder / "m.jsonl") == [utterance]


def test_names_that_are_no_utf8_survive_and_ids_spell_them_out(tmp_path):
    audio = tmp_path / os.fsdecode(b"caf\xe9.wav")
    try:
        audio.touch()
    except OSError:
        pytest.skip("this file system wants UTF-8")
    write_manifest(tmp_path / "m.jsonl", [Utterance(audio.stem, audio, 1.0, "one")])
    [utterance] = read_manifest(tmp_path / "m.jsonl")
    assert utterance.audio == audio and utterance.id == r"caf\udce9"


def test_a_moved_folder_still_works(folder):
    write_manifest(folder / "old" / "m.jsonl", [Utterance("a", folder / "old" / "b.wav", 1.0, "b")])
    (folder / "old" / "b.wav").touch()
    (folder / "old").rename(folder / "new")
    assert read_manifest(folder / "new" / "m.jsonl")[0].audio == folder / "new" / "b.wav"


def test_a_failed_write_keeps_the_old_manifest_and_leaves_no_rubbish(folder):
    path = write_lines(folder, GOOD)

    def utterances():
        yield Utterance("b", folder / "a.wav", 1.0, "new")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="space"):
        write_manifest(path, utterances())
    assert [utterance.id for utterance in read_manifest(path)] == ["a"]
    assert sorted(file.name for file in folder.iterdir()) == ["a.wav", "m.jsonl"]


def test_manifests_of_other_tools_are_read(folder):
    """NeMo's have no id; some have numbers for speakers, absolute paths, blank lines, a byte order mark."""
    path = folder / "m.jsonl"
    lines = [
        {"audio_filepath": "a.wav", "duration": 2, "text": "one", "speaker": 17},
        {"audio_filepath": str(folder / "a.wav"), "duration": 1.0, "text": "two", "offset": 3.5, "extra": None},
    ]
    path.write_text("\ufeff" + "\n\n".join(json.dumps(line) for line in lines) + "\n\n", encoding="utf-8")
    first, second = read_manifest(path)
    assert (first.id, first.speaker, first.audio) == ("a.wav", "17", folder / "a.wav")
    assert (second.id, second.offset, second.audio) == (f"{folder / 'a.wav'}@3.5", 3.5, folder / "a.wav")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("not json", "not JSON"),
        ('{"id": "a",', "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ("[" * 200_000, "JSON|nested"),
        ({"audio_filepath": "a.wav", "text": "x"}, "lacks duration"),
        ({"id": "a"}, "lacks audio_filepath, duration, text"),
        (GOOD | {"duration": "1.5"}, "duration = '1.5'"),
        (GOOD | {"duration": None}, "duration = None"),
        (GOOD | {"duration": True}, "duration = True"),
        (GOOD | {"duration": -1}, "duration = -1"),
        (GOOD | {"duration": 0}, "duration = 0"),
        (GOOD | {"duration": float("nan")}, "duration = nan"),
        (GOOD | {"duration": float("inf")}, "duration = inf"),
        (GOOD | {"duration": 10**400}, "duration = 1000"),
        ('{"audio_filepath": "a.wav", "text": "x", "duration": ' + "9" * 5000 + "}", "not JSON|duration = 9999"),
        (GOOD | {"offset": -0.5}, "offset = -0.5"),
        (GOOD | {"offset": [1]}, r"offset = \[1\]"),
        (GOOD | {"text": 5}, "text = 5"),
        (GOOD | {"text": None}, "text = None"),
        (GOOD | {"text": "so \ud83d"}, r"text holds '\\ud83d', which is no character"),
        (GOOD | {"audio_filepath": "\ud83d.wav"}, "audio_filepath"),
        (GOOD | {"id": ["a"]}, "id = "),
        (GOOD | {"speaker": {}}, "speaker = "),
        (GOOD | {"audio_filepath": ""}, "audio_filepath = ''"),
        (GOOD | {"audio_filepath": "a\0.wav"}, "audio_filepath"),
        (GOOD | {"audio_filepath": "nowhere.wav"}, "nowhere.wav does not exist"),
        (GOOD | {"audio_filepath": "."}, "does not exist"),
    ],
)
def test_a_bad_line_is_named(folder, line, complaint):
    path = write_lines(folder, GOOD, line)
    with pytest.raises(InputError, match=complaint) as error:
        read_manifest(path)
    assert str(error.value).startswith(f"{path}, line 2: ")


def test_a_path_that_no_system_can_have_is_refused_even_where_audio_may_be_missing(folder):
    path = write_lines(folder, GOOD | {"audio_filepath": "half \ud83d.wav"})
    with pytest.raises(InputError, match="line 1: audio_filepath = .* must be the path"):
        read_manifest(path, audio_must_exist=False)


def test_a_manifest_in_another_encoding_is_named(folder):
    path = folder / "m.jsonl"
    path.write_bytes(json.dumps(GOOD | {"text": "é"}, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(InputError, match="line 1: not UTF-8"):
        read_manifest(path)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_manifest_that_is_no_file_is_named(folder, name):
    with pytest.raises(InputError, match="no such manifest"):
        read_manifest(folder / name)


def test_missing_audio_may_be_left_to_the_caller(folder):
    path = write_lines(folder, GOOD | {"audio_filepath": "nowhere.wav"})
    assert read_manifest(path, audio_must_exist=False)[0].audio == folder / "nowhere.wav"
