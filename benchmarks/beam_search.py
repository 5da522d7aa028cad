"""Beam search with a word 3-gram model: ours against pyctcdecode, with the same beam, model, words and scores.

    deepspeech-sparse lm build train.jsonl --out words.arpa --lexicon words.txt
    python benchmarks/beam_search.py MODEL dev.jsonl --lm words.arpa --lexicon words.txt [--rival PYTHON]

--rival is the Python of an environment with pyctcdecode and kenlm; without it ours is measured alone. The network runs
once, before; each decoder then takes one utterance after another on one core, in turn, and the median of the rounds
counts. pyctcdecode is given the words of the lexicon as its unigrams, and its own defaults but for beam, alpha and
beta; with --thorough it drops nothing that the beam has room for. Prints a Markdown table.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RIVAL = "pyctcdecode"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--lexicon", type=Path, required=True)
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--beam", type=int, default=100)
    parser.add_argument("--cutoff-prob", type=float, default=1.0, help="ours; pyctcdecode drops labels below exp(-5)")
    parser.add_argument("--cutoff-top-n", type=int, default=40, help="ours, labels looked at in each frame")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rival", help="python with pyctcdecode")
    parser.add_argument("--thorough", action="store_true", help="pyctcdecode keeps its whole beam and all labels")
    parser.add_argument("--utterances", type=int, help="so many only, the first")
    options = parser.parse_args()
    if options.model.suffix == ".npz":  # this file, run by the rival's Python
        print(json.dumps(decode_as_rival(options)))
    else:
        measure(options)


def decode_as_rival(options: argparse.Namespace) -> dict:
    """Seconds and texts of pyctcdecode, on log-probabilities in a file."""
    from pyctcdecode import build_ctcdecoder

    with np.load(options.model) as archive:
        symbols = str(archive["symbols"])
        scores = [archive[f"scores-{index}"] for index in range(int(archive["count"]))]
    words = [line.split("\t")[0] for line in options.lexicon.read_text().splitlines()]
    decoder = build_ctcdecoder(["", *symbols], str(options.lm), unigrams=words, alpha=options.alpha, beta=options.beta)
    started = time.perf_counter()
    pruning = {"beam_prune_logp": -1e9, "token_min_logp": -1e9} if options.thorough else {}
    texts = [decoder.decode(rows, beam_width=options.beam, **pruning) for rows in scores]
    return {"seconds": time.perf_counter() - started, "texts": texts}


def measure(options: argparse.Namespace) -> None:
    import jiwer
    import torch

    from deepspeech_sparse.audio import load_audio
    from deepspeech_sparse.corpora.manifest import read_manifest
    from deepspeech_sparse.decoder_config import DecoderConfig
    from deepspeech_sparse.decoding import decoder_of
    from deepspeech_sparse.recognition.recognizer import Recognizer

    torch.set_num_threads(1)
    recognizer = Recognizer.load(options.model, threads=1)
    utterances = read_manifest(options.manifest)[: options.utterances]
    scores = []
    for one in utterances:
        scores += recognizer.log_probs([load_audio(one.audio, sample_rate=recognizer.sample_rate)])
    config = DecoderConfig(
        "beam",
        options.lm,
        options.lexicon,
        alpha=options.alpha,
        beta=options.beta,
        beam_width=options.beam,
        cutoff_prob=options.cutoff_prob,
        cutoff_top_n=options.cutoff_top_n,
    )
    decoder = decoder_of(config, recognizer.alphabet)

    def ours() -> dict:
        started = time.perf_counter()
        texts = [decoder.decode(rows[None], torch.tensor([len(rows)]))[0][0].text for rows in scores]
        return {"seconds": time.perf_counter() - started, "texts": texts}

    def rival() -> dict:
        settings = [f"--{name}={getattr(options, name)}" for name in ("lm", "lexicon", "alpha", "beta", "beam")]
        thorough = ["--thorough"] if options.thorough else []
        command = [options.rival, __file__, archive, options.manifest, *settings, *thorough]
        return json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )

    decoders = {"ours": ours, **({RIVAL: rival} if options.rival else {})}
    runs: dict[str, list[dict]] = {name: [] for name in decoders}
    with tempfile.TemporaryDirectory() as folder:
        archive = str(Path(folder) / "scores.npz")
        arrays = {f"scores-{index}": rows.numpy() for index, rows in enumerate(scores)}
        np.savez(archive, symbols=recognizer.alphabet.symbols, count=len(scores), **arrays)
        for _ in range(options.rounds):
            for name, decode in decoders.items():
                runs[name].append(decode())
    truth = [one.text for one in utterances]
    greedy = [best.text for best, *_ in recognizer.hypotheses(scores)]
    seconds = {name: statistics.median(run["seconds"] for run in of) for name, of in runs.items()}
    frames = sum(len(rows) for rows in scores)
    print(f"{len(scores)} utterances, {frames} frames, beam {options.beam}, alpha {options.alpha}, beta {options.beta}")
    print(f"greedy WER {jiwer.wer(truth, greedy):.2%}\n")
    print("| decoder | seconds | x ours | ms per utterance | texts equal to ours | WER |")
    print("|---|---|---|---|---|---|")
    for name, of in runs.items():
        texts = of[0]["texts"]
        equal = np.mean([text == own for text, own in zip(texts, runs["ours"][0]["texts"])])
        print(
            f"| {name} | {seconds[name]:.2f} | {seconds[name] / seconds['ours']:.2f} | "
            f"{1000 * seconds[name] / len(scores):.1f} | {equal:.1%} | {jiwer.wer(truth, texts):.2%} |"
        )


if __name__ == "__main__":
    sys.exit(main())
