"""Language models: counted from text, smoothed by modified Kneser-Ney, written as ARPA files that KenLM reads."""

from .build import LanguageModelSummary, build_language_model

__all__ = ["LanguageModelSummary", "build_language_model"]
