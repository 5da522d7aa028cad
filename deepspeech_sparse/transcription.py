"""Many files with one model: what cannot be read is noted, and the rest is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .decoder_config import DecoderConfig
from .inference import Engine
from .recognizer import Recognizer
from .transcript import Failure, Transcript
from .writers import Format, formats_of, rendered, stems_of, write_transcript


@dataclass(frozen=True)
class Transcription:
    """What became of a list of files."""

    transcripts: tuple[Transcript, ...]
    failures: tuple[Failure, ...]


def transcribe(
    model: Path,
    files: Iterable[Path],
    *,
    engine: Engine = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
    on_transcript: Callable[[Transcript], None] = lambda transcript: None,
    on_failure: Callable[[Failure], None] = lambda failure: None,
) -> Transcription:
    """Transcribe files one after the other; what cannot be read is noted and the rest is done.

    Args:
        model: model file, run folder or checkpoint
        files: audio files
        engine, threads, decoder: see `Recognizer`
        on_transcript, on_failure: called as soon as a file is done

    Raises:
        InputError: whatever is wrong with the model, threads out of range
    """
    recognizer = Recognizer.load(model, engine=engine, threads=threads, decoder=decoder)
    transcripts, failures = [], []
    for result in recognizer.transcribe_many(files):
        if isinstance(result, Failure):
            failures.append(result)
            on_failure(result)
        else:
            transcripts.append(result)
            on_transcript(result)
    return Transcription(tuple(transcripts), tuple(failures))


def transcribe_files(
    model: Path,
    files: Iterable[Path],
    *,
    format: Format = "txt",
    out: Path | None = None,
    engine: Engine = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
) -> int:
    """The verb `transcribe`: what was heard to stdout or into `out`, broken files to stderr; the exit code."""
    files = list(files)
    formats, stems = formats_of(format, out, len(files)), stems_of(files)

    def show(transcript: Transcript) -> None:
        if out is None:
            print(rendered(transcript, format), end="", flush=True)
        else:
            for path in write_transcript(transcript, out, stems[Path(transcript.source)], formats):
                print(path, flush=True)

    def complain(failure: Failure) -> None:
        print(f"error: {failure.error}", file=sys.stderr, flush=True)

    done = transcribe(
        model, files, engine=engine, threads=threads, decoder=decoder, on_transcript=show, on_failure=complain
    )
    return 1 if done.failures else 0
