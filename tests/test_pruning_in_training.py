"""Every method inside a Lightning training of a module that knows nothing of it, and in a hand-written loop."""

import copy

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from deepspeech_sparse.errors import InputError
from deepspeech_sparse.pruning import (
    Balanced,
    Blocks,
    Cubic,
    Goal,
    GradualPruning,
    Hard,
    Iterative,
    Lottery,
    Narang,
    Pruner,
    PruningConfig,
    sparsity,
)
from deepspeech_sparse.pruning.rewind import refuse_unscalable, scale_learning_rate

TARGET = Goal(sparsity=0.8)
TEXT = torch.tensor([ord(letter) % 32 for letter in "the quick brown fox jumps over the lazy dog " * 20])
EPOCHS, STEPS = 6, 7  # 42 optimizer steps

METHODS = {
    "narang": PruningConfig(TARGET, schedule=Narang(every=3)),
    "narang-blocks": PruningConfig(
        TARGET, schedule=Narang(every=3), pattern=Blocks("blocks", 8, 1), group_lasso=1e-3, taper=0.2
    ),
    "cubic": PruningConfig(TARGET, schedule=Cubic("cubic", every=3), scope="layer"),
    "cubic-balanced": PruningConfig(
        TARGET, schedule=Cubic("cubic", every=3), masked_updates=True, pattern=Balanced("balanced")
    ),
    "hard": PruningConfig(TARGET, schedule=Hard("hard")),
    "iterative": PruningConfig(TARGET, schedule=Iterative("iterative")),
    "lottery": PruningConfig(TARGET, TARGET, schedule=Lottery("lottery", 0.42, rewind_epoch=0.5), scope="global"),
}


class LanguageModel(L.LightningModule):
    """Somebody's character language model: a plain nn.LSTM."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(32, 8)
        self.lstm = nn.LSTM(8, 16, num_layers=2, batch_first=True)
        self.linear = nn.Linear(16, 16)
        self.head = nn.Linear(16, 32)
        self.rates: list[float] = []

    def training_step(self, batch, batch_idx):
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        logits = self.head(torch.relu(self.linear(self.lstm(self.embedding(batch[:, :-1]))[0])))
        return nn.functional.cross_entropy(logits.transpose(1, 2), batch[:, 1:])

    def train_dataloader(self):
        # Every batch the same: Lightning would start a plain loader anew when resumed within an epoch.
        return torch.utils.data.DataLoader(TEXT[: 4 * 21].view(4, 21).repeat(STEPS, 1), batch_size=4)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class StopAt(L.Callback):
    """What a kill does: the training ends after the checkpoint of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *arguments) -> None:
        if trainer.global_step == self.step:
            raise KilledError


class KilledError(Exception):
    pass


def trainer_with(callbacks: list[L.Callback], folder, *, max_epochs: int | None = EPOCHS, **more) -> L.Trainer:
    return L.Trainer(
        max_epochs=max_epochs,
        callbacks=callbacks,
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
        **more,
    )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> dict[str, LanguageModel]:
    """Each method, trained without interruption."""
    modules = {}
    for name, config in METHODS.items():
        modules[name] = LanguageModel()
        trainer_with([GradualPruning(config)], tmp_path_factory.mktemp(name)).fit(modules[name])
    return modules


@pytest.mark.parametrize("method", METHODS)
def test_three_lines_prune_a_plain_lstm(method, unbroken):
    """Nothing is told but the goal: lengths come from the trainer."""
    module = unbroken[method]
    matrices = [p for name, p in module.named_parameters() if "lstm.weight" in name]
    if method == "lottery":
        matrices.append(module.linear.weight)
    assert sparsity(matrices) == pytest.approx(0.8, abs=0.01)
    assert sparsity([module.embedding.weight, module.head.weight]) == 0
    assert not any(torch.signbit(matrix[matrix == 0]).any() for matrix in matrices)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", [3, 15, 26, 34])
def test_a_training_killed_in_the_middle_of_any_schedule_ends_with_the_same_weights(method, step, unbroken, tmp_path):
    save = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=1, filename="last")
    with pytest.raises(KilledError):
        # The callback that stops comes last but one: Lightning runs checkpoint callbacks after all others.
        trainer_with([GradualPruning(METHODS[method]), StopAt(step + 1), save], tmp_path).fit(LanguageModel())
    checkpoint = next(tmp_path.glob("*.ckpt"))
    assert torch.load(checkpoint, weights_only=True)["global_step"] == step
    module = LanguageModel()
    trainer_with([GradualPruning(METHODS[method])], tmp_path).fit(module, ckpt_path=checkpoint, weights_only=True)
    for name, value in unbroken[method].state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name


