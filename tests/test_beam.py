"""Beam search: against all alignments of all texts, with language models, lexicons and hot words; and bad input."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from deepspeech_sparse import DecoderConfig, Recognizer
from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.cli import main
from deepspeech_sparse.cli.parser import split_decoder
from deepspeech_sparse.corpora.an4 import prepare_an4
from deepspeech_sparse.corpora.manifest import read_manifest
from deepspeech_sparse.decoding import decoder_of
from deepspeech_sparse.decoding.lexicon import read_lexicon
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.language_model import build_language_model
from deepspeech_sparse.text import Alphabet

pytest.importorskip("flashlight.lib.text.decoder")
ALPHABET = Alphabet(" ab")


@pytest.fixture(autouse=True)
def every_hypothesis_is_kept(monkeypatch):
    """What is enumerated holds texts that are far less likely than the best."""
    monkeypatch.setattr("deepspeech_sparse.decoding.searches.THRESHOLD", 1000.0)


def scores(frames: int, *, seed: int, labels: int = ALPHABET.size) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(frames, labels, generator=generator)).log_softmax(-1)


def collapsed(path: tuple[int, ...]) -> str:
    """The text of a path with its spaces as they are."""
    return ALPHABET.decode(label for label, _ in itertools.groupby(path))


def all_strings(rows: torch.Tensor) -> dict[str, float]:
    """Every string that some alignment writes, spaces as they are, and its probability."""
    found: dict[str, float] = {}
    for path in itertools.product(range(rows.shape[1]), repeat=len(rows)):
        probability = math.exp(sum(float(rows[frame, label]) for frame, label in enumerate(path)))
        text = collapsed(path)
        found[text] = found.get(text, 0.0) + probability
    return found


def ranked(strings: dict[str, float], weight) -> list[tuple[str, float]]:
    """Texts with single spaces, best first, with the logarithm of their probability times their weight."""
    summed: dict[str, float] = {}
    for string, probability in strings.items():
        gain = weight(string)
        if gain is not None:
            text = " ".join(string.split())
            summed[text] = summed.get(text, 0.0) + probability * math.exp(gain)
    return sorted(((text, math.log(total)) for text, total in summed.items()), key=lambda pair: -pair[1])


def arpa(tmp_path: Path, texts: list[str], **options) -> tuple[Path, dict, dict]:
    """A language model of texts: its file, its log-probabilities and log-backoffs, natural, by n-gram."""
    source, out = tmp_path / "text.txt", tmp_path / "lm.arpa"
    source.write_text("\n".join(texts))
    build_language_model([source], out=out, **options)
    rows = [line.split("\t") for line in out.read_text().splitlines() if "\t" in line]
    ten = math.log(10)
    probabilities = {tuple(row[1].split()): ten * float(row[0]) for row in rows}
    return out, probabilities, {tuple(row[1].split()): ten * float(row[2]) for row in rows if len(row) > 2}


def sentence_score(probabilities: dict, backoffs: dict, units: list[str], order: int) -> float:
    def score(history: tuple, unit: str) -> float:
        unit = unit if (unit,) in probabilities else "<unk>"
        if (*history, unit) in probabilities:
            return probabilities[(*history, unit)]
        return backoffs.get(history, 0.0) + score(history[1:], unit)

    text = ["<s>", *units, "</s>"]
    return sum(score(tuple(text[max(0, i - order + 1) : i]), text[i]) for i in range(1, len(text)))


def compare(found, expected, *, count: int = 5) -> None:
    assert [hypothesis.text for hypothesis in found[:count]] == [text for text, _ in expected[:count]]
    for hypothesis, (_, score) in zip(found[:count], expected):
        assert hypothesis.score == pytest.approx(score, abs=2e-3)


@pytest.mark.parametrize("frames, seed", [(1, 0), (2, 1), (4, 2), (5, 3), (5, 4)])
def test_without_a_lexicon_scores_sum_over_all_alignments(frames, seed):
    rows = scores(frames, seed=seed)
    decoder = decoder_of(DecoderConfig("beam", beam_width=5000), ALPHABET)
    [found] = decoder.decode(rows[None], torch.tensor([frames]), n_best=5)
    compare(found, ranked(all_strings(rows), lambda string: 0.0))
    assert all(hypothesis.score == hypothesis.acoustic_score for hypothesis in found)


@pytest.mark.parametrize("alpha, beta", [(0.7, 0.0), (0.7, 1.5), (0.0, -1.0)])
def test_a_language_model_of_characters_weighs_as_its_natural_logarithm_says(tmp_path, alpha, beta):
    lm, *model = arpa(tmp_path, ["ab a", "aab b", "b a ab", "ba"], order=3, units="characters")
    rows = scores(5, seed=5)
    decoder = decoder_of(DecoderConfig("beam", lm=lm, alpha=alpha, beta=beta, beam_width=5000), ALPHABET)
    [found] = decoder.decode(rows[None], torch.tensor([5]), n_best=5)

    def gain(string: str) -> float:
        words = len(string.split())
        return alpha * sentence_score(*model, list(string.replace(" ", "|")), 3) + beta * words

    compare(found, ranked(all_strings(rows), gain))
    for hypothesis in found:
        words = len(hypothesis.text.split())
        parts = hypothesis.acoustic_score + alpha * hypothesis.lm_score + beta * words
        assert hypothesis.score == pytest.approx(parts, abs=1e-4)


def lexicon_file(tmp_path: Path, *words: str) -> Path:
    path = tmp_path / "lexicon.txt"
    path.write_text("".join(f"{word}\t{' '.join(word)}\n" for word in words))
    return path


@pytest.mark.parametrize("frames, seed", [(1, 0), (3, 1), (5, 2), (6, 3), (6, 4)])
@pytest.mark.parametrize("alpha, beta", [(0.0, 0.0), (0.8, 0.5)])
def test_with_a_lexicon_texts_are_its_words_and_the_model_one_of_words(tmp_path, frames, seed, alpha, beta):
    lm, *model = arpa(tmp_path, ["a ab", "ab b a", "b b ab", "a"], order=2)
    words = ["a", "b", "ab", "bba"]  # the language model does not know the last
    config = DecoderConfig(
        "beam", lm=lm, lexicon=lexicon_file(tmp_path, *words), alpha=alpha, beta=beta, beam_width=5000
    )
    rows = scores(frames, seed=seed)
    [found] = decoder_of(config, ALPHABET).decode(rows[None], torch.tensor([frames]), n_best=5)

    def gain(string: str) -> float | None:
        units = string.split()
        if not set(units) <= set(words):
            return None
        return alpha * sentence_score(*model, units, 2) + beta * len(units)

    compare(found, ranked(all_strings(rows), gain))
    assert found[0].lm_score == pytest.approx(sentence_score(*model, found[0].text.split(), 2), abs=1e-4)


def test_labels_and_frames_are_where_the_text_lies():
    rows = torch.full((9, 4), -20.0)
    for frame, label in enumerate([0, 1, 2, 2, 0, 2, 1, 3, 1]):  # space a a - a space b space
        rows[frame, label] = -0.001
    for config in (DecoderConfig("beam"), DecoderConfig("greedy")):
        [[best]] = decoder_of(config, ALPHABET).decode(rows[None], torch.tensor([9]))
        assert best.text == "aa b"
        pairs = [pair for pair in zip(best.labels, best.frames) if pair[0] != 1 or pair[1] == 6]
        assert pairs == [(2, 2), (2, 5), (1, 6), (3, 7)]


@pytest.mark.parametrize("lexicon", [False, True])
def test_empty_blank_and_impossible_scores_are_texts_too(tmp_path, lexicon):
    config = DecoderConfig("beam", lexicon=lexicon_file(tmp_path, "a") if lexicon else None)
    decoder = decoder_of(config, ALPHABET)
    blank = torch.full((3, 4), -math.inf)
    blank[:, 0] = 0.0
    letter = torch.full((3, 4), -math.inf)
    letter[:, 2] = 0.0
    batch = torch.stack([blank, letter, letter, torch.full((3, 4), math.nan)])
    texts = [best.text for best, *_ in decoder.decode(batch, torch.tensor([3, 3, 0, 3]))]
    assert texts[:3] == ["", "a", ""]


def test_labels_beyond_cutoff_prob_are_not_looked_at():
    rows = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).log()
    texts = {}
    for share in (0.4, 0.7, 1.0):
        decoder = decoder_of(DecoderConfig("beam", cutoff_prob=share), ALPHABET)
        [found] = decoder.decode(rows[None], torch.tensor([1]), n_best=9)
        texts[share] = {hypothesis.text for hypothesis in found if hypothesis.score > -50}
    assert texts == {0.4: {""}, 0.7: {"", "a"}, 1.0: {"", "a", "b"}}


def test_hot_words_appear_only_with_the_boost_and_leave_the_rest_alone(tmp_path):
    alphabet = Alphabet(" abcdefghijklmnopqrstuvwxyz")
    rows = torch.full((13, alphabet.size), math.log(0.001))
    for frame, (likely, other) in enumerate(zip("go to sam now", "go to kim now")):  # kim is heard as sam
        rows[frame, alphabet.encode(likely)[0]] = math.log(0.55)
        rows[frame, alphabet.encode(other)[0]] = math.log(0.9 if likely == other else 0.35)
    lexicon = lexicon_file(tmp_path, "go", "to", "sam", "now")
    for path in (None, lexicon):
        texts = []
        for hot_words, boost in (((), 5.0), (("Kim",), 5.0), (("KIM", "to kim"), 0.0), (("go to kim",), 2.5)):
            config = DecoderConfig("beam", lexicon=path, hot_words=hot_words, hot_word_boost=boost)
            [[best]] = decoder_of(config, alphabet).decode(rows[None], torch.tensor([13]))
            texts.append(best.text)
            units = ("go", "to", "kim") if hot_words[:1] == ("go to kim",) else ("kim",)
            count = sum(len(unit) for unit in units) if path is None else len(units)
            gained = count * boost / (5 if path is None else 1) if "kim" in best.text.split() and hot_words else 0.0
            assert best.hot_word_score == pytest.approx(gained)
        assert texts == ["go to sam now", "go to kim now", "go to sam now", "go to kim now"]


def test_threads_may_share_a_decoder_with_hot_words():
    """flashlight calls Python back in the middle of a search, where another thread may begin its own."""
    decoder = decoder_of(DecoderConfig("beam", hot_words=("abc",), beam_width=20), Alphabet())
    rows = [torch.randn(1, 60, 29, generator=torch.Generator().manual_seed(seed)).log_softmax(-1) for seed in range(8)]
    frames = torch.tensor([60])
    alone = [decoder.decode(each, frames)[0][0].text for each in rows]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: decoder.decode(each, frames)[0][0].text, rows * 4))
    assert together == alone * 4


@pytest.mark.parametrize("frames, seed", [(5, 6), (5, 7), (6, 8)])
@pytest.mark.parametrize("with_lexicon", [False, True])
def test_hot_words_are_scored_as_all_alignments_say(tmp_path, frames, seed, with_lexicon):
    words = ["a", "b", "ab"]
    lm, *model = arpa(tmp_path, ["a ab", "ab b a", "b b ab"], order=2, units="words" if with_lexicon else "characters")
    config = DecoderConfig(
        "beam",
        lm=lm,
        lexicon=lexicon_file(tmp_path, *words) if with_lexicon else None,
        alpha=0.5,
        beam_width=5000,
        hot_words=("a b", "B AB", "ab"),
        hot_word_boost=1.5,
    )
    rows = scores(frames, seed=seed)
    [found] = decoder_of(config, ALPHABET).decode(rows[None], torch.tensor([frames]), n_best=4)

    boost = 1.5 if with_lexicon else 0.3

    def gain(string: str) -> float | None:
        said = string.split() if with_lexicon else list(f" {string} ")
        if with_lexicon and not set(said) <= set(words):
            return None
        units = said if with_lexicon else list(string.replace(" ", "|"))
        phrases = [["a", "b"], ["b", "ab"], ["ab"]] if with_lexicon else [list(" a b "), list(" b ab "), list(" ab ")]
        covered = set()
        for phrase, start in itertools.product(phrases, range(len(said))):
            if said[start : start + len(phrase)] == phrase:
                covered |= set(range(start, start + len(phrase)))
        return 0.5 * sentence_score(*model, units, 2) + boost * sum(said[place] != " " for place in covered)

    compare(found, ranked(all_strings(rows), gain), count=4)


@pytest.mark.parametrize(
    "content, options, words",
    [
        (None, {"lm": "none.arpa"}, r"none.arpa: no such language model; `deepspeech-sparse lm build`"),
        (b"", {"lm": "file"}, r"file: KenLM cannot read"),
        (b"RIFF\xff\xfe\x80" * 99, {"lm": "file"}, r"file: KenLM cannot read"),
        (b"\0\1\2" * 99, {"lm": "file"}, r"file: KenLM cannot read"),
        (b"\\data\\\nngram 1=3\n\n\\1-grams:\n-1\ta\n", {"lm": "file"}, r"file: KenLM cannot read"),
        (b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(99), {"lm": "file"}, r"file: KenLM cannot"),
        (
            b"\\data\\\nngram 1=2\n\n\\1-grams:\n-1\tgo\n-1\t<s>\n-1\t</s>\n\n\\end\\\n",
            {"lm": "file"},
            "hardly any of the alph",
        ),
        (None, {"lexicon": "none.txt"}, r"none.txt: cannot be read \(No such file"),
        (b"", {"lexicon": "file"}, "file: holds no word"),
        (b"a\ta\nb\n", {"lexicon": "file"}, r"file, line 2: 'b' is no word, tab and letters"),
        (b"ab\tab\n", {"lexicon": "file"}, r"file, line 1"),
        (b"xa\tx a\n", {"lexicon": "file"}, r"file, line 1: the alphabet of the model does not have \['x'\] of 'xa'"),
        (b"\xff", {"lexicon": "file"}, r"file: cannot be read \(invalid start byte"),
        (None, {"hot_words": ("a!",)}, r"hot word 'a!' has characters that the model cannot write: \['!'\]"),
        (None, {"hot_words": (" ",)}, "hot word ' ' .* it is empty"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, content, options, words):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    paths = {name: tmp_path / value if name != "hot_words" else value for name, value in options.items()}
    with pytest.raises(InputError, match=words):
        decoder_of(DecoderConfig("beam", **paths), ALPHABET)


def test_files_may_be_named_by_strings(tmp_path):
    """As people write them in Python."""
    words, (lm, _, _) = lexicon_file(tmp_path, "a", "b"), arpa(tmp_path, ["a b", "b"])
    config = DecoderConfig("beam", lm=str(lm), lexicon=str(words))
    assert config == DecoderConfig("beam", lm=lm, lexicon=words)
    decoder_of(config, ALPHABET)


def test_a_model_of_characters_does_not_go_with_a_lexicon(tmp_path):
    lm, *_ = arpa(tmp_path, ["left right"], units="characters")
    alphabet = Alphabet(" efghilrt")
    with pytest.raises(InputError, match=r"hardly any of the words of .*lexicon.txt, e.g. not 'right'"):
        decoder_of(DecoderConfig("beam", lm=lm, lexicon=lexicon_file(tmp_path, "left", "right")), alphabet)


def test_alphabets_that_a_search_cannot_do_with_are_refused(tmp_path):
    with pytest.raises(InputError, match="a lexicon needs an alphabet with a space"):
        decoder_of(DecoderConfig("beam", lexicon=lexicon_file(tmp_path, "a")), Alphabet("ab"))
    lm, *_ = arpa(tmp_path, ["a"], units="characters")
    with pytest.raises(InputError, match=r"\| stands for the space"):
        decoder_of(DecoderConfig("beam", lm=lm), Alphabet(" a|"))
    [[best]] = decoder_of(DecoderConfig("beam", hot_words=("ba",)), Alphabet("ab")).decode(
        scores(4, seed=0, labels=3)[None], torch.tensor([4])
    )
    assert set(best.text) <= {"a", "b"}


@pytest.mark.parametrize(
    "path, text", [("s_t_o__", "stop"), ("g_o_ _s_t_o__", "go stop"), ("t_h_r_e__", "three"), ("_s_t_o_p_", "stop")]
)
def test_words_that_are_half_said_are_found(path, text, tmp_path, monkeypatch):
    """Sure of a spelling that the lexicon lacks, a network throws all whole words off the beam."""
    monkeypatch.setattr("deepspeech_sparse.decoding.searches.THRESHOLD", 10.0)
    alphabet = Alphabet(" eghoprst")
    rows = torch.full((len(path), alphabet.size), 0.001 / (alphabet.size - 1))
    for frame, symbol in enumerate(path):
        rows[frame, 0 if symbol == "_" else alphabet.symbols.index(symbol) + 1] = 0.999
    decoder = decoder_of(DecoderConfig("beam", lexicon=lexicon_file(tmp_path, "go", "stop", "three")), alphabet)
    [[best, *_]] = decoder.decode(rows.log()[None], torch.tensor([len(path)]))
    assert best.text == text and best.score > -1000


def test_a_line_that_comes_twice_counts_once_and_files_may_begin_with_a_mark(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("\ufeffa\ta\nb\tb\na\ta\n", encoding="utf-8")
    assert read_lexicon(path, ALPHABET) == {"a": ["a"], "b": ["b"]}


@pytest.mark.parametrize(
    "lines, words",
    [
        (["a\ta", "<unk>\tb"], r"line 2: <unk> stands for words that a lexicon lacks"),
        ([f"{number}\ta" for number in range(7)], "line 7: more than 6 words are spelled 'a'"),
    ],
)
def test_lexicons_that_the_search_would_not_keep_are_refused(lines, words, tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=words):
        read_lexicon(path, ALPHABET)


def test_words_are_timed_by_the_spelling_that_was_heard(tmp_path):
    """Not by letters that a lexicon writes otherwise, or that the model does not have."""
    recording = Path(__file__).parent / "golden" / "enter.flac"
    model = Path(__file__).parent.parent / "checkpoints" / "an4-gru.safetensors"
    plain, coded = tmp_path / "plain.txt", tmp_path / "coded.txt"
    words = {"enter": "ENTER!", "six": "6", "five": "5", "eight": "8"}
    plain.write_text("".join(f"{word}\t{' '.join(word)}\n" for word in words))
    coded.write_text("".join(f"{written}\t{' '.join(word)}\n" for word, written in words.items()))
    one, other = (
        Recognizer.load(model, decoder=DecoderConfig("beam", lexicon=path)).transcribe(recording)
        for path in (plain, coded)
    )
    assert one.text == "enter six five five eight" and other.text == "ENTER! 6 5 5 8"
    assert [(word.start, word.end) for word in other.words] == [(word.start, word.end) for word in one.words]


def test_one_hot_word_needs_no_tuple():
    assert DecoderConfig("beam", hot_words="kim").hot_words == ("kim",)


def test_a_word_may_be_spelled_in_several_ways(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("4\ta b\n\n4\tb b\nb\tb\n")
    assert read_lexicon(path, ALPHABET) == {"4": ["ab", "bb"], "b": ["b"]}
    rows = torch.full((2, 4), -9.0)
    rows[0, 2], rows[1, 3] = 0.0, 0.0
    [[best]] = decoder_of(DecoderConfig("beam", lexicon=path), ALPHABET).decode(rows[None], torch.tensor([2]))
    assert best.text == "4" and best.labels == (2, 3)


@pytest.mark.parametrize("options", [{"lm": Path("lm.arpa")}, {"lexicon": Path("words.txt")}, {"hot_words": ("a",)}])
def test_greedy_decoding_passes_over_nothing_in_silence(options):
    with pytest.raises(InputError, match=f"greedy knows no {next(iter(options))}; choose kind beam"):
        decoder_of(DecoderConfig(**options), ALPHABET)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"beam_width": 0}, "beam_width 0"),
        ({"cutoff_top_n": 0}, "cutoff_top_n 0"),
        ({"cutoff_prob": 0.0}, "cutoff_prob 0.0"),
        ({"alpha": math.nan}, "alpha nan"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        DecoderConfig(**options)


def test_a_missing_package_is_said_with_its_remedy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flashlight.lib.text.decoder.kenlm", None)
    with pytest.raises(InputError, match=r"needs the package flashlight-text .*'deepspeech-sparse\[beam\]'"):
        decoder_of(DecoderConfig("beam"), ALPHABET)


def test_recipes_and_flags_say_how_to_decode(model, tones, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("epochs: 3\ndecoder: {kind: beam, beam_width: 7}\n")
    command = ["evaluate", str(model), str(tones["dev"])]
    assert main([*command, "--decoder", str(recipe), "--decoder.cutoff_top_n=3"]) == 0
    assert main([*command, "--decoder.kind", "beam", "--decoder.lm", "none.arpa"]) == 1
    assert "none.arpa: no such language model" in capsys.readouterr().err
    assert main([*command, "--decoder.width", "7"]) == 2
    assert "unknown key width; did you mean beam_width?" in capsys.readouterr().err
    assert main([*command, "--decoder.alpha"]) == 2
    assert "--decoder.alpha needs a value" in capsys.readouterr().err
    recipe.write_text("epochs: 3\n")
    assert main([*command, "--decoder", str(recipe)]) == 1
    assert "recipe.yaml: has no section decoder; `lm tune` writes one" in capsys.readouterr().err


def test_beam_search_finds_texts_at_least_as_likely_as_the_best_path(corpora, tmp_path):
    """The judge is torch's CTC loss, which sums over all alignments in its own way."""
    manifests = prepare_an4(corpora / "an4_raw.bigendian.tar.gz", tmp_path)
    recognizer = Recognizer.load(Path(__file__).parent.parent / "checkpoints" / "an4-gru-sparse.safetensors")
    beam = decoder_of(DecoderConfig("beam"), recognizer.alphabet)
    better = 0
    for utterance in read_manifest(manifests["dev"])[:30]:
        [rows] = recognizer.log_probs([load_audio(utterance.audio)])
        frames = torch.tensor([len(rows)])
        judged = []
        for decoder in (recognizer.decoder, beam):
            [[best]] = decoder.decode(rows[None], frames)
            labels = torch.tensor([recognizer.alphabet.encode(best.text)])
            loss = torch.nn.functional.ctc_loss(
                rows[:, None], labels, (len(rows),), (labels.shape[1],), reduction="sum"
            )
            judged.append(-float(loss))
        assert judged[1] >= judged[0] - 1e-3
        better += judged[1] > judged[0] + 1e-3
    assert better, "a beam that never finds more than the best path is none"


