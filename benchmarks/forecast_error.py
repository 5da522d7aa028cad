"""How far forecasts of the sparsity were off, for every pruned run of a study that has a threshold for its goal.

    python benchmarks/forecast_error.py runs/spoken-forecast [--warm-up 100 200]

A forecast from the dense model that the run took its threshold from, beside two that know less or nothing of training:
the dense weights held against the last threshold, and dense steps or initial weights with the threshold as a number.
"""

import argparse
import dataclasses
import logging
from pathlib import Path

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.forecast.recipe import forecast
from deepspeech_sparse.pruning import Goal, prunable_weights
from deepspeech_sparse.pruning.quantile import size_quantile
from deepspeech_sparse.training.config import RunConfig, load_config
from deepspeech_sparse.training.runs import dense_module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--warm-up", type=int, nargs="*", default=[])
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    columns = ["run", "reached", "forecast", "dense weights as they are"]
    columns += [*(f"{steps} dense steps" for steps in options.warm_up), "initial weights"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for path in sorted(options.study.glob("*/cell.yaml")):
        config = load_config(path)
        if config.pruning is not None and config.pruning.recurrent.dense is not None:
            print(f"| {path.parent.name} | {' | '.join(row(config, path.parent, options.warm_up))} |", flush=True)


def row(config: RunConfig, run: Path, warm_ups: list[int]) -> list[str]:
    """Sparsity reached, and each forecast of it with its error in points."""
    told = forecast(config, reached=(run,))
    [reached] = told.reached.values()
    threshold = told.updates[-1].thresholds

    def off(sparsity: float) -> str:
        return f"{sparsity:.1%} ({100 * (sparsity - reached):+.2f})"

    goal = config.pruning.recurrent
    small = total = 0
    dense = [weight for weight in prunable_weights(dense_module(goal.dense)) if weight.kind == "recurrent"]
    for weight in dense:
        # With scope layer there is a threshold for each.
        limit = threshold.get("recurrent", threshold.get(weight.layer))
        small += int((weight.parameter.abs() < limit).sum())
        total += weight.parameter.numel()
    cells = [
        f"{reached:.2%}",
        off(told.sparsity),
        off(small / total) if config.pruning.pattern.kind == "single" else "",
    ]
    if config.pruning.scope != "kind":
        return cells + [""] * (len(warm_ups) + 1)
    # The same threshold as a number, and nobody to say how weights grow.
    q = size_quantile([config.pruning.pattern.sizes(weight) for weight in dense], goal.percentile)
    aimed = dataclasses.replace(config, pruning=dataclasses.replace(config.pruning, recurrent=Goal(q=q)))
    for steps in (*warm_ups, 0):
        try:
            cells.append(off(forecast(aimed, warm_up=steps).sparsity))
        except InputError:
            cells.append("everything")
    return cells


if __name__ == "__main__":
    main()
