"""Gradual pruning while training: schedules say when, the pruner says which weights, the callback says now."""

from .callback import GradualPruning
from .config import PruningConfig, ThresholdConfig
from .pruner import Pruner, prunable_parameters, sparsity
from .schedules import NarangThreshold

__all__ = [
    "GradualPruning",
    "NarangThreshold",
    "Pruner",
    "PruningConfig",
    "ThresholdConfig",
    "prunable_parameters",
    "sparsity",
]
