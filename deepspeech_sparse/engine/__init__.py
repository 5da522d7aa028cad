"""What runs without training: the model file, and products with sparse matrices."""

from .model_file import Model, load_model, save_model
from .runtime import Runtime, runtime
from .sparse import SparseMatrix
from .stored_model import StoredModel, open_model

__all__ = [
    "Model",
    "Runtime",
    "SparseMatrix",
    "StoredModel",
    "load_model",
    "open_model",
    "runtime",
    "save_model",
]
