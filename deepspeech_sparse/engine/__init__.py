"""What runs without training: the model file, and products with sparse matrices."""

from .model_file import Model, load_model, save_model
from .network import SparseNetwork
from .runtime import Runtime, runtime
from .sparse import SparseMatrix

__all__ = ["Model", "Runtime", "SparseMatrix", "SparseNetwork", "load_model", "runtime", "save_model"]
