"""Rows reduced to one number each, or, where a row is cut in parts, to a block of partial results per part.

Half precision is widened to fp32 on arrival and rounded once at the end. Pieces of 64 columns are folded onto
each other with repeats over the rows; what remains of each row is added by the vector unit's reduction, or
transposed and folded.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, INT32, data_move, vcadd
from kernels.lang.buffers import UB, alloc, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MAX_REPEAT, flat_convert, flat_scale, size_of
from kernels.lang.lacking import VAXPY_MIXED, lacks
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.fold import ADD_HALF, fold, fold_lanes, start_lines
from kernels.pieces.rows import load_rows, pitch_bytes, store_blocks
from kernels.pieces.transpose import transpose_32bit

BLOCK, LINE, LANES, EDGE, CELL = 32, 256, 64, 16, 8
TILE_LANES = 8192
"""Numbers of a tile: it has as many rows as fit, so that rows that fill whole blocks come as one burst."""
PART_COLUMNS = 256
"""Parts of rows are multiples of this: transfers are fastest from multiples of 512 bytes."""


class Source(NamedTuple):
    """A tile as it is folded: bytes from row to row, bytes of a number, and the operation."""

    pitch: int
    size: int
    op: int


@emits
def fold_columns(core: Any, kept: int, src: int, rows: int, columns: int, tile: Source) -> None:
    """Fold every 64 columns of src[rows, columns] onto kept[rows, 64]."""
    lines, rep, line = columns // LANES, tile.pitch // BLOCK, LANES * tile.size
    if lines > rows or rep > MAX_REPEAT:
        for row in range(rows):
            to, start = kept + row * LINE, src + row * tile.pitch
            fold(core, tile.op, to, start, lines, LANES, 0, line // BLOCK)
            if columns % LANES > 0:
                fold(core, tile.op, to, start + lines * line, 1, columns % LANES, 8, 8)
    else:
        for column in range(0, columns, LANES):
            mask, start = min(LANES, columns - column), src + column * tile.size
            fold(core, tile.op, kept, start, rows, mask, 8, rep)


@emits
def finish_rows(core: Any, op: int, dst: int, kept: int, rows: int, scratch: int) -> None:
    """Set dst[rows] = kept[rows, 64] reduced over its columns; whole groups of 16 rows are written.

    Scratch is 3072 bytes per 16 rows, but for sums, which need none.
    """
    groups = (rows + EDGE - 1) // EDGE
    if op == ADD:
        for done in range(0, rows, MAX_REPEAT):
            vcadd(core, dst + done * 4, kept + done * LINE, min(MAX_REPEAT, rows - done), FP32, LANES)
        return
    fold_lanes(core, op, kept, rows, EDGE)
    columns = scratch + groups * 2048
    transpose_32bit(core, columns, kept, 8, EDGE * 8, groups, scratch)
    for half in (512, 256):
        for part in range(0, half, LINE):
            fold(core, op, columns + part, columns + half + part, groups, LANES, 32, 32)
    for half in (128, 64):
        fold(core, op, columns, columns + half, groups, half // 4, 32, 32)
    for group in range(groups):
        data_move(core, dst + group * 64, columns + group * 1024, 1, 2)


@emits
def folded_type(core: Any, op: int, dtype: int) -> int:
    """Return the type in which a tile is folded: fp16 is added as it is, and widened for the rest."""
    if dtype == INT32:
        return INT32
    return FP16 if dtype == FP16 and op == ADD and lacks(core, VAXPY_MIXED, FP16) == 0 else FP32


@emits
def folding(core: Any, op: int, to: int) -> int:
    """Return the operation that folds a tile of type `to`."""
    return ADD_HALF if to == FP16 else op


@emits
def widened(core: Any, src: int, wide: int, dtype: int, to: int, nbytes: int) -> int:
    """Return where a tile of `nbytes` lies in type `to`: where it came, or converted at `wide`."""
    if dtype == to:
        return src
    flat_convert(core, wide, FP32, src, FP16, nbytes // 2)
    return wide


@emits
def narrowed(core: Any, dst: int, values: int, n: int, factor: float, dtype: int) -> None:
    """Set dst[n] of type `dtype` to values[n] (fp32, or int32) times a factor; values may be overwritten."""
    if dtype == FP16:
        flat_scale(core, values, values, n, factor, 0.0, FP32)
        flat_convert(core, dst, FP16, values, FP32, n)
    else:
        data_move(core, dst, values, 1, (n * 4 + BLOCK - 1) // BLOCK)
        flat_scale(core, dst, dst, n, factor, 0.0, FP32)


@emits
def store_row(
    core: Any, dst: int, values: int, n: int, factor: float, dtype: int, ub: int, q_out: int
) -> None:
    """Move values[n] (fp32 in UB), multiplied by `factor`, to GM as `dtype` through the buffer `ub`."""
    fill(core, q_out)
    narrowed(core, ub, values, n, factor, dtype)
    filled(core, q_out)
    use(core, q_out)
    data_move(core, dst, ub, 1, (n * size_of(core, dtype) + BLOCK - 1) // BLOCK)
    free(core, q_out)


@emits
def store_cells(
    core: Any, dst: int, stride: int, kept: int, rows: int, factor: float, ub: int, q_out: int
) -> None:
    """Move the first block of every line of kept[rows, 64], multiplied by `factor`, to GM."""
    fill(core, q_out)
    data_move(core, ub, kept, rows, 1, 7, 0)
    flat_scale(core, ub, ub, rows * CELL, factor, 0.0, FP32)
    filled(core, q_out)
    use(core, q_out)
    store_blocks(core, dst, stride, ub, BLOCK, rows, 1)
    free(core, q_out)


@emits
def part_start(core: Any, length: int, unit: int, parts: int, part: int) -> int:
    """Return where a part of an axis begins: a multiple of `unit`; parts of a short axis may be empty."""
    return min(length, (length + unit - 1) // unit * part // parts * unit)


@emits
def reduce_rows(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any, factor: float) -> None:
    """Set y[rows] (or y[rows, parts, 8]) = x[rows, n] reduced over n, for this block's share."""
    size, n, dtype, total = size_of(core, shape.dtype), shape.n, shape.dtype, shape.b * shape.m
    rows, columns = max(1, tiling.rows // EDGE) * EDGE, max(1, tiling.columns // LANES) * LANES
    pitch, out_size = pitch_bytes(core, min(columns, n) * size), size_of(core, shape.out_dtype)
    height, to = max(1, min(rows, total, TILE_LANES * size // pitch)), folded_type(core, op, dtype)
    room = height * pitch
    ub_x = alloc(core, UB, tiling.slots * room, tiling.slots)
    wide = alloc(core, UB, room * 2 if dtype != to else 0)
    source = Source(pitch * size_of(core, to) // size, size_of(core, to), folding(core, op, to))
    kept, values, ub_y = (
        alloc(core, UB, rows * LINE),
        alloc(core, UB, rows * 4),
        alloc(core, UB, rows * BLOCK),
    )
    scratch = alloc(core, UB, rows // EDGE * 3072 if op != ADD else 0)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    unit = BLOCK // out_size if shape.parts == 1 else 1
    groups = (total + unit - 1) // unit
    first, last = share_start(core, shape.parts * groups, 1), share_end(core, shape.parts * groups, 1)
    for part in range(first // groups, (last + groups - 1) // groups):
        end = min(total, (last - part * groups) * unit)
        left = part_start(core, n, PART_COLUMNS, shape.parts, part)
        right = part_start(core, n, PART_COLUMNS, shape.parts, part + 1)
        for row in range(max(0, first - part * groups) * unit, end, rows):
            count = min(rows, end - row)
            start_lines(core, op, kept, rows * LANES)
            for column in range(left, right, columns):
                width = min(columns, right - column)
                for sub in range(0, count, height):
                    some, start = min(height, count - sub), x + ((row + sub) * n + column) * size
                    taken = ub_x + fill(core, q_in) * room
                    load_rows(core, taken, pitch, start, n * size, some, width * size)
                    filled(core, q_in)
                    use(core, q_in)
                    tile = widened(core, taken, wide, dtype, to, some * pitch)
                    fold_columns(core, kept + sub * LINE, tile, some, width, source)
                    free(core, q_in)
            if shape.parts > 1:
                fold_lanes(core, op, kept, count, CELL)
                cells = y + (row * shape.parts + part) * BLOCK
                store_cells(core, cells, shape.parts * BLOCK, kept, count, factor, ub_y, q_out)
            else:
                finish_rows(core, op, values, kept, count, scratch)
                store_row(core, y + row * out_size, values, count, factor, shape.out_dtype, ub_y, q_out)
    close(core, q_out)
    close(core, q_in)
