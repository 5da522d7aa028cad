"""Importers: tiny corpora made here in every layout that is out there, and the real ones where they are at hand."""

import csv
import hashlib
import io
import itertools
import json
import logging
import os
import threading
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from packing import pack

from deepspeech_sparse.corpora import an4, fsdd
from deepspeech_sparse.corpora.an4 import DEV_SPEAKERS, prepare_an4
from deepspeech_sparse.corpora.check import check_manifest
from deepspeech_sparse.corpora.folder import prepare_folder
from deepspeech_sparse.corpora.fsdd import prepare_fsdd
from deepspeech_sparse.corpora.librispeech import prepare_librispeech
from deepspeech_sparse.corpora.manifest import Utterance, read_manifest
from deepspeech_sparse.corpora.prepare import prepare
from deepspeech_sparse.corpora.splits import hold_out
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.text import Alphabet


def speechlike(seconds: float, seed: int, rate: int = 16_000) -> np.ndarray:
    """(N,) int16: low-pass noise that swells and fades, as smooth as speech is."""
    noise = np.random.default_rng(seed).standard_normal(int(seconds * rate))
    smooth = np.convolve(noise, np.hanning(16), mode="same") * np.hanning(len(noise))
    return (smooth / np.abs(smooth).max() * 9000).astype(np.int16)


def together(found: dict[str, list[Utterance]]) -> list[Utterance]:
    return [utterance for utterances in found.values() for utterance in utterances]


def sound(samples: np.ndarray, rate: int = 16_000, **options) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **options)
    return buffer.getvalue()


@pytest.fixture
def serve(tmp_path):
    """A local site over `tmp_path`; the value is its address."""
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda self, *args: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# AN4 ---------------------------------------------------------------------------------------------------------------

AN4_TEXTS = {  # id -> line without the id; fbbh is a dev speaker
    "train": {"an1-fash-b": "<s> YES </s>", "cen2-mcen-b": "<s> U M  SIX </s>", "an3-fbbh-b": "<s> STOP </s>"},
    "test": {"an4-fcaw-b": "RUBOUT G"},
}
AN4_SAMPLES = {
    id: speechlike(0.4 + 0.1 * index, index) for index, id in enumerate(AN4_TEXTS["train"] | AN4_TEXTS["test"])
}
AN4_ENCODINGS = {
    "big": lambda samples: samples.astype(">i2").tobytes(),
    "little": lambda samples: samples.astype("<i2").tobytes(),
    "sphere big": lambda samples: sound(samples, format="NIST", subtype="PCM_16", endian="BIG"),
    "sphere little": lambda samples: sound(samples, format="NIST", subtype="PCM_16", endian="LITTLE"),
}


def make_an4(variant: str = "big", samples=AN4_SAMPLES) -> dict[str, bytes]:
    """The files of a tiny AN4. Its README lies about the byte order, as the real one does."""
    suffix = "sph" if "sphere" in variant else "raw"
    files = {"an4/README": b"The files are in raw PCM format, sampled at 16kHz, in little endian byte order."}
    for split, folder in (("train", "an4_clstk"), ("test", "an4test_clstk")):
        for id in AN4_TEXTS[split]:
            files[f"an4/wav/{folder}/{id.split('-')[1]}/{id}.{suffix}"] = AN4_ENCODINGS[variant](samples[id])
        lines = [f"{text} ({id})\n" for id, text in AN4_TEXTS[split].items()]
        files[f"an4/etc/an4_{split}.transcription"] = "".join(lines).encode()
    return files


@pytest.mark.parametrize("name", ["an4.tar.gz", "an4.zip", "folder"])
@pytest.mark.parametrize("variant", AN4_ENCODINGS)
def test_an4_is_the_same_from_every_variant(tmp_path, variant, name, caplog):
    manifests = prepare_an4(pack(make_an4(variant), tmp_path / name), tmp_path / "out")
    found = {split: read_manifest(path) for split, path in manifests.items()}
    assert {split: {u.id: (u.text, u.speaker) for u in utterances} for split, utterances in found.items()} == {
        "train": {"an1-fash-b": ("yes", "fash"), "cen2-mcen-b": ("u m six", "mcen")},
        "dev": {"an3-fbbh-b": ("stop", "fbbh")},
        "test": {"an4-fcaw-b": ("rubout g", "fcaw")},
    }
    for utterance in together(found):
        samples, rate = soundfile.read(utterance.audio, dtype="int16")
        assert rate == 16_000
        np.testing.assert_array_equal(samples, AN4_SAMPLES[utterance.id])
        assert utterance.duration == pytest.approx(len(samples) / 16_000, abs=1e-6)
    assert "not the whole of AN4" in caplog.text, "these four utterances are not the published corpus"


