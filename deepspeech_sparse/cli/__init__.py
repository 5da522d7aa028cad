"""The command line."""

from .main import main
from .verbs import VERBS

__all__ = ["VERBS", "main"]
