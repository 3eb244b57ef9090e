"""Max pooling with the index of the maximum, and its gradient, on the vector unit.

Maps lie as NC1HWC0. A tile is some rows and columns of windows of one plane of 16 channels. A repeat works on
eight windows of a row, `stride` positions apart, and repeats go down the rows (or along a row where a row
is too long for a repeat stride). A fp32 position is two blocks; they are worked on one after the other.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    block_dim,
    block_idx,
    close,
    emits,
    fill,
    filled,
    flat_dup,
    free,
    kernel,
    output,
    queue,
    use,
    vadd,
    vcmpv_eq,
    vcmpv_gt,
    vector_dup,
    vmax,
    vsel,
)
from kernels.lang.window import move_planes
from kernels.tiling.pooling import PoolGradTiling, PoolShape, PoolTiling

Array = npt.NDArray[Any]
BLOCK, LANES, MAX_BLOCKS = 32, 8, 255
BITS_BYTES, SUM_BYTES = 4096, 16384
MOST_REPEATS = 64
"""Repeats of one instruction, so that the bits and sums of a repeat have room."""


class Plan(NamedTuple):
    """Extents, windows and the tiles of this core."""

    h: int
    w: int
    oh: int
    ow: int
    kh: int
    kw: int
    stride: int
    unit: int
    dtype: int
    rows: int
    cols: int
    row_tiles: int
    col_tiles: int
    first: int
    last: int


class Tile(NamedTuple):
    """Windows `row` to `row + rows`, `col` to `col + cols` of a plane."""

    plane: int
    row: int
    rows: int
    col: int
    cols: int


class Patch(NamedTuple):
    """What one instruction works on: windows of a tile from (row, col), `width` of a row in every repeat."""

    row: int
    col: int
    width: int
    repeat: int
    is_down: int  # repeats go down the rows, else along the row
    half: int  # which block of a position


class WorkSpace(NamedTuple):
    """Blocks that hold the indices of a window's elements, comparisons of a patch, products of a patch."""

    indices: int
    bits: int
    part: int


class Strided(NamedTuple):
    """An operand of vector instructions: its handle, block stride and repeat stride."""

    at: int
    blk: int
    rep: int


