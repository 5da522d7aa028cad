"""Many files with one model: what cannot be read is noted, and the rest is done."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

import soundfile
from rich.console import Console

from ..audio import UNKNOWN
from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..transcripts.transcript import Failure, Transcript
from ..transcripts.writers import Format, formats_of, rendered, stems_of, writable, write_transcript
from .inference import Engine
from .progress import AudioProgress
from .recognizer import Recognizer
from .sources import Excerpt, excerpts_of


def transcribe_files(
    model: Path,
    files: Iterable[str | Path],
    *,
    format: Format = "txt",
    out: Path | None = None,
    skip_existing: bool = False,
    allow_urls: bool = False,
    engine: Engine = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
) -> int:
    """The verb `transcribe`: what was heard to stdout or into `out`, broken files to stderr; the exit code.

    Raises:
        InputError: nothing to transcribe, whatever is wrong with the model, a place that cannot be written to
    """
    if skip_existing and out is None:
        raise InputError("--skip-existing needs --out FOLDER; on stdout nothing exists yet")
    excerpts = excerpts_of(files, allow_urls=allow_urls)
    formats, stems = formats_of(format, out, len(excerpts)), stems_of([Path(excerpt.name) for excerpt in excerpts])
    if skip_existing:
        excerpts = [excerpt for excerpt in excerpts if not all_there(out, stems[Path(excerpt.name)], formats)]
    total, failures = len(excerpts), []
    console = Console(stderr=True)
    progress = AudioProgress(console, seconds_of(excerpts)) if console.is_terminal and excerpts else None

    def show(transcript: Transcript) -> None:
        if out is None:
            print(rendered(transcript, format), end="", flush=True)
            return
        try:
            paths = write_transcript(transcript, out, stems[Path(transcript.source)], formats)
        except InputError as error:  # a full disk now, room again for the next
            complain(Failure(transcript.source, str(error)))
        else:
            print(*(writable(str(path)) for path in paths), sep="\n", flush=True)

    def complain(failure: Failure) -> None:
        failures.append(failure)
        print(f"error: {' '.join(failure.error.split())}", file=sys.stderr, flush=True)

    recognizer = Recognizer.load(model, engine=engine, threads=threads, decoder=decoder)
    on_audio = progress.advance if progress else lambda seconds: None
    with progress or nullcontext():
        for result in recognizer.transcribe_many(excerpts, on_audio=on_audio):
            complain(result) if isinstance(result, Failure) else show(result)
    if failures and total > 1:
        print(f"{len(failures)} of {total} recordings could not be transcribed", file=sys.stderr)
    return 1 if failures else 0


def all_there(folder: Path, stem: str, formats: Sequence[str]) -> bool:
    """Whether a recording has been transcribed before, in all formats."""
    return all((folder / f"{stem}.{format}").is_file() for format in formats)


def seconds_of(excerpts: Iterable[Excerpt]) -> float | None:
    """What headers say all of them last, s; None where one does not tell. For the eye only: headers lie."""
    total = 0.0
    for excerpt in excerpts:
        if excerpt.duration is not None:
            total += excerpt.duration
        elif isinstance(excerpt.source, Path):
            try:
                told = soundfile.info(str(excerpt.source))
                total += told.duration
            except (soundfile.LibsndfileError, TypeError, ValueError, ZeroDivisionError):
                return None
            if told.frames >= UNKNOWN:
                return None
        else:
            return None
    return total
