"""A packed matrix times a vector or many of them, in float32 on the CPU.

`SparseMatrix` checks what comes in and says what comes out; the arithmetic is in the C++ of `native/`, or in torch's
sparse CSR where that is not compiled (`machine/runtime.py` decides). `values.py` rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..machine.runtime import native
from .products import NativeProduct, TorchProduct
from .values import FORMATS, rounded

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

    A block of None stores all values, zeros too, without indices: for matrices that are not sparse. NaN and infinity
    then spread as in any dense product.

    Products compute in float32. The values may be stored with fewer bits, which are then fewer bytes to fetch: float16,
    or int8 with one float32 scale for each row.

    Example:
        >>> matrix = SparseMatrix.from_dense(torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
        >>> matrix @ torch.tensor([1.0, 2.0, 3.0])
        tensor([4., 0.])
        >>> matrix.stored
        1
    """

    shape: tuple[int, int]  # rows, columns
    block: tuple[int, int] | None  # rows, columns; None if dense
    values: str  # float32, float16 or int8
    product: NativeProduct | TorchProduct = field(repr=False)

    @classmethod
    def from_dense(cls, dense: Tensor, block: tuple[int, int] | None = (1, 1), values: str = "float32") -> SparseMatrix:
        """Pack the values of a dense matrix that are not zero once they are rounded.

        Args:
            dense: (rows, columns) float32 on the CPU, at most 65,536 columns unless block is None; copied
            block: (1, 1), (8, 1), (16, 1) or (4, 4); None packs zeros too
            values: "float32"; "float16", rounded to the nearest; or "int8", each row in steps of its largest
                magnitude / 127. A matrix that was rounded before, to the same format, is packed without any loss;
                of int8, rows in which 127 steps occur

        Raises:
            ValueError: another block, format, shape, dtype or device; values that do not fit the format
        """
        if block is not None:
            block = tuple(block)
            if block not in BLOCKS:
                raise ValueError(f"blocks of {'x'.join(map(str, block))}: not one of 1x1, 8x1, 16x1, 4x4")
        if values not in FORMATS:
            raise ValueError(f"values as {values!r}: not one of {', '.join(FORMATS)}")
        refuse_unfit("the matrix", dense)
        if dense.dim() != 2 or (block is not None and dense.shape[1] > MOST_COLUMNS):
            raise ValueError(
                f"a matrix of shape {tuple(dense.shape)}: (rows, columns) of at most {MOST_COLUMNS} columns"
            )
        product = TorchProduct if native() is None else NativeProduct
        return cls(tuple(dense.shape), block, values, product(rounded(dense.detach(), values), block))

    @property
    def layout(self) -> str:
        """The block for people: 1x1, 8x1, ... or dense."""
        return "dense" if self.block is None else "x".join(map(str, self.block))

    @property
    def stored(self) -> int:
        """Values kept, the zeros inside blocks included."""
        return self.product.stored

    @property
    def bytes(self) -> int:
        """Memory of values, scales and indices."""
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
        return self.product.matmul(without_gradient(x, self).contiguous(), number_of_threads(threads))

    def linear(self, x: Tensor, threads: int | None = None) -> Tensor:
        """x times the transposed matrix, as torch.nn.Linear without its bias.

        Shapes:
            (columns,) -> (rows,), (..., columns) -> (..., rows)

        Args:
            x, threads: as in `matmul`

        Raises:
            ValueError: as `matmul`
        """
        refuse_unfit("x", x)
        if x.dim() == 0 or x.shape[-1] != self.shape[1]:
            raise ValueError(
                f"x of shape {tuple(x.shape)} through a matrix of shape {self.shape}: "
                f"({self.shape[1]},) or (..., {self.shape[1]}) fit"
            )
        x, threads = without_gradient(x, self), number_of_threads(threads)
        if x.dim() == 1:
            return self.product.matmul(x.contiguous(), threads)
        positions = math.prod(x.shape[:-1])
        y = self.product.linear(x.reshape(positions, self.shape[1]).contiguous(), threads)
        return y.reshape(*x.shape[:-1], self.shape[0])


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
