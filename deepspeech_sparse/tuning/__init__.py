"""Which weights a language model should have: many searches over scores that the network gave once."""

from .search import Tuning, tune

__all__ = ["Tuning", "tune"]