@pytest.mark.parametrize(
    "given, phrases", [("new york", ("new york",)), ("[new york, no, '1']", ("new york", "no", "1")), ("[]", ())]
)
def test_hot_words_on_the_command_line_are_one_phrase_or_a_list(given, phrases):
    assert split_decoder(["--decoder.hot_words", given])[0].hot_words == phrases


def test_no_more_than_a_phrase_on_credit_drops_other_texts(tmp_path, monkeypatch):
    """The beginning of a hot phrase is heard, not its end: its credit must not have cost the rest of the beam."""
    monkeypatch.setattr("deepspeech_sparse.decoding.searches.THRESHOLD", 10.0)
    alphabet = Alphabet(" abcdefghijklmnopqrstuvwxyz")
    rows = torch.full((11, alphabet.size), math.log(1e-6))
    for frame, symbol in enumerate("twenty sixa"[:10] + " "):
        rows[frame, alphabet.encode(symbol)[0]] = math.log(0.99)
    config = DecoderConfig(
        "beam", lexicon=lexicon_file(tmp_path, "twenty", "six"), hot_words=("twentieth",), hot_word_boost=30.0
    )
    [[best]] = decoder_of(config, alphabet).decode(rows[None], torch.tensor([11]))
    assert best.text == "twenty six" and best.hot_word_score == 0
