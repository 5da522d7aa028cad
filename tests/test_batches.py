"""Batches: filled by seconds, planned, resumable; augmentation in training only."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from deepspeech_sparse.augment import Augment, AugmentConfig
from deepspeech_sparse.corpora.manifest import Utterance, read_manifest, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.features import pad
from deepspeech_sparse.text import Alphabet
from deepspeech_sparse.training.batches import DataConfig, SpeechData, Utterances
from deepspeech_sparse.training.epoch_plan import EpochPlan, fill_batches, plan_epoch

DRAW = random.Random(0)
DURATIONS = [DRAW.uniform(0.5, 9.0) for _ in range(200)]


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_every_utterance_appears_once_and_no_batch_exceeds_its_seconds(epoch):
    plan = plan_epoch(DURATIONS, seconds=40, seed=3, epoch=epoch, sorta_grad=True)
    assert sorted(index for batch in plan for index in batch) == list(range(200))
    assert all(len(batch) * max(DURATIONS[index] for index in batch) <= 40 for batch in plan)


def test_an_utterance_longer_than_a_batch_stands_alone():
    assert fill_batches([1.0, 50.0, 1.0], [0, 2, 1], 10.0) == [[0, 2], [1]]


def test_first_epoch_runs_from_the_shortest_to_the_longest_only_with_sorta_grad():
    def flat(sorta_grad: bool) -> list[float]:
        plan = plan_epoch(DURATIONS, seconds=40, seed=3, epoch=0, sorta_grad=sorta_grad)
        return [DURATIONS[index] for batch in plan for index in batch]

    assert flat(True) == sorted(DURATIONS)
    assert flat(False) != sorted(DURATIONS)


def test_plans_depend_on_seed_and_epoch_and_on_nothing_else():
    def plan(seed: int, epoch: int) -> list[list[int]]:
        return plan_epoch(DURATIONS, seconds=40, seed=seed, epoch=epoch, sorta_grad=True)

    assert plan(3, 2) == plan(3, 2)
    assert plan(3, 2) != plan(3, 1) and plan(3, 2) != plan(4, 2)


def test_the_largest_batch_comes_first_after_sorta_grad():
    plan = plan_epoch(DURATIONS, seconds=40, seed=3, epoch=1, sorta_grad=True)
    sizes = [len(batch) * max(DURATIONS[index] for index in batch) for batch in plan]
    assert sizes[0] == max(sizes)


def test_a_resumed_epoch_yields_the_batches_not_yet_done():
    plan = EpochPlan([[0], [1], [2]], done=2)
    assert list(plan) == [[2]] and len(plan) == 3


def test_padding_is_zero_and_lengths_are_true():
    samples, lengths = pad([np.ones(3, np.float32), np.ones(5, np.float32)])
    assert lengths.tolist() == [3, 5]
    assert samples.sum() == 8 and not samples[0, 3:].any()


def test_several_manifests_train_as_one(tones, tmp_path):
    """Their paths stay relative to their own folders."""
    whole = read_manifest(tones["train"])
    parts = tmp_path / "a" / "one.jsonl", tmp_path / "two.jsonl"
    write_manifest(parts[0], whole[:3])
    write_manifest(parts[1], whole[3:])
    one, several = (
        SpeechData(DataConfig(train, tones["dev"], batch_seconds=5), Alphabet(), 16_000, epochs=2, seed=1)
        for train in (tones["train"], parts)
    )
    assert several.train_utterances == one.train_utterances == whole
    assert several.plan(1) == one.plan(1) and several.total_steps == one.total_steps
    write_manifest(parts[1], [replace(whole[3], text="\N{SNOWMAN}")])
    with pytest.raises(InputError, match=r"two\.jsonl: utterance .* outside the alphabet"):
        SpeechData(DataConfig(parts, tones["dev"]), Alphabet(), 16_000)
    with pytest.raises(InputError, match="train names no manifest"):
        DataConfig((), tones["dev"])


def test_batches_hold_their_seconds_once_speeds_have_changed(tones):
    """Padding included, and other neighbours in every epoch."""
    augment = Augment(AugmentConfig(speed=(0.5, 1.5)), 16_000, seed=0)
    config = DataConfig(tones["train"], tones["dev"], batch_seconds=5)
    data = SpeechData(config, Alphabet(), 16_000, augment=augment, epochs=3)
    for epoch in range(3):
        heard = Utterances(data.train_utterances, Alphabet(), 16_000, augment=augment, epoch=epoch)
        batches = [heard.collate([heard[index] for index in batch]) for batch in data.plan(epoch)]
        assert max(batch.samples.numel() for batch in batches) <= 5 * 16_000 + 16 * max(map(len, batches))
        real, padded = (sum(int(size) for size in sizes) for sizes in zip(*map(sizes_of, batches)))
        assert real > 0.85 * padded, "utterances of similar length stand together"
    assert {frozenset(batch) for batch in data.plan(1)} != {frozenset(batch) for batch in data.plan(2)}
    still = SpeechData(config, Alphabet(), 16_000, epochs=3)
    assert {frozenset(batch) for batch in still.plan(1)} != {frozenset(batch) for batch in still.plan(2)}


def sizes_of(batch) -> tuple[int, int]:
    """Samples without and with padding."""
    return batch.lengths.sum(), batch.samples.numel()


def test_augmentation_touches_training_batches_only(tones):
    """The dev loader yields the audio as recorded even when the data module augments."""
    augment = Augment(AugmentConfig(gain=(6.0, 6.0)), 16_000, seed=0)
    data = SpeechData(DataConfig(tones["train"], tones["dev"]), Alphabet(), 16_000, augment=augment)
    recorded = Utterances(read_manifest(tones["dev"]), Alphabet(), 16_000)
    by_id = {utterance.id: samples for samples, utterance in recorded}
    for batch in data.val_dataloader():
        for row, length, name in zip(batch.samples, batch.lengths, batch.ids):
            assert torch.equal(row[:length], torch.from_numpy(by_id[name]))
    train = Utterances(data.train_utterances, Alphabet(), 16_000, augment=augment)
    plain = Utterances(data.train_utterances, Alphabet(), 16_000)
    assert not np.array_equal(train[0][0], plain[0][0])


def test_labels_are_the_texts(tones):
    data = SpeechData(DataConfig(tones["train"], tones["dev"]), Alphabet(), 16_000)
    batch = next(iter(data.val_dataloader()))
    for labels, length, text in zip(batch.labels, batch.label_lengths, batch.texts):
        assert Alphabet().decode(labels[:length].tolist()) == text


def test_texts_outside_the_alphabet_are_refused_by_name(tones, tmp_path):
    utterance = read_manifest(tones["dev"])[0]
    manifest = tmp_path / "foreign.jsonl"
    write_manifest(manifest, [Utterance("u7", utterance.audio, utterance.duration, "été")])
    with pytest.raises(InputError, match="u7.*é"):
        SpeechData(DataConfig(manifest, tones["dev"]), Alphabet(), 16_000)


def test_empty_manifests_are_refused(tones, tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match=r"empty\.jsonl"):
        SpeechData(DataConfig(tmp_path / "empty.jsonl", tones["dev"]), Alphabet(), 16_000)


@pytest.mark.parametrize(
    "settings, words", [({"batch_seconds": 0}, "batch_seconds = 0"), ({"workers": -1}, "workers = -1")]
)
def test_impossible_data_settings_are_refused(settings, words, tones):
    with pytest.raises(InputError, match=words):
        DataConfig(tones["train"], tones["dev"], **settings)
