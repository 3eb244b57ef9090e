"""Choices between two arrays, element by element."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vcmpv_gt,
    vcmpv_ne,
    vector_dup,
    vsel,
)
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
LINE = 256


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
    for done in range(0, n, 255 * lanes):
        repeat = min(255, (n - done + lanes - 1) // lanes)
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
    size, slots = size_of(core, shape.dtype), tiling.slots
    unit = FAST_BYTES // size
    tile = max(1, tiling.tile // unit) * unit
    pitch = tile * size
    zero, bits = alloc(core, UB, 32), alloc(core, UB, 255 * 16)
    ub_test, ub_x = alloc(core, UB, slots * pitch, slots), alloc(core, UB, slots * pitch, slots)
    ub_y = zero if positive != 0 else alloc(core, UB, slots * pitch, slots)
    ub_z = alloc(core, UB, slots * pitch, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    vector_dup(core, zero, 1, 0.0, shape.dtype, 32 // size)
    end = share_end(core, shape.n, unit)
    for i in range(share_start(core, shape.n, unit), end, tile):
        count = min(tile, end - i)
        blocks, taken = (count * size + 31) // 32, fill(core, q_in) * pitch
        data_move(core, ub_test + taken, test + i * size, 1, blocks)
        data_move(core, ub_x + taken, x + i * size, 1, blocks)
        if positive == 0:
            data_move(core, ub_y + taken, y + i * size, 1, blocks)
        filled(core, q_in)
        use(core, q_in)
        made = ub_z + fill(core, q_out) * pitch
        other = zero if positive != 0 else ub_y + taken
        choice = Choice(ub_test + taken, ub_x + taken, other, 1 - positive, zero, bits)
        choose(core, made, choice, positive, count, shape.dtype)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, z + i * size, made, 1, blocks)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


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
