"""A long recording against its utterances: word error rates, peak memory, speed.

    python benchmarks/long_file.py MODEL MANIFEST [--seconds 3600] [--pauses 0.3 1.5] [--noise -60] [--seed 0]

The utterances of a manifest, in its order and over and over, are joined to one file of --seconds, with pauses of random
length between them that hold faint white noise (level in dB of full scale). Its text is held against all references;
the peak of memory is that of a process of its own, above what it holds once the model is loaded and warm.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jiwer
import numpy as np
import soundfile

from deepspeech_sparse import Recognizer
from deepspeech_sparse.corpora.manifest import read_manifest
from deepspeech_sparse.evaluation.wer import read_utterance

RATE = 16_000


def join(manifest: Path, path: Path, seconds: float, pauses: tuple[float, float], noise: float, seed: int) -> str:
    """Write the long recording, return what is said in it."""
    utterances = read_manifest(manifest)
    draw = np.random.default_rng(seed)
    texts, length = [], 0
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while length < seconds * RATE:
            for utterance in utterances:
                samples = read_utterance(utterance, RATE, manifest)
                pause = draw.standard_normal(round(draw.uniform(*pauses) * RATE)) * 10 ** (noise / 20)
                file.write(np.concatenate([samples, pause.astype(np.float32)]))
                length += len(samples) + len(pause)
                texts.append(utterance.text)
                if length >= seconds * RATE:
                    break
    return " ".join(texts)


def peak() -> int:
    """Most bytes of memory that this process has held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def child(model: str, path: str) -> None:
    """Transcribe in this process; print text, seconds and bytes above the loaded model."""
    recognizer = Recognizer.load(model)
    recognizer.transcribe(np.zeros(RATE, np.float32), sample_rate=RATE)  # everything is imported and packed
    before = peak()
    started = time.perf_counter()
    transcript = recognizer.transcribe(path)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {
                "text": transcript.text,
                "seconds": seconds,
                "bytes": peak() - before,
                "segments": len(transcript.segments),
                "duration": transcript.duration,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--pauses", type=float, nargs=2, default=(0.3, 1.5))
    parser.add_argument("--noise", type=float, default=-60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(str(args.model), str(args.child))
        return
    recognizer = Recognizer.load(args.model)
    utterances = read_manifest(args.manifest)
    alone = [recognizer.recognize([read_utterance(one, RATE, args.manifest)])[0] for one in utterances]
    wer_alone = jiwer.wer([one.text for one in utterances], alone)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        reference = join(args.manifest, path, args.seconds, tuple(args.pauses), args.noise, args.seed)
        command = [sys.executable, __file__, str(args.model), str(args.manifest), "--child", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    wer = jiwer.wer(reference, found["text"])
    print(
        "| model | audio | WER of utterances alone | WER of the long file | segments | memory above the model | RTF |"
    )
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {args.model.stem} | {found['duration'] / 60:.1f} min, pauses {args.pauses[0]:g}-{args.pauses[1]:g} s | "
        f"{wer_alone:.2%} | {wer:.2%} | {found['segments']} | {found['bytes'] / 1e6:.0f} MB | "
        f"{found['seconds'] / found['duration']:.4f} |"
    )


if __name__ == "__main__":
    main()
