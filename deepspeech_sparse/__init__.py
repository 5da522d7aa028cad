"""A Deep Speech-style speech recognizer whose networks learn to be sparse.

    from deepspeech_sparse import Recognizer
    recognizer = Recognizer.load("model.safetensors")
    print(recognizer.transcribe("call.wav").text)

Names are loaded when first used: importing the package alone costs nothing, torch included.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decoder_config import DecoderConfig
    from .errors import InputError
    from .recognition.recognizer import Recognizer
    from .transcripts.transcript import Segment, Transcript, Word

    __version__: str

__all__ = ["DecoderConfig", "InputError", "Recognizer", "Segment", "Transcript", "Word", "__version__"]

HOMES = {  # name: module
    "DecoderConfig": "decoder_config",
    "InputError": "errors",
    "Recognizer": "recognition.recognizer",
    "Segment": "transcripts.transcript",
    "Transcript": "transcripts.transcript",
    "Word": "transcripts.transcript",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return installed_version()
    if name in HOMES:
        return getattr(import_module(f".{HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def installed_version() -> str:
    """The version in pyproject.toml, as installed; "unknown" in a clone that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("deepspeech-sparse")
    except PackageNotFoundError:
        return "unknown"
