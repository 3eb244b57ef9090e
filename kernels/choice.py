"""Choices between two arrays, element by element."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    UB,
    Operand,
    alloc,
    emits,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
    vcmpv_gt,
    vcmpv_ne,
    vector_dup,
    vsel,
)
from kernels.pieces.stream import bring, close_stream, open_stream, release, room, send
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
BLOCK, LINE, MAX_REPEAT = 32, 256, 255


@dataclass(frozen=True)
class SelectShape(FlatShape):
    """n elements, up to three inputs."""

    LIVE: ClassVar[int] = 4


class Choice(NamedTuple):
    """Buffers of a choice in UB: y is an array (y_blk 1) or a block of equal numbers (y_blk 0)."""

    test: int
    x: int
    y: int
    y_blk: int
    zero: int
    bits: int


@emits
def choose(core: Any, dst: int, c: Any, positive: int, n: int, dtype: int) -> None:
    """Set dst[n] = x where test > 0 (`positive`) or test != 0, else y; whole repeats are computed."""
    lanes = LINE // size_of(core, dtype)
    for done in range(0, n, MAX_REPEAT * lanes):
        repeat = min(MAX_REPEAT, (n - done + lanes - 1) // lanes)
        at = done // lanes * LINE
        if positive != 0:
            vcmpv_gt(core, c.bits, c.test + at, c.zero, repeat, dtype, 1, 0, 8, 0)
        else:
            vcmpv_ne(core, c.bits, c.test + at, c.zero, repeat, dtype, 1, 0, 8, 0)
        y, y_rep = c.y + at * c.y_blk, 8 * c.y_blk
        vsel(core, dst + at, c.x + at, y, repeat, c.bits, dtype, lanes, 1, 1, c.y_blk, 8, 8, y_rep)


@emits
def stream_choice(
    core: Any, test: int, x: int, y: int, z: int, positive: int, shape: Any, tiling: Any
) -> None:
    """Set z[n] = x[n] where the test holds, else y[n]; y is taken as zero when `positive`."""
    size, dtype = size_of(core, shape.dtype), shape.dtype
    s, unit = open_stream(core, 3 - positive, tiling.tile, size, tiling.slots, 1), FAST_BYTES // size
    zero, bits = alloc(core, UB, BLOCK), alloc(core, UB, MAX_REPEAT * 16)
    vector_dup(core, zero, 1, 0.0, dtype, BLOCK // size)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, s.tile):
        count = min(s.tile, end - i)
        taken = bring(core, s, test, x, y, i, count)
        made, other = room(core, s), zero if positive != 0 else taken + 2 * s.pitch
        choice = Choice(taken, taken + s.pitch, other, 1 - positive, zero, bits)
        choose(core, made, choice, positive, count, dtype)
        release(core, s)
        send(core, s, z, made, i, count)
    close_stream(core, s)


def _relu_grad_operands(shape: FlatShape) -> tuple[Operand, ...]:
    n, dtype = (shape.n,), shape.dtype
    return Operand("dy", n, dtype), Operand("y", n, dtype), output("dx", n, dtype)


def _relu_grad_reference(shape: FlatShape, dy: Array, y: Array) -> tuple[Array]:
    return (np.where(y > 0, dy, 0).astype(dy.dtype),)


@kernel(SelectShape, FlatTiling, _relu_grad_operands, _relu_grad_reference)
def relu_grad(core: Any, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] where y[n] > 0, else 0; y is the result or the argument of relu."""
    stream_choice(core, y, dy, dy, dx, 1, shape, tiling)


def _select_operands(shape: FlatShape) -> tuple[Operand, ...]:
    n, dtype = (shape.n,), shape.dtype
    return (
        Operand("cond", n, dtype, some_zeros=True),
        Operand("x", n, dtype),
        Operand("y", n, dtype),
        output("z", n, dtype),
    )


def _select_reference(shape: FlatShape, cond: Array, x: Array, y: Array) -> tuple[Array]:
    return (np.where(cond != 0, x, y).astype(x.dtype),)


@kernel(SelectShape, FlatTiling, _select_operands, _select_reference)
def select(core: Any, cond: int, x: int, y: int, z: int, shape: Any, tiling: Any) -> None:
    """z[n] = x[n] where cond[n] is not 0, else y[n]; cond holds numbers of the same type."""
    stream_choice(core, cond, x, y, z, 0, shape, tiling)
