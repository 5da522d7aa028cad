"""Audio: any format, rate and channel count becomes mono float32; what cannot be used is named with its remedy."""

import io
import logging
import os
import stat
import sys

import numpy as np
import pytest
import soundfile
import soxr

from deepspeech_sparse.audio import check_samples, load_audio, probe_audio, read_blocks, resample
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.mp3 import parse, survey
from deepspeech_sparse.recognition.sources import Excerpt
from deepspeech_sparse.recognition.transcription import seconds_of


def sine(rate: int, seconds: float = 1.0, frequency: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize(
    "suffix, subtype, tolerance",
    [
        ("wav", "PCM_U8", 1e-2),
        ("wav", "PCM_16", 1e-4),
        ("wav", "PCM_24", 1e-5),
        ("wav", "PCM_32", 1e-5),
        ("wav", "FLOAT", 1e-6),
        ("wav", "ULAW", 3e-2),
        ("flac", "PCM_16", 1e-4),
        ("aiff", "PCM_16", 1e-4),
        ("ogg", "VORBIS", 5e-2),
    ],
)
def test_formats_round_trip(tmp_path, suffix, subtype, tolerance):
    path = tmp_path / f"sine.{suffix}"
    soundfile.write(path, sine(16_000), 16_000, subtype=subtype)
    samples = load_audio(path)
    assert samples.dtype == np.float32 and samples.shape == (16_000,)
    assert np.abs(samples - sine(16_000)).max() < tolerance
    info = probe_audio(path)
    assert (info.sample_rate, info.channels) == (16_000, 1) and info.duration == pytest.approx(1.0)
    assert subtype in info.format


def test_mp3_is_read(tmp_path):
    soundfile.write(tmp_path / "sine.mp3", sine(16_000), 16_000)
    samples = load_audio(tmp_path / "sine.mp3")
    spectrum = np.abs(np.fft.rfft(samples[2000:14_000]))
    assert np.argmax(spectrum) * 16_000 / 12_000 == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_keeps_pitch_loudness_and_length(tmp_path, rate, caplog, monkeypatch):
    monkeypatch.setattr("deepspeech_sparse.audio.told", set())
    soundfile.write(tmp_path / "sine.wav", sine(rate), rate, subtype="FLOAT")
    with caplog.at_level(logging.INFO, logger="deepspeech_sparse.audio"):
        samples = load_audio(tmp_path / "sine.wav", sample_rate=16_000)
    assert len(samples) == pytest.approx(16_000, abs=2)
    middle = slice(1000, 15_000)
    assert np.abs(samples[middle] - sine(16_000)[: len(samples)][middle]).max() < 5e-3
    assert f"{rate} Hz" in caplog.text and "16000 Hz mono" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="deepspeech_sparse.audio"):
        load_audio(tmp_path / "sine.wav", sample_rate=16_000)
    assert not caplog.text, "a corpus of such files would say it thousands of times"


def test_frequencies_the_new_rate_cannot_hold_vanish():
    assert np.abs(resample(sine(48_000, frequency=20_000).astype(np.float32), 48_000, 16_000))[500:-500].max() < 1e-3


def test_channels_are_averaged(tmp_path):
    channels = np.stack([sine(16_000, amplitude=0.05 * index) for index in range(10)], axis=1)
    soundfile.write(tmp_path / "ten.wav", channels, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "ten.wav"), channels.mean(1), atol=1e-6)


def test_offset_and_duration_cut_seconds(tmp_path):
    soundfile.write(tmp_path / "ramp.wav", np.linspace(0, 0.9, 8000), 8000, subtype="FLOAT")
    whole = load_audio(tmp_path / "ramp.wav", sample_rate=8000)
    part = load_audio(tmp_path / "ramp.wav", sample_rate=8000, offset=0.25, duration=0.5)
    np.testing.assert_array_equal(part, whole[2000:6000])
    rest = load_audio(tmp_path / "ramp.wav", sample_rate=8000, offset=0.75, duration=99)
    np.testing.assert_array_equal(rest, whole[6000:])


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_bytes_and_streams_sound_like_their_file(tmp_path):
    path = tmp_path / "sine.flac"
    soundfile.write(path, sine(16_000), 16_000)
    content = path.read_bytes()
    expected = load_audio(path)
    for source in (str(path), content, io.BytesIO(content), Unseekable(content)):
        np.testing.assert_array_equal(load_audio(source), expected)


def write_nan(path):
    samples = sine(16_000)
    samples[8000:8002] = [np.nan, np.inf]
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


