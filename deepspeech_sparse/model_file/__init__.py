"""The model file: one .safetensors file with all that recognition needs. `model.py` says what lies in it."""

from .metadata import describe_model, empty_network
from .model import CODEC, Model, is_run, load_model, model_bytes, portable, save_model
from .sizes import FileSizes, TensorSize, file_sizes
from .stored_model import StoredModel, open_model

__all__ = [
    "CODEC",
    "FileSizes",
    "Model",
    "StoredModel",
    "TensorSize",
    "describe_model",
    "empty_network",
    "file_sizes",
    "is_run",
    "load_model",
    "model_bytes",
    "open_model",
    "portable",
    "save_model",
]
