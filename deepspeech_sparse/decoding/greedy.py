"""Greedy decoding: the best label of every frame, repeats merged, blanks dropped. No language model."""

from collections.abc import Sequence

from torch import Tensor

from ..text import Alphabet
from .hypothesis import Hypothesis


class GreedyDecoder:
    """Best-path decoding (Graves et al. 2006, section 3.2): one hypothesis for each utterance.

    Args:
        alphabet: label 0 is the blank
    """

    def __init__(self, alphabet: Alphabet) -> None:
        self.alphabet = alphabet

    def decode(self, log_probs: Tensor, frames: Tensor, n_best: int = 1) -> list[list[Hypothesis]]:
        """The best path of each utterance.

        Args:
            log_probs: (B, T, V) log-probabilities
            frames: (B,) frames that are real
            n_best: of no matter, there is one path

        Returns:
            B lists of one hypothesis; its text has no leading, trailing and doubled spaces
        """
        scores, best = log_probs.max(-1)
        return [
            [self.hypothesis(labels[:length].tolist(), float(score[:length].sum()))]
            for labels, score, length in zip(best.cpu(), scores.cpu(), frames.tolist())
        ]

    def hypothesis(self, path: list[int], score: float) -> Hypothesis:
        """Of a path, one label for each frame."""
        begins = begins_of(path)
        labels, frames = zip(*begins) if begins else ((), ())
        text = " ".join(self.alphabet.decode(labels).split())
        return Hypothesis(text, labels, frames, score, score)


def begins_of(path: Sequence[int]) -> list[tuple[int, int]]:
    """Where labels begin in a path, one label for each frame: (label, frame), repeats and blanks left out."""
    return [(label, frame) for frame, label in enumerate(path) if label and (frame == 0 or label != path[frame - 1])]


def greedy(log_probs: Tensor, frames: Tensor, alphabet: Alphabet) -> list[str]:
    """Texts alone: log-probabilities (B, T, V), or scores of the same order such as logits, frames (B,) -> B texts."""
    return [best.text for [best] in GreedyDecoder(alphabet).decode(log_probs, frames)]