def test_hard_pruning_may_go_on_from_a_training_that_is_pruned_later(unbroken, tmp_path):
    """Nothing happens before its step: trainings that are pruned at several steps share their start."""
    save = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=1, filename="last")
    later = PruningConfig(TARGET, schedule=Hard("hard", at=0.75))
    with pytest.raises(KilledError):
        trainer_with([GradualPruning(later), StopAt(EPOCHS * STEPS // 2), save], tmp_path).fit(LanguageModel())
    checkpoint, module = next(tmp_path.glob("*.ckpt")), LanguageModel()
    trainer_with([GradualPruning(METHODS["hard"])], tmp_path).fit(module, ckpt_path=checkpoint, weights_only=True)
    for name, value in unbroken["hard"].state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name


def test_iterative_pruning_retrains_at_a_tenth_of_the_learning_rate(unbroken):
    rates, dense = unbroken["iterative"].rates, unbroken["hard"].rates
    first = round(0.4 * EPOCHS * STEPS)
    assert rates[:first] == pytest.approx(dense[:first])
    assert rates[first:] == pytest.approx([rate / 10 for rate in dense[first:]])


SCHEDULERS = {
    "LambdaLR": {"lr_lambda": lambda step: 1 / (1 + step)},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.9},
    "StepLR": {"step_size": 3, "gamma": 0.5},
    "MultiStepLR": {"milestones": [2, 7], "gamma": 0.5},
    "ConstantLR": {"factor": 0.5, "total_iters": 7},
    "LinearLR": {"total_iters": 7},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 9, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 4},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scaled_learning_rate_stays_scaled(name):
    def rates(factor: float) -> list[float]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **SCHEDULERS[name])
        refuse_unscalable([scheduler])
        seen = []
        for step in range(12):
            if step == 5:
                scale_learning_rate(factor, [optimizer], [scheduler])
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return seen

    usual, scaled = rates(1.0), rates(0.1)
    assert scaled == pytest.approx([*usual[:5], *(rate / 10 for rate in usual[5:])])


@pytest.mark.parametrize("retrain_rate", [0.1, 1.0])
@pytest.mark.parametrize("name", ["OneCycleLR", "SequentialLR", "ReduceLROnPlateau", "CosineAnnealingLR"])
def test_a_scheduler_that_would_not_stay_scaled_is_refused_before_the_first_step(name, retrain_rate, tmp_path):
    torch_schedulers = torch.optim.lr_scheduler

    class Own(LanguageModel):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            made = {
                "OneCycleLR": lambda: torch_schedulers.OneCycleLR(optimizer, 0.1, total_steps=EPOCHS * STEPS),
                "SequentialLR": lambda: torch_schedulers.SequentialLR(
                    optimizer, [torch_schedulers.ConstantLR(optimizer), torch_schedulers.StepLR(optimizer, 3)], [9]
                ),
                "ReduceLROnPlateau": lambda: torch_schedulers.ReduceLROnPlateau(optimizer),
                "CosineAnnealingLR": lambda: torch_schedulers.CosineAnnealingLR(optimizer, 9, eta_min=0.01),
            }[name]()
            interval = "epoch" if name == "ReduceLROnPlateau" else "step"
            return [optimizer], [{"scheduler": made, "interval": interval, "monitor": "none", "strict": False}]

    module = Own()
    pruning = GradualPruning(PruningConfig(TARGET, schedule=Iterative("iterative", retrain_rate=retrain_rate)))
    if retrain_rate == 1:
        trainer_with([pruning], tmp_path).fit(module)
        assert len(module.rates) == EPOCHS * STEPS
    else:
        with pytest.raises(InputError, match=f"{name} would not keep to that"):
            trainer_with([pruning], tmp_path).fit(module)
        assert not module.rates


def test_a_lottery_rewinds_weights_optimizer_and_learning_rate(tmp_path):
    """After a round the weights left are those of step k, exactly, and the learning rate starts again from there."""
    states, module = {}, LanguageModel()

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *arguments) -> None:
            moments = trainer.optimizers[0].state_dict()["state"]
            states[trainer.global_step] = copy.deepcopy((pl_module.state_dict(), moments))

    pruning = GradualPruning(METHODS["lottery"])
    trainer_with([pruning, Watch()], tmp_path).fit(module)
    ends = pruning.pruner.groups[0].rule.schedule.steps
    back, single = 4, pruning.learning_rate_steps
    assert ends == (single, 2 * single - back, 3 * single - 2 * back)
    early, moments = states[back]
    for end in ends:
        weights, rewound = states[end]
        for name, value in weights.items():
            assert ((value == early[name]) | (value == 0)).all(), name
        assert all(torch.equal(rewound[0][key], moments[0][key]) for key in ("exp_avg", "exp_avg_sq", "step"))
        assert module.rates[end] == module.rates[back]
    reached = [sparsity([w for name, w in states[end][0].items() if "lstm.weight" in name]) for end in ends]
    assert reached == sorted(reached) and module.rates[ends[0] - 1] < module.rates[back]


