"""A training that starts from a trained model instead of from random weights: to learn other voices, or for longer.

init_from -> its weights and the statistics of its front end; its zeros, unless `pruning` is asked for
"""

from __future__ import annotations

from pathlib import Path

import lightning as L
from torch import Tensor

from ..errors import InputError
from ..model_config import ModelConfig
from ..model_file import Model
from ..pruning.pruner import sparsity, zero_
from ..settings import config_to_dict, differences
from .module import SpeechRecognition


def start_from(module: SpeechRecognition, model: Model, config: ModelConfig, source: Path) -> None:
    """Give `module`, which `config` describes, the weights of a trained model.

    Args:
        source: where the model was found

    Raises:
        InputError: a model of another shape, front end or alphabet
    """
    theirs, ours = (without_dropout(config_to_dict(each)) for each in (model.config, config))
    if changed := differences(theirs, ours):
        raise InputError(
            f"{source}: cannot start this training, its model is another one: {'; '.join(changed)}. Take over its "
            "values (`deepspeech-sparse info` tells them), or leave init_from out"
        )
    module.network.load_state_dict(model.network.state_dict())
    module.front_end.load_state_dict(model.front_end.state_dict())


def without_dropout(plain: dict) -> dict:
    """A model's config without what its weights do not depend on."""
    return {**plain, "network": {name: value for name, value in plain["network"].items() if name != "dropout"}}


class KeepZeros(L.Callback):
    """What is exactly zero in a matrix or kernel when the training starts, or goes on, stays zero.

    Such a weight gets no gradient, and neither momentum nor weight decay moves a zero that never had one. The zeros are
    thereby in every checkpoint, and a resumed run finds the same.
    """

    def __init__(self) -> None:
        self.zeros: list[tuple[Tensor, Tensor]] = []  # parameter, True where it is zero
        self.share = 0.0  # of zeros in these, as pruning tells it

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        matrices = [parameter for parameter in pl_module.parameters() if parameter.dim() > 1]
        zeros = [(parameter, parameter.detach() == 0) for parameter in matrices]
        self.zeros = [(parameter, mask) for parameter, mask in zeros if mask.any()]
        self.share = sparsity(parameter for parameter, _ in self.zeros)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs, batch, batch_idx) -> None:
        pl_module.log("sparsity", self.share, on_step=True, on_epoch=False)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer) -> None:
        for parameter, mask in self.zeros:
            if parameter.grad is not None:
                zero_(parameter.grad, mask)
