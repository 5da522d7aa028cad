"""Pruning while training: schedules say when, patterns and the pruner which weights, the callback says now."""

from .callback import GradualPruning
from .config import Cubic, Goal, Hard, Iterative, Lottery, Narang, PruningConfig
from .patterns import Balanced, Blocks, Single, TwoOfFour
from .pruner import Pruner, sparsity
from .weights import Weight, prunable_weights

__all__ = [
    "Balanced",
    "Blocks",
    "Cubic",
    "Goal",
    "GradualPruning",
    "Hard",
    "Iterative",
    "Lottery",
    "Narang",
    "Pruner",
    "PruningConfig",
    "Single",
    "TwoOfFour",
    "Weight",
    "prunable_weights",
    "sparsity",
]
