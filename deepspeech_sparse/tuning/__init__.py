"""Which weights a language model should have: many searches over scores that the network gave once."""

from .search import tune
from .trials import Tuning

__all__ = ["Tuning", "tune"]
