"""Sparse gradients: recurrent layers whose small gate gradients become zero on their way back through time.

Zhu, Clemons, Pool, Rhu, Keckler and Xie, "Sparsified SGD"; dropped by whole units: arXiv 1806.00512.
"""

from typing import Any

from .config import Absolute, GradientsConfig, Relative, Target, Units
from .layers import GRU, LSTM, RNN
from .rounded import RoundedGradients
from .rounding import EXACT, Rounding
from .seen import Seen

__all__ = [
    "EXACT",
    "GRU",
    "LSTM",
    "RNN",
    "Absolute",
    "GradientsConfig",
    "Relative",
    "RoundedGradients",
    "Rounding",
    "Seen",
    "SparseGradients",
    "Target",
    "Units",
]


def __getattr__(name: str) -> Any:
    if name == "SparseGradients":  # brings Lightning along, which recognition does without
        from .callback import SparseGradients

        return SparseGradients
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
