"""What a decoder says was said, and why it thinks so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """One text for one utterance.

    Scores are natural logarithms. `score` is what a decoder ranks by:

        score = acoustic_score + alpha * lm_score + beta * words + hot_word_score
    """

    text: str
    labels: tuple[int, ...]  # of the text, blanks left out, repeats kept
    frames: tuple[int, ...]  # output frame at which each label begins
    score: float
    acoustic_score: float  # of the network
    lm_score: float | None = None  # of the language model, before its weight; None without one
    hot_word_score: float = 0.0
