"""Audio into text, and a known text onto its audio."""

from pathlib import Path
from typing import Literal

from ...decoder_config import DecoderConfig
from ..errors import UsageError
from ..text_argument import given_text


def transcribe(
    model: Path,
    files: list[str] = (),  # not Path: that would shorten the // of addresses
    *,
    format: Literal["txt", "srt", "vtt", "tsv", "json", "all"] = "txt",
    out: Path | None = None,
    skip_existing: bool = False,
    allow_urls: bool = False,
    pcm: int | None = None,
    microphone: bool = False,
    device: int | None = None,
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
) -> int:
    """Write what is said in audio files, or live, to stdout or into a folder; exit code 1 if any file was no audio.

    Args:
        model: .safetensors file, run folder or checkpoint
        files: audio files of any format, rate, channel count and length; folders, searched to the bottom; globs such as
            "calls/**/*.wav"; manifests (.jsonl), their offsets and durations honoured; - for encoded audio on stdin
        format: txt, one line per file; srt or vtt, subtitles; tsv, segments with start and end in ms; json, one object
            per line, with times and confidence of words; all, a file of each
        out: write NAME.FORMAT into this folder, without the suffix of the audio file; inputs that would share a name
            keep their suffix, and folders that tell them apart; this looks at the inputs of one call only
        skip_existing: leave out recordings whose results are all in the folder of --out
        allow_urls: also fetch http:// and https:// addresses among the files, at most 4 GiB each
        pcm: with - for the file: stdin holds raw samples, signed 16 bit little-endian mono at this rate in Hz, and what
            is said is written while they come; needs a model in one direction, e.g. an4-streaming-sparse
        microphone: in place of files: listen, write what is said until Ctrl-C; needs such a model, too
        device: number of the microphone as `python -m sounddevice` lists them; the system's own by default
    """
    if device is not None and not microphone:
        raise UsageError("transcribe: --device is for --microphone")
    if microphone or pcm is not None:
        if microphone and (files or pcm is not None):
            raise UsageError("transcribe: --microphone goes without files and --pcm")
        if pcm is not None and list(map(str, files)) != ["-"]:
            raise UsageError("transcribe: --pcm is for samples on stdin: give - for the file")
        if format != "txt" or out is not None or skip_existing or allow_urls or decoder != DecoderConfig():
            raise UsageError("transcribe: live text is greedy and goes to stdout; leave --format, --out, --decoder out")
        from ...recognition.live import transcribe_microphone, transcribe_pcm

        if microphone:
            return transcribe_microphone(model, device, engine=engine, threads=threads)
        return transcribe_pcm(model, pcm, engine=engine, threads=threads)
    from ...recognition.transcription import transcribe_files

    return transcribe_files(
        model,
        files,
        format=format,
        out=out,
        skip_existing=skip_existing,
        allow_urls=allow_urls,
        engine=engine,
        threads=threads,
        decoder=decoder,
    )


def align(
    model: Path,
    audio: Path,
    text: str,
    *,
    format: Literal["words", "txt", "srt", "vtt", "tsv", "json"] = "words",
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
) -> None:
    """Tell when each word of a known text is said in a recording, and how sure that is.

    Args:
        model: .safetensors file, run folder or checkpoint
        audio: audio file of some minutes at most
        text: what is said; or, if it ends in .txt, the path of a file that holds it
        format: words, a line for each with start and end in s and confidence; the others as of transcribe
        engine: native, the sparse engine, or torch with all zeros; both give the same times. Conformer and Wav2Letter
            always run in torch
    """
    from ...recognition.recognizer import Recognizer
    from ...transcripts.writers import rendered

    transcript = Recognizer.load(model, engine=engine, threads=threads).align(audio, given_text(text))
    if format != "words":
        print(rendered(transcript, format), end="")
        return
    print("   start      end  confidence  word")
    for word in transcript.words:
        print(f"{word.start:8.2f} {word.end:8.2f}  {word.confidence:10.2f}  {word.text}")
