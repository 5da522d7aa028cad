"""The search for alpha and beta: a coarse grid, then a finer one around its best pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track
from torch import Tensor

from ..corpora.manifest import Utterance, read_manifest
from ..decoder_config import DecoderConfig
from ..decoding import Decoder, decoder_of
from ..errors import InputError
from ..evaluation.wer import count_errors
from ..files import refuse_unwritable, write_whole
from ..recognition.inference import Engine
from ..recognition.recognizer import Recognizer
from .picture import surface_picture
from .recipe import decoder_section, with_section, write_section
from .scores import fingerprint, heard, saved_scores
from .trials import Trial, Tuning, append_trial, read_trials

ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
BETAS = (-2.0, 0.0, 2.0, 4.0, 6.0)
GAMMAS = (0.0, 0.2, 0.4, 0.6)  # where there are priors


def tune(
    model: Path,
    manifest: Path,
    *,
    decoder: DecoderConfig,
    out: Path,
    recipe: Path | None = None,
    alphas: Sequence[float] = ALPHAS,
    betas: Sequence[float] = BETAS,
    gammas: Sequence[float] | None = None,
    engine: Engine = "native",
    threads: int | None = None,
) -> Tuning:
    """Find alpha, beta and gamma on a manifest, which should not be the one that results are reported on.

    The network runs once; its log-probabilities and every finished search are kept in `out`, so that an interrupted
    tuning, or one with more pairs, does nothing twice.

    Args:
        decoder: with a language model; its alpha, beta and gamma do not matter, greedy stands for beam
        out: folder for log-probabilities, tune.csv, tuning.svg and tuning.png
        recipe: YAML file whose `decoder` section becomes the winner
        alphas, betas: the coarse grid
        gammas: of each of these a grid of its own; by default some where the decoder has priors, else 0 alone
        engine, threads: see `Recognizer`

    Raises:
        InputError: no language model, model or manifest, a grid that is empty, what `decoder_of` refuses
    """
    if decoder.lm is None:
        raise InputError("lm tune: there is no language model to tune; give --decoder.lm, e.g. one of `lm build`")
    if not alphas or not betas or min(alphas) < 0:
        raise InputError(f"lm tune: alphas {list(alphas)}, betas {list(betas)}: one or more each, alphas 0 or more")
    gammas = gammas or (GAMMAS if decoder.priors is not None else (0.0,))
    if any(gammas) and decoder.priors is None:
        raise InputError(f"lm tune: gammas {list(gammas)} weigh priors, and there are none; give --decoder.priors")
    if decoder.kind == "greedy":
        decoder = replace(decoder, kind="beam")
    for path in (out / "tune.csv", *([recipe] if recipe else [])):
        refuse_unwritable(path)
    if recipe is not None:
        with_section(recipe, decoder_section(decoder))  # before the search, not after it
    utterances = read_manifest(manifest)
    if not any(utterance.text.split() for utterance in utterances):
        raise InputError(f"{manifest}: no word in {len(utterances)} utterances; an error rate needs texts")
    recognizer = Recognizer.load(model, engine=engine, threads=threads)
    decoder_of(decoder, recognizer.alphabet)  # what is wrong with it is found before the network runs
    corpus = heard(model, manifest, utterances)
    scores = saved_scores(recognizer, utterances, manifest, out, corpus)

    def search(gamma: float, alpha: float, beta: float) -> Trial:
        config = replace(decoder, alpha=alpha, beta=beta, gamma=gamma)
        return trial_of(decoder_of(config, recognizer.alphabet), scores, utterances, alpha, beta)

    greedy = trial_of(decoder_of(DecoderConfig(), recognizer.alphabet), scores, utterances, 0.0, 0.0)
    files = [path for path in (decoder.lm, decoder.lexicon, decoder.priors) if path is not None]
    same = replace(decoder, alpha=0.0, beta=0.0, gamma=0.0, lm=None, lexicon=None, priors=None)
    key = f"{corpus} {fingerprint(*files)} {same}"
    trials = []
    for gamma in sorted({float(gamma) for gamma in gammas}):
        found = search_grid(partial(search, gamma), alphas, betas, out / "tune.csv", f"{key} {gamma:g}")
        trials += [replace(trial, gamma=gamma) for trial in found]
    best = min(trials, key=lambda trial: trial.rank)
    tuned = replace(decoder, alpha=best.alpha, beta=best.beta, gamma=best.gamma)
    tuning = Tuning(str(manifest), greedy, tuple(trials), best, tuned)
    drawn = surface_picture(tuning.surface, best)
    write_whole(out / "tuning.svg", drawn.svg)
    write_whole(out / "tuning.png", drawn.png)
    if recipe is not None:
        comment = f"found by `lm tune` on {manifest}: WER {best.wer:.2%}, greedy {greedy.wer:.2%}"
        write_section(recipe, decoder_section(tuned, comment))
    return tuning


def trial_of(
    decoder: Decoder, scores: Sequence[Tensor], utterances: Sequence[Utterance], alpha: float, beta: float
) -> Trial:
    """Errors of a decoder on log-probabilities (T, V) of utterances."""
    errors = words = character_errors = characters = 0
    for rows, utterance in zip(scores, utterances):
        [[best, *_]] = decoder.decode(rows[None], frames_of(rows))
        counted = count_errors(utterance, best.text)
        errors, words = errors + counted.errors, words + counted.words
        character_errors += counted.character_errors
        characters += counted.characters
    return Trial(alpha, beta, errors / words, character_errors / characters)


def frames_of(rows: Tensor) -> Tensor:
    return rows.new_tensor([len(rows)]).long()


def search_grid(
    search: Callable[[float, float], Trial], alphas: Sequence[float], betas: Sequence[float], path: Path, key: str
) -> list[Trial]:
    """All pairs, then those half a step around the best; finished ones are read from `path`, new ones written there."""
    known = read_trials(path, key)

    def run(pairs: Iterable[tuple[float, float]]) -> list[Trial]:
        console = Console(stderr=True)
        missing = [pair for pair in pairs if pair not in known]
        for pair in track(missing, "searching", console=console, transient=True, disable=not console.is_terminal):
            known[pair] = search(*pair)
            append_trial(path, key, known[pair])
        return [known[pair] for pair in pairs]

    trials = run([(float(alpha), float(beta)) for alpha in sorted(set(alphas)) for beta in sorted(set(betas))])
    best = min(trials, key=lambda trial: trial.rank)
    near = [
        (alpha, beta)
        for alpha in half_steps(alphas, best.alpha)
        for beta in half_steps(betas, best.beta)
        if (alpha, beta) != (best.alpha, best.beta)
    ]
    return trials + [trial for trial in run(near) if trial not in trials]


def half_steps(values: Sequence[float], centre: float) -> list[float]:
    """The centre, and the middles between it and its neighbours."""
    ordered = sorted({float(value) for value in values})
    place = ordered.index(centre)
    neighbours = ordered[max(0, place - 1) : place + 2]
    return [(centre + value) / 2 for value in neighbours]
