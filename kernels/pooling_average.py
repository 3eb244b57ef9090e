"""Average pooling of windows with stride and padding, and its gradient.

Half precision is summed in fp32 and rounded once. Windows form one stream, as in max pooling.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FP16,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    close,
    emits,
    fill,
    filled,
    flat_convert,
    flat_dup,
    flat_scale,
    free,
    kernel,
    queue,
    use,
    vadd,
    vaxpy_mixed,
    vmuls,
)
from kernels.pieces.pooling import (
    BLOCK,
    C0,
    Pool,
    Tile,
    blank,
    blank_map,
    blank_unseen,
    dense,
    element,
    fetch_map,
    is_near,
    load_windows,
    map_blocks,
    most_windows,
    move_map,
    pool_of,
    reach_of,
    store_windows,
    store_zeros,
    tile_at,
    window_blocks,
    windows_of,
)
from kernels.pooling import scattered, windows_in
from kernels.tiling.pooling import AverageGradTiling, AverageShape, AverageTiling, PoolShape

Array = npt.NDArray[Any]
REPEATS, WIDE = 255, 64
"""Repeats of one instruction; bytes of a position in fp32."""


@emits
def wide_pool(core: Any, p: Pool) -> Any:
    """Return the same tiles for buffers in fp32."""
    unit = p.unit * 2 if p.dtype == FP16 else p.unit
    return Pool(
        p.h, p.w, p.oh, p.ow, p.kh, p.kw, p.stride, p.pad, p.dtype // max(1, p.dtype) * 0 + FP32, unit,
        p.planes, p.rows, p.cols, p.above, p.left, p.height, p.pitch, p.phase, p.row_tiles, p.col_tiles,
        p.first, p.last,
    )  # fmt: skip


@emits
def add_half(core: Any, p: Pool, total: int, x: int, number: int, windows: int) -> None:
    """Add an element of each window, in fp16, to the sums: a repeat takes four windows."""
    most = most_windows(core, p, REPEATS) // 2 + 1 - is_near(core, p.stride, p.unit)
    for window in range(0, windows, most):
        count = min(most, windows - window)
        src = element(core, p, x, number // p.kw, number % p.kw, window, 0)
        to, lanes = total + window * WIDE, min(64, count * C0)
        vaxpy_mixed(core, to, src.at, (count + 3) // 4, 1.0, lanes, 1, src.blk, 8, src.rep // 2)


@emits
def add_wide(core: Any, p: Pool, total: int, x: int, number: int, windows: int) -> None:
    """Add an element of each window, in fp32, to the sums: a repeat takes half of eight windows."""
    most = most_windows(core, p, REPEATS)
    for half in range(2):
        for window in range(0, windows, most):
            count = min(most, windows - window)
            src = element(core, p, x, number // p.kw, number % p.kw, window, half)
            to = dense(core, p, total, window, half)
            vadd(
                core, to.at, to.at, src.at, (count + 7) // 8, FP32, min(64, count * 8), to.blk, to.blk,
                src.blk, to.rep, to.rep, src.rep,
            )  # fmt: skip


@emits
def seen(core: Any, at: int, length: int, window: int) -> int:
    """Return how many elements of a window that begins at `at` lie in the image, along one axis."""
    return min(length, at + window) - max(0, at)


@emits
def scale_column(core: Any, values: int, rows: int, pitch: int, factor: float) -> None:
    """Multiply a column of windows (fp32), `pitch` windows apart."""
    most = REPEATS if pitch * 2 <= REPEATS else 1
    for row in range(0, rows, most):
        at, rep = values + row * pitch * WIDE, pitch * 2 if most > 1 else 0
        vmuls(core, at, at, min(most, rows - row), factor, FP32, C0, 1, 1, rep, rep)


class Corner(NamedTuple):
    """The first row and column of the windows of a plane in UB, and how many rows and columns there are."""

    row: int
    col: int
    rows: int
    cols: int


@emits
def leave_padding_out(core: Any, p: Pool, corner: Corner, planes: int, values: int) -> None:
    """Multiply the windows at the border (fp32) so that they count only what lies in the image."""
    for plane in range(planes):
        there = values + plane * p.height * p.pitch * WIDE
        for row in range(corner.rows):
            count = seen(core, (corner.row + row) * p.stride - p.pad, p.h, p.kh)
            if 0 < count < p.kh:
                line = there + row * p.pitch * WIDE
                flat_scale(core, line, line, corner.cols * C0, p.kh / count, 0.0, FP32)
        for col in range(corner.cols):
            count = seen(core, (corner.col + col) * p.stride - p.pad, p.w, p.kw)
            if 0 < count < p.kw:
                scale_column(core, there + col * WIDE, corner.rows, p.pitch, p.kw / count)


@emits
def average_tile(core: Any, p: Pool, t: Tile, made: int, x: int, total: int, include_pad: int) -> None:
    """Set the windows of a tile to the averages of their elements."""
    windows, factor = windows_of(core, p, t), 1.0 / (p.kh * p.kw)
    sums = total if p.dtype == FP16 else made
    flat_dup(core, sums, 0.0, windows * C0, FP32)
    for number in range(p.kh * p.kw):
        if p.dtype == FP16:
            add_half(core, p, sums, x, number, windows)
        else:
            add_wide(core, p, sums, x, number, windows)
    flat_scale(core, sums, sums, windows * C0, factor, 0.0, FP32)
    if p.pad > 0 and include_pad == 0:
        leave_padding_out(core, p, Corner(t.row, t.col, t.rows, t.cols), t.planes, sums)
    if p.dtype == FP16:
        flat_convert(core, made, FP16, sums, FP32, windows * C0)


def _counts(shape: AverageShape) -> Array:
    """Return what the sum of each window is divided by, [oh, ow]."""
    if shape.include_pad:
        return np.full((shape.oh, shape.ow), shape.kh * shape.kw)
    ones = np.ones((shape.n, shape.c, shape.h, shape.w))
    return np.asarray(windows_in(ones, shape, 0)[0, 0].sum(axis=-1))


def avg_pool_reference(shape: AverageShape, x: Array) -> tuple[Array]:
    """Return the average of each window."""
    return ((windows_in(x.astype(np.float64), shape, 0).sum(axis=-1) / _counts(shape)).astype(x.dtype),)


def avg_pool_grad_reference(shape: AverageShape, dy: Array) -> tuple[Array]:
    """Return dx: each dy shared by the elements of its window."""
    each = dy.astype(np.float64) / _counts(shape)
    return (scattered(shape, np.stack([each] * (shape.kh * shape.kw))).astype(dy.dtype),)


def _image(name: str, shape: PoolShape, is_output: bool = False) -> Operand:
    size = (shape.n, shape.c, shape.h, shape.w)
    return Operand(name, size, shape.dtype, "NC1HWC0", is_output=is_output)


def _pooled(name: str, shape: PoolShape, is_output: bool = False) -> Operand:
    size = (shape.n, shape.c, shape.oh, shape.ow)
    return Operand(name, size, shape.dtype, "NC1HWC0", is_output=is_output)


@kernel(
    AverageShape, AverageTiling, lambda shape: (_image("x", shape), _pooled("y", shape, True)),
    avg_pool_reference,
)  # fmt: skip
def avg_pool(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, c, oh, ow] = average of windows kh x kw; padding counts as zeros, or not with include_pad=0."""
    p, slots = pool_of(core, shape, tiling, 0), tiling.slots
    blocks = window_blocks(core, p, p.height if p.planes > 1 else p.rows)
    slot, result = map_blocks(core, p) * BLOCK, blocks * BLOCK
    ux, uy = alloc(core, UB, slots * slot, slots), alloc(core, UB, slots * result, slots)
    total = alloc(core, UB, result * 2 if shape.dtype == FP16 else 0)
    for buffer in range(slots if p.pad > 0 else 0):
        blank(core, ux + buffer * slot, 0.0, slot // BLOCK, p.dtype)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for ahead in range(slots - 1):
        fetch_map(core, p, q_in, shape, p.first + ahead, x, ux, slot)
    for number in range(p.first, p.last):
        fetch_map(core, p, q_in, shape, number + slots - 1, x, ux, slot)
        t = tile_at(core, p, shape, number, 0)
        there, made = ux + use(core, q_in) * slot, uy + fill(core, q_out) * result
        if p.pad > 0 and p.row_tiles > 1:
            blank_map(core, p, t, there, 0.0)
        average_tile(core, p, t, made, there, total, shape.include_pad)
        if p.pad > 0 and p.col_tiles > 1:
            blank(core, there, 0.0, slot // BLOCK, p.dtype)
        free(core, q_in)
        filled(core, q_out)
        store_windows(core, p, t, y, uy + use(core, q_out) * result)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def give(core: Any, p: Pool, dx: int, dy: int, windows: int, number: int) -> None:
    """Write dy of each window (fp32) to an element of dx, or add it where another element is written."""
    i, j, most = number // p.kw, number % p.kw, most_windows(core, p, REPEATS)
    for half in range(2):
        for window in range(0, windows, most):
            count = min(most, windows - window)
            repeat, lanes = (count + 7) // 8, min(64, count * 8)
            to, src = element(core, p, dx, i, j, window, half), dense(core, p, dy, window, half)
            if i < p.stride and j < p.stride:
                vmuls(core, to.at, src.at, repeat, 1.0, FP32, lanes, to.blk, src.blk, to.rep, src.rep)
            else:
                vadd(
                    core, to.at, to.at, src.at, repeat, FP32, lanes, to.blk, to.blk, src.blk, to.rep, to.rep,
                    src.rep,
                )  # fmt: skip


@emits
def share_tile(core: Any, p: Pool, t: Tile, dx: int, dy: int) -> None:
    """Give dy (fp32) of all windows that reach into a tile to their elements: those that write come first."""
    reach = reach_of(core, p, t)
    before = (t.planes - 1) * p.height
    windows, room = (before + reach.rows) * p.pitch, (before + p.height - reach.top) * p.pitch
    there = dx + reach.top * p.pitch * p.stride * p.unit * BLOCK
    if p.kw < p.stride:
        blank(core, dx, 0.0, map_blocks(core, p), FP32)
    elif p.planes == 1:
        blank_unseen(core, p, reach, dx, FP32)
    for adds in range(2):
        for number in range(p.kh * p.kw):
            writes = 1 if number // p.kw < p.stride and number % p.kw < p.stride else 0
            some = min(windows, room - number // p.kw // p.stride * p.pitch)
            if writes != adds and some > 0:
                give(core, p, there, dy, some, number)


@emits
def widen_windows(core: Any, p: Pool, t: Tile, wide: int, dy: int, include_pad: int) -> None:
    """Set the windows of a tile in fp32 to what each gives to every element."""
    reach, factor = reach_of(core, p, t), 1.0 / (p.kh * p.kw)
    windows = ((t.planes - 1) * p.height + reach.rows) * p.pitch
    if p.dtype == FP16:
        flat_convert(core, wide, FP32, dy, FP16, windows * C0)
        flat_scale(core, wide, wide, windows * C0, factor, 0.0, FP32)
    else:
        flat_scale(core, wide, dy, windows * C0, factor, 0.0, FP32)
    if p.pad > 0 and include_pad == 0:
        corner = Corner(reach.first, t.col - p.left, reach.rows, t.cols + p.left)
        leave_padding_out(core, p, corner, t.planes, wide)
    blank(core, wide + windows * WIDE, 0.0, 8 * 2, FP32)  # instructions work on up to seven windows too many


@emits
def fetch_windows(
    core: Any, p: Pool, q: int, shape: Any, number: int, dy: int, there: int, size: int
) -> None:
    """Bring dy of the windows that reach into a tile to UB, if there is such a tile."""
    if number < p.last:
        buffer = there + fill(core, q) * size
        load_windows(core, p, tile_at(core, p, shape, number, 1), dy, buffer)
        filled(core, q)


@kernel(
    AverageShape, AverageGradTiling, lambda shape: (_pooled("dy", shape), _image("dx", shape, True)),
    avg_pool_grad_reference,
)  # fmt: skip
def avg_pool_grad(core: Any, dy: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = sum of dy / count over the windows that see it."""
    p, slots = pool_of(core, shape, tiling, 1), tiling.slots
    w, rows = wide_pool(core, p), p.height if p.planes > 1 else min(p.height, p.oh)
    size, slot = window_blocks(core, p, rows) * BLOCK, map_blocks(core, p) * BLOCK
    most = map_blocks(core, w)
    given, made = alloc(core, UB, slots * size, slots), alloc(core, UB, slots * slot, slots)
    wide = alloc(core, UB, window_blocks(core, w, rows) * BLOCK)
    sums = alloc(core, UB, most * BLOCK if p.dtype == FP16 else 0)
    zeros = alloc(core, UB, p.cols * p.stride * p.unit * BLOCK if p.kh < p.stride else 0)
    blank(core, zeros, 0.0, p.cols * p.stride * p.unit if p.kh < p.stride else 0, p.dtype)
    for buffer in range(slots):
        blank(core, given + buffer * size, 0.0, size // BLOCK, p.dtype)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for ahead in range(slots - 1):
        fetch_windows(core, p, q_in, shape, p.first + ahead, dy, given, size)
    for number in range(p.first, p.last):
        fetch_windows(core, p, q_in, shape, number + slots - 1, dy, given, size)
        t = tile_at(core, p, shape, number, 1)
        there = given + use(core, q_in) * size
        widen_windows(core, p, t, wide, there, shape.include_pad)
        if p.col_tiles > 1:
            blank(core, there, 0.0, size // BLOCK, p.dtype)
        free(core, q_in)
        result = made + fill(core, q_out) * slot
        share_tile(core, w, t, sums if p.dtype == FP16 else result, wide)
        if p.dtype == FP16:
            flat_convert(core, result, FP16, sums, FP32, slot // 2)
        filled(core, q_out)
        move_map(core, p, t, dx, made + use(core, q_out) * slot, 1)
        store_zeros(core, p, t, dx, zeros)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