def test_an4_byte_order_is_decided_by_several_files_together(tmp_path):
    """One file of noise or silence, where no order is smoother, does not mislead."""
    noise = np.random.default_rng(0).integers(-9000, 9000, 8000).astype(np.int16)
    for odd in (noise, np.zeros(8000, np.int16)):
        samples = AN4_SAMPLES | {"an1-fash-b": odd}
        for variant in ("big", "little"):
            out = tmp_path / "out"
            prepare_an4(pack(make_an4(variant, samples), tmp_path / "x.zip"), out)
            written, _ = soundfile.read(out / "audio" / "mcen" / "cen2-mcen-b.flac", dtype="int16")
            np.testing.assert_array_equal(written, samples["cen2-mcen-b"])


def broken_an4(breakage: str) -> dict[str, bytes]:
    files = make_an4("sphere big" if breakage in ("header", "rate") else "big")
    audio = "an4/wav/an4_clstk/fash/an1-fash-b." + ("sph" if breakage in ("header", "rate") else "raw")
    if breakage == "noise":
        rng = np.random.default_rng(0)
        files = {n: rng.bytes(9000) if n.endswith(".raw") else content for n, content in files.items()}
    elif breakage == "header":
        files[audio] = files[audio][:200]
    elif breakage == "rate":
        files[audio] = sound(AN4_SAMPLES["an1-fash-b"], 8000, format="NIST", subtype="PCM_16")
    elif breakage == "empty":
        files[audio] = b""
    elif breakage == "audio":
        del files[audio]
    elif breakage == "transcript":
        del files["an4/etc/an4_test.transcription"]
    elif breakage == "line":
        files["an4/etc/an4_test.transcription"] += b"NO KEY AT ALL\n"
    elif breakage == "id":
        files["an4/etc/an4_test.transcription"] += b"EVIL (../../x-y-b)\n"
    return files


@pytest.mark.parametrize(
    ("breakage", "complaint"),
    [
        ("noise", "neither byte order"),
        ("header", "an1-fash-b: damaged audio"),
        ("rate", "8000 Hz"),
        ("empty", "an1-fash-b: the audio file is empty"),
        ("audio", "no audio for 1 utterances of an4_train.transcription, e.g. an1-fash-b"),
        ("transcript", "no etc/an4_test.transcription"),
        ("line", "line 2: 'NO KEY AT ALL'"),
        ("id", "line 2: .*EVIL"),
    ],
)
def test_a_broken_an4_is_named_and_gives_no_manifest(tmp_path, breakage, complaint):
    with pytest.raises(InputError, match=complaint):
        prepare_an4(pack(broken_an4(breakage), tmp_path / "an4.zip"), tmp_path / "out")
    assert not list(tmp_path.rglob("*.jsonl"))


def test_an4_is_downloaded_and_refused_if_it_is_not_as_published(tmp_path, serve, monkeypatch):
    pack(make_an4(), tmp_path / "an4_raw.bigendian.tar.gz")
    monkeypatch.setattr(an4, "ADDRESS", f"{serve}/an4_raw.bigendian.tar.gz")
    with pytest.raises(InputError, match="not AN4 as published"):
        prepare_an4(None, tmp_path / "out")
    assert not list(tmp_path.rglob("*.jsonl"))

    digest = hashlib.sha256()
    texts = {"an1-fash-b": "yes", "cen2-mcen-b": "u m six", "an3-fbbh-b": "stop", "an4-fcaw-b": "rubout g"}
    for id, text in texts.items():
        digest.update(f"{id}\t{text}\n".encode() + AN4_SAMPLES[id].tobytes())
    monkeypatch.setattr(an4, "CONTENT", digest.hexdigest())
    assert set(prepare(corpus="an4", out=tmp_path / "out")) == {"train", "dev", "test"}


