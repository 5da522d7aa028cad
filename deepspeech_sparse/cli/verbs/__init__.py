"""One function per verb: its signature is the usage, its docstring the help, see `parser.py`.

Work is done elsewhere; a verb calls it and prints. Heavy modules are imported inside the verbs: --help is quick.
"""

from collections.abc import Callable

from .data import data_check, data_prepare, data_splice
from .language import lm_build, lm_tune
from .learning import demo, forecast, study, train
from .measuring import bench, compare, evaluate, report
from .recognising import align, transcribe
from .storing import export, info

VERBS: dict[str, Callable] = {
    "data prepare": data_prepare,
    "data check": data_check,
    "data splice": data_splice,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "forecast": forecast,
    "study": study,
    "report": report,
    "transcribe": transcribe,
    "align": align,
    "lm build": lm_build,
    "lm tune": lm_tune,
    "export": export,
    "info": info,
    "bench": bench,
    "demo": demo,
}

# What an argument means in every verb whose docstring does not say otherwise.
SHARED = {
    "manifest": "JSON lines with audio_filepath, duration, text",
    "engine": (
        "native, the sparse engine, or torch with all zeros; both give the same texts. "
        "Conformer and Wav2Letter always run in torch"
    ),
    "threads": "how many work at the same time, 1 to 1024; by default one per core, or what OMP_NUM_THREADS says",
    "decoder": "a recipe whose `decoder` section says how texts are found; greedy without one",
}
