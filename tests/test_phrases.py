"""Long recordings: divided in pauses, nothing lost or heard twice, in memory that does not grow."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_sparse import Recognizer
from deepspeech_sparse.features import FeaturesConfig, FrontEnd, Statistics
from deepspeech_sparse.recognition import phrases as phrases_module
from deepspeech_sparse.recognition.phrases import PhraseFinder
from deepspeech_sparse.recognition.recordings import Pool, Recording
from deepspeech_sparse.text import Alphabet
from deepspeech_sparse.transcripts.transcript import Failure

RATE = 16_000
ALPHABET = Alphabet(" ab")
GRAIN = 320  # samples of an output frame: hop 160, stride 2


def loud(text: str) -> np.ndarray:
    """An output frame for each symbol: a letter is loud, a space half as loud, a dot is silence."""
    levels = {"a": 0.8, "b": 0.8, " ": 0.4, ".": 0.0}
    return np.repeat([levels[symbol] for symbol in text], GRAIN).astype(np.float32)


def hear_levels(recordings: list[np.ndarray]) -> list[torch.Tensor]:
    """Log-probabilities of a network that hears what `loud` says, one frame more at the end."""
    found = []
    for samples in recordings:
        padded = np.concatenate([samples, np.zeros(GRAIN, np.float32)])
        levels = padded[: len(samples) // GRAIN * GRAIN + GRAIN : GRAIN]
        labels = torch.tensor([0 if level < 0.2 else 1 if level < 0.6 else 2 for level in levels])
        found.append(torch.nn.functional.one_hot(labels, 4).float().log())
    return found


@pytest.fixture()
def finder(monkeypatch) -> PhraseFinder:
    """Windows of 50 frames, pauses of 8 with a margin of 3, overlaps of 5."""
    for name, frames in (("WINDOW", 50), ("PAUSE", 8), ("MARGIN", 3), ("OVERLAP", 5)):
        monkeypatch.setattr(phrases_module, name, frames * GRAIN / RATE)
    front_end = FrontEnd(FeaturesConfig(normalise="global"))
    return PhraseFinder(front_end, hear_levels, 2, ALPHABET)


def counted(finder: PhraseFinder, text: str, block: int = 7777) -> list[tuple[int, int, int]]:
    """Start, frames before it that are heard, and frames that count, of every phrase."""
    samples = loud(text)
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    return [(phrase.start, phrase.skip, phrase.frames) for phrase in finder.phrases(blocks)]


def test_a_short_recording_is_one_phrase_as_the_front_end_hears_it(finder):
    samples = loud("..aa..........bb" + "." * 34)
    assert len(samples) == 50 * GRAIN
    [phrase] = finder.phrases([samples])
    features, _ = finder.front_end(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    assert torch.equal(phrase.features, features[0])
    assert (phrase.start, phrase.skip, phrase.frames) == (0, 0, None)
    assert list(finder.phrases([])) == [] and list(finder.phrases([np.zeros(0, np.float32)])) == []


def test_pauses_divide_and_a_margin_of_them_is_heard(finder):
    text = "....aa.b........a" + "." * 30 + "bb..b.........aaa" + "." * 40
    #       0   4  7        16       30   47              61
    assert counted(finder, text) == [(1, 0, 10), (13, 0, 7), (44, 0, 11), (58, 0, 9)]


def test_without_a_pause_the_cut_is_at_a_space_and_both_sides_hear_beyond_it(finder):
    text = "ab" * 12 + "..." + "a" * 3 + " " + "ba" * 40
    first, second, *rest = counted(finder, text)
    assert first == (0, 0, 30)  # in the space, though three frames without one are longer
    assert second[:2] == (30, 5)
    covered = [frame for start, _, frames in (first, second, *rest) for frame in range(start, start + frames)]
    assert covered == list(range(len(text) + 1))  # samples end in the middle of the last frame


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab .."), st.integers(1, 25)), min_size=1, max_size=25),
    st.integers(1, 40_000),
)
def test_every_letter_is_counted_once_whatever_the_blocks(parts, block):
    with pytest.MonkeyPatch.context() as patch:
        for name, frames in (("WINDOW", 50), ("PAUSE", 8), ("MARGIN", 3), ("OVERLAP", 5)):
            patch.setattr(phrases_module, name, frames * GRAIN / RATE)
        finder = PhraseFinder(FrontEnd(FeaturesConfig(normalise="global")), hear_levels, 2, ALPHABET)
        text = "".join(symbol * count for symbol, count in parts) + "." * 60
        found = counted(finder, text, block)
        frames = [frame for start, _, number in found for frame in range(start, start + number)]
        assert frames == sorted(set(frames))
        assert {frame for frame, symbol in enumerate(text) if symbol in "ab"} <= set(frames)
        assert all(number <= 50 for _, _, number in found)
        assert found == counted(finder, text, len(text) * GRAIN)


def test_no_more_samples_are_kept_than_some_windows(finder):
    """Of ten minutes of speech without a pause, and of ten minutes of silence."""
    for text in ("ab" * 30_000, "." * 60_000):
        kept = []
        windows = finder.windows

        def watched(blocks, windows=windows, kept=kept):
            for found, last in windows(blocks):
                kept.append(sum(map(len, found)))
                yield found, last

        finder.windows = watched
        for phrase in finder.phrases(loud(text[start : start + 500]) for start in range(0, len(text), 500)):
            assert len(phrase.features) <= 2 * (50 + 2 * 5) + 1
        assert max(kept) <= (phrases_module.BATCH + 1) * 50 * GRAIN
        finder.windows = windows


def test_phrases_are_normalised_together_with_their_neighbours():
    generator = torch.Generator().manual_seed(0)
    recordings = [torch.randn(size, 5, generator=generator) * size for size in (3, 40, 9)]
    together = sum((Statistics.of(frames) for frames in recordings), Statistics())
    whole = torch.cat(recordings).double()
    assert together.count == 52
    torch.testing.assert_close(together.mean, whole.mean(0))
    torch.testing.assert_close(together.deviation, whole.std(0, unbiased=False))
    front_end = FrontEnd(FeaturesConfig())
    alone = front_end.normalised(recordings[1], None)
    torch.testing.assert_close(alone.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.std(0, unbiased=False), torch.ones(5))


def test_a_batch_holds_no_more_than_its_frames_and_phrases_of_like_length():
    heard = []
    pool = Pool(lambda batch: heard.append([item.length for item in batch]), frames_per_second=1.0)
    recording = Recording("r")
    for length in (30, 5, 28, 6, 27, 5):
        pool.add(recording, phrases_module.Phrase(torch.zeros(length, 2), 0))
    assert heard == [] and recording.phrases == 6
    pool.add(recording, phrases_module.Phrase(torch.zeros(20, 2), 0))  # 121 frames: more than wait
    assert heard == [[5, 5, 6], [20, 27], [28, 30]] and not pool.waiting


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pieces = [
        np.convolve(rng.standard_normal(RATE // 4), rng.standard_normal(9), "same") for _ in range(int(4 * seconds))
    ]
    samples = np.concatenate(pieces)
    return (samples / np.abs(samples).max() * 0.5).astype(np.float32)


def test_a_long_recording_has_segments_in_order_with_words_inside_them(model):
    recognizer = Recognizer.load(model)
    transcript = recognizer.transcribe(speech(75), sample_rate=RATE)
    assert len(transcript.segments) > 2 and transcript.duration == 75
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)
    ends = 0.0
    for segment in transcript.segments:
        assert ends <= segment.start + 1e-6 and segment.end <= 75 and segment.words
        assert all(segment.start - 0.03 <= word.start < word.end <= segment.end + 0.03 for word in segment.words)
        ends = segment.end


def test_in_silence_there_is_no_phrase(finder):
    assert counted(finder, "." * 700) == []
    assert counted(finder, "." * 300 + "a" + "." * 300) == [(297, 0, 7)]


def test_results_come_in_order_and_failures_in_their_place(model, tmp_path):
    recognizer = Recognizer.load(model)
    progress = []
    sources = [speech(40), b"no audio", speech(2), [1.0], speech(33)]
    results = list(recognizer.transcribe_many(sources, sample_rate=RATE, on_audio=progress.append))
    assert [isinstance(result, Failure) for result in results] == [False, True, False, True, False]
    assert sum(progress) == 75
    assert results[1].source == "8 bytes of audio" and results[3].error.startswith("list: give a path")
    assert results[2].text == recognizer.transcribe(speech(2), sample_rate=RATE).text


def test_a_finished_recording_does_not_wait_for_the_end_of_a_long_one_behind_it(model, tmp_path, monkeypatch):
    monkeypatch.setattr("deepspeech_sparse.recognition.recordings.POOL", 20.0)
    recognizer, heard = Recognizer.load(model), []
    long = tmp_path / "long.wav"
    soundfile.write(long, speech(200), RATE)
    soundfile.write(tmp_path / "short.wav", speech(2), RATE)
    results = recognizer.transcribe_many([tmp_path / "short.wav", long], on_audio=heard.append)
    assert next(results).duration == 2 and sum(heard) < 190
    assert next(results).duration == 200
