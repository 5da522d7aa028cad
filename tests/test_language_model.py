"""Language models: against a slow Kneser-Ney of its own, distributions that sum to one, and as KenLM reads them."""

import gzip
import itertools
import math
import random
from collections import Counter, defaultdict

import pytest

from deepspeech_sparse.cli import main
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.language_model import build_language_model
from deepspeech_sparse.text import Alphabet

WORDS = ["go", "stop", "left", "right", "one", "two", "three", "four", "enter", "erase"]


def sentences(count: int, *, seed: int = 0) -> list[list[str]]:
    """Random ones, some words far commoner than others, so that all counts from 1 to 4 occur."""
    draw = random.Random(seed)
    weights = [2.0**-index for index in range(len(WORDS))]
    return [draw.choices(WORDS, weights, k=draw.randint(1, 6)) for _ in range(count)]


def build(tmp_path, texts: list[list[str]], **options) -> tuple[dict, dict]:
    """Probabilities and backoff weights of the ARPA file, by n-gram."""
    source = tmp_path / "text.txt"
    source.write_text("\n".join(" ".join(words) for words in texts))
    build_language_model([source], out=tmp_path / "lm.arpa", **options)
    return read(tmp_path / "lm.arpa")


def read(path) -> tuple[dict, dict]:
    probabilities, backoffs, counted, order = {}, {}, {}, 0
    for line in path.read_text().splitlines():
        if line.startswith("ngram "):
            k, number = line.removeprefix("ngram ").split("=")
            counted[int(k)] = int(number)
        elif line.endswith("-grams:"):
            order = int(line[1])
        elif "\t" in line:
            log10, words, *backoff = line.split("\t")
            ngram = tuple(words.split())
            assert len(ngram) == order
            probabilities[ngram] = 10 ** float(log10)
            backoffs[ngram] = 10 ** float(backoff[0]) if backoff else 1.0
    assert Counter(map(len, probabilities)) == Counter({k: n for k, n in counted.items() if n})
    return probabilities, backoffs


def probability(model: tuple[dict, dict], context: tuple, word: str) -> float:
    """By the rule of ARPA files: back off until the n-gram is there."""
    probabilities, backoffs = model
    if (*context, word) in probabilities or not context:
        return probabilities[(*context, word)]
    return backoffs.get(context, 1.0) * probability(model, context[1:], word)


def slow_kneser_ney(texts: list[list[str]], order: int):
    """p(word, context) straight from Chen and Goodman's equations, with dictionaries."""
    framed = [["<s>", *words, "</s>"] for words in texts]
    grams = [Counter(tuple(s[i : i + k]) for s in framed for i in range(len(s) - k + 1)) for k in range(1, order + 1)]
    before = defaultdict(set)
    for k in range(1, order):
        for gram in grams[k]:
            before[gram[1:]].add(gram[0])
    adjusted = []
    for k, counter in enumerate(grams, start=1):
        keep = k == order
        adjusted.append({g: n if keep or g[0] == "<s>" else len(before[g]) for g, n in counter.items()})
    adjusted[0].pop(("<s>",))
    vocabulary = {word for words in texts for word in words} | {"<unk>", "</s>"}

    def discount(k, count):
        n = [sum(1 for value in adjusted[k - 1].values() if value == times) for times in (1, 2, 3, 4)]
        y = n[0] / (n[0] + 2 * n[1]) if min(n[:3]) else 0
        d = [1 - 2 * y * n[1] / n[0], 2 - 3 * y * n[2] / n[1], 3 - 4 * y * n[3] / n[2]] if y else [0, 0, 0]
        return (d if min(d) > 0 else [0.5, 1, 1.5])[min(count, 3) - 1]

    def p(word, context):
        k = len(context) + 1
        lower = p(word, context[1:]) if context else 1 / len(vocabulary)
        after = {g: n for g, n in adjusted[k - 1].items() if g[:-1] == context}
        if not after:
            return lower
        total = sum(after.values())
        count = after.get((*context, word), 0)
        own = (count - discount(k, count)) / total if count else 0
        return own + sum(discount(k, n) for n in after.values()) / total * lower

    return p, vocabulary