def test_the_real_an4_has_its_published_counts_and_no_problems(corpora, tmp_path, caplog):
    manifests = prepare_an4(corpora / "an4_raw.bigendian.tar.gz", tmp_path)
    found = {split: read_manifest(path) for split, path in manifests.items()}
    counts = {split: len(utterances) for split, utterances in found.items()}
    assert counts == {"train": 844, "dev": 104, "test": 130}
    speakers = {split: {u.speaker for u in utterances} for split, utterances in found.items()}
    assert {split: len(names) for split, names in speakers.items()} == {"train": 66, "dev": 8, "test": 10}
    assert speakers["dev"] == DEV_SPEAKERS
    assert not speakers["dev"] & speakers["train"] and not speakers["test"] & (speakers["train"] | speakers["dev"])
    assert {name[0] for name in DEV_SPEAKERS} == {"f", "m"}
    hours = {split: sum(u.duration for u in utterances) / 3600 for split, utterances in found.items()}
    assert hours["train"] + hours["dev"] == pytest.approx(0.71, abs=0.005)
    assert hours["test"] == pytest.approx(0.10, abs=0.005)
    assert set("".join(u.text for u in together(found))) <= set(" 'abcdefghijklmnopqrstuvwxyz")
    assert "not the whole" not in caplog.text
    assert not check_manifest(manifests["dev"], alphabet=Alphabet(), frames=lambda seconds: int(seconds * 50)).problems


# LibriSpeech -------------------------------------------------------------------------------------------------------


def make_librispeech(*chapters: str) -> dict[str, bytes]:
    """Chapters named like train-clean-100/19/198, of two utterances each."""
    files = {"LibriSpeech/README.TXT": b"LibriSpeech", "LibriSpeech/SPEAKERS.TXT": b"ID"}
    for chapter in chapters:
        _, speaker, number = chapter.split("/")
        stem, folder = f"{speaker}-{number}", f"LibriSpeech/{chapter}"
        files[f"{folder}/{stem}.trans.txt"] = f"{stem}-0000 CHAPTER ONE\n{stem}-0001 DON'T STOP\n".encode()
        for index in range(2):
            samples = speechlike(0.2 + 0.1 * index, int(speaker) + index)
            files[f"{folder}/{stem}-{index:04}.flac"] = sound(samples, format="FLAC")
    return files


@pytest.mark.parametrize("name", ["libri.tar", "libri.zip", "folder"])
def test_librispeech_subsets_become_splits(tmp_path, name):
    files = make_librispeech("train-clean-100/19/198", "train-other-500/20/1", "dev-clean/84/121", "test-other/61/70")
    source = pack(files, tmp_path / name)
    manifests = prepare_librispeech(source, tmp_path / "out")
    ids = {name: [utterance.id for utterance in read_manifest(path)] for name, path in manifests.items()}
    assert ids == {
        "train": ["19-198-0000", "19-198-0001", "20-1-0000", "20-1-0001"],
        "dev": ["84-121-0000", "84-121-0001"],
        "test": ["61-70-0000", "61-70-0001"],
        "train-clean-100": ["19-198-0000", "19-198-0001"],
        "train-other-500": ["20-1-0000", "20-1-0001"],
        "dev-clean": ["84-121-0000", "84-121-0001"],
        "test-other": ["61-70-0000", "61-70-0001"],
    }
    first, second = read_manifest(manifests["dev"])
    assert (first.text, second.text, first.speaker) == ("chapter one", "don't stop", "84")
    assert (first.duration, second.duration) == pytest.approx((0.2, 0.3))
    original = files["LibriSpeech/dev-clean/84/121/84-121-0000.flac"]
    assert first.audio.read_bytes() == original, "audio stays as it is"
    assert first.audio.is_relative_to(source if source.is_dir() else tmp_path / "out")


