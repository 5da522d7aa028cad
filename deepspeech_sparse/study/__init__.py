"""Studies: many trainings from one file, one row each."""

from .plan import load_study
from .watch import run_study

__all__ = ["load_study", "run_study"]
