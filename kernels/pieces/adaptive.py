"""Adaptive pooling of whole planes of 16 channels, several at once: rows of all planes lie side by side.

A row of the image then is a flat array over all planes, and rows are combined by long instructions; a column
is 16 lanes a repeat, and repeats go over the planes and rows.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, data_move, vmuls
from kernels.lang.buffers import UB, alloc, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MAX_REPEAT, flat_binary, flat_convert, flat_scale, size_of
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.fold import fold
from kernels.pieces.turn import turn_items

C0, BLOCK, WIDE = 16, 32, 64
SPREAD = -1
"""Stands for the way back of sums, beside the operations that fold."""


class Grid(NamedTuple):
    """An image and its windows, the type of both, and the planes of a tile."""

    h: int
    w: int
    oh: int
    ow: int
    dtype: int
    planes: int


class Desk(NamedTuple):
    """Buffers in UB: in fp32 the image, rows of windows of all its columns, and windows; in fp16 either.

    `q_in` and `q_out` fill and empty `taken` and `made`, of `taken_bytes` and `made_bytes` a slot.
    """

    image: int
    middle: int
    windows: int
    half: int
    taken: int
    taken_bytes: int
    made: int
    made_bytes: int
    q_in: int
    q_out: int


class Span(NamedTuple):
    """What a window covers of an axis."""

    start: int
    end: int


@emits
def covered(core: Any, window: int, windows: int, length: int) -> Any:
    """Return what a window covers of an axis; with both exchanged, which windows cover a place."""
    return Span(window * length // windows, ((window + 1) * length + windows - 1) // windows)


@emits
def desk_of(core: Any, g: Grid, taken: int, made: int, slots: int) -> Any:
    """Allocate the buffers of tiles that take and make so many positions of a plane."""
    bytes_in = g.planes * taken * C0 * size_of(core, g.dtype)
    bytes_out = g.planes * made * C0 * size_of(core, g.dtype)
    return Desk(
        alloc(core, UB, g.planes * g.h * g.w * WIDE), alloc(core, UB, g.planes * g.oh * g.w * WIDE),
        alloc(core, UB, g.planes * g.oh * g.ow * WIDE),
        alloc(core, UB, g.planes * max(taken, made) * BLOCK if g.dtype == FP16 else 0),
        alloc(core, UB, slots * bytes_in, slots), bytes_in, alloc(core, UB, slots * bytes_out, slots),
        bytes_out, queue(core, MTE2, V, slots), queue(core, V, MTE3, slots),
    )  # fmt: skip


@emits
def widen_rows(core: Any, g: Grid, d: Desk, dst: int, src: int, planes: int, rows: int, columns: int) -> None:
    """Set dst[rows, planes, columns, 16] (fp32) = src[planes, rows, columns, 16]."""
    blocks = columns * C0 * size_of(core, g.dtype) // BLOCK
    to = dst if g.dtype == FP32 else d.half
    turn_items(core, to, planes * blocks * BLOCK, src, rows * blocks * BLOCK, planes, rows, blocks)
    if g.dtype == FP16:
        flat_convert(core, dst, FP32, d.half, FP16, planes * rows * columns * C0)


@emits
def narrow_rows(
    core: Any, g: Grid, d: Desk, dst: int, src: int, planes: int, rows: int, columns: int
) -> None:
    """Set dst[planes, rows, columns, 16] = src[rows, planes, columns, 16] (fp32)."""
    blocks, start = columns * C0 * size_of(core, g.dtype) // BLOCK, src
    if g.dtype == FP16:
        flat_convert(core, d.half, FP16, src, FP32, planes * rows * columns * C0)
        start = d.half
    turn_items(core, dst, rows * blocks * BLOCK, start, planes * blocks * BLOCK, rows, planes, blocks)


@emits
def put_row(core: Any, op: int, dst: int, src: int, lanes: int, is_first: bool) -> None:
    """Set a flat array to another one, or combine it with it."""
    if is_first:
        data_move(core, dst, src, 1, lanes * 4 // BLOCK)
    else:
        flat_binary(core, op, dst, dst, src, lanes, FP32)


@emits
def put_column(
    core: Any, op: int, dst: int, src: int, rows: int, dst_columns: int, src_columns: int, is_first: bool
) -> None:
    """Set a column of 16 channels in all rows to another one, or combine it with it."""
    if is_first:
        data_move(core, dst, src, rows, 2, 2 * src_columns - 2, 2 * dst_columns - 2)
    else:
        fold(core, op, dst, src, rows, C0, 2 * dst_columns, 2 * src_columns)


@emits
def fold_image(core: Any, op: int, g: Grid, d: Desk, planes: int) -> None:
    """Fold the rows of the image onto rows of windows, then their columns onto windows."""
    lanes, rows = planes * g.w * C0, g.oh * planes
    for i in range(g.oh):
        seen, to = covered(core, i, g.oh, g.h), d.middle + i * lanes * 4
        for row in range(seen.start, seen.end):
            put_row(core, op, to, d.image + row * lanes * 4, lanes, row == seen.start)
    for j in range(g.ow):
        seen = covered(core, j, g.ow, g.w)
        for column in range(seen.start, seen.end):
            to, src = d.windows + j * WIDE, d.middle + column * WIDE
            put_column(core, op, to, src, rows, g.ow, g.w, column == seen.start)


@emits
def spread_windows(core: Any, g: Grid, d: Desk, planes: int) -> None:
    """Add windows to the columns that they cover, then rows of those to the rows of the image."""
    lanes, rows = planes * g.w * C0, g.oh * planes
    for column in range(g.w):
        over = covered(core, column, g.w, g.ow)
        for j in range(over.start, over.end):
            to, src = d.middle + column * WIDE, d.windows + j * WIDE
            put_column(core, ADD, to, src, rows, g.w, g.ow, j == over.start)
    for row in range(g.h):
        over, to = covered(core, row, g.h, g.oh), d.image + row * lanes * 4
        for i in range(over.start, over.end):
            put_row(core, ADD, to, d.middle + i * lanes * 4, lanes, i == over.start)


@emits
def divide_windows(core: Any, g: Grid, d: Desk, planes: int) -> None:
    """Divide each window by the number of positions that it covers."""
    if g.h % g.oh == 0 and g.w % g.ow == 0:
        factor = 1.0 / (g.h // g.oh * (g.w // g.ow))
        flat_scale(core, d.windows, d.windows, planes * g.oh * g.ow * C0, factor, 0.0, FP32)
        return
    for window in range(g.oh * g.ow):
        i, j = window // g.ow, window % g.ow
        down, across = covered(core, i, g.oh, g.h), covered(core, j, g.ow, g.w)
        factor = 1.0 / ((down.end - down.start) * (across.end - across.start))
        for done in range(0, planes, MAX_REPEAT):
            at, repeat = d.windows + ((i * planes + done) * g.ow + j) * WIDE, min(MAX_REPEAT, planes - done)
            vmuls(core, at, at, repeat, factor, FP32, C0, 1, 1, 2 * g.ow, 2 * g.ow)


@emits
def fetch_planes(core: Any, g: Grid, d: Desk, x: int, first: int, end: int) -> None:
    """Bring the planes of a tile to the next buffer, if there are any."""
    if first < end:
        plane, count = d.taken_bytes // g.planes, min(g.planes, end - first)
        to = d.taken + fill(core, d.q_in) * d.taken_bytes
        data_move(core, to, x + first * plane, 1, count * plane // BLOCK)
        filled(core, d.q_in)


@emits
def store_planes(core: Any, g: Grid, d: Desk, y: int, first: int, count: int) -> None:
    """Write the planes of a tile."""
    plane = d.made_bytes // g.planes
    filled(core, d.q_out)
    made = d.made + use(core, d.q_out) * d.made_bytes
    data_move(core, y + first * plane, made, 1, count * plane // BLOCK)
    free(core, d.q_out)


@emits
def pool_tile(core: Any, op: int, g: Grid, d: Desk, count: int) -> None:
    """Pool the planes of a tile to sums or maxima, sums divided by what windows cover."""
    widen_rows(core, g, d, d.image, d.taken + use(core, d.q_in) * d.taken_bytes, count, g.h, g.w)
    free(core, d.q_in)
    fold_image(core, op, g, d, count)
    if op == ADD:
        divide_windows(core, g, d, count)
    made = d.made + fill(core, d.q_out) * d.made_bytes
    narrow_rows(core, g, d, made, d.windows, count, g.oh, g.ow)


@emits
def spread_tile(core: Any, g: Grid, d: Desk, count: int) -> None:
    """Give each number of the planes of a tile, divided, to the positions that its window covers."""
    widen_rows(core, g, d, d.windows, d.taken + use(core, d.q_in) * d.taken_bytes, count, g.oh, g.ow)
    free(core, d.q_in)
    divide_windows(core, g, d, count)
    spread_windows(core, g, d, count)
    made = d.made + fill(core, d.q_out) * d.made_bytes
    narrow_rows(core, g, d, made, d.image, count, g.h, g.w)


@emits
def pool_planes(core: Any, op: int, x: int, y: int, g: Grid, total: int, slots: int) -> None:
    """Work on this block's share of the planes: sums, maxima or, with SPREAD, the gradient of averages."""
    image, windows = g.h * g.w, g.oh * g.ow
    d = desk_of(core, g, windows if op == SPREAD else image, image if op == SPREAD else windows, slots)
    start, end = share_start(core, total, 1), share_end(core, total, 1)
    for ahead in range(slots - 1):
        fetch_planes(core, g, d, x, start + ahead * g.planes, end)
    for first in range(start, end, g.planes):
        fetch_planes(core, g, d, x, first + (slots - 1) * g.planes, end)
        count = min(g.planes, end - first)
        if op == SPREAD:
            spread_tile(core, g, d, count)
        else:
            pool_tile(core, op, g, d, count)
        store_planes(core, g, d, y, first, count)
    close(core, d.q_out)
    close(core, d.q_in)
