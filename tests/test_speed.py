"""Speed and memory: what is measured is what it says it is. How fast anything was is nowhere asserted."""

import io
import json

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from untrained import run_of, tiny_config, tiny_module

from deepspeech_sparse.corpora.manifest import Utterance, write_manifest
from deepspeech_sparse.errors import InputError
from deepspeech_sparse.evaluation import speed
from deepspeech_sparse.evaluation.comparison import compare
from deepspeech_sparse.evaluation.speed import lasting, load_and_recognize, measure_speed, spread
from deepspeech_sparse.machine import timing
from deepspeech_sparse.machine.memory import peak_above, peak_in_child
from deepspeech_sparse.machine.timing import in_bursts, in_turn
from deepspeech_sparse.model import ConformerConfig, ConvolutionConfig
from deepspeech_sparse.model_file import save_model
from deepspeech_sparse.training.runs import speech_recognition

RATE = 16_000
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def utterances(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    made = []
    for index, seconds in enumerate((0.5, 3.0, 0.25)):
        samples = np.random.default_rng(index).uniform(-0.5, 0.5, int(seconds * RATE))
        soundfile.write(folder / f"{index}.wav", samples, RATE)
        made.append(Utterance(f"u{index}", folder / f"{index}.wav", seconds, "a cab"))
    write_manifest(folder / "test.jsonl", made)
    return made


@pytest.fixture()
def conformer(tmp_path):
    config = tiny_config()
    network = ConformerConfig(convolutions=(ConvolutionConfig(2, (41, 5), (8, 2)),), layers=1, hidden=8, heads=2)
    config = type(config)(data=config.data, features=config.features, network=network, alphabet=config.alphabet)
    return run_of(speech_recognition(config).eval(), config, tmp_path / "conformer")


def test_the_peak_is_that_of_a_known_allocation_and_not_of_an_earlier_one():
    np.ones(200 * MEGABYTE, np.uint8)  # higher than what follows, and gone
    peak = peak_above(lambda: np.ones(100 * MEGABYTE, np.uint8))
    assert abs(peak - 100 * MEGABYTE) < 2 * MEGABYTE, "Linux counts resident pages in batches"
    assert peak_above(lambda: None) < 2 * MEGABYTE


def test_a_child_counts_neither_its_imports_nor_its_parent(tmp_path, monkeypatch):
    code = "import numpy as np\nheld = np.ones(50 << 20, np.uint8)\n"
    code += "def take(count): np.ones(int(count), np.uint8)\ndef fail(): raise ValueError('no luck')\n"
    (tmp_path / "taker.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    mine = np.ones(300 * MEGABYTE, np.uint8)  # getrusage would hand this down to the child
    assert abs(peak_in_child("taker:take", 80 * MEGABYTE) - 80 * MEGABYTE) < 2 * MEGABYTE
    assert len(mine) and peak_in_child("taker:take", 0) < 2 * MEGABYTE
    with pytest.raises(RuntimeError, match="taker:fail failed in a process of its own(.|\n)*no luck"):
        peak_in_child("taker:fail")


def test_contestants_take_turns_and_the_first_call_does_not_count(monkeypatch):
    calls = []
    work = {name: (lambda name=name: calls.append(name)) for name in "ABC"}
    times = in_turn(work, rounds=2)
    assert "".join(calls) == "ABC" + "ABC" * 2
    assert {name: len(seconds) for name, seconds in times.items()} == {"A": 2, "B": 2, "C": 2}
    calls.clear()
    ticks = iter(range(10**6))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))  # every call takes a second
    times = in_bursts(work, seconds=4, burst=3)
    assert "".join(calls) == ("A" * 4 + "B" * 4 + "C" * 4) * 2
    assert {name: len(seconds) for name, seconds in times.items()} == {"A": 6, "B": 6, "C": 6}


