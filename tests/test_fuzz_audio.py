"""Sixty hostile audio files; `make fuzz-audio` reads a thousand."""

from fuzz_audio import fuzz


def test_hostile_files_give_samples_or_one_clear_line(tmp_path):
    problems, refused = fuzz(60, 7, tmp_path)
    assert not problems and 10 < refused < 60
