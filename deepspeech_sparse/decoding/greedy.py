"""Greedy decoding: the best label of every frame, repeats merged, blanks dropped. No language model."""

from torch import Tensor

from ..text import Alphabet


def greedy(log_probs: Tensor, frames: Tensor, alphabet: Alphabet) -> list[str]:
    """Best-path transcripts (Graves et al. 2006, section 3.2).

    Args:
        log_probs: (B, T, V) log-probabilities, or any scores of the same order such as logits
        frames: (B,) frames that are real
        alphabet: label 0 is the blank

    Returns:
        B texts, without leading, trailing and doubled spaces
    """
    texts = []
    for labels, length in zip(log_probs.argmax(-1).cpu(), frames.tolist()):
        path = labels[:length].unique_consecutive().tolist()
        texts.append(" ".join(alphabet.decode([label for label in path if label]).split()))
    return texts