def test_samples_are_cut_or_repeated_to_five_seconds():
    assert np.array_equal(lasting(np.arange(3.0), 2), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    assert np.array_equal(lasting(np.arange(30.0), 2), np.arange(10.0))


def test_a_sample_comes_from_all_over_the_manifest():
    made = [Utterance(str(index), None, 2.0, "") for index in range(100)]
    assert [utterance.id for utterance in spread(made, 20.0)] == [str(index) for index in range(0, 100, 10)]
    assert spread(made[:3], 20.0) == made[:3] and len(spread(made[:2], 0.1)) == 1


def test_every_model_is_measured_in_both_engines(model, conformer, utterances, monkeypatch):
    """The figures follow from the times and from what is recognised; a Conformer has no engine but torch."""
    peaks = []
    monkeypatch.setattr(speed, "peaks_of", lambda loads: peaks.extend(loads) or list(range(len(loads))))
    heard = []

    def slow(contestants, rounds):
        for work in contestants.values():
            heard.append(work)
        return {name: [1.0, 9.0, 3.0][:rounds] for name in contestants}

    monkeypatch.setattr(speed, "in_turn", slow)
    of_model, of_conformer = measure_speed([model, conformer], utterances, threads=1, rounds=3)
    assert [each.engine for each in of_model] == ["native", "torch"]
    assert [each.engine for each in of_conformer] == ["torch"]
    for each in (*of_model, *of_conformer):
        assert (each.real_time_factor, each.latency, each.threads, each.rounds) == (3.0 / 3.75, 3.0, 1, 3)
    assert [each.peak_memory for each in (*of_model, *of_conformer)] == [0, 1, 2]
    assert [(path, len(samples), engine) for path, samples, engine, _ in peaks] == [
        (model, 5 * RATE, "native"),
        (model, 5 * RATE, "torch"),
        (conformer, 5 * RATE, "torch"),
    ]
    features, frames = heard[3].args
    assert features.shape[1] == frames.item() == 501 and sum(map(len, heard[0].args[1])) == 3.75 * RATE
    [only] = measure_speed([model], utterances, engine="torch", rounds=1)
    assert [each.engine for each in only] == ["torch"]


def test_the_peak_of_a_model_holds_its_weights(utterances, tmp_path):
    config = tiny_config(hidden=512, layers=3)  # some 40 MB
    save_model(tmp_path / "large.safetensors", tiny_module(config), config.model, {})
    [peak] = speed.peaks_of([(tmp_path / "large.safetensors", np.zeros(RATE, np.float32), "torch", 1)])
    size = (tmp_path / "large.safetensors").stat().st_size
    assert size < peak < 5 * size + 50 * MEGABYTE
    np.save(tmp_path / "samples.npy", np.zeros(RATE, np.float32))
    before = torch.get_num_threads()
    load_and_recognize(str(tmp_path / "large.safetensors"), str(tmp_path / "samples.npy"), "native", "2")
    assert torch.get_num_threads() == before


def test_a_comparison_shows_speeds_in_table_json_and_report(model, conformer, utterances, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "peaks_of", lambda loads: [12_340_000] * len(loads))
    manifest = utterances[0].audio.with_name("test.jsonl")
    results = tmp_path / "c.json"
    comparison = compare(
        model, [conformer], manifest, rounds=1, threads=1, json=results, report=tmp_path / "report", batch_seconds=2
    )
    console = Console(file=io.StringIO(), width=140)
    comparison.print(console)
    lines = console.file.getvalue().splitlines()
    first, second = comparison.models
    for engine in ("native", "torch"):
        for title in ("real-time factor", "latency of 5 s", "peak memory"):
            [line] = [line for line in lines if line.strip("│ ").startswith(f"{title}, {engine}")]
            cells = [cell.strip() for cell in line.strip("│").split("│")[1:]]
            assert all(cells)
            if title == "peak memory":
                assert cells == ["12.34 MB"] * 2
            if title == "latency of 5 s":
                assert cells[0] == f"{1000 * first.speed(engine).latency:.1f} ms"
                assert cells[1] == f"{1000 * second.speed('torch').latency:.1f} ms"
    assert any("medians of 1 rounds" in line and "threads 1" in line for line in lines)
    values = json.loads(results.read_text())
    assert [each["engine"] for each in values["models"][0]["speeds"]] == ["native", "torch"]
    assert values["models"][1]["speeds"][0] == second.speeds[0].to_dict()
    table = (tmp_path / "report" / "speed.csv").read_text().splitlines()
    assert len(table) == 4 and "Speed and memory" in (tmp_path / "report" / "report.html").read_text()
    with pytest.raises(InputError, match="rounds = -1"):
        compare(model, [conformer], manifest, rounds=-1)
