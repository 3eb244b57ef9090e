"""A user's own kernels, given to the command line as `own_kernels.py:name`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernels.lang import (
    FP32,
    L0A,
    MTE2,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    data_move,
    flat_binary,
    kernel,
    output,
    pipe_barrier,
    wait_flag,
)


@dataclass(frozen=True)
class RowShape(Shape):
    """A row of n numbers, at most what one transfer holds."""

    n: int
    dtype: int = FP32


@dataclass(frozen=True)
class WholeTiling(Tiling):
    """All of it at once; `spare` makes the buffer larger than it need be."""

    spare: int = 1

    @classmethod
    def default(cls, shape: Any, platform: Any) -> WholeTiling:
        """Return the smallest buffer."""
        return cls()

    def blocks(self, shape: Any, platform: Any) -> int:
        """Take one core."""
        return 1


def operands(shape: Any) -> tuple[Operand, ...]:
    """Return x and y, both rows of n numbers."""
    return Operand("x", (shape.n,), shape.dtype), output("y", (shape.n,), shape.dtype)


@kernel(RowShape, WholeTiling, operands, lambda shape, x: (x + x,))
def double(core, x, y, shape, tiling):
    """y[n] = x[n] + x[n]."""
    row = alloc(core, UB, tiling.spare * shape.n * 4)
    data_move(core, row, x, 1, (shape.n * 4 + 31) // 32)
    pipe_barrier(core, 10)
    flat_binary(core, 0, row, row, row, shape.n, shape.dtype)
    pipe_barrier(core, 10)
    data_move(core, y, row, 1, (shape.n * 4 + 31) // 32)


@kernel(RowShape, WholeTiling, operands, lambda shape, x: (x + x,))
def forgetful(core, x, y, shape, tiling):
    """y[n] = x[n]: forgets to double."""
    row = alloc(core, UB, shape.n * 4)
    data_move(core, row, x, 1, (shape.n * 4 + 31) // 32)
    pipe_barrier(core, 10)
    data_move(core, y, row, 1, (shape.n * 4 + 31) // 32)


@kernel(RowShape, WholeTiling, operands, lambda shape, x: (x + x,))
def stuck(core, x, y, shape, tiling):
    """Wait for a flag that nobody sets."""
    row = alloc(core, UB, shape.n * 4)
    wait_flag(core, MTE2, V, 3)
    data_move(core, y, row, 1, 1)


@kernel(RowShape, WholeTiling, operands, lambda shape, x: (x + x,))
def misplaced(core, x, y, shape, tiling):
    """Move from device memory to a place that data_move does not reach."""
    row = alloc(core, L0A, 512)
    data_move(core, row, x, 1, 1)


@kernel(RowShape, WholeTiling, operands, lambda shape, x: (x + x,))
def racing(core, x, y, shape, tiling):
    """y[n] = x[n] + x[n], but the vector unit does not wait for x."""
    row = alloc(core, UB, shape.n * 4)
    data_move(core, row, x, 1, (shape.n * 4 + 31) // 32)
    flat_binary(core, 0, row, row, row, shape.n, shape.dtype)
    pipe_barrier(core, 10)
    data_move(core, y, row, 1, (shape.n * 4 + 31) // 32)
