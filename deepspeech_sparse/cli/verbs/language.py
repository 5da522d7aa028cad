"""Language models for beam search: built, and weighed against the network."""

from pathlib import Path
from typing import Literal

from ...decoder_config import DecoderConfig


def lm_build(
    texts: list[Path],
    *,
    out: Path,
    order: int = 3,
    units: Literal["words", "characters"] = "words",
    prune: list[int] | None = None,
    lexicon: Path | None = None,
    priors: Path | None = None,
    alphabet: str = " 'abcdefghijklmnopqrstuvwxyz",
) -> None:
    """Build a language model from text by modified Kneser-Ney smoothing, as an ARPA file for beam search.

    Args:
        texts: text files, one sentence in a line, .gz too, or manifests (.jsonl); they are put in the alphabet's case
        out: the ARPA file, which KenLM reads, too
        order: longest n-gram, 2 to 6
        units: what is predicted: words for beam search with a lexicon, characters for beam search without
        prune: n-grams that occur so often or less are left out, a number for each order, e.g. [0, 0, 1]
        lexicon: also write the list of words that beam search may write
        priors: also write how often each label of a network occurs, for --decoder.priors
        alphabet: symbols that the network writes; words with others stay out of the lexicon
    """
    from ...language_model import build_language_model
    from ...text import Alphabet

    print(
        build_language_model(
            texts,
            out=out,
            order=order,
            units=units,
            prune=prune or (),
            lexicon=lexicon,
            priors=priors,
            alphabet=Alphabet(alphabet),
        )
    )


def lm_tune(
    model: Path,
    manifest: Path,
    *,
    decoder: DecoderConfig = DecoderConfig(),
    out: Path = Path("tuning"),
    recipe: Path | None = None,
    alphas: list[float] | None = None,
    betas: list[float] | None = None,
    gammas: list[float] | None = None,
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
) -> None:
    """Find the weights of language model (alpha), words (beta), priors (gamma) on a dev set; write them into a recipe.

    Args:
        model: run folder, checkpoint or exported .safetensors file
        manifest: JSON lines with audio_filepath, duration, text; a dev set, results are reported on another
        decoder: its language model and lexicon, e.g. --decoder.lm lm.arpa --decoder.lexicon words.txt; or a recipe
        out: folder for what the network says, which is computed once, for every search done, and for the figure
        recipe: YAML file whose `decoder` section becomes the winner; without one it is printed
        alphas: tried first, e.g. [0, 0.5, 1]; then steps half as wide around the best
        betas: likewise
        gammas: parts of the label priors, by default 0, 0.2, 0.4 and 0.6 with --decoder.priors, else 0 alone
        engine: native, the sparse engine, or torch with all zeros; both give the same texts
    """
    from rich.console import Console

    from ...tuning import tune as tune_decoder
    from ...tuning.recipe import decoder_section
    from ...tuning.search import ALPHAS, BETAS

    tuning = tune_decoder(
        model,
        manifest,
        decoder=decoder,
        out=out,
        recipe=recipe,
        alphas=alphas or ALPHAS,
        betas=betas or BETAS,
        gammas=gammas,
        engine=engine,
        threads=threads,
    )
    tuning.print(Console())
    print(decoder_section(tuning.decoder), end="")