@emits
def plan_of(core: Any, shape: Any, tiling: Any) -> Any:
    """Return the plan of this core."""
    oh, ow = (shape.h - shape.kh) // shape.stride + 1, (shape.w - shape.kw) // shape.stride + 1
    rows, cols = min(tiling.rows, oh), min(tiling.cols, ow)
    row_tiles, col_tiles = (oh + rows - 1) // rows, (ow + cols - 1) // cols
    tiles = shape.n * ((shape.c + 15) // 16) * row_tiles * col_tiles
    return Plan(
        shape.h, shape.w, oh, ow, shape.kh, shape.kw, shape.stride,
        2 if shape.dtype == FP32 else 1, shape.dtype, rows, cols, row_tiles, col_tiles,
        tiles * block_idx(core) // block_dim(core), tiles * (block_idx(core) + 1) // block_dim(core),
    )  # fmt: skip


@emits
def tile_at(core: Any, p: Any, tile: int) -> Any:
    """Return the tile with a number."""
    plane, rest = tile // (p.row_tiles * p.col_tiles), tile % (p.row_tiles * p.col_tiles)
    row, col = rest // p.col_tiles * p.rows, rest % p.col_tiles * p.cols
    return Tile(plane, row, min(p.rows, p.oh - row), col, min(p.cols, p.ow - col))


@emits
def work_space(core: Any, p: Any, sum_bytes: int) -> Any:
    """Fill one block per window element with its index; return it with room for bits and sums."""
    there = alloc(core, UB, p.kh * p.kw * BLOCK)
    for element in range(p.kh * p.kw):
        vector_dup(core, there + element * BLOCK, 1, element, p.dtype, BLOCK // (4 if p.unit == 2 else 2))
    bits = alloc(core, UB, BITS_BYTES + sum_bytes)
    return WorkSpace(there, bits, bits + BITS_BYTES)


@emits
def lanes_of(core: Any, p: Any) -> int:
    """Return how many windows of a row a repeat takes: eight, or one where they are too far apart."""
    return LANES if p.stride * p.unit <= MAX_BLOCKS else 1


@emits
def patches_of(core: Any, p: Any, rows: int, cols: int, pitch: int) -> int:
    """Return how many instructions cover a tile whose map has `pitch` columns."""
    lanes = lanes_of(core, p)
    if goes_down(core, p, cols, pitch):
        return int((cols + lanes - 1) // lanes * ((rows + MOST_REPEATS - 1) // MOST_REPEATS) * p.unit)
    return int(rows * (along(core, p, cols) + (1 if cols % lanes else 0)) * p.unit)


@emits
def goes_down(core: Any, p: Any, cols: int, pitch: int) -> int:
    """Tell whether a row of the map and one of windows are short enough for a repeat stride."""
    return 1 if p.stride * pitch * p.unit <= MAX_BLOCKS and cols * p.unit <= MAX_BLOCKS else 0


@emits
def along(core: Any, p: Any, cols: int) -> int:
    """Return how many instructions cover the whole repeats of a row."""
    lanes = lanes_of(core, p)
    most = MOST_REPEATS if lanes * p.stride * p.unit <= MAX_BLOCKS else 1
    return (cols // lanes + most - 1) // most


@emits
def patch_at(core: Any, p: Any, rows: int, cols: int, pitch: int, number: int) -> Any:
    """Return the patch with a number."""
    lanes, half, number = lanes_of(core, p), number % p.unit, number // p.unit
    if goes_down(core, p, cols, pitch):
        across = (cols + lanes - 1) // lanes
        row, col = number // across * MOST_REPEATS, number % across * lanes
        return Patch(row, col, min(lanes, cols - col), min(MOST_REPEATS, rows - row), 1, half)
    whole, tail = along(core, p, cols), 1 if cols % lanes else 0
    row, part = number // (whole + tail), number % (whole + tail)
    if part == whole:
        return Patch(row, cols // lanes * lanes, cols % lanes, 1, 0, half)
    most = MOST_REPEATS if lanes * p.stride * p.unit <= MAX_BLOCKS else 1
    return Patch(row, part * most * lanes, lanes, min(most, cols // lanes - part * most), 0, half)


@emits
def dense(core: Any, p: Any, buffer: int, cols: int, patch: Any) -> Any:
    """Return a patch of a buffer that holds one position per window."""
    at = buffer + ((patch.row * cols + patch.col) * p.unit + patch.half) * BLOCK
    rep = (cols if patch.is_down else LANES) * p.unit
    return Strided(at, p.unit, rep if patch.repeat > 1 else 0)


@emits
def spread(core: Any, p: Any, buffer: int, pitch: int, patch: Any, element: int) -> Any:
    """Return a patch of a map with `pitch` columns: one element of every window."""
    row, col = patch.row * p.stride + element // p.kw, patch.col * p.stride + element % p.kw
    at = buffer + ((row * pitch + col) * p.unit + patch.half) * BLOCK
    rep = (pitch if patch.is_down else LANES) * p.stride * p.unit
    blk = p.stride * p.unit if p.stride * p.unit <= MAX_BLOCKS else 0
    return Strided(at, blk, rep if patch.repeat > 1 else 0)


@emits
def mask_of(core: Any, p: Any, patch: Any) -> int:
    """Return the lanes of a repeat of a patch: 16 channels of a fp16 position, 8 of half a fp32 one."""
    return int(patch.width * (16 // p.unit))


@emits
def select(core: Any, p: Any, patch: Any, bits: int, to: Any, a: Any, b: Any) -> None:
    """Put a where the bit is 1, b elsewhere."""
    vsel(
        core, to.at, a.at, b.at, patch.repeat, bits, p.dtype, mask_of(core, p, patch),
        to.blk, a.blk, b.blk, to.rep, a.rep, b.rep,
    )  # fmt: skip


@emits
def larger(core: Any, p: Any, patch: Any, to: Any, a: Any, b: Any) -> None:
    """Put the larger of a and b."""
    vmax(
        core, to.at, a.at, b.at, patch.repeat, p.dtype, mask_of(core, p, patch),
        to.blk, a.blk, b.blk, to.rep, a.rep, b.rep,
    )  # fmt: skip


@emits
def constant(core: Any, s: Any, element: int) -> Any:
    """Return the index of a window's element as an operand: one block for all of a patch."""
    return Strided(s.indices + element * BLOCK, s.indices * 0, s.indices * 0)


@emits
def pool_patch(core: Any, p: Any, x: int, pitch: int, y: Any, arg: Any, patch: Any, s: Any) -> None:
    """Put the largest element of each window to y, the index of the first that is as large to arg."""
    top, top_index = spread(core, p, x, pitch, patch, 0), constant(core, s, 0)
    if p.kh * p.kw == 1:
        larger(core, p, patch, y, top, top)
        larger(core, p, patch, arg, top_index, top_index)
    for element in range(1, p.kh * p.kw):
        now = spread(core, p, x, pitch, patch, element)
        vcmpv_gt(core, s.bits, now.at, top.at, patch.repeat, p.dtype, now.blk, top.blk, now.rep, top.rep)
        select(core, p, patch, s.bits, arg, constant(core, s, element), top_index)
        larger(core, p, patch, y, top, now)
        top, top_index = y, arg


@emits
def fetch_windows(core: Any, p: Any, q: int, number: int, x: int, buffer: int, slot_bytes: int) -> None:
    """Bring the part of a plane under a tile of windows to UB, if there is such a tile."""
    if number < p.last:
        t = tile_at(core, p, number)
        rows, cols = (t.rows - 1) * p.stride + p.kh, (t.cols - 1) * p.stride + p.kw
        place = (t.plane * p.h + t.row * p.stride) * p.w + t.col * p.stride
        there, run = buffer + fill(core, q) * slot_bytes, cols * p.unit
        move_planes(core, there, x + place * p.unit * BLOCK, rows, run, run, p.w * p.unit)
        filled(core, q)


@emits
def store_windows(core: Any, p: Any, t: Any, result: int, there: int) -> None:
    """Bring one position per window of a tile to GM."""
    place = (t.plane * p.oh + t.row) * p.ow + t.col
    run = t.cols * p.unit
    move_planes(core, result + place * p.unit * BLOCK, there, t.rows, run, p.ow * p.unit, run)


def max_pool_reference(shape: Any, x: Array) -> tuple[Array, Array]:
    """Return the largest element of each window, and the index of the first one that is as large."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (shape.kh, shape.kw), axis=(2, 3))
    flat = windows[:, :, :: shape.stride, :: shape.stride].reshape(shape.n, shape.c, shape.oh, shape.ow, -1)
    return flat.max(axis=-1), flat.argmax(axis=-1).astype(x.dtype)


def max_pool_grad_reference(shape: Any, dy: Array, argmax: Array) -> tuple[Array]:
    """Return dx: each dy at its window's maximum, summed in float32 and rounded once."""
    dx = np.zeros((shape.n, shape.c, shape.h, shape.w), np.float32)
    for element in range(shape.kh * shape.kw):
        i, j = divmod(element, shape.kw)
        part = dx[:, :, i :: shape.stride, j :: shape.stride][:, :, : shape.oh, : shape.ow]
        part += np.where(argmax == element, dy, 0)
    return (dx.astype(dy.dtype),)


def _operands(shape: PoolShape) -> tuple[Operand, ...]:
    small = (shape.n, shape.c, shape.oh, shape.ow)
    return (
        Operand("x", (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0"),
        output("y", small, shape.dtype, "NC1HWC0"),
        output("argmax", small, shape.dtype, "NC1HWC0"),
    )


def _operands_grad(shape: PoolShape) -> tuple[Operand, ...]:
    small = (shape.n, shape.c, shape.oh, shape.ow)
    return (
        Operand("dy", small, shape.dtype, "NC1HWC0"),
        Operand("argmax", small, shape.dtype, "NC1HWC0", between=(0, shape.kh * shape.kw), is_whole=True),
        output("dx", (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0"),
    )


@kernel(PoolShape, PoolTiling, _operands, max_pool_reference)
def max_pool(core: Any, x: int, y: int, argmax: int, shape: Any, tiling: Any) -> None:
    """y[n, c, oh, ow] = largest of x's windows kh x kw; argmax[n, c, oh, ow] = its index in the window."""
    p = plan_of(core, shape, tiling)
    seen = ((p.rows - 1) * p.stride + p.kh) * ((p.cols - 1) * p.stride + p.kw) * p.unit * BLOCK
    beyond = (
        LANES * p.stride * p.unit * BLOCK if lanes_of(core, p) == LANES else 0
    )  # comparisons have no mask
    window_bytes = p.rows * p.cols * p.unit * BLOCK
    ux = alloc(core, UB, tiling.slots * (seen + beyond), tiling.slots)
    uy = alloc(core, UB, tiling.slots * 2 * window_bytes + LANES * p.unit * BLOCK)  # and read beyond the last
    space = work_space(core, p, 0)
    for slot in range(tiling.slots):
        flat_dup(core, ux + slot * (seen + beyond) + seen, 0.0, beyond // 4, FP32)
    qin, qout = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, tiling.slots)
    for ahead in range(tiling.slots - 1):
        fetch_windows(core, p, qin, p.first + ahead, x, ux, seen + beyond)
    for number in range(p.first, p.last):
        fetch_windows(core, p, qin, number + tiling.slots - 1, x, ux, seen + beyond)
        tile = tile_at(core, p, number)
        source, result = ux + use(core, qin) * (seen + beyond), uy + fill(core, qout) * 2 * window_bytes
        pitch = (tile.cols - 1) * p.stride + p.kw
        for i in range(patches_of(core, p, tile.rows, tile.cols, pitch)):
            patch = patch_at(core, p, tile.rows, tile.cols, pitch, i)
            top, arg = (
                dense(core, p, result, tile.cols, patch),
                dense(core, p, result + window_bytes, tile.cols, patch),
            )
            pool_patch(core, p, source, pitch, top, arg, patch, space)
        free(core, qin)
        filled(core, qout)
        result = uy + use(core, qout) * 2 * window_bytes
        store_windows(core, p, tile, y, result)
        store_windows(core, p, tile, argmax, result + window_bytes)
        free(core, qout)
    close(core, qout)
    close(core, qin)


class Reach(NamedTuple):
    """A tile of the gradient: the windows that reach into it, the part of dx that they and the tile cover.

    The tile owns rows `top` to `top + own_rows` and columns `left` to `left + own_cols` of that part.
    """

    windows: Tile
    rows: int
    cols: int
    top: int
    left: int
    own_rows: int
    own_cols: int


@emits
def reach_of(core: Any, p: Any, t: Any) -> Any:
    """Return what the gradient of a tile of windows needs and covers."""
    row, col = max(0, t.row - (p.kh - 1) // p.stride), max(0, t.col - (p.kw - 1) // p.stride)
    windows = Tile(t.plane, row, t.row + t.rows - row, col, t.col + t.cols - col)
    end_row = p.h if t.row + t.rows == p.oh else (t.row + t.rows) * p.stride
    end_col = p.w if t.col + t.cols == p.ow else (t.col + t.cols) * p.stride
    rows = max((windows.rows - 1) * p.stride + p.kh, end_row - row * p.stride)
    cols = max((windows.cols - 1) * p.stride + p.kw, end_col - col * p.stride)
    return Reach(
        windows, rows, cols, (t.row - row) * p.stride, (t.col - col) * p.stride,
        end_row - t.row * p.stride, end_col - t.col * p.stride,
    )  # fmt: skip


@emits
def grad_patch(core: Any, p: Any, dx: int, pitch: int, dy: Any, arg: Any, patch: Any, s: Any) -> None:
    """Put dy where the argmax says so; add where windows overlap."""
    for element in range(p.kh * p.kw):
        this = constant(core, s, element)
        vcmpv_eq(core, s.bits, arg.at, this.at, patch.repeat, p.dtype, arg.blk, this.blk, arg.rep, this.rep)
        to = spread(core, p, dx, pitch, patch, element)
        if p.kh <= p.stride and p.kw <= p.stride:
            select(core, p, patch, s.bits, to, dy, constant(core, s, 0))
        else:
            select(
                core,
                p,
                patch,
                s.bits,
                Strided(s.part, p.unit // p.unit, LANES * p.unit // p.unit),
                dy,
                constant(core, s, 0),
            )
            vadd(
                core, to.at, to.at, s.part, patch.repeat, p.dtype, mask_of(core, p, patch),
                to.blk, to.blk, 1, to.rep, to.rep, LANES,
            )  # fmt: skip


@emits
def fetch_reach(
    core: Any, p: Any, q: int, number: int, dy: int, argmax: int, buffer: int, slot_bytes: int
) -> None:
    """Bring argmax and dy of the windows of a tile to UB, argmax first, if there is such a tile."""
    if number < p.last:
        windows = reach_of(core, p, tile_at(core, p, number)).windows
        there = buffer + fill(core, q) * slot_bytes
        place = ((windows.plane * p.oh + windows.row) * p.ow + windows.col) * p.unit * BLOCK
        run = windows.cols * p.unit
        move_planes(core, there, argmax + place, windows.rows, run, run, p.ow * p.unit)
        move_planes(
            core, there + windows.rows * run * BLOCK, dy + place, windows.rows, run, run, p.ow * p.unit
        )
        filled(core, q)


@emits
def store_reach(core: Any, p: Any, t: Any, r: Any, dx: int, there: int) -> None:
    """Bring what a tile owns of dx to GM."""
    src = there + (r.top * r.cols + r.left) * p.unit * BLOCK
    place = (t.plane * p.h + t.row * p.stride) * p.w + t.col * p.stride
    dst = dx + place * p.unit * BLOCK
    move_planes(core, dst, src, r.own_rows, r.own_cols * p.unit, p.w * p.unit, r.cols * p.unit)


@kernel(PoolShape, PoolGradTiling, _operands_grad, max_pool_grad_reference)
def max_pool_grad(core: Any, dy: int, argmax: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = sum of dy[n, c, oh, ow] over the windows whose argmax is there, zero elsewhere."""
    p = plan_of(core, shape, tiling)
    rows, cols = min(p.oh, p.rows + (p.kh - 1) // p.stride), min(p.ow, p.cols + (p.kw - 1) // p.stride)
    rest_h, rest_w = p.h - (p.oh - 1) * p.stride - p.kh, p.w - (p.ow - 1) * p.stride - p.kw
    high, wide = max(p.kh, p.stride) + rest_h, max(p.kw, p.stride) + rest_w
    high, wide = min(p.h, (rows - 1) * p.stride + high), min(p.w, (cols - 1) * p.stride + wide)
    dx_bytes = high * wide * p.unit * BLOCK
    in_bytes = (2 * rows * cols + LANES) * p.unit * BLOCK  # comparisons have no mask: they read beyond
    uin = alloc(core, UB, tiling.slots * in_bytes, tiling.slots)
    ux = alloc(core, UB, tiling.slots * dx_bytes, tiling.slots)
    space = work_space(core, p, SUM_BYTES)
    qin, qout = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, tiling.slots)
    for ahead in range(tiling.slots - 1):
        fetch_reach(core, p, qin, p.first + ahead, dy, argmax, uin, in_bytes)
    for number in range(p.first, p.last):
        fetch_reach(core, p, qin, number + tiling.slots - 1, dy, argmax, uin, in_bytes)
        tile = tile_at(core, p, number)
        reach = reach_of(core, p, tile)
        source, result = uin + use(core, qin) * in_bytes, ux + fill(core, qout) * dx_bytes
        count, across = reach.windows.rows, reach.windows.cols
        if p.kh != p.stride or p.kw != p.stride or reach.rows * reach.cols != count * across * p.kh * p.kw:
            flat_dup(core, result, 0.0, reach.rows * reach.cols * 8 * p.unit, FP32)
        for i in range(patches_of(core, p, count, across, reach.cols)):
            patch = patch_at(core, p, count, across, reach.cols, i)
            arg = dense(core, p, source, across, patch)
            given = dense(core, p, source + count * across * p.unit * BLOCK, across, patch)
            grad_patch(core, p, result, reach.cols, given, arg, patch, space)
        free(core, qin)
        filled(core, qout)
        store_reach(core, p, tile, reach, dx, ux + use(core, qout) * dx_bytes)
        free(core, qout)
    close(core, qout)
    close(core, qin)