def test_librispeech_without_dev_holds_out_speakers_and_says_so(tmp_path, caplog):
    chapters = [f"train-clean-100/{speaker}/{chapter}" for speaker in range(1, 31) for chapter in (1, 2)]
    with caplog.at_level(logging.INFO):
        manifests = prepare_librispeech(pack(make_librispeech(*chapters), tmp_path / "x.tar"), tmp_path / "out")
    train, dev = (read_manifest(manifests[split]) for split in ("train", "dev"))
    assert len(train) + len(dev) == 120 and 6 <= len(dev) <= 8
    assert not {u.speaker for u in train} & {u.speaker for u in dev}
    assert read_manifest(manifests["train-clean-100"]) == train, "no dev speaker hides in a subset's manifest"
    assert "2 speakers left the training subsets" in caplog.text


def test_librispeech_takes_the_subsets_asked_for(tmp_path):
    source = pack(make_librispeech("dev-clean/84/121", "test-clean/61/70"), tmp_path / "x.tar")
    assert set(prepare_librispeech(source, tmp_path / "out", subsets=["test-clean"])) == {"test", "test-clean"}
    assert not list((tmp_path / "out").rglob("dev-clean"))
    with pytest.raises(InputError, match=r"no train-clean-100 inside; found test-clean"):
        prepare_librispeech(source, tmp_path / "out", subsets=["test-clean", "train-clean-100"])


def test_librispeech_that_lacks_audio_or_subsets_is_named(tmp_path):
    files = make_librispeech("dev-clean/84/121")
    del files["LibriSpeech/dev-clean/84/121/84-121-0001.flac"]
    with pytest.raises(InputError, match=r"84-121\.trans\.txt, line 2: no 84-121-0001\.flac"):
        prepare_librispeech(pack(files, tmp_path / "x.tar"), tmp_path / "out")
    with pytest.raises(InputError, match="found nothing"):
        prepare_librispeech(pack({"a/b.txt": b"x"}, tmp_path / "y.tar"), tmp_path / "out")


def test_librispeech_is_downloaded_from_torchaudios_addresses(tmp_path, serve, monkeypatch):
    from torchaudio.datasets import librispeech as known

    subsets = {address.rsplit("/", 1)[-1].removesuffix(".tar.gz") for address in known._CHECKSUMS}
    assert subsets >= {"train-clean-100", "dev-clean", "test-other"} and len(subsets) == 7
    archive = pack(make_librispeech("dev-clean/84/121"), tmp_path / "dev-clean.tar.gz")
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(known, "_CHECKSUMS", {f"{serve}/dev-clean.tar.gz": checksum})
    assert len(read_manifest(prepare("librispeech", out=tmp_path / "out", subsets=["dev-clean"])["dev"])) == 2
    with pytest.raises(InputError, match=r"no subset dev-dirty\. It has dev-clean"):
        prepare("librispeech", out=tmp_path / "out", subsets=["dev-dirty"])


def test_the_real_librispeech_pieces_are_read(corpora, tmp_path):
    manifests = prepare_librispeech(corpora / "librispeech-pieces.tar", tmp_path)
    found = {name: read_manifest(path) for name, path in manifests.items()}
    assert len(found["train"]) + len(found["dev"]) == 291
    assert len(found["test"]) == len(found["test-other"]) == 50
    assert not {u.speaker for u in found["train"]} & {u.speaker for u in found["dev"]}
    text = {u.id: u.text for u in found["train"] + found["dev"]}["909-131041-0000"]
    assert text.startswith("the mode of appointment of the chief magistrate")


# Free Spoken Digit Dataset -----------------------------------------------------------------------------------------


def make_fsdd() -> dict[str, bytes]:
    audio = sound(speechlike(0.3, 1, rate=8000), 8000, format="WAV")
    speakers = ("jackson", "theo", "yweweler")
    names = [f"{digit}_{speaker}_{index}" for digit in (0, 7) for speaker in speakers for index in (0, 1)]
    return {f"fsdd/recordings/{name}.wav": audio for name in names} | {"fsdd/README.md": b"", "fsdd/other.wav": b""}


