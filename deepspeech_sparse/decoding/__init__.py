"""From label scores to text."""

from .greedy import greedy

__all__ = ["greedy"]