@pytest.mark.parametrize("order, count", [(2, 60), (3, 60), (3, 3), (4, 200)])
def test_probabilities_are_those_of_a_slow_modified_kneser_ney(tmp_path, order, count):
    texts = sentences(count)
    model = build(tmp_path, texts, order=order)
    p, vocabulary = slow_kneser_ney(texts, order)
    contexts = {()} | {tuple(["<s>", *s][max(0, i - order + 1) : i]) for s in texts[:20] for i in range(len(s) + 2)}
    for context, word in itertools.product(sorted(contexts)[:40], sorted(vocabulary)):
        if len(context) < order:
            assert probability(model, context, word) == pytest.approx(p(word, context), rel=1e-5), (context, word)


@pytest.mark.parametrize("prune", [(), (0, 0, 1), (0, 1, 2)])
def test_after_every_context_probabilities_sum_to_one(tmp_path, prune):
    model = build(tmp_path, sentences(100), order=3, prune=prune)
    words = [*WORDS, "</s>", "<unk>"]
    for context in [(), ("<s>",), ("<s>", "go"), *itertools.product(WORDS, repeat=2)]:
        assert sum(probability(model, context, word) for word in words) == pytest.approx(1, abs=1e-5), context


def test_pruning_leaves_out_what_is_rare_and_nothing_else(tmp_path):
    texts = sentences(100)
    whole, _ = build(tmp_path, texts, order=3)
    pruned, _ = build(tmp_path, texts, order=3, prune=(0, 0, 1))
    framed = [["<s>", *words, "</s>"] for words in texts]
    counts = Counter(tuple(s[i : i + 3]) for s in framed for i in range(len(s) - 2))
    assert whole.keys() - pruned.keys() == {ngram for ngram, count in counts.items() if count == 1}


@pytest.mark.parametrize(
    "options", [{"order": 3}, {"order": 5, "prune": (0, 0, 1)}, {"order": 4, "units": "characters"}]
)
def test_kenlm_reads_it_and_scores_sentences_as_the_rule_says(tmp_path, options):
    decoder = pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    dictionary = pytest.importorskip("flashlight.lib.text.dictionary")
    model = build(tmp_path, sentences(80), **options)
    units = sorted({ngram[0] for ngram in model[0] if len(ngram) == 1} - {"<s>", "</s>"})
    rows = dictionary.Dictionary()
    for unit in units:
        rows.add_entry(unit)
    kenlm = decoder.KenLM(str(tmp_path / "lm.arpa"), rows)
    for words in sentences(20, seed=1):
        tokens = list("|".join(words)) if options.get("units") else words
        state, total, history = kenlm.start(False), 0.0, ("<s>",)
        for token in tokens:
            state, score = kenlm.score(state, rows.get_index(token))
            total += score
        total += kenlm.finish(state)[1]
        expected = 0.0
        for token in [*tokens, "</s>"]:
            expected += math.log10(probability(model, history[-options["order"] + 1 :], token))
            history = (*history, token)
        assert total == pytest.approx(expected, abs=1e-4)


def test_texts_come_from_plain_and_packed_files_and_manifests(tmp_path):
    plain, packed, manifest = tmp_path / "a.txt", tmp_path / "b.txt.gz", tmp_path / "c.jsonl"
    plain.write_text("Go LEFT\n\n  don\u2019t stop \n")
    packed.write_bytes(gzip.compress(b"GO RIGHT\n"))
    manifest.write_text('{"id": "u", "audio_filepath": "u.wav", "duration": 1, "text": "two left"}\n')
    summary = build_language_model(
        [plain, packed, manifest],
        out=tmp_path / "lm.arpa",
        lexicon=tmp_path / "words.txt",
        alphabet=Alphabet(" abcdefghijklmnopqrstuvwxyz"),
    )
    assert (summary.sentences, summary.units) == (4, 8) and summary.ngrams[0] == 6 + 3
    expected = [f"{word}\t{' '.join(word)}\n" for word in ("go", "left", "right", "stop", "two")]  # don't has an '
    assert (tmp_path / "words.txt").read_text() == "".join(expected) and summary.lexicon == 5
    assert "8 units in 4 sentences: n-grams 9 of order 1, " in str(summary)


