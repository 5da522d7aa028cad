"""How a part of a tensor lies in a model file: its symbols as they are, in a zstd frame, or entropy-coded.

A part is a row of symbols of at most one byte: steps to the next non-zero, indices into a codebook, int8 values, or one
of the bytes of each float. `none` needs no library; `zstd` (library zstandard, BSD-3) decodes fastest; `entropy` (ANS
of the library constriction: MIT, Apache-2.0 or BSL-1.0) comes close to the entropy of the symbols' histogram.

Parts of a stranger's file come here: each size is checked before anything of it is allocated, and whatever is wrong
is a ValueError.
"""

from __future__ import annotations

import struct
from typing import Any, Literal, get_args

import numpy as np
import zstandard

Codec = Literal["none", "zstd", "entropy"]
CODECS = get_args(Codec)

PAYS = 0.98  # of the bytes without a codec: the low bytes of floats, a little shorter, are not worth the time
LEVEL = 3  # of zstd: higher ones search for repetitions, of which there are none, and take up to 100 times as long
LARGEST_WINDOW = 1 << 23  # bytes that a zstd frame may want to look back
CHUNK = 1 << 16  # symbols at a time where each needs more memory than its byte; a multiple of 8
HEADER = struct.Struct("<QBB")  # of an entropy-coded part: number of symbols, the smallest, the largest
FREQUENCIES = np.array([0, *((16 + code % 16) << code // 16 for code in range(1, 256))])  # a histogram has a byte each
WORD = np.dtype("<u4")


def encoded(symbols: np.ndarray, codec: Codec, bits: int = 8) -> tuple[Codec, np.ndarray]:
    """Symbols as bytes, and the codec that made them: `codec`, or none where it does not pay.

    Args:
        symbols: (count,) uint8
        bits: of each symbol, 4 to 8; without a codec they are packed without gaps, high bits first

    Raises:
        ImportError: the codec's library is not installed, with the remedy
    """
    plain = packed(symbols, bits) if bits < 8 else symbols
    if codec == "none" or not len(symbols):
        return "none", plain
    content = zstd_frame(symbols) if codec == "zstd" else entropy_coded(symbols)
    return (codec, content) if len(content) <= PAYS * len(plain) else ("none", plain)


def decoded(content: np.ndarray, codec: Codec, least: int, most: int, bits: int = 8) -> np.ndarray:
    """The symbols of a part, (count,) uint8 with least <= count <= most; symbols of fewer than 8 bits all `most`.

    Raises:
        ValueError: damaged content, or another number of symbols
        ImportError: the codec's library is not installed, with the remedy
    """
    if codec == "zstd":
        return from_zstd_frame(content, least, most)
    if codec == "entropy":
        return from_entropy_coded(content, least, most)
    if bits < 8:
        refuse_other_count(len(content), -(-most * bits // 8), -(-most * bits // 8), "bytes")
        return unpacked(content, bits, most)
    refuse_other_count(len(content), least, most)
    return content


def refuse_other_count(count: int, least: int, most: int, what: str = "symbols") -> None:
    if not least <= count <= most:
        raise ValueError(f"holds {count} {what} instead of {most if least == most else f'{least} to {most}'}")


def zstd_frame(symbols: np.ndarray) -> np.ndarray:
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    return np.frombuffer(compressor.compress(symbols.tobytes()), np.uint8)


def from_zstd_frame(content: np.ndarray, least: int, most: int) -> np.ndarray:
    try:
        frame = zstandard.get_frame_parameters(content)
        refuse_other_count(frame.content_size, least, most)
        if frame.window_size > max(LARGEST_WINDOW, most):
            raise ValueError(f"is a zstd frame with a window of {frame.window_size} bytes")
        # Allocates the size that the frame states, which was just found to be the expected one.
        symbols = zstandard.ZstdDecompressor().decompress(content, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"is no sound zstd frame ({error})") from error
    refuse_other_count(len(symbols), least, most)
    return np.frombuffer(symbols, np.uint8)


def entropy_coded(symbols: np.ndarray) -> np.ndarray:
    """Header, histogram from the smallest to the largest symbol, words of the ANS coder: all little-endian.

    The histogram keeps 5 bits of each frequency, which costs less than 0.001 bits a symbol.
    """
    smallest, largest = int(symbols.min()), int(symbols.max())
    counts = np.bincount(symbols)[smallest:]
    borders = (FREQUENCIES[1:-1] + FREQUENCIES[2:]) / 2
    histogram = 1 + np.searchsorted(borders, counts / counts.max() * FREQUENCIES[-1])
    histogram = np.where(counts > 0, histogram, 0).astype(np.uint8)
    coder = constriction().stream.stack.AnsCoder()
    coder.encode_reverse(symbols.astype(np.int32) - smallest, symbol_model(histogram))
    header = HEADER.pack(len(symbols), smallest, largest)
    words = coder.get_compressed().astype(WORD)
    return np.frombuffer(header + histogram.tobytes() + words.tobytes(), np.uint8)


def from_entropy_coded(content: np.ndarray, least: int, most: int) -> np.ndarray:
    if len(content) < HEADER.size:
        raise ValueError(f"is cut off after {len(content)} bytes")
    count, smallest, largest = HEADER.unpack(content[: HEADER.size].tobytes())
    refuse_other_count(count, least, most)
    start = HEADER.size + largest - smallest + 1
    if largest < smallest or start > len(content) or (len(content) - start) % WORD.itemsize:
        raise ValueError(f"is no sound entropy-coded part: symbols {smallest} to {largest} in {len(content)} bytes")
    words = content[start:].view(WORD).astype(np.uint32)
    symbols = np.empty(count, np.uint8)
    try:
        model = symbol_model(content[HEADER.size : start])
        coder = constriction().stream.stack.AnsCoder(words)
        for place in range(0, count, CHUNK):
            chunk = symbols[place : place + CHUNK]
            chunk[:] = coder.decode(model, len(chunk))
    except (ValueError, AssertionError) as error:
        raise ValueError(f"is no sound entropy-coded part ({' '.join(str(error).split())[:80]})") from error
    if not coder.is_empty():  # the coder is back where the encoder began, or something was changed on the way
        raise ValueError("is no sound entropy-coded part (its words do not end with its symbols)")
    symbols += np.uint8(smallest)
    return symbols


def symbol_model(histogram: np.ndarray) -> Any:
    """Every symbol with a probability by its frequency; one more symbol, since a model of a single one is refused."""
    frequencies = np.append(FREQUENCIES[histogram], 0).astype(np.float64)
    return constriction().stream.model.Categorical(frequencies, perfect=False)


def constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise ImportError(
            "the codec entropy needs the library constriction: pip install 'constriction>=0.5,<0.6' (built with Rust "
            "where there is no wheel)"
        ) from error
    return constriction


def packed(symbols: np.ndarray, bits: int) -> np.ndarray:
    """Symbols of `bits` bits without gaps, the last byte filled up with zeros."""
    chunks = [symbols[place : place + CHUNK, None] for place in range(0, len(symbols), CHUNK)]
    return np.concatenate(
        [np.packbits(np.unpackbits(chunk, axis=1)[:, 8 - bits :]) for chunk in chunks] or [np.empty(0, np.uint8)]
    )


def unpacked(content: np.ndarray, bits: int, count: int) -> np.ndarray:
    symbols = np.empty(count, np.uint8)
    for place in range(0, count, CHUNK):
        chunk = symbols[place : place + CHUNK]
        start = place * bits // 8
        raw = np.unpackbits(content[start : start + -(-len(chunk) * bits // 8)], count=len(chunk) * bits)
        wide = np.zeros((len(chunk), 8), np.uint8)
        wide[:, 8 - bits :] = raw.reshape(-1, bits)
        chunk[:] = np.packbits(wide)
    return symbols
