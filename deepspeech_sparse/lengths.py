"""Files whose length libsndfile takes to be less than it is: what their first bytes must be for it to read them all."""

from __future__ import annotations

import os
from typing import BinaryIO

from . import mp3

MORE = 0.5  # s that an MP3 may have beyond what is told of it: what encoders add at both ends is less
TO_THE_END = b"\xff\xff\xff\xff"  # bytes of samples in a WAV that is still being written
FIRST_OF_A_STREAM = 2  # in the flags of a page of Ogg


class Partial(Exception):
    """libsndfile gives only the first part of a file, in which something else begins."""


def new_head(file: BinaryIO, format: str, frames: int, sample_rate: int) -> tuple[bytes, int] | None:
    """(head, skip): libsndfile reads all of a seekable file once `head` stands in place of its first `skip` bytes.

    Args:
        format: of the file, as libsndfile calls it
        frames: samples of each channel that libsndfile finds in it
        sample_rate: Hz

    Returns:
        None where nothing is amiss, which costs a look at each page of an Ogg file and at the head of most MP3s

    Raises:
        Partial: where no head would do
    """
    if format == "MP3":
        return counted_mp3(file, frames + MORE * sample_rate)
    if format == "OGG" and is_chained(file):
        raise Partial("several Ogg recordings one after the other, of which it reads the first")
    if format in ("WAV", "WAVEX") and frames == 0:
        return finished_wav(file)
    return None


def counted_mp3(file: BinaryIO, most: float) -> tuple[bytes, int] | None:
    """The frame that is missing before an MP3 of more than `most` samples."""
    survey = mp3.survey(file)
    if survey is None or survey.samples <= most:
        return None
    if not survey.alike:
        raise Partial("several MP3 recordings of unlike rates or channels one after the other; it reads the first")
    return survey.counted(), survey.start


def is_chained(file: BinaryIO) -> bool:
    """Whether another recording follows in an Ogg file: a stream begins after pages that go on with earlier ones."""
    place, going_on = 0, False
    while True:
        file.seek(place)
        page = file.read(27)
        if page[:4] != b"OggS" or len(page) < 27:  # junk, which is skipped by no page's length, or the end
            return False
        begins = bool(page[5] & FIRST_OF_A_STREAM)
        if begins and going_on:
            return True
        going_on = not begins
        place += 27 + page[26] + sum(file.read(page[26]))


def finished_wav(file: BinaryIO) -> tuple[bytes, int] | None:
    """The head of a WAV whose writer was killed before it could tell how many samples follow; None where none do."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = bytearray(file.read(12))
    while len(name := file.read(4)) == 4 and len(length := file.read(4)) == 4:
        head += name
        extent = int.from_bytes(length, "little")
        if name == b"data":
            unfinished = extent == 0 and size > file.tell() and not is_chunk(file, size)
            return (bytes(head) + TO_THE_END, len(head) + 4) if unfinished else None
        if extent > size:
            break
        head += length + file.read(extent + extent % 2)
    return None


def is_chunk(file: BinaryIO, size: int) -> bool:
    """Whether what follows looks like notes of the recorder rather than samples: four letters and a length."""
    name, extent = file.read(4), int.from_bytes(file.read(4), "little")
    return all(32 <= byte < 127 for byte in name) and file.tell() + extent <= size + 1
