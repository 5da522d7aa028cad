"""What a sensitivity study says, in words, and what it does not."""

from __future__ import annotations

import math

import numpy as np

from ..text import counted
from .drawing import brief
from .sensitivity import Star
from .sensitivity_plot import means


def star_paragraphs(star: Star) -> tuple[str, ...]:
    """What the figure shows and what it does not."""
    found = [ranges(star), seeds(star), movers(star)], [outside(star), together(star)], [limits(star)]
    paragraphs = (" ".join(text for text in sentences if text) for sentences in found)
    return tuple(text for text in paragraphs if text)


def ranges(star: Star) -> str:
    """Where the means of the variations lie."""
    parts = []
    for field, word in star.measures.items():
        found = [mean for variation in star.variations if (mean := variation.mean(field)) is not None]
        parts.append(f"mean {word} {'from' if parts else 'ranges from'} {min(found):.2f} to {max(found):.2f} %")
    count, settings = len(star.variations), counted(len(star.labels), "setting")
    return f"Over {count} variations of {settings}, one at a time around the heuristic, {' and '.join(parts)}."


def seeds(star: Star) -> str:
    """What luck alone does."""
    parts = []
    for field, word in star.measures.items():
        spreads = [spread for variation in star.everything if (spread := variation.spread(field)) is not None]
        own = star.heuristic.spread(field)
        if spreads:
            part = f"{word} by up to {max(spreads):.2f} points"
            parts.append(part if own is None else f"{part} ({own:.2f} the heuristic's own)")
    if not parts:
        return "None was trained with a second seed: how far luck alone moves them is not known."
    return f"Seeds alone move {' and '.join(parts)}."


def movers(star: Star) -> str:
    """The variations that are farthest from the heuristic."""
    parts = []
    for field, word in star.measures.items():
        changes = [(change, v) for v in star.variations if (change := star.change(v, field)) is not None]
        change, farthest = max(changes, key=lambda pair: abs(pair[0]), default=(0.0, None))
        if farthest and abs(change) >= 0.005:
            parts.append(f"{word} most by {star.told(farthest)} ({change:+.2f} points)")
    return f"Against the heuristic, the settings move {' and '.join(parts)}." if parts else ""


def outside(star: Star) -> str:
    """How many variations have all seeds on one side of all of the heuristic's, and how many would by luck.

    When a setting does nothing, n and m runs fall into any order alike: 2 of (n + m over n) orders are apart.
    """
    parts = []
    for field, word in star.measures.items():
        middle = star.heuristic.values(field)
        known = [values for variation in star.variations if (values := variation.values(field))]
        if middle and known:
            apart = sum(min(values) > max(middle) or max(values) < min(middle) for values in known)
            luck = sum(2 / math.comb(len(values) + len(middle), len(middle)) for values in known)
            if luck < len(known):  # with one seed each, all are apart
                parts.append(f"{apart} of {len(known)} variations in {word} (by luck alone about {luck:.1f})")
    return f"Wholly on one side of the heuristic's seeds lie {' and '.join(parts)}." if parts else ""


def together(star: Star) -> str:
    """Whether more zeros go with more errors, as on one curve."""
    ends = [end for variation in star.everything if (end := means(variation))]
    if len(ends) < 4 or any(np.ptp(values) < 1e-9 for values in zip(*ends)):
        return ""
    correlation = round(np.corrcoef(*zip(*ends))[0, 1], 2) + 0.0  # no minus before a zero
    return f"The means of sparsity and WER have a correlation of {correlation:+.2f} (+1: all on one rising line)."


def limits(star: Star) -> str:
    """What nobody should read from it."""
    manifests = dict.fromkeys(run.manifest for each in star.everything for run in each.results if run.manifest)
    counts = sorted({len(variation.results) for variation in star.everything})
    many = counted(counts[0], "run") if len(counts) == 1 else f"{counts[0]} to {counted(counts[-1], 'run')}"
    text = (
        f"What this does not show: it is one corpus{f' ({brief(next(iter(manifests)))})' if manifests else ''} and one "
        f"network, {many} of each variation, one setting at a time. What two settings do together, or any of them "
        f"elsewhere, is not known. The farthest of {len(star.variations)} was chosen by these very figures, which "
        "flatters it."
    )
    if star.left_out:
        text += f" {counted(star.left_out, 'run')} with several settings changed at once are left out here."
    return text
