"""Trainings: one, many, what one will do, and one to watch."""

import sys
from pathlib import Path
from typing import Literal


def train(config, *, out: Path, resume: Literal["auto", "never"] | Path = "never") -> int:
    """Train a recognizer, dense or gradually pruned; Ctrl-C saves the state and stops.

    Args:
        config: YAML file; every value can also be given as a flag, e.g. --network.hidden 512
        out: run folder: config.yaml, checkpoints/, metrics.csv, TensorBoard events
        resume: auto continues the run in `out` bit-exactly or starts it; a path continues from that checkpoint;
            never refuses a folder that already holds a run
    """
    from ...training.callbacks import TrainingStopped
    from ...training.runs import train as train_run

    try:
        folder = train_run(config, out, resume=False if resume == "never" else resume)
    except TrainingStopped as stop:
        print(f"{stop}; continue with --resume auto", file=sys.stderr)
        return 130
    print(f"trained: {folder}")
    return 0


def forecast(
    config,
    *,
    dense: Path | None = None,
    warm_up: int = 0,
    target_sparsity: float | None = None,
    results: Path | None = None,
    reached: list[Path] | None = None,
    json: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Say what the pruning of a recipe will do before training it: sparsity over time, size and work per layer.

    Args:
        config: YAML file; every value can also be given as a flag, e.g. --pruning.recurrent.q 0.1
        dense: trained dense model of the same network that tells how weights grow; by default the recipe's own
            `dense`. Without one, the initial weights stand for the trained ones
        warm_up: or train so many steps without pruning, and extrapolate
        target_sparsity: find the hyper-parameters that reach it, e.g. 0.9
        results: a study's results.csv: also predict the WER, if enough of its runs are of this kind
        reached: finished runs of this recipe to hold the forecast against, e.g. [runs/a, runs/b]
        json: also write the result here
        plot: also draw zeros and thresholds over the training, as .svg or .png
    """
    from rich.console import Console

    from ...forecast.recipe import forecast as forecast_pruning

    forecast_pruning(
        config,
        dense=dense,
        warm_up=warm_up,
        target_sparsity=target_sparsity,
        results=results,
        reached=tuple(reached or ()),
        json=json,
        plot=plot,
    ).print(Console())


def study(*, config: Path, out: Path, jobs: int = 1, earlier: Path | None = None) -> int:
    """Train and evaluate a grid of configs; what is done is skipped. Exit code 1 if any training failed.

    Args:
        config: YAML file with base, evaluate, maybe test, and grids, e.g. recipes/an4/study.yaml
        out: folder of the study: a run folder per training, results.csv and, of the test set, test.csv
        jobs: trainings at the same time; each gets its share of the CPU's cores
        earlier: folder with results.csv (and test.csv) of this study as run elsewhere; what is in them is not trained
    """
    from ...results import failures
    from ...study.watch import run_study

    results = run_study(config, out, jobs=jobs, earlier=earlier)
    failed = len(failures(results))
    print(f"{out / 'results.csv'}: {len(results)} rows, {failed} failed")
    return 1 if failed else 0


def demo(*, out: Path = Path("demo"), seed: int = 0) -> None:
    """Watch a recognizer learn synthesised speech, dense and 90 % sparse, and compare the two; under 6 minutes.

    Args:
        out: folder for the corpus, both runs and their model files; started anew each time
        seed: of the corpus and of both trainings
    """
    from ...demo import run_demo

    run_demo(out, seed=seed)