@pytest.mark.parametrize(
    "name, make, words",
    [
        ("missing.wav", lambda path: None, "no such file"),
        ("folder.wav", lambda path: path.mkdir(), "is a folder"),
        ("empty.wav", lambda path: path.touch(), "0 bytes"),
        ("text.wav", lambda path: path.write_text("hello " * 50), "not audio.*install ffmpeg"),
        ("header.wav", lambda path: path.write_bytes(b"RIFF\xff\xff\xff\xffWAVE"), "not audio"),
        ("silent.wav", lambda path: soundfile.write(path, np.zeros(0), 16_000), "0 seconds"),
        ("nan.wav", write_nan, "samples from 0.500 s on are NaN"),
    ],
)
def test_bad_files_are_named_with_trouble_and_remedy(tmp_path, name, make, words, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no ffmpeg
    make(tmp_path / name)
    with pytest.raises(InputError, match=rf"(?s){name}: .*{words}"):
        load_audio(tmp_path / name)


def test_a_header_that_promises_more_than_the_file_holds_gives_what_is_there(tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, sine(16_000), 16_000)
    path.write_bytes(path.read_bytes()[:20_000])
    samples = load_audio(path)
    assert 9000 < len(samples) < 10_000
    np.testing.assert_allclose(samples, sine(16_000)[: len(samples)], atol=1e-4)


def test_a_truncated_flac_is_refused_or_short_but_never_invented(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, sine(16_000), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    try:
        samples = load_audio(path)
    except InputError as error:
        assert "cut.flac" in str(error)
    else:
        np.testing.assert_allclose(samples, sine(16_000)[: len(samples)], atol=1e-4)


def test_an_offset_beyond_the_end_is_named(tmp_path):
    soundfile.write(tmp_path / "short.wav", sine(16_000), 16_000)
    with pytest.raises(InputError, match="ends before offset 3"):
        load_audio(tmp_path / "short.wav", offset=3.0)
    with pytest.raises(InputError, match="duration 0"):
        load_audio(tmp_path / "short.wav", duration=0)


def fake_ffmpeg(folder, script: str, monkeypatch) -> None:
    """An executable called ffmpeg, first on PATH."""
    program = folder / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport sys\n{script}")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin")


def test_ffmpeg_reads_what_libsndfile_refuses(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "inside.au", sine(8000), 8000, format="AU", subtype="FLOAT", endian="BIG")
    fake_ffmpeg(tmp_path, f"sys.stdout.buffer.write(open({str(tmp_path / 'inside.au')!r}, 'rb').read())", monkeypatch)
    (tmp_path / "talk.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 100)
    np.testing.assert_allclose(load_audio(tmp_path / "talk.m4a", sample_rate=8000), sine(8000), atol=1e-6)
    assert probe_audio(tmp_path / "talk.m4a").duration == pytest.approx(1.0)
    content = (tmp_path / "talk.m4a").read_bytes()
    assert len(load_audio(content, sample_rate=8000)) == 8000


def test_ffmpegs_complaint_is_passed_on(tmp_path, monkeypatch):
    fake_ffmpeg(tmp_path, "sys.stderr.write('moov atom not found'); sys.exit(1)", monkeypatch)
    (tmp_path / "talk.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 100)
    with pytest.raises(InputError, match=r"talk\.m4a: neither libsndfile nor ffmpeg.*moov atom"):
        load_audio(tmp_path / "talk.m4a")


def test_audio_that_breaks_off_in_ffmpeg_is_no_whole_recording(tmp_path, monkeypatch, caplog):
    soundfile.write(tmp_path / "inside.au", sine(8000), 8000, format="AU", subtype="FLOAT", endian="BIG")
    talk = f"sys.stdout.buffer.write(open({str(tmp_path / 'inside.au')!r}, 'rb').read()); sys.stderr.write('partial')"
    (tmp_path / "talk.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 100)
    fake_ffmpeg(tmp_path, f"{talk}; sys.exit(69)", monkeypatch)
    with pytest.raises(InputError, match=r"talk\.m4a: breaks off after 1\.000 s \(partial\)"):
        load_audio(tmp_path / "talk.m4a")
    fake_ffmpeg(tmp_path, talk, monkeypatch)
    assert len(load_audio(tmp_path / "talk.m4a", sample_rate=8000)) == 8000 and "complains: partial" in caplog.text


def test_a_name_that_is_no_utf8_is_a_name(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(tmp_path / "cafe.wav", sine(8000), 8000)
    try:
        (tmp_path / "cafe.wav").rename(path)
    except OSError:
        pytest.skip("this file system wants UTF-8")
    assert len(load_audio(path, sample_rate=8000)) == 8000 and probe_audio(path).duration == 1.0


def test_a_stream_that_can_only_be_read_waits_on_disk(tmp_path):
    class Stream:
        def __init__(self, content: bytes) -> None:
            self.read = io.BytesIO(content).read

    soundfile.write(tmp_path / "sine.wav", sine(8000), 8000)
    assert len(load_audio(Stream((tmp_path / "sine.wav").read_bytes()), sample_rate=8000)) == 8000


@pytest.mark.parametrize(
    "samples, expected",
    [
        (np.array([0, 16_384, -32_768], np.int16), [0, 0.5, -1]),
        (np.array([128, 192, 0], np.uint8), [0, 0.5, -1]),
        (np.array([[0.5, -0.5], [0.2, 0.4]]), [0, 0.3]),
    ],
)
def test_arrays_are_scaled_and_averaged(samples, expected):
    np.testing.assert_allclose(check_samples(samples), expected, atol=1e-6)
    assert check_samples(samples).dtype == np.float32


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.zeros((2, 2, 2)), np.array(["a"]), np.array([1.0, np.nan]), np.array(None)]
)
def test_arrays_that_are_not_audio_are_refused(samples):
    with pytest.raises(InputError, match="array: "):
        check_samples(samples)


def noise(seconds: float, amplitude: float, seed: int = 0) -> np.ndarray:
    return (amplitude * np.random.default_rng(seed).standard_normal(round(seconds * 16_000))).astype(np.float32)


@pytest.mark.parametrize("rate", [4000, 11_025, 44_100, 192_000])
def test_blocks_are_the_whole_resampled_at_once(tmp_path, rate):
    samples = noise(3, 0.1)[: 3 * rate] if rate < 16_000 else np.resize(noise(3, 0.1), 3 * rate)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    blocks = list(read_blocks(tmp_path / "a.wav"))
    np.testing.assert_array_equal(np.concatenate(blocks), soxr.resample(samples, rate, 16_000))


@pytest.mark.parametrize("declared", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_declared_length_asks_for_no_memory(tmp_path, declared):
    path = tmp_path / "lies.wav"
    soundfile.write(path, noise(1, 0.1), 16_000)
    content = bytearray(path.read_bytes())
    content[40:44] = declared.to_bytes(4, "little")
    path.write_bytes(content)
    try:
        assert sum(map(len, read_blocks(path))) <= 16_000
    except InputError as error:
        assert "lies.wav" in str(error)


@pytest.mark.parametrize(
    "place, value, words", [(24, 3, "3 Hz"), (24, 0x7FFFFFF0, "Hz"), (22, 800, "channels|not audio")]
)
def test_absurd_headers_are_refused(tmp_path, place, value, words):
    path = tmp_path / "absurd.wav"
    soundfile.write(path, noise(1, 0.1), 16_000)
    content = bytearray(path.read_bytes())
    width = 2 if place == 22 else 4
    content[place : place + width] = value.to_bytes(width, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"absurd.wav: .*({words})"):
        list(read_blocks(path))


def mp3(samples: np.ndarray, mode: str = "VARIABLE") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16_000, format="MP3", bitrate_mode=mode)
    return stream.getvalue()


def without_count(content: bytes) -> bytes:
    """An MP3 without its first frame, which tells how many follow."""
    return content[parse(content[:4]).size :]


LOUD_THEN_QUIET = np.concatenate([noise(5, 0.3), noise(5, 0.001)])
TAG = b"ID3\x04\x00\x00\x00\x00\x08\x00" + bytes(1024)


def test_an_mp3_of_variable_bitrate_is_read_whole_without_a_count_of_its_frames(tmp_path):
    whole, path = mp3(LOUD_THEN_QUIET), tmp_path / "bare.mp3"
    path.write_bytes(TAG + without_count(whole))
    assert soundfile.info(path).duration < 6, "libsndfile guesses from the first bitrate, or this tests nothing"
    expected = load_audio(whole)
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        np.testing.assert_allclose(load_audio(source)[576:160_000], expected[: 160_000 - 576], atol=1e-6)
    assert probe_audio(path).duration == pytest.approx(len(load_audio(path)) / 16_000)
    part = load_audio(path, offset=8, duration=1)
    np.testing.assert_allclose(part, load_audio(path)[128_000:144_000], atol=1e-6)


@pytest.mark.parametrize("between", [b"", TAG, b"TAG" + bytes(125)])
def test_mp3s_joined_end_to_end_are_read_to_the_last(tmp_path, between):
    path = tmp_path / "joined.mp3"
    path.write_bytes(mp3(noise(2, 0.3)) + between + mp3(noise(3, 0.001)))
    samples = load_audio(path)
    assert len(samples) / 16_000 == pytest.approx(5, abs=0.2) == probe_audio(path).duration
    assert samples[:30_000].std() > 0.05 and 0 < samples[36_000:70_000].std() < 0.01


@pytest.mark.parametrize("mode", ["CONSTANT", "AVERAGE", "VARIABLE"])
def test_an_mp3_that_tells_its_length_is_not_walked(mode):
    class Stream(io.BytesIO):
        reads = 0

        def read(self, size: int = -1) -> bytes:
            self.reads += 1
            return super().read(size)

    stream = Stream(mp3(LOUD_THEN_QUIET, mode))
    assert survey(stream).samples == pytest.approx(160_000, abs=2000) and stream.reads < 5


def test_joined_mp3s_of_unlike_rates_are_left_to_ffmpeg(tmp_path, monkeypatch):
    stream = io.BytesIO()
    soundfile.write(stream, noise(2, 0.1), 44_100, format="MP3")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="unlike rates .* install ffmpeg"):
        load_audio(mp3(noise(2, 0.1)) + stream.getvalue())


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_joined_ogg_streams_are_left_to_ffmpeg(tmp_path, subtype, monkeypatch):
    path = tmp_path / "joined.ogg"
    soundfile.write(path, noise(3, 0.1), 16_000, subtype=subtype)
    assert probe_audio(path).duration == pytest.approx(3)
    path.write_bytes(2 * path.read_bytes())
    monkeypatch.setenv("PATH", "")
    for read in (load_audio, probe_audio):
        with pytest.raises(InputError, match=r"joined\.ogg: .*several Ogg recordings.*install ffmpeg"):
            read(path)
    soundfile.write(tmp_path / "inside.au", sine(8000), 8000, format="AU", subtype="FLOAT", endian="BIG")
    fake_ffmpeg(tmp_path, f"sys.stdout.buffer.write(open({str(tmp_path / 'inside.au')!r}, 'rb').read())", monkeypatch)
    assert len(load_audio(path, sample_rate=8000)) == 8000


def test_a_wav_whose_recorder_was_killed_is_read_to_its_end(tmp_path, caplog):
    path = tmp_path / "killed.wav"
    soundfile.write(path, noise(1, 0.1), 16_000)
    expected, content = load_audio(path), path.read_bytes()
    noted = content[:36] + b"LIST\x04\x00\x00\x00INFO" + content[36:40] + bytes(4) + content[44:]
    for unfinished in (content[:40] + bytes(4) + content[44:], content[:4] + bytes(4) + noted[8:]):
        path.write_bytes(unfinished)
        np.testing.assert_array_equal(load_audio(path), expected)
        np.testing.assert_array_equal(load_audio(unfinished), expected)
        assert probe_audio(path).duration == 1.0
    assert "killed.wav: its header tells no length" in caplog.text


def test_an_empty_wav_with_notes_behind_it_holds_no_samples(tmp_path):
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros(0), 16_000)
    path.write_bytes(path.read_bytes() + b"LIST\x04\x00\x00\x00INFO")
    for read in (load_audio, probe_audio):
        with pytest.raises(InputError, match="0 seconds"):
            read(path)


def unknown_length(path) -> None:
    """A FLAC as an encoder writes it to a pipe, where it cannot go back to tell how many samples there were."""
    soundfile.write(path, noise(20, 0.1), 16_000, format="FLAC")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "known.flac", noise(20, 0.1), 16_000)
    unknown_length(tmp_path / "piped.flac")
    expected = load_audio(tmp_path / "known.flac")
    for source in (tmp_path / "piped.flac", (tmp_path / "piped.flac").read_bytes()):
        np.testing.assert_array_equal(load_audio(source), expected)
        np.testing.assert_array_equal(load_audio(source, offset=17.5, duration=1), expected[280_000:296_000])
    assert probe_audio(tmp_path / "piped.flac").duration == 20
    assert seconds_of([Excerpt(tmp_path / "piped.flac", "piped")]) is None, "no bar to fill in millions of centuries"
    assert seconds_of([Excerpt(tmp_path / "known.flac", "known")]) == 20
    with pytest.raises(InputError, match="ends before offset 21"):
        load_audio(tmp_path / "piped.flac", offset=21)


@pytest.mark.parametrize("subtype", ["GSM610", "NMS_ADPCM_16", "NMS_ADPCM_32", "G721_32"])
def test_an_offset_is_reached_in_codes_that_cannot_be_entered_midway(tmp_path, subtype):
    path = tmp_path / "call.wav"
    soundfile.write(path, sine(8000, 3), 8000, subtype=subtype)
    whole = load_audio(path, sample_rate=8000)
    np.testing.assert_array_equal(load_audio(path, sample_rate=8000, offset=1.25, duration=1), whole[10_000:18_000])
    with pytest.raises(InputError, match="ends before offset 4"):
        load_audio(path, offset=4)
