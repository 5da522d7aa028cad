"""How fast a language model is built, and whether its perplexity is the one that KenLM's scorer finds.

    python benchmarks/language_model.py TEXT [--order 3] [--prune 0 0 1]

Every 20th line of the text is held out. Two scorers give the perplexity of those lines: KenLM (in flashlight-text), and
a few lines of Python here that follow the rule of ARPA files.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary

from deepspeech_sparse.language_model import build_language_model
from deepspeech_sparse.language_model.sentences import read_sentences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--order", type=int, default=3)
    parser.add_argument("--prune", type=int, nargs="*", default=())
    args = parser.parse_args()
    lines = list(read_sentences([args.text]))
    held_out = [line.split() for line in lines[::20]]
    with tempfile.TemporaryDirectory() as folder:
        source, model = Path(folder) / "text.txt", Path(folder) / "lm.arpa"
        source.write_text("\n".join(line for index, line in enumerate(lines) if index % 20))
        started = time.perf_counter()
        summary = build_language_model([source], out=model, order=args.order, prune=args.prune)
        seconds = time.perf_counter() - started
        print(f"{summary}\n{seconds:.1f} s, {model.stat().st_size / 1e6:.1f} MB")
        theirs, ours = with_kenlm(model, held_out), by_the_rule(model, held_out, args.order)
    words = sum(len(words) + 1 for words in held_out)
    print(f"{len(held_out)} lines held out, {words} words with their ends, unknown ones as <unk>")
    for name, score in (("KenLM", theirs), ("by the rule of ARPA files", ours)):
        print(f"perplexity, {name}: {math.exp(-score / words):.3f}")


def with_kenlm(model: Path, sentences: list[list[str]]) -> float:
    """Natural logarithm of their probability."""
    rows = Dictionary()
    for word in sorted({word for words in sentences for word in words}):
        rows.add_entry(word)
    kenlm, total = KenLM(str(model), rows), 0.0
    for words in sentences:
        state = kenlm.start(False)
        for word in words:
            state, score = kenlm.score(state, rows.get_index(word))
            total += score
        total += kenlm.finish(state)[1]
    return math.log(10) * total


def by_the_rule(model: Path, sentences: list[list[str]], order: int) -> float:
    """The same: the longest n-gram that is there, and the backoff weights of the contexts that are not."""
    probabilities, backoffs = {}, {}
    for line in model.read_text().splitlines():
        if "\t" in line:
            log10, ngram, *backoff = line.split("\t")
            probabilities[ngram] = float(log10)
            if backoff:
                backoffs[ngram] = float(backoff[0])
    total = 0.0
    for words in sentences:
        text = ["<s>", *(word if word in probabilities else "<unk>" for word in words), "</s>"]
        for end in range(1, len(text)):
            for start in range(max(0, end - order + 1), end + 1):
                if (ngram := " ".join(text[start : end + 1])) in probabilities:
                    total += probabilities[ngram]
                    break
                total += backoffs.get(" ".join(text[start:end]), 0.0)
    return math.log(10) * total


if __name__ == "__main__":
    main()
