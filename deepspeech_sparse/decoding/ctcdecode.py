"""Beam search by the package ctcdecode, for those who have it: its options keep their names and their meaning."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decoder_config import DecoderConfig
from ..errors import InputError
from ..text import Alphabet
from .hypothesis import Hypothesis
from .kenlm import refuse_missing

REMEDY = "its package on PyPI cannot be built today; choose --decoder.kind beam, which has the same options"


class CtcdecodeDecoder:
    """`ctcdecode.CTCBeamDecoder` behind our interface.

    It gives one score for each text and does not say what of it is the language model's: `acoustic_score` holds all.

    Args:
        config: without lexicon and hot words, which ctcdecode does not know
        alphabet: label 0 is the blank

    Raises:
        InputError: ctcdecode is not installed, or there is no such language model
    """

    def __init__(self, config: DecoderConfig, alphabet: Alphabet) -> None:
        try:
            from ctcdecode import CTCBeamDecoder
        except ImportError as error:
            raise InputError(f"decoder: ctcdecode cannot be imported ({error}); {REMEDY}") from error
        if config.lm is not None:
            refuse_missing(config.lm)
        self.alphabet = alphabet
        self.decoder = CTCBeamDecoder(
            ["_", *alphabet.symbols],
            model_path=None if config.lm is None else str(config.lm),
            alpha=config.alpha,
            beta=config.beta,
            cutoff_top_n=config.cutoff_top_n,
            cutoff_prob=config.cutoff_prob,
            beam_width=config.beam_width,
            num_processes=torch.get_num_threads(),
            blank_id=0,
            log_probs_input=True,
        )

    def decode(self, log_probs: Tensor, frames: Tensor, n_best: int = 1) -> list[list[Hypothesis]]:
        """The likeliest texts: log-probabilities (B, T, V), frames (B,) -> B lists, best first."""
        labels, losses, begins, lengths = self.decoder.decode(log_probs.float().cpu(), frames.cpu())
        return [
            [
                self.hypothesis(
                    labels[row, beam], begins[row, beam], int(lengths[row, beam]), -float(losses[row, beam])
                )
                for beam in range(min(n_best, labels.shape[1]))
            ]
            for row in range(len(log_probs))
        ]

    def hypothesis(self, labels: Tensor, begins: Tensor, length: int, score: float) -> Hypothesis:
        """From padded labels and frames; ctcdecode's score is a loss."""
        written = tuple(labels[:length].tolist())
        text = " ".join(self.alphabet.decode(written).split())
        return Hypothesis(text, written, tuple(begins[:length].tolist()), score, score)
