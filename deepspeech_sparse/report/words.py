"""What the figures show and what they do not, in sentences made from the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..results import Result
from ..significance import readable_p_value
from .pairs import Contrast, contrast
from .points import Point, baseline_of, matched_by_nonzeros, same_utterances
from .tables import reason_of_failure

LEVEL = 0.05
ALIKE = 0.001  # shares of zeros that differ by less were meant to be the same
MOST = 2  # pairs at equal non-zeros put into words
MISSING = "The decisive comparison is missing: large and sparse against small and dense at equal non-zeros. "


def findings(
    points: Sequence[Point], failed: Sequence[Result], waiting: Sequence[Result] = (), tested: str = ""
) -> list[str]:
    """One paragraph for each thing to know, the most important first; `tested` is that of the test set."""
    dense = [point for point in points if point.dense]
    sparse = [point for point in points if not point.dense]
    paragraphs = [*against_dense(dense, sparse), tested, decisive(points)]
    paragraphs += [test_set(points), seeds(points), failures(failed), not_yet(points, failed, waiting)]
    return [text for text in paragraphs if text]


def against_dense(dense: Sequence[Point], sparse: Sequence[Point]) -> list[str]:
    """The best and the sparsest point beside the baseline."""
    if not sparse:
        return ["Only dense models were measured: nothing here says what sparsity costs."]
    best = min(sparse, key=lambda point: point.wer)
    among = "The only sparse model" if len(sparse) == 1 else f"The best of {len(sparse)} sparse models"
    text = f"{among}, {described(best)}, errs in {percent(best.wer)} of the words"
    if not dense:
        return [f"{text}. No dense model was measured: nothing here says what its zeros cost."]
    base = baseline_of(best, dense)
    held = contrast(base, best)
    text += f"; the dense baseline, {base.name}, in {percent(base.wer)}: {held_in_words(held)}"
    if len(sparse) > 1:
        text += " It was chosen by its errors on these very utterances, which flatters it."
    sparsest = sparsest_of(sparse)
    if zeros_of(sparsest) < zeros_of(best) + ALIKE:
        return [text]
    own = baseline_of(sparsest, dense)
    held = held_in_words(contrast(own, sparsest))
    against = "" if own is base else f", {own.name} in {percent(own.wer)}"
    return [text, f"The sparsest, {described(sparsest)}, errs in {percent(sparsest.wer)}{against}: {held}"]


def sparsest_of(sparse: Sequence[Point]) -> Point:
    """The point with the largest share of zeros; of several about alike, that with the fewest non-zeros."""
    most = max(map(zeros_of, sparse))
    alike = [point for point in sparse if zeros_of(point) > most - ALIKE]
    return min(alike, key=lambda point: point.mean("nonzeros") or math.inf)


def zeros_of(point: Point) -> float:
    """Share of zeros among its prunable weights, 0 where the table does not say."""
    return point.mean("pruned_sparsity") or 0.0


def held_in_words(held: Contrast) -> str:
    """A difference, absolute and relative, and whether it is luck."""
    if held.relative is None:
        return f"{points_text(held.value)}. {judged(held)}"
    change = f"a relative change of {100 * held.relative:+.2f} % (negative is worse)"
    return f"{points_text(held.value)}, {change}. {judged(held)}"


def judged(held: Contrast) -> str:
    """Whether a difference is more than luck."""
    if held.difference is None:
        return (
            "Whether that is luck cannot be said: the two were not measured on the same utterances, or the table does "
            "not hold their errors one by one."
        )
    interval = f"95 % interval {100 * held.difference.low:+.2f} to {100 * held.difference.high:+.2f} points"
    tested = f"{interval}; paired sign-flip test, {p_text(held.p_value)}"
    if held.p_value > LEVEL:
        text = f"The difference is not significant ({tested}): these figures do not show that one is better."
    else:
        text = f"The difference is significant ({tested})."
    overlap = overlapping(held.first, held.second)
    return text + (
        f" The intervals of the two rates overlap ({overlap}), which alone decides nothing." if overlap else ""
    )


def decisive(points: Sequence[Point]) -> str:
    """Large-sparse against small-dense at about equal non-zeros."""
    dense = [point for point in points if point.dense]
    sparse = [point for point in points if not point.dense]
    pairs = matched_by_nonzeros(points)
    if pairs:
        text = " ".join(f"At about equal non-zeros, {sized(contrast(*pair))}" for pair in pairs[:MOST])
        rest = len(pairs) - MOST
        return text if rest <= 0 else f"{text} {rest} more of such pairs: see the figure of WER against non-zeros."
    if not dense or not sparse:
        return MISSING + f"There is no {'dense' if not dense else 'sparse'} run."
    sizes = [[size for size in (point.mean("nonzeros") for point in group) if size] for group in (dense, sparse)]
    if not all(sizes):
        return MISSING + "The table does not say how many weights are not zero."
    return MISSING + (
        f"No smaller dense network has about as many non-zeros as a sparse one: dense {span(sizes[0])}, sparse "
        f"{span(sizes[1])}. One of that size might do as well; nothing here says so or denies it."
    )


def sized(held: Contrast) -> str:
    """Sparse beside dense, with the sizes of both."""
    first, second = held.first, held.second
    sizes = [f"{point.mean('nonzeros'):,.0f}" for point in (first, second)]
    dense = first.name.removeprefix("dense ")
    return (
        f"sparse {second.name} ({sizes[1]} of them) errs in {percent(second.wer)}, "
        f"dense {dense} ({sizes[0]}) in {percent(first.wer)}: {points_text(held.value)}. {judged(held)}"
    )


def test_set(points: Sequence[Point]) -> str:
    """How much there was to err in."""
    results = [result for point in points for result in point.results]
    manifests = list(dict.fromkeys(result.manifest for result in results if result.manifest))
    first = results[0]
    if len(manifests) > 1:
        return (
            f"The runs were measured on different manifests, {', '.join(manifests)}: rates of different ones cannot be "
            "held against each other."
        )
    if not first.utterances or not first.words:
        return "The table does not say how large the test set is."
    text = (
        f"The evaluated set{f', {manifests[0]},' if manifests else ''} has {first.utterances:,} utterances with "
        f"{first.words:,} words: one error more or less moves a rate by {100 / first.words:.2f} points. Intervals "
        "and tests speak of other utterances like these, not of other speakers, rooms or languages."
    )
    if len(results) > 1 and not same_utterances(results):
        text += " Not all runs say where their errors are on the same utterances, so not all pairs are tested."
    return text


def seeds(points: Sequence[Point]) -> str:
    """Whether luck of the training was measured."""
    several = [point for point in points if len(point.results) > 1]
    if not several:
        return (
            "One seed only: every model was trained once. How much a rate would move with another seed is not known, "
            "and no interval here covers it."
        )
    spreads = [max(run.wer for run in point.results) - min(run.wer for run in point.results) for point in several]
    widest, name = max(zip(spreads, (point.name for point in several)))
    single = len(points) - len(several)
    once = f" {single} {was(single)} trained with one seed only." if single else ""
    return (
        f"{len(several)} of {len(points)} models {was(len(several))} trained with several seeds.{once} Between seeds "
        f"of one model the rates differ by up to {100 * widest:.2f} points, those of {name}; intervals do not cover "
        "that."
    )


def was(number: int) -> str:
    return "was" if number == 1 else "were"


def failures(failed: Sequence[Result]) -> str:
    """Runs that are missing, and why."""
    if not failed:
        return ""
    reasons = "; ".join(f"{result.run}: {reason_of_failure(result)}" for result in failed)
    many = f"{len(failed)} runs are" if len(failed) > 1 else "One run is"
    return f"{many} missing from all figures. {reasons}."


def not_yet(points: Sequence[Point], failed: Sequence[Result], waiting: Sequence[Result]) -> str:
    """How much of a study is still to come."""
    if not waiting:
        return ""
    planned = sum(len(point.results) for point in points) + len(failed) + len(waiting)
    return (
        f"Of {planned} trainings of this study {len(waiting)} are not yet run. Whatever is said here is "
        "said of the others; a table at the end names them."
    )


def described(point: Point) -> str:
    """A sparse point with its zeros."""
    share, nonzeros = point.mean("pruned_sparsity"), point.mean("nonzeros")
    details = [f"{100 * share:.1f} % of the prunable weights zero"] if share is not None else []
    details += [f"{nonzeros:,.0f} not zero in all"] if nonzeros is not None else []
    return f"{point.name} ({', '.join(details)})" if details else point.name


def overlapping(first: Point, second: Point) -> str:
    """The intervals of two rates if they overlap, else nothing."""
    if first.interval is None or second.interval is None:
        return ""
    (low, high), (other_low, other_high) = first.interval, second.interval
    if low > other_high or other_low > high:
        return ""
    return f"{100 * low:.2f} to {100 * high:.2f} and {100 * other_low:.2f} to {100 * other_high:.2f} %"


def span(sizes: Sequence[float]) -> str:
    return f"{min(sizes):,.0f}" if min(sizes) == max(sizes) else f"{min(sizes):,.0f} to {max(sizes):,.0f}"


def percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"


def points_text(difference: float) -> str:
    if round(100 * difference, 2) == 0:
        return "no difference"
    return f"{abs(100 * difference):.2f} points {'more' if difference > 0 else 'less'}"


def p_text(p_value: float) -> str:
    text = readable_p_value(p_value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"