def test_fsdd_holds_out_whole_speakers(tmp_path):
    manifests = prepare_fsdd(pack(make_fsdd(), tmp_path / "fsdd.zip"), tmp_path / "out")
    found = {split: read_manifest(path) for split, path in manifests.items()}
    assert {split: {u.speaker for u in utterances} for split, utterances in found.items()} == {
        "train": {"jackson"},
        "dev": {"yweweler"},
        "test": {"theo"},
    }
    assert {u.id: u.text for u in found["dev"]} == {
        "0_yweweler_0": "zero",
        "0_yweweler_1": "zero",
        "7_yweweler_0": "seven",
        "7_yweweler_1": "seven",
    }
    assert found["dev"][0].duration == pytest.approx(0.3)


def test_fsdd_is_downloaded_and_refused_if_it_is_not_as_published(tmp_path, serve, monkeypatch):
    pack(make_fsdd(), tmp_path / "v.tar.gz")
    monkeypatch.setattr(fsdd, "ADDRESS", f"{serve}/v.tar.gz")
    with pytest.raises(InputError, match="not FSDD"):
        prepare("fsdd", out=tmp_path / "out")
    assert not list(tmp_path.rglob("*.jsonl"))
    with pytest.raises(InputError, match="this is not FSDD"):
        prepare_fsdd(pack({"x.wav": b""}, tmp_path / "x.zip"), tmp_path / "out")


def test_the_real_fsdd_has_its_published_counts(corpora, tmp_path):
    manifests = prepare_fsdd(corpora / "fsdd.tar.gz", tmp_path)
    found = {split: read_manifest(path) for split, path in manifests.items()}
    assert {split: len(utterances) for split, utterances in found.items()} == {"train": 2000, "dev": 500, "test": 500}
    assert set(Counter(u.text for u in found["test"]).values()) == {50}
    assert fsdd._content([u.audio for u in together(found)]) == fsdd.CONTENT


def test_digits_are_strings_of_one_speakers_recordings(tmp_path):
    archive = pack(make_fsdd(), tmp_path / "fsdd.zip")
    manifests = prepare("digits", archive=archive, out=tmp_path / "out")
    found = {split: read_manifest(path) for split, path in manifests.items()}
    assert {u.speaker for u in found["train"]} == {"jackson"} and {u.speaker for u in found["test"]} == {"theo"}
    for split, times in (("train", 3), ("dev", 1), ("test", 1)):
        words = Counter(word for u in found[split] for word in u.text.split())
        assert words == {"zero": 2 * times, "seven": 2 * times}
        assert all(1 <= len(u.text.split()) <= 7 for u in found[split])
    for u in together(found):
        said = len(u.text.split())
        assert 0.3 * said + 0.02 * (said + 1) <= u.duration + 0.01 and u.duration <= 0.3 * said + 0.4 * (said + 1)
        samples, rate = soundfile.read(u.audio)
        assert rate == 8000 and len(samples) / rate == pytest.approx(u.duration)
        assert 0.29 < np.abs(samples).max() <= 0.91 and np.abs(samples[:100]).max() > 0  # noise before the first digit
    again = prepare("digits", archive=archive, out=tmp_path / "again")
    for split, path in again.items():
        assert path.read_bytes() == manifests[split].read_bytes()
        for first, second in zip(found[split], read_manifest(path)):
            assert first.audio.read_bytes() == second.audio.read_bytes()
    with pytest.raises(InputError, match="this is not FSDD"):
        prepare("digits", archive=pack({"x.wav": b""}, tmp_path / "x.zip"), out=tmp_path / "bad")


# Folders -----------------------------------------------------------------------------------------------------------

ROWS = [(f"a{index}.wav", f"Text Nº {index}", f"speaker{index // 4}") for index in range(40)]
AUDIO = {name: sound(speechlike(0.1, index), format="WAV") for index, (name, _, _) in enumerate(ROWS)}


def as_table(kind: str, header=("path", "sentence", "client_id"), rows=ROWS) -> bytes:
    if kind == "jsonl":
        lines = [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in rows]
        return "\n".join(lines).encode()
    buffer = io.StringIO()
    delimiter = {"tsv": "\t", "csv": ",", "semicolon": ";"}[kind]
    csv.writer(buffer, delimiter=delimiter).writerows([header, *rows])
    return ("\ufeff" + buffer.getvalue()).encode()


