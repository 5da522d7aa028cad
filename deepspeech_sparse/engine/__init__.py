"""What runs without training: the model file, and products with sparse matrices, pruned convolutions."""

from .convolution import SparseConvolution
from .model_file import Model, load_model, save_model
from .network import SparseNetwork
from .runtime import Runtime, runtime
from .sparse import SparseMatrix

__all__ = [
    "Model",
    "Runtime",
    "SparseConvolution",
    "SparseMatrix",
    "SparseNetwork",
    "load_model",
    "runtime",
    "save_model",
]
