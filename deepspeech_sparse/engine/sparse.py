"""A sparse matrix times a vector or a few of them, in float32 on the CPU.

`SparseMatrix` checks what comes in and says what comes out; the arithmetic is in the C++ of `native/`, or in torch's
sparse CSR where that is not compiled (`runtime.py` decides).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .products import NativeProduct, TorchProduct
from .runtime import native

BLOCKS = ((1, 1), (8, 1), (16, 1), (4, 4))  # rows x columns
MOST_COLUMNS = 65536  # column indices have 16 bits
MOST_THREADS = 1024


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A matrix without its zeros, packed once and then multiplied many times.

    What was pruned in blocks should be packed in them: 8x1 are 8 rows of one column, and so on. A block is stored when
    any of its values is not zero. The last rows and columns may fill their block only partly. With blocks of (1, 1)
    each value has an index of its own: right for every matrix, two to four times slower than blocks of the same number.

    A zero that is not stored multiplies nothing: NaN or infinity in x reaches only rows with a stored value in that
    column (an exact 0 * inf is NaN in a dense product, and 0 here).

    Example:
        >>> matrix = SparseMatrix.from_dense(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
        >>> matrix @ torch.tensor([1.0, 2.0, 3.0])
        tensor([4., 0.])
        >>> matrix.stored
        1
    """

    shape: tuple[int, int]  # rows, columns
    block: tuple[int, int]  # rows, columns
    product: NativeProduct | TorchProduct = field(repr=False)

    @classmethod
    def from_dense(cls, dense: Tensor, block: tuple[int, int] = (1, 1)) -> SparseMatrix:
        """Pack the values of a dense matrix that are not zero.

        Args:
            dense: (rows, columns) float32 on the CPU, at most 65,536 columns; copied
            block: (1, 1), (8, 1), (16, 1) or (4, 4)

        Raises:
            ValueError: another block, shape, dtype or device
        """
        if tuple(block) not in BLOCKS:
            raise ValueError(f"blocks of {'x'.join(map(str, block))}: not one of 1x1, 8x1, 16x1, 4x4")
        refuse_unfit("the matrix", dense)
        if dense.dim() != 2 or dense.shape[1] > MOST_COLUMNS:
            raise ValueError(
                f"a matrix of shape {tuple(dense.shape)}: (rows, columns) of at most {MOST_COLUMNS} columns"
            )
        product = TorchProduct if native() is None else NativeProduct
        return cls(tuple(dense.shape), tuple(block), product(dense.detach(), tuple(block)))

    @property
    def stored(self) -> int:
        """Values kept, the zeros inside blocks included."""
        return self.product.stored

    @property
    def bytes(self) -> int:
        """Memory of values and indices."""
        return self.product.bytes

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.matmul(x)

    def matmul(self, x: Tensor, threads: int | None = None) -> Tensor:
        """The product with a vector, or with each column of a matrix.

        Shapes:
            (columns,) -> (rows,), (columns, batch) -> (rows, batch)

        Args:
            x: float32 on the CPU, in any layout; no gradient flows through the product
            threads: how many work at the same time, torch.get_num_threads() unless given

        Raises:
            ValueError: another shape, dtype or device, an x that wants a gradient, threads below 1 or above 1024
        """
        refuse_unfit("x", x)
        if x.dim() not in (1, 2) or x.shape[0] != self.shape[1]:
            raise ValueError(
                f"a matrix of shape {self.shape} times x of shape {tuple(x.shape)}: "
                f"({self.shape[1]},) or ({self.shape[1]}, batch) fit"
            )
        return self.product(without_gradient(x, self).contiguous(), number_of_threads(threads))


def refuse_unfit(name: str, tensor: Tensor) -> None:
    """ValueError unless the tensor is one that the products read."""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} is a {type(tensor).__name__}: a torch tensor is needed")
    if tensor.dtype != torch.float32 or tensor.device.type != "cpu" or tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        raise ValueError(
            f"{name} is {tensor.dtype} on {tensor.device}, {layout}: strided torch.float32 on the CPU is needed"
        )


def without_gradient(x: Tensor, product: object) -> Tensor:
    """x detached; ValueError where somebody waits for its gradient, which no product here has."""
    if x.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"x wants a gradient, and none flows through a {type(product).__name__}: detach x, or use torch.no_grad()"
        )
    return x.detach()


def number_of_threads(threads: int | None) -> int:
    """torch's own number unless given; ValueError if it cannot be."""
    if threads is None:
        return torch.get_num_threads()
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise ValueError(f"{threads!r} threads: a whole number is needed")
    if not 1 <= threads <= MOST_THREADS:
        raise ValueError(f"{threads} threads: 1 to {MOST_THREADS} are possible")
    return threads