@pytest.mark.parametrize("name", ["mine.tar", "mine"])
@pytest.mark.parametrize("kind", ["csv", "semicolon", "tsv", "jsonl"])
def test_a_folder_with_a_table_becomes_manifests(tmp_path, kind, name):
    suffix = "csv" if kind == "semicolon" else kind
    files = {f"clips/{name}": content for name, content in AUDIO.items()} | {f"all.{suffix}": as_table(kind)}
    manifests = prepare("folder", archive=pack(files, tmp_path / name), out=tmp_path / "out")
    found = {split: read_manifest(path) for split, path in manifests.items()}
    assert [len(found[split]) for split in ("train", "dev", "test")] == [32, 4, 4]
    everything = {u.id: (u.text, u.speaker) for u in together(found)}
    assert everything == {f"clips/a{index}": (f"text no {index}", f"speaker{index // 4}") for index in range(40)}, (
        "every row, the first and the last too"
    )
    speakers = [{u.speaker for u in utterances} for utterances in found.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)), "no speaker in two splits"
    assert found["dev"][0].duration == pytest.approx(0.1)


def test_common_voice_tables_keep_their_splits(tmp_path):
    """The tables named after splits are taken, `validated.tsv` is not; a quotation mark in a TSV is a character."""
    files = {f"clips/{name}": content for name, content in AUDIO.items()}
    files |= {"dev.tsv": as_table("tsv", rows=ROWS[2:4]), "test.tsv": as_table("tsv", rows=ROWS[4:7])}
    files |= {"train.tsv": b'path\tsentence\na0.wav\t"Hi" said\na1.wav\tno end "\n', "validated.tsv": as_table("tsv")}
    manifests = prepare_folder(pack(files, tmp_path / "cv"), tmp_path / "out")
    texts = {split: [u.text for u in read_manifest(path)] for split, path in manifests.items()}
    assert texts == {
        "train": ['"hi" said', 'no end "'],
        "dev": ["text no 2", "text no 3"],
        "test": ["text no 4", "text no 5", "text no 6"],
    }


def test_a_column_split_decides(tmp_path):
    rows = [(name, text, ("train", "valid", "Test")[index % 3]) for index, (name, text, _) in enumerate(ROWS[:9])]
    source = pack(AUDIO | {"m.csv": as_table("csv", ("file_name", "text", "split"), rows)}, tmp_path / "mine")
    manifests = prepare_folder(source, tmp_path / "out")
    assert [u.id for u in read_manifest(manifests["dev"])] == ["a1", "a4", "a7"]
    assert [u.id for u in read_manifest(manifests["test"])] == ["a2", "a5", "a8"]


