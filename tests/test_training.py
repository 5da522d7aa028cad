"""Training: CTC, learning-rate schedule, and resuming bit-exactly after kill -9."""

import csv
import dataclasses
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from deepspeech_sparse.audio import load_audio
from deepspeech_sparse.augment import AugmentConfig
from deepspeech_sparse.corpora.manifest import Utterance, read_manifest, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import FeaturesConfig
from deepspeech_sparse.machine.versions import versions
from deepspeech_sparse.model import ConvolutionConfig, NetworkConfig
from deepspeech_sparse.models import any_model
from deepspeech_sparse.pruning import Goal, Lottery, Narang, PruningConfig, sparsity
from deepspeech_sparse.pruning.quantile import size_quantile
from deepspeech_sparse.training import runs
from deepspeech_sparse.training.batches import DataConfig
from deepspeech_sparse.training.callbacks import AtomicCheckpointIO, TrainingStopped, load_checkpoint
from deepspeech_sparse.training.config import RunConfig, save_config
from deepspeech_sparse.training.module import OptimizerConfig, ctc_loss
from deepspeech_sparse.training.runs import train

HOLD = """
import sys
from pathlib import Path
from deepspeech_sparse.training.lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="session")
def tiny(tones) -> RunConfig:
    """A sparse run of 4 epochs and about 6 steps each, with every source of randomness switched on."""
    return RunConfig(
        data=DataConfig(tones["train"], tones["dev"], batch_seconds=5),
        features=FeaturesConfig(kind="log_mel", mels=16),
        augment=AugmentConfig(),
        network=NetworkConfig((ConvolutionConfig(4, (5, 5), (2, 2)),), layers=1, hidden=12, dropout=0.2),
        optimizer=OptimizerConfig(learning_rate=0.01),
        pruning=PruningConfig(Goal(sparsity=0.8), schedule=Narang(every=2, ramp=0.3, end=0.8)),
        alphabet="abc",
        epochs=4,
        checkpoint_every=3,
        threads=1,
    )


@pytest.fixture(scope="session")
def unbroken(tiny, tmp_path_factory) -> Path:
    """The run folder of `tiny`, trained without interruption."""
    return train(tiny, tmp_path_factory.mktemp("unbroken"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]


def train_in_another_process(config: RunConfig, out: Path) -> subprocess.Popen:
    save_config(config, out.parent / "config.yaml")
    command = [sys.executable, "-m", "deepspeech_sparse.cli", "train", "--config", str(out.parent / "config.yaml")]
    command += ["--out", str(out), "--resume", "auto"]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(out: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not (out / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.005)


def test_a_run_killed_in_the_middle_of_epoch_and_ramp_ends_with_the_same_weights(tiny, unbroken, tmp_path):
    """kill -9 right after the first checkpoint, taken at step 3 of an epoch of 6; then again and again."""
    out = tmp_path / "run"
    process = train_in_another_process(tiny, out)
    wait_for_checkpoint(out, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = load_checkpoint(out / "checkpoints" / "last.ckpt")["global_step"]
    total = load_checkpoint(unbroken / "checkpoints" / "last.ckpt")["global_step"]
    assert killed_at < total
    train(tiny, out, resume="auto")
    expected, reached = weights(unbroken), weights(out)
    assert all(torch.equal(expected[name], reached[name]) for name in expected)


def test_loading_in_other_processes_changes_nothing(tiny, unbroken, tmp_path):
    data = dataclasses.replace(tiny.data, workers=1)
    train(dataclasses.replace(tiny, data=data), tmp_path)
    expected, reached = weights(unbroken), weights(tmp_path)
    assert all(torch.equal(expected[name], reached[name]) for name in expected)


def test_a_broken_recording_ends_the_training_with_its_name(tiny, tones, tmp_path, capsys):
    """The checkpoint of the epochs before is kept."""
    utterances = read_manifest(tones["train"])
    broken = tmp_path / "broken.flac"
    broken.write_bytes(b"fLaC nonsense")
    write_manifest(tmp_path / "train.jsonl", [*utterances, dataclasses.replace(utterances[0], id="b", audio=broken)])
    for workers in (0, 1):
        data = dataclasses.replace(tiny.data, train=tmp_path / "train.jsonl", workers=workers)
        with pytest.raises(InputError, match=r"broken\.flac"):
            train(dataclasses.replace(tiny, data=data), tmp_path / f"run-{workers}")


@pytest.mark.parametrize("step", [4, 6, 7, 11, 12, 16, 19])
def test_a_run_stopped_at_any_step_continues_bit_exactly(step, tiny, unbroken, tmp_path, train_until, recwarn):
    """In the first epoch, at its end, within the ramp, after it; metrics.csv holds every epoch once."""
    train_until(tiny, tmp_path, step)
    train(tiny, tmp_path, resume=True)
    expected, reached = weights(unbroken), weights(tmp_path)
    assert all(torch.equal(expected[name], reached[name]) for name in expected)
    rows = (tmp_path / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "4"]
    assert not [warning for warning in recwarn if "resum" in str(warning.message)]  # Lightning doubts it


def table(run: Path) -> list[dict[str, str]]:
    """metrics.csv without what takes another time each time."""
    with open(run / "metrics.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("epoch", [1, 4])
def test_a_signal_in_the_last_batch_of_an_epoch_waits_for_its_validation(epoch, tiny, unbroken, tmp_path, monkeypatch):
    last, real = int(table(unbroken)[epoch - 1]["step"]), runs.Checkpoints.on_train_batch_end

    def signalled(self, trainer, *arguments) -> None:
        if trainer.global_step == last:
            self.note_signal(signal.SIGTERM, None)
        real(self, trainer, *arguments)

    with monkeypatch.context() as patch, pytest.raises(TrainingStopped):
        patch.setattr(runs.Checkpoints, "on_train_batch_end", signalled)
        train(tiny, tmp_path)
    assert table(tmp_path) == table(unbroken)[:epoch]
    train(tiny, tmp_path, resume=True)
    expected, reached = weights(unbroken), weights(tmp_path)
    assert all(torch.equal(expected[name], reached[name]) for name in expected)
    assert table(tmp_path) == table(unbroken), "sparsity and threshold, too, which are measured at mask updates alone"


def test_a_second_signal_stops_at_once_and_says_interrupted(tiny, tmp_path, monkeypatch):
    def signalled_twice(self, trainer, *arguments) -> None:
        self.note_signal(signal.SIGINT, None)
        self.note_signal(signal.SIGINT, None)

    monkeypatch.setattr(runs.Checkpoints, "on_train_batch_end", signalled_twice)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as stopped:
        train(tiny, tmp_path)
    assert stopped.value.code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(tmp_path.glob("checkpoints/*.ckpt")), "the first signal would have saved at the end of its step"


def test_a_run_goes_on_from_its_best_checkpoint_in_another_folder(tiny, unbroken, tmp_path):
    train(tiny, tmp_path, resume=unbroken / "checkpoints" / "best.ckpt")
    expected, reached = weights(unbroken), weights(tmp_path)
    assert all(torch.equal(expected[name], reached[name]) for name in expected)
    assert table(tmp_path) == table(unbroken)[-len(table(tmp_path)) :]


def test_a_run_whose_manifest_has_changed_is_not_resumed(tiny, tmp_path, train_until):
    utterances = read_manifest(tiny.data.train)
    write_manifest(tmp_path / "train.jsonl", utterances)
    config = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, train=tmp_path / "train.jsonl"))
    train_until(config, tmp_path / "run", 4)
    write_manifest(tmp_path / "train.jsonl", utterances[1:])
    with pytest.raises(InputError, match=r"trained on other utterances than .*train\.jsonl.*--init_from"):
        train(config, tmp_path / "run", resume=True)


def test_signals_are_as_before_when_a_training_is_over(tiny, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    train(dataclasses.replace(tiny, epochs=1, pruning=None), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_saves_and_ends_cleanly(tiny, tmp_path):
    out = tmp_path / "run"
    process = train_in_another_process(dataclasses.replace(tiny, epochs=400), out)
    wait_for_checkpoint(out, process)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by SIGTERM" in errors and "--resume auto" in errors and "Traceback" not in errors
    load_checkpoint(out / "checkpoints" / "last.ckpt")


def test_pruned_weights_are_zero_in_the_checkpoint_and_meet_the_target(unbroken):
    state = weights(unbroken)
    matrices = [value for name, value in state.items() if "cell.weight" in name]
    zeros = sum(int((value == 0).sum()) for value in matrices)
    assert zeros / sum(value.numel() for value in matrices) == pytest.approx(0.8, abs=0.01)
    assert not any(torch.signbit(value[value == 0]).any() for value in matrices)


def test_a_model_tells_the_code_that_trained_it_and_not_the_one_that_reads_it(unbroken, tmp_path):
    checkpoint = load_checkpoint(unbroken / "checkpoints" / "best.ckpt")
    assert checkpoint["versions"] == versions()
    checkpoint["versions"]["git_commit"] = "0" * 40
    torch.save(checkpoint, tmp_path / "then.ckpt")
    assert any_model(tmp_path / "then.ckpt").provenance["git_commit"] == "0" * 40
    del checkpoint["versions"]
    torch.save(checkpoint, tmp_path / "older.ckpt")
    assert "git_commit" not in any_model(tmp_path / "older.ckpt").provenance


def test_the_best_checkpoint_of_a_pruned_run_is_fully_pruned(unbroken):
    """A lower error rate from before the end of pruning belongs to a denser network and does not count."""
    step = load_checkpoint(unbroken / "checkpoints" / "best.ckpt")["global_step"]
    assert step >= 18  # the last multiple of `every` before 80 % of 24 steps
    matrices = [w for n, w in any_model(unbroken).network.named_parameters() if "cell.weight" in n]
    assert sparsity(matrices) == pytest.approx(0.8, abs=0.01)


def test_every_round_of_a_lottery_runs_through_the_whole_learning_rate_schedule(tiny, tmp_path):
    """3 rounds of 8 steps: the rate is at its end at the end of each, not only of the last."""
    pruning = PruningConfig(Goal(sparsity=0.8), schedule=Lottery("lottery", share=0.56))
    run = train(dataclasses.replace(tiny, pruning=pruning, spec_augment=None), tmp_path)
    states = load_checkpoint(run / "checkpoints" / "last.ckpt")
    assert states["lr_schedulers"][0]["last_epoch"] == 8 and states["global_step"] == 24
    assert states["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(1e-5)
    network = any_model(run).network
    assert sparsity([w for n, w in network.named_parameters() if "cell.weight" in n]) == pytest.approx(0.8, abs=0.01)


def test_metrics_show_loss_falling_and_sparsity_rising(unbroken):
    header, *rows = [line.split(",") for line in (unbroken / "metrics.csv").read_text().splitlines()]
    table = {name: [float(row[index]) for row in rows] for index, name in enumerate(header)}
    assert table["loss"][-1] < table["loss"][0]
    assert table["sparsity"] == sorted(table["sparsity"]) and table["sparsity"][-1] > 0.75
    assert table["threshold"][0] < table["threshold"][-1]
    assert any(unbroken.glob("tensorboard/events*"))


def test_a_recognizer_learns_tones(tiny, tmp_path):
    """The whole path once: a dense network spells unseen sequences of tones."""
    config = dataclasses.replace(tiny, pruning=None, epochs=25, network=dataclasses.replace(tiny.network, hidden=24))
    run = train(config, tmp_path)
    last = (run / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert float(last[5]) < 0.2  # character error rate of the dev set


def test_ctc_loss_equals_the_sum_over_all_paths():
    """Brute force: three frames, one label."""
    logits = torch.randn(1, 3, 3)
    probabilities = logits.softmax(-1)[0]
    total = 0.0
    for path in range(27):
        labels = [path // 9, path // 3 % 3, path % 3]
        collapsed = [label for i, label in enumerate(labels) if label and (i == 0 or label != labels[i - 1])]
        if collapsed == [2]:
            total += math.prod(probabilities[t, label].item() for t, label in enumerate(labels))
    loss = ctc_loss(logits, torch.tensor([3]), torch.tensor([[2]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(-math.log(total), rel=1e-5)


def test_learning_rate_warms_up_and_ends_low():
    config = OptimizerConfig(warm_up=0.1, final=0.01)
    rates = [config.rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25) and rates[10] == 1.0 and rates[100] == pytest.approx(0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)


@pytest.mark.parametrize("settings", [{"learning_rate": 0}, {"clip": -1}, {"warm_up": 1.0}, {"momentum": 1.0}])
def test_impossible_optimizers_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        OptimizerConfig(**settings)


def test_global_normalisation_is_measured_on_training_audio_and_stored(tiny, tones, tmp_path):
    features = dataclasses.replace(tiny.features, normalise="global")
    config = dataclasses.replace(tiny, epochs=1, pruning=None, features=features)
    front_end = any_model(train(config, tmp_path)).front_end
    recordings = [torch.from_numpy(load_audio(utterance.audio)) for utterance in read_manifest(tones["train"])]
    logarithms = [front_end.log_features(samples[None], torch.tensor([len(samples)]))[0][0] for samples in recordings]
    torch.testing.assert_close(front_end.mean, torch.cat(logarithms).mean(0))
    torch.testing.assert_close(front_end.deviation, torch.cat(logarithms).std(0, correction=0), rtol=1e-4, atol=1e-4)


def test_sgd_trains_too(tiny, tmp_path):
    config = dataclasses.replace(tiny, epochs=1, optimizer=OptimizerConfig("sgd", 0.01), pruning=None)
    assert (train(config, tmp_path) / "checkpoints" / "best.ckpt").exists()


def test_utterances_too_short_for_their_text_are_left_out_by_name(tiny, tones, tmp_path, caplog):
    utterances = read_manifest(tones["train"])
    crowded = Utterance("crowded", utterances[0].audio, utterances[0].duration, "abc" * 40)
    write_manifest(tmp_path / "train.jsonl", [*utterances, crowded])
    data = dataclasses.replace(tiny.data, train=tmp_path / "train.jsonl")
    train(dataclasses.replace(tiny, data=data, epochs=1, pruning=None), tmp_path / "run")
    assert "crowded" in caplog.text
    write_manifest(tmp_path / "train.jsonl", [crowded])
    with pytest.raises(InputError, match=r"train\.jsonl: no utterance has enough output frames"):
        train(dataclasses.replace(tiny, data=data, epochs=1, pruning=None), tmp_path / "other")


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"format": 1, "step": 1}, path)

    def no_space(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(InputError, match=r"no space left on the disk.*earlier checkpoint is kept"):
        AtomicCheckpointIO().save_checkpoint({"format": 1, "step": 2}, path)
    assert load_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_foreign_truncated_and_future_checkpoints_are_refused_by_name(tmp_path):
    class Foreign:
        pass

    path = tmp_path / "x.ckpt"
    torch.save({"format": 1, "object": os.system}, path)  # an arbitrary pickle: never loaded
    with pytest.raises(InputError, match=r"x\.ckpt: not a readable checkpoint") as refused:
        load_checkpoint(path)
    assert "weights_only" not in str(refused.value), "torch tells how to load it all the same"
    AtomicCheckpointIO().save_checkpoint({"format": 1}, path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"x\.ckpt: not a readable checkpoint"):
        load_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.ckpt: not a readable checkpoint \(EOFError\)"):
        load_checkpoint(path)
    AtomicCheckpointIO().save_checkpoint({"format": 99}, path)
    with pytest.raises(InputError, match="checkpoint format 99"):
        load_checkpoint(path)
    with pytest.raises(InputError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_a_folder_with_a_run_is_not_overwritten_and_another_config_is_not_resumed(tiny, unbroken):
    with pytest.raises(InputError, match="already holds a run"):
        train(tiny, unbroken)
    with pytest.raises(InputError, match=r"seed: 0 -> 7"):
        train(dataclasses.replace(tiny, seed=7), unbroken, resume="auto")


def test_two_processes_do_not_train_into_one_folder(tiny, tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="another process is at work in this folder"):
        train(tiny, tmp_path, resume="auto")
    assert not (tmp_path / "checkpoints").exists() and not (tmp_path / "config.yaml").exists()
    holder.kill()  # whatever ends a process, its lock ends with it
    holder.wait()
    train(dataclasses.replace(tiny, pruning=None, epochs=1), tmp_path, resume="auto")


def test_thresholds_follow_from_a_trained_dense_run(tiny, tmp_path, unbroken):
    """q = 90th percentile of |w| of a trained network; the threshold ends near it."""
    pruning = PruningConfig(Goal(dense=unbroken, percentile=0.9), schedule=Narang(every=2, ramp=0.3, end=0.8))
    run = train(dataclasses.replace(tiny, pruning=pruning), tmp_path)
    network = any_model(unbroken).network
    q = size_quantile([w.detach().abs() for n, w in network.named_parameters() if "cell.weight" in n], 0.9)
    states = load_checkpoint(run / "checkpoints" / "last.ckpt")["callbacks"]
    reached = next(state for name, state in states.items() if "GradualPruning" in name)["thresholds"]["recurrent"]
    assert 0.7 * q < reached < 1.1 * q


def test_a_resumed_run_keeps_the_q_it_measured(tiny, tmp_path, unbroken, train_until):
    """The dense run is gone, or has been trained further: the threshold still ends where it was to end."""
    dense = tmp_path / "dense"
    shutil.copytree(unbroken, dense)
    pruning = PruningConfig(Goal(dense=dense, percentile=0.9), schedule=Narang(every=2, ramp=0.3, end=0.8))
    config = dataclasses.replace(tiny, pruning=pruning)
    expected = weights(train(config, tmp_path / "whole"))
    train_until(config, tmp_path / "broken", 4)
    shutil.rmtree(dense)
    reached = weights(train(config, tmp_path / "broken", resume=True))
    assert all(torch.equal(expected[name], reached[name]) for name in expected)


def test_a_run_is_not_overwritten_by_one_that_is_resumed_from_elsewhere(tiny, tmp_path, unbroken):
    shutil.copytree(unbroken, tmp_path / "other")
    last = tmp_path / "other" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    with pytest.raises(InputError, match=r"other: already holds a run, which going on from .* would overwrite"):
        train(tiny, tmp_path / "other", resume=unbroken / "checkpoints" / "best.ckpt")
    assert last.read_bytes() == before
    train(tiny, tmp_path / "other", resume=tmp_path / "other" / "checkpoints" / "best.ckpt")  # back to its own best


def test_a_schedule_that_would_prune_everything_is_refused_before_training(tiny, tmp_path):
    pruning = PruningConfig(Goal(q=0.1), schedule=Narang(every=2, start_epoch=0.2, phi_ratio=20))
    with pytest.raises(InputError, match=r"prune everything.*phi ="):
        train(dataclasses.replace(tiny, pruning=pruning), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_loss_that_is_not_finite_stops_with_the_cause(tiny, tmp_path, monkeypatch):
    import deepspeech_sparse.training.module as training

    monkeypatch.setattr(training, "ctc_loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(InputError, match="the loss is nan at step 0 on utterances"):
        train(dataclasses.replace(tiny, pruning=None), tmp_path)
