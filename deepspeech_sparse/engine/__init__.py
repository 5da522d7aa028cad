"""What recognises without training and without a gradient: networks without their zeros, on the CPU."""

from ..machine.runtime import Runtime, runtime
from .convolution import SparseConvolution
from .network import SparseNetwork
from .sparse import SparseMatrix

__all__ = ["Runtime", "SparseConvolution", "SparseMatrix", "SparseNetwork", "runtime"]
