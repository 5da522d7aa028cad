"""Which recordings arguments mean: each once, in order, and nothing from the net unless asked."""

import io
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.corpora.manifest import Utterance, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.recognition.sources import excerpts_of, fetched
from deepspeech_sparse.recognition.transcription import transcribe_files

RATE = 16_000


@pytest.fixture()
def folder(tmp_path):
    """Three recordings, and between them what is none or hidden."""
    for name in ("b.wav", "a.FLAC", "deep/c.wav", ".hidden/d.wav", ".e.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, 0.1 * np.sin(np.arange(RATE)), RATE)
    (tmp_path / "notes.txt").write_text("no audio")
    return tmp_path


def names(folder, *arguments):
    return [str(excerpt.source.relative_to(folder)) for excerpt in excerpts_of(arguments)]


def test_a_folder_means_its_recordings_sorted_without_hidden_ones(folder):
    assert names(folder, folder) == ["a.FLAC", "b.wav", "deep/c.wav"]


def test_globs_reach_into_folders_and_each_recording_counts_once(folder):
    assert names(folder, folder / "**" / "*.wav") == ["b.wav", "deep/c.wav"]
    assert names(folder, folder / "b.wav", folder, folder / "deep" / ".." / "b.wav") == [
        "b.wav",
        "a.FLAC",
        "deep/c.wav",
    ]


def test_a_manifest_means_its_stretches(folder):
    manifest = folder / "m.jsonl"
    write_manifest(manifest, [Utterance(f"u{i}", folder / "b.wav", 0.25, "a", offset=0.25 * i) for i in range(2)])
    first, second = excerpts_of([manifest])
    assert first.name.endswith("b.wav#u0") and second.name.endswith("b.wav#u1")
    whole = load_audio(folder / "b.wav")
    np.testing.assert_array_equal(np.concatenate(list(second.blocks(RATE))), whole[4000:8000])


def test_stretches_of_one_id_are_told_apart_by_their_times(folder):
    manifest = folder / "m.jsonl"
    write_manifest(manifest, [Utterance("call", folder / "b.wav", 0.25, "a", offset=0.5 * i) for i in range(2)])
    assert [excerpt.name.partition("#")[2] for excerpt in excerpts_of([manifest])] == ["call@0-250ms", "call@500-750ms"]


def test_nothing_found_is_said(tmp_path):
    manifest = tmp_path / "empty.jsonl"
    manifest.write_text("")
    with pytest.raises(InputError, match=r"empty.jsonl: no audio file there"):
        excerpts_of([manifest])
    for excerpt in excerpts_of([tmp_path, tmp_path / "*.wav"]):  # each in its place, so that the others are done
        with pytest.raises(InputError, match=r"holds no audio file; they are known by \.wav, .*|no such file"):
            list(excerpt.blocks(RATE))


@pytest.mark.parametrize("address", ["http://host/a.wav", "https:/host/a.wav"])
def test_addresses_are_refused_unless_asked_for(address):
    with pytest.raises(InputError, match="--allow-urls"):
        excerpts_of([address])
    [excerpt] = excerpts_of([address], allow_urls=True)
    assert excerpt.source in ("http://host/a.wav", "https://host/a.wav")


@pytest.mark.parametrize("address", ["ftp://host/a.wav", "file:///etc/passwd"])
def test_other_schemes_are_never_fetched(address):
    with pytest.raises(InputError, match="only http and https"):
        excerpts_of([address], allow_urls=True)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture()
def server(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_address_sounds_like_its_file(folder, server):
    [excerpt] = excerpts_of([f"{server}/b.wav"], allow_urls=True)
    np.testing.assert_array_equal(np.concatenate(list(excerpt.blocks(RATE))), load_audio(folder / "b.wav"))


def test_a_missing_or_huge_download_is_an_error_that_names_the_address(server):
    with pytest.raises(InputError, match=r"none\.wav: cannot be fetched"), fetched(f"{server}/none.wav"):
        pass
    with pytest.raises(InputError, match=r"b\.wav: more than 1000 bytes"), fetched(f"{server}/b.wav", most=1000):
        pass


class Stdin:
    def __init__(self, content):
        self.buffer = io.BytesIO(content)


def test_stdin_is_a_recording(model, folder, monkeypatch, capsys):
    assert transcribe_files(model, [folder / "b.wav"]) == 0
    expected = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", Stdin((folder / "b.wav").read_bytes()))
    assert transcribe_files(model, ["-"]) == 0
    assert capsys.readouterr().out == expected


def test_what_exists_is_skipped_only_when_all_of_it_does(model, folder, tmp_path, capsys):
    out = tmp_path / "texts"
    out.mkdir()
    (out / "b.txt").write_text("mine")
    assert transcribe_files(model, [folder], out=out, skip_existing=True) == 0
    assert (out / "b.txt").read_text() == "mine" and (out / "c.txt").exists() and (out / "a.txt").exists()
    capsys.readouterr()
    assert transcribe_files(model, [folder], out=out, skip_existing=True) == 0
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match="needs --out"):
        transcribe_files(model, [folder], skip_existing=True)


def test_what_no_system_calls_a_file_stops_nobody_with_a_traceback(tmp_path, monkeypatch):
    circle = tmp_path / "circle.wav"
    circle.symlink_to(circle)
    [excerpt] = excerpts_of([circle])
    with pytest.raises((InputError, OSError)):
        list(excerpt.blocks(RATE))
    with pytest.raises(InputError, match="cannot be a file"):
        excerpts_of(["a" * 5000])
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match="no stdin"):
        excerpts_of(["-"])
    with pytest.raises(InputError, match="only http and https"):
        excerpts_of(["s3://bucket/a.wav"], allow_urls=True)