@pytest.mark.parametrize(
    "content, options, words",
    [
        (b"", {}, "hold no sentence"),
        (b"\n \n", {}, "hold no sentence"),
        (b"go\n\xff\xfe\n", {}, r"text.txt, line 2: not UTF-8"),
        (b"go\0", {}, r"text.txt, line 1: holds binary data"),
        (b"go <s> left", {}, "<s> is reserved"),
        (b"go <unk> left", {"alphabet": Alphabet(" GOLEFT")}, "<UNK> is reserved"),
        (b"a|b", {"units": "characters"}, "stands for the space"),
        (b"go", {"order": 1}, "order 1: 2 to 6"),
        (b"go", {"order": 7}, "order 7: 2 to 6"),
        (b"go", {"prune": (1,)}, r"prune \[1\]"),
        (b"go", {"prune": (0, 2, 1)}, r"prune \[0, 2, 1\]"),
        (b"go", {"prune": (0, -1)}, r"prune \[0, -1\]"),
        (b"go", {"prune": (0, 0, 0, 0)}, "at most 3"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path, content, options, words):
    source = tmp_path / "text.txt"
    source.write_bytes(content)
    with pytest.raises(InputError, match=words):
        build_language_model([source], out=tmp_path / "lm.arpa", **options)
    assert not (tmp_path / "lm.arpa").exists()


def test_files_that_are_not_there_or_not_packed_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none.txt: cannot be read \(No such file"):
        build_language_model([tmp_path / "none.txt"], out=tmp_path / "lm.arpa")
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(b"go left " * 100)[:30])
    with pytest.raises(InputError, match=r"broken.gz: cannot be read"):
        build_language_model([broken], out=tmp_path / "lm.arpa")
    with pytest.raises(InputError, match="a lexicon goes with a model of words"):
        build_language_model([broken], out=tmp_path / "a", units="characters", lexicon=tmp_path / "b")


def test_the_verb_builds_model_and_lexicon(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("go left\ngo right\n")
    command = ["lm", "build", str(tmp_path / "text.txt"), "--out", str(tmp_path / "lm.arpa"), "--order", "2"]
    assert main([*command, "--lexicon", str(tmp_path / "lexicon.txt"), "--prune", "[0, 0]"]) == 0
    assert capsys.readouterr().out.startswith("4 units in 2 sentences: n-grams 6 of order 1, ")
    assert (tmp_path / "lexicon.txt").read_text() == "go\tg o\nleft\tl e f t\nright\tr i g h t\n"
    assert main([*command, "--order", "9"]) == 1
    assert "order 9" in capsys.readouterr().err


def test_no_file_is_written_over_another_that_was_given(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("go left\n")
    for options in ({"out": text}, {"out": tmp_path / "lm", "lexicon": tmp_path / "x" / ".." / "lm"}):
        with pytest.raises(InputError, match="is given twice"):
            build_language_model([text], **options)
    assert text.read_text() == "go left\n"


def test_a_byte_order_mark_is_no_letter_and_a_lexicon_has_words(tmp_path):
    text = tmp_path / "text.txt"
    text.write_bytes(b"\xef\xbb\xbfgo left\n")
    build_language_model([text], out=tmp_path / "lm.arpa", lexicon=tmp_path / "words.txt")
    assert (tmp_path / "words.txt").read_text().startswith("go\tg o\n")
    with pytest.raises(InputError, match="writes none of the words"):
        build_language_model([text], out=tmp_path / "lm", lexicon=tmp_path / "words", alphabet=Alphabet(" xyz"))
