"""Recognition while it is said: raw samples on stdin, or a microphone. Finished segments go to stdout, a line each."""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import HIGHEST_RATE, LOWEST_RATE, resampled
from ..errors import InputError
from .inference import Engine
from .recognizer import Recognizer
from .streaming import Partial, Stream

READ = 1 << 16  # bytes at most at once
BLOCK = 0.1  # s of a microphone's blocks
MOST_WAITING = 600  # blocks of a microphone that the recognition may be behind


def transcribe_pcm(model: Path, sample_rate: int, *, engine: Engine = "native", threads: int | None = None) -> int:
    """The verb `transcribe MODEL - --pcm RATE`: signed 16-bit little-endian mono samples on stdin.

    Raises:
        InputError: a model that cannot stream, a rate that no recording has
    """
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise InputError(f"--pcm {sample_rate}: Hz of the samples on stdin, e.g. 16000")
    recognizer = Recognizer.load(model, engine=engine, threads=threads)
    show(recognizer.stream(), resampled(samples_in(sys.stdin.fileno()), sample_rate, recognizer.sample_rate))
    return 0


def transcribe_microphone(
    model: Path, device: int | None = None, *, engine: Engine = "native", threads: int | None = None
) -> int:
    """The verb `transcribe MODEL --microphone`, until Ctrl-C.

    Raises:
        InputError: a model that cannot stream, no package sounddevice, no such device
    """
    recognizer = Recognizer.load(model, engine=engine, threads=threads)
    stream = recognizer.stream()
    with microphone(recognizer.sample_rate, device) as blocks:
        print("listening; Ctrl-C ends", file=sys.stderr, flush=True)
        show(stream, blocks)
    return 0


def show(stream: Stream, chunks: Iterable[np.ndarray]) -> None:
    """Feed a stream; segments to stdout as they end, on a terminal what is being said below them."""
    terminal = sys.stderr.isatty()

    def clear() -> None:
        if terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    try:
        for chunk in chunks:
            for result in stream.feed(chunk):
                clear()
                if isinstance(result, Partial):
                    if terminal:
                        columns = os.get_terminal_size(sys.stderr.fileno()).columns
                        print(result.text[-columns + 1 :], end="", file=sys.stderr, flush=True)
                else:
                    print(result.segment.text, flush=True)
    except KeyboardInterrupt:  # the way to end a microphone: what was said is still shown
        pass
    clear()
    for final in stream.finish():
        print(final.segment.text, flush=True)


def samples_in(descriptor: int) -> Iterator[np.ndarray]:
    """16-bit samples of a pipe as they arrive, (N_i,) float32; a last odd byte is dropped."""
    rest = b""
    while content := os.read(descriptor, READ):  # what is there, without waiting for more
        content = rest + content
        whole = len(content) // 2 * 2
        rest = content[whole:]
        yield np.frombuffer(content[:whole], dtype="<i2") / np.float32(32768)


@contextmanager
def microphone(sample_rate: int, device: int | None) -> Iterator[Iterator[np.ndarray]]:
    """Blocks (N,) float32 of a microphone, without end.

    The driver's callback only queues: what takes long happens in the thread that asks for the blocks.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise InputError(
            f"--microphone needs the package sounddevice and PortAudio ({error}): pip install "
            "'deepspeech-sparse[microphone]', on Linux also the system's package libportaudio2"
        ) from error
    waiting: queue.Queue[np.ndarray] = queue.Queue(MOST_WAITING)
    lost = 0

    def heard(samples: np.ndarray, frames: int, time: Any, status: Any) -> None:
        nonlocal lost
        try:
            waiting.put_nowait(samples[:, 0].copy())
        except queue.Full:
            lost += 1
        lost += bool(status)

    def blocks() -> Iterator[np.ndarray]:
        said = 0
        while True:
            yield waiting.get()
            if lost > said:
                said = lost
                print("\nsome audio was lost: recognition or the driver is too slow", file=sys.stderr, flush=True)

    try:
        source = sounddevice.InputStream(
            samplerate=sample_rate,
            channels=1,
            dtype="float32",
            device=device,
            blocksize=round(BLOCK * sample_rate),
            callback=heard,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise InputError(
            f"--microphone: no device {'' if device is None else device} that records {sample_rate} Hz ({error}); "
            "`python -m sounddevice` lists devices, --device N chooses one"
        ) from error
    with source:
        yield blocks()