def test_a_hand_written_loop_prunes_as_the_trainer_does(unbroken):
    module, config = LanguageModel(), METHODS["cubic"]
    module.trainer = type("Loop", (), {})()
    pruner = Pruner.of(module, config, total_steps=EPOCHS * STEPS, steps_per_epoch=STEPS)
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    module.trainer.optimizers = [optimizer]
    step = 0
    for _ in range(EPOCHS):
        for batch in module.train_dataloader():
            step += 1
            optimizer.zero_grad()
            module.training_step(batch, step).backward()
            pruner.before_step(step)
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            pruner.step(step)
    for name, value in unbroken["cubic"].state_dict().items():
        torch.testing.assert_close(value, module.state_dict()[name])


@pytest.mark.parametrize(
    "given, trainer, total, epoch",
    [
        ({}, {}, EPOCHS * STEPS, STEPS),
        ({}, {"accumulate_grad_batches": 2}, EPOCHS * 4, 4),
        ({"total_steps": 20}, {}, 20, STEPS),
        ({"steps_per_epoch": 3}, {}, EPOCHS * STEPS, 3),
        ({"total_steps": 20, "steps_per_epoch": 3}, {}, 20, 3),
        ({}, {"max_epochs": None, "max_steps": 20}, 20, STEPS),
        ({}, {"max_epochs": 1000, "max_steps": 20}, 20, STEPS),
    ],
)
def test_what_is_not_given_of_the_length_is_what_the_trainer_says(given, trainer, total, epoch, tmp_path):
    pruning = GradualPruning(METHODS["hard"], **given)
    with pytest.raises(KilledError):
        trainer_with([pruning, StopAt(1)], tmp_path, **trainer).fit(LanguageModel())
    assert (pruning.length.total, pruning.length.per_epoch) == (total, epoch)


def test_an_epoch_of_data_without_end_is_the_whole_training(tmp_path):
    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            while True:
                yield TEXT[:21]

    pruning = GradualPruning(METHODS["hard"])
    data = torch.utils.data.DataLoader(Endless(), batch_size=4)
    trainer_with([pruning], tmp_path, max_steps=5).fit(LanguageModel(), data)
    assert (pruning.length.total, pruning.length.per_epoch) == (5, 5)


def test_a_schedule_needs_a_length_or_a_trainer():
    with pytest.raises(InputError, match="give total_steps and steps_per_epoch"):
        GradualPruning(METHODS["hard"], total_steps=20).prepare(LanguageModel())


def test_a_training_without_end_is_refused(tmp_path):
    trainer = trainer_with([GradualPruning(METHODS["hard"])], tmp_path, max_epochs=-1)
    with pytest.raises(InputError, match="set max_epochs or max_steps"):
        trainer.fit(LanguageModel())


def test_a_checkpoint_of_another_network_is_refused_by_name(tmp_path):
    pruning = GradualPruning(METHODS["hard"])
    pruning.load_state_dict({"pruned": {"elsewhere": torch.ones(2, 2, dtype=torch.bool)}, "thresholds": {}})
    with pytest.raises(InputError, match=r"a mask for elsewhere \(2, 2\)"):
        trainer_with([pruning], tmp_path).fit(LanguageModel())
