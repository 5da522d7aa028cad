"""How fast models recognise and how much memory that takes: model against model and engine against engine, in turn."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora.manifest import Utterance, samples_of
from ..machine.memory import peaks_in_children
from ..machine.timing import in_turn
from ..model_file import is_run, save_model
from ..models import run_model
from ..recognition.inference import Engine
from ..recognition.recognizer import Recognizer

LATENCY_SECONDS = 5.0  # of the utterance that latency and memory are measured with
SAMPLE_SECONDS = 20.0  # of the utterances that the real-time factor is measured with, about


@dataclass(frozen=True)
class Speed:
    """What recognition with a model costs in one engine."""

    engine: Engine  # the one that computed
    threads: int
    rounds: int
    real_time_factor: float  # seconds per second of audio, samples to text, utterances one by one; median
    latency: float  # s, features of a 5-second utterance to its text; median
    peak_memory: int  # bytes, to load the model (file; of a run the exported one) and recognise that, above the imports

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def measure_speed(
    models: Sequence[Path],
    utterances: Sequence[Utterance],
    *,
    engine: Engine = "native",
    threads: int | None = None,
    rounds: int = 5,
) -> list[tuple[Speed, ...]]:
    """For each model its speed in `engine` and, where that is the sparse one, also in torch.

    All take turns in every round, so all are in memory at the same time.

    Args:
        models: run folders, checkpoints or model files
        utterances: some of them are recognised; that nearest to 5 s is cut or repeated to 5 s exactly
        threads: torch.get_num_threads() unless given
        rounds: figures are medians over them

    Raises:
        InputError: whatever is wrong with a model or a recording
    """
    nearest = min(utterances, key=lambda utterance: abs(utterance.duration - LATENCY_SECONDS))
    sample = spread(utterances, SAMPLE_SECONDS)
    recognizers = [in_engines(model, engine, threads) for model in models]
    places = [(index, name) for index, loaded in enumerate(recognizers) for name in loaded]
    whole, single, audio_seconds, fives = {}, {}, {}, {}
    for index, name in places:
        recognizer = recognizers[index][name]
        recordings = [samples_of(utterance, recognizer.sample_rate) for utterance in sample]
        audio_seconds[index] = sum(map(len, recordings)) / recognizer.sample_rate
        fives[index] = lasting(samples_of(nearest, recognizer.sample_rate), recognizer.sample_rate)
        whole[index, name] = partial(one_by_one, recognizer, recordings)
        single[index, name] = partial(recognizer.recognize_features, *recognizer.features_of([fives[index]]))
    factors, latencies = in_turn(whole, rounds), in_turn(single, rounds)
    loads = [(models[index], fives[index], name, recognizers[index][name].threads) for index, name in places]
    peaks = dict(zip(places, peaks_of(loads)))

    def speed(index: int, name: Engine) -> Speed:
        recognizer = recognizers[index][name]
        return Speed(
            engine=name,
            threads=recognizer.threads,
            rounds=rounds,
            real_time_factor=statistics.median(factors[index, name]) / audio_seconds[index],
            latency=statistics.median(latencies[index, name]),
            peak_memory=peaks[index, name],
        )

    return [tuple(speed(index, name) for name in loaded) for index, loaded in enumerate(recognizers)]


def in_engines(model: Path, engine: Engine, threads: int | None) -> dict[Engine, Recognizer]:
    """The model in `engine` and in torch, by the engine that each is in."""
    loaded = (Recognizer.load(model, engine=each, threads=threads) for each in dict.fromkeys((engine, "torch")))
    return {recognizer.engine: recognizer for recognizer in loaded}


def spread(utterances: Sequence[Utterance], seconds: float) -> list[Utterance]:
    """Utterances from all over the list that last about `seconds` together, one at least."""
    count = max(1, round(seconds * len(utterances) / sum(utterance.duration for utterance in utterances)))
    step = max(1.0, len(utterances) / count)
    return [utterances[int(place * step)] for place in range(min(count, len(utterances)))]


def lasting(samples: np.ndarray, sample_rate: int, seconds: float = LATENCY_SECONDS) -> np.ndarray:
    """Samples (N,) cut, or repeated and cut, to `seconds`."""
    return np.resize(samples, round(seconds * sample_rate))


def one_by_one(recognizer: Recognizer, recordings: Sequence[np.ndarray]) -> None:
    for samples in recordings:
        recognizer.recognize([samples])


def peaks_of(loads: Sequence[tuple[Path, np.ndarray, Engine, int]]) -> list[int]:
    """Bytes at most of loading a model and recognising samples (N,), each in a process that does nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        calls, files = [], {}
        for number, (model, samples, engine, threads) in enumerate(loads):
            path = Path(folder) / f"{number}.npy"
            np.save(path, samples)
            if model not in files:
                files[model] = model_file_of(model, Path(folder) / f"{number}.safetensors")
            calls.append((f"{__name__}:load_and_recognize", files[model], path, engine, threads))
        return peaks_in_children(calls)


def model_file_of(model: Path, exported: Path) -> Path:
    """The file of a model; a run is exported: what its checkpoint holds beside the model is no cost of recognition."""
    if not is_run(model):
        return Path(model).resolve()
    loaded = run_model(model)
    save_model(exported, loaded, loaded.config, loaded.provenance)
    return exported


def load_and_recognize(model: str, samples: str, engine: Engine, threads: str) -> None:
    """What `peaks_of` measures."""
    Recognizer.load(model, engine=engine, threads=int(threads)).recognize([np.load(samples)])