def test_preparing_twice_gives_the_same(tmp_path):
    """Manifests written beneath the folder are not taken for its tables."""
    source = pack(AUDIO | {"m.csv": as_table("csv")}, tmp_path / "mine")
    manifests = prepare_folder(source, source / "out")
    before = {split: path.read_bytes() for split, path in manifests.items()}
    assert {split: path.read_bytes() for split, path in prepare_folder(source, source / "out").items()} == before
    with pytest.raises(InputError, match="Choose another folder"):
        prepare_folder(source, source)
    elsewhere = pack({"table.tsv": as_table("tsv")}, tmp_path / "elsewhere") / "table.tsv"
    assert prepare_folder(source, source / "out", table=elsewhere).keys() == before.keys()


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "no .csv, .tsv or .jsonl inside"),
        ({"a.csv": b"path,text\n", "b.csv": b"path,text\n"}, "which of a.csv, b.csv"),
        ({"a.csv": b"path,text\n"}, "no rows in"),
        ({"a.csv": b"sound,text\na0.wav,x\n"}, "no column for the audio among sound, text. Name one audio_filepath or"),
        ({"a.csv": b"path,words\na0.wav,x\n"}, "no column for the text"),
        ({"a.csv": b"path,text\na0.wav\n"}, "line 2: no text. Every row"),
        ({"a.csv": b"path,text\na0.wav,\xff\n"}, "not UTF-8"),
        ({"a.csv": b"path,text,split\na0.wav,x,trian\n"}, "line 2: split = 'trian' must be one of"),
        ({"a.csv": b'path,text\na0.wav,"' + b"x" * 200_000 + b'"\n'}, "not a table"),
        ({"a.jsonl": b'{"path": '}, "line 1: not JSON"),
        ({"a.jsonl": b'"path"'}, "line 1: not a JSON object"),
        ({"a.jsonl": b'{"path": "a0.wav", "text": "\\ud83d"}'}, "line 1: a0.wav: text holds .* which is no character"),
        ({"a.jsonl": b'{"path": "a0.wav", "text": "x", "offset": 2.0}'}, "manifest already"),
        ({"a.csv": b"path,text\nnowhere.wav,x\nbroken.wav,y\n,z\n", "broken.wav": b"RIFF"}, "3 rows cannot be used"),
        ({"a.csv": b"path,text\nsame.wav,x\n", "p/same.wav": b"", "q/same.wav": b""}, "2 files named 'same.wav'"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(tmp_path, files, complaint):
    source = pack({"a0.wav": AUDIO["a0.wav"]} | files, tmp_path / "mine")
    with pytest.raises(InputError, match=complaint):
        prepare_folder(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_are_no_utf8_do_not_end_a_preparation(tmp_path):
    folder = Path(os.fsdecode(b"caf\xe9"))
    try:
        pack({f"{folder}/{name}": content for name, content in AUDIO.items()}, tmp_path / "mine")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    rows = [{"path": f"{folder}/{name}", "text": text, "speaker": str(folder)} for name, text, _ in ROWS]
    (tmp_path / "mine" / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    manifests = prepare_folder(tmp_path / "mine", tmp_path / "out")
    utterances = together({split: read_manifest(path) for split, path in manifests.items()})
    assert len(utterances) == 40 and {utterance.speaker for utterance in utterances} == {r"caf\udce9"}
    assert all(utterance.audio.is_file() and utterance.id.isascii() for utterance in utterances)


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot read the table"):
        prepare_folder(pack(AUDIO, tmp_path / "mine"), tmp_path / "out", table=tmp_path / "no.csv")


# The verb, and holding out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"corpus": "timit"}, "no corpus 'timit'"),
        ({"corpus": "folder"}, "--archive"),
        ({"corpus": "an4", "subsets": ["dev-clean"]}, "is for librispeech, not for an4"),
        ({"corpus": "fsdd", "table": Path("x.csv")}, "is for folder, not for fsdd"),
        ({"corpus": "spoken", "archive": Path("x.tar")}, "spoken is synthesised"),
    ],
)
def test_arguments_that_do_not_fit_a_corpus_are_refused(arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        prepare(**arguments)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make this folder"):
        prepare("an4", archive=tmp_path, out=tmp_path / "file" / "out")


def test_holding_out_does_not_depend_on_order_and_keeps_speakers_whole():
    utterances = [Utterance(str(index), Path("/x"), 1.0, "x", f"s{index % 7}") for index in range(70)]
    stay, held = hold_out(utterances, 0.15)
    assert len(held) == 20 and len({u.speaker for u in held}) == 2 and len(stay) == 50
    again, _ = hold_out(utterances[::-1], 0.15)
    assert set(again) == set(stay)
    stay, held = hold_out(utterances[::7], 0.5)
    assert len(stay) + len(held) == len(utterances[::7]) and len(held) == round(len(utterances[::7]) / 2), "one speaker"
    alone = [Utterance(str(index), Path("/x"), 1.0, "x") for index in range(10)]
    assert len(hold_out(alone, 0.2)[1]) == 2


def test_a_speaker_of_most_of_a_corpus_is_not_held_out_of_it():
    def said(count: int, speaker: str) -> list[Utterance]:
        return [Utterance(f"{speaker}{index}", Path("a.wav"), 1.0, "a", speaker) for index in range(count)]

    for names in itertools.permutations(("anna", "ben", "eve")):
        few, some, most = (said(count, name) for count, name in zip((50, 60, 900), names))
        stay, held = hold_out(few + some + most, 0.1)
        assert len(stay) >= 900 and 50 <= len(held) <= 110
    assert [len(part) for part in hold_out(said(100, "anna") + said(900, "ben"), 0.1)] == [900, 100]
    assert hold_out([], 0.1) == ([], []) and hold_out(said(1, "anna"), 0.1)[1] == []
