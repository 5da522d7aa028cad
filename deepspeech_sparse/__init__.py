"""A Deep Speech-style speech recognizer whose networks learn to be sparse.

    from deepspeech_sparse import Recognizer
    recognizer = Recognizer.load("model.safetensors")
    print(recognizer.transcribe("call.wav").text)

Names are loaded when first used: importing the package alone costs nothing, torch included.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import InputError
    from .transcription import Recognizer, Transcript

    __version__: str

__all__ = ["InputError", "Recognizer", "Transcript", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return installed_version()
    if name in ("Recognizer", "Transcript"):
        from . import transcription

        return getattr(transcription, name)
    if name == "InputError":
        from .errors import InputError

        return InputError
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
