"""How long an MP3 is: its frames counted, and a first frame that tells their number to decoders.

libsndfile believes the number in a first frame called Xing or Info, else divides the file's size by the bitrate of the
first frame. Without such a frame a recording of variable bitrate, and with one all but the first of several recordings
written one after the other, would be cut without a word.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

JUNK = 1 << 16  # bytes between frames that are searched for the next one
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}  # Hz, by version
KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # per second, MPEG 2 and 2.5
KILOBITS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
ROOMY = 9  # bitrate whose frames have room for a count at any sample rate


@dataclass(frozen=True)
class Frame:
    """What four bytes say of a frame of layer III (ISO 11172-3, 2.4.1.3; 13818-3 for the lower rates)."""

    header: int
    size: int  # bytes, header included
    sample_rate: int  # Hz
    channels: int

    @property
    def samples(self) -> int:
        """Of each channel."""
        return 1152 if self.header >> 19 & 3 == 3 else 576

    @property
    def side(self) -> int:
        """Bytes between the header and the place of a count."""
        small, large = (17, 32) if self.samples == 1152 else (9, 17)
        return small if self.channels == 1 else large


def parse(header: bytes) -> Frame | None:
    """Four bytes as the header of a frame; None where they are none, or of a bitrate of the encoder's own."""
    word = int.from_bytes(header, "big")
    version, layer, bitrate, rate = word >> 19 & 3, word >> 17 & 3, word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer != 1 or bitrate in (0, 15) or rate == 3:
        return None
    sample_rate = RATES[version][rate]
    kilobits = (KILOBITS_MPEG1 if version == 3 else KILOBITS)[bitrate]
    size = (144_000 if version == 3 else 72_000) * kilobits // sample_rate + (word >> 9 & 1)
    return Frame(word, size, sample_rate, 1 if word >> 6 & 3 == 3 else 2)


@dataclass(frozen=True)
class Survey:
    """The frames of a file."""

    first: Frame
    start: int  # bytes before the first one
    size: int  # bytes of the file
    samples: int  # of each channel
    alike: bool  # all of one sample rate and number of channels

    def counted(self) -> bytes:
        """A frame of silence to put before the first, which tells decoders how many follow."""
        header = self.first.header & ~(0xF << 12) & ~(1 << 9) | ROOMY << 12 | 1 << 16  # no padding, no checksum
        frame = parse(header.to_bytes(4, "big"))
        count = struct.pack(">III", 3, self.samples // frame.samples, frame.size + self.size - self.start)
        return (header.to_bytes(4, "big") + bytes(frame.side) + b"Xing" + count).ljust(frame.size, b"\0")


def survey(file: BinaryIO) -> Survey | None:
    """Walk the frames of a seekable file; None where it has none that `parse` knows."""
    first, start, samples, kinds = None, 0, 0, set()
    for place, frame, frames in runs(file):
        if first is None:
            first, start = frame, place
        samples += frames * frame.samples
        kinds.add((frame.sample_rate, frame.channels))
    return first and Survey(first, start, file.seek(0, os.SEEK_END), samples, len(kinds) == 1)


def runs(file: BinaryIO) -> Iterator[tuple[int, Frame, int]]:
    """(place, frame, how many): each frame by itself, but a recording that tells their number at once."""
    size, place = file.seek(0, os.SEEK_END), 0
    while place < size:
        file.seek(place)
        head = file.read(10)
        frame = parse(head[:4])
        if frame is not None:
            frames, extent = declared(file, place, frame)
            known = 0 < extent <= size - place
            yield place, frame, frames if known else 1
            place += extent if known else frame.size
        elif head[:3] == b"ID3" and len(head) == 10:  # tags may stand before each of several recordings
            place += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        else:
            place = behind_junk(file, place)


def declared(file: BinaryIO, place: int, frame: Frame) -> tuple[int, int]:
    """(frames, bytes) from here to the end of a recording, as its first frame tells; zeros where it does not."""
    file.seek(place + 4 + frame.side)
    count = file.read(16)
    if count[:4] not in (b"Xing", b"Info") or len(count) < 16:
        return 0, 0
    flags, frames, extent = struct.unpack(">III", count[4:])
    return (frames, extent) if flags & 3 == 3 and extent >= frame.size else (0, 0)


def behind_junk(file: BinaryIO, place: int) -> int:
    """The next place with two frames of one kind, one after the other; the file's end when none is near."""
    file.seek(place)
    content = file.read(JUNK)
    found = content.find(0xFF, 1)
    while found >= 0:
        frame = parse(content[found : found + 4])
        if frame is not None:
            file.seek(place + found + frame.size)
            following = parse(file.read(4))
            if following is not None and following.header >> 17 == frame.header >> 17:
                return place + found
        found = content.find(0xFF, found + 1)
    return file.seek(0, os.SEEK_END)
