"""How wrong, how fast, how large: of one model, of several, of this machine; and the page that shows it."""

from pathlib import Path
from typing import Literal

from ...decoder_config import DecoderConfig


def evaluate(
    model: Path,
    manifest: Path,
    *,
    json: Path | None = None,
    worst: int = 5,
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
) -> None:
    """Word and character error rate of a model on a manifest, with a 95 % bootstrap interval over utterances.

    Args:
        model: run folder, checkpoint or exported .safetensors file
        json: also write the result here
        worst: utterances with most errors to show aligned
    """
    from rich.console import Console

    from ...evaluation.wer import evaluate as evaluate_model

    evaluation = evaluate_model(model, manifest, json=json, engine=engine, threads=threads, decoder=decoder)
    evaluation.print(Console(), worst=worst)


def compare(
    dense: Path,
    sparse: list[Path],
    *,
    manifest: Path,
    json: Path | None = None,
    report: Path | None = None,
    engine: Literal["native", "torch"] = "native",
    threads: int | None = None,
    decoder: DecoderConfig = DecoderConfig(),
    rounds: int = 5,
) -> None:
    """Compare sparse models with a dense one: errors, significance, speed, memory, non-zeros per layer, bytes on disk.

    Args:
        dense: the model that the others are held against: run folder, checkpoint or .safetensors file
        sparse: one or more other models
        json: also write the result here
        report: also write figures and tables into this folder, as one self-contained page, report.html
        engine: native, the sparse engine, or torch with all zeros; both give the same texts. Speed is measured in torch
            in any case
        rounds: in which all models take turns to show their speed; 0 measures neither speed nor memory
    """
    from rich.console import Console

    from ...evaluation.comparison import compare as compare_models

    comparison = compare_models(
        dense,
        sparse,
        manifest,
        json=json,
        report=report,
        engine=engine,
        threads=threads,
        decoder=decoder,
        rounds=rounds,
    )
    comparison.print(Console())


def report(results: Path, *, out: Path) -> None:
    """Draw a table of results: WER against sparsity, size and layers, significance, in one self-contained page.

    Args:
        results: the folder of a study, with its results.csv and maybe test.csv, or a results.csv alone
        out: folder for report.html, figures (SVG, PNG) and tables (CSV)
    """
    from ...report import report as write

    print(write(results, out))


def bench(
    *,
    parts: list[Literal["products", "layers", "recognition", "gradients"]] | None = None,
    full: bool = False,
    threads: int = 1,
    seed: int = 0,
    json: Path | None = None,
) -> None:
    """Measure sparse against dense on this machine: products, layers, recognition, training gradients; about 4 minutes.

    Args:
        parts: some of products, layers, recognition and gradients, e.g. [layers]; all by default
        full: the figures to publish, more rounds, steps and seconds: a quarter of an hour on an idle machine
        threads: of everything that is measured
        seed: of weights and inputs
        json: also write the figures here, with machine, date, versions and seed
    """
    from ...bench import PARTS
    from ...bench import bench as measure

    measure(tuple(parts or PARTS), full=full, threads=threads, seed=seed, json=json)
