"""Live recognition: time of a chunk, memory over time, and how long after a sound its text is there.

    python benchmarks/streaming.py MODEL MANIFEST [--minutes 5] [--long 30] [--threads 1]

The utterances of a manifest, half a second of silence between them, are fed in chunks of 20 to 500 ms, as fast as they
are taken. Latency from a sound to its text: what the model waits for (`Stream.latency`), the rest of the chunk that the
sound lies in (all of it at worst), and the time of a chunk.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import jiwer
import numpy as np
import torch
from long_file import join

from deepspeech_sparse import Recognizer
from deepspeech_sparse.audio import read_blocks
from deepspeech_sparse.corpora.manifest import read_manifest
from deepspeech_sparse.evaluation.wer import read_utterance
from deepspeech_sparse.recognition.streaming import Final, joined

CHUNKS = (0.02, 0.04, 0.1, 0.2, 0.5)  # s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="for each length of chunk")
    parser.add_argument("--long", type=float, default=30.0, help="minutes over which memory is watched")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    recognizer = Recognizer.load(args.model, threads=args.threads)
    rate = recognizer.sample_rate
    utterances = read_manifest(args.manifest)
    parts = [read_utterance(one, rate, args.manifest) for one in utterances]
    audio = np.concatenate([np.concatenate([part, np.zeros(rate // 2, np.float32)]) for part in parts])
    short = np.resize(audio, round(60 * args.minutes * rate))

    print("| chunk | real-time factor | time of a chunk, median | 99 % below | sound to text, at most |")
    print("|---|---|---|---|---|")
    for seconds in CHUNKS:
        times = feed(recognizer, short, round(seconds * rate))[0]
        median, most = np.percentile(times, [50, 99])
        latency = recognizer.stream().latency + seconds + most
        print(
            f"| {1000 * seconds:.0f} ms | {times.sum() * rate / len(short):.4f} | {1000 * median:.2f} ms | "
            f"{1000 * most:.2f} ms | {latency:.2f} s |"
        )
    texts = [alone(recognizer, part, round(0.1 * rate)) for part in parts]
    whole = [recognizer.recognize([part])[0] for part in parts]
    references = [one.text for one in utterances]
    rates = jiwer.wer(references, texts), jiwer.wer(references, whole)
    print("\nWER utterance by utterance: streamed {:.2%}, whole {:.2%}".format(*rates))
    print(f"texts that differ: {sum(a != b for a, b in zip(texts, whole))} of {len(texts)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        reference = join(args.manifest, path, 5 + len(audio) / rate, (0.3, 1.5), -60.0, 0)
        samples = np.concatenate(list(read_blocks(path, sample_rate=rate)))
    wer = jiwer.wer(reference, alone(recognizer, samples, round(0.1 * rate)))
    print(f"WER of all in one stream, pauses of 0.3 to 1.5 s: {wer:.2%}")
    memory = feed(recognizer, np.resize(audio, round(60 * args.long * rate)), round(0.1 * rate))[1]
    minutes = [memory[round(position * (len(memory) - 1))] / 1e6 for position in (1 / args.long, 0.5, 1)]
    shown = ", ".join(f"{megabytes:.1f}" for megabytes in minutes)
    print(f"memory of the process after 1, {args.long / 2:g} and {args.long:g} minutes: {shown} MB")


def feed(recognizer: Recognizer, samples: np.ndarray, size: int) -> tuple[np.ndarray, list[int]]:
    """Seconds that each chunk took, and bytes held about once a second."""
    stream, times, memory = recognizer.stream(), [], []
    for start in range(0, len(samples), size):
        began = time.perf_counter()
        stream.feed(samples[start : start + size])
        times.append(time.perf_counter() - began)
        if start // size % 10 == 0:
            memory.append(held())
    return np.array(times), memory


def alone(recognizer: Recognizer, samples: np.ndarray, size: int) -> str:
    stream = recognizer.stream()
    finals = [r for start in range(0, len(samples), size) for r in stream.feed(samples[start : start + size])]
    return joined([final for final in finals if isinstance(final, Final)] + stream.finish())


def held() -> int:
    """Bytes of memory in use now, where the system tells; else the most there were."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
