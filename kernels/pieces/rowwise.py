"""Rows of a matrix in UB, many at once: maxima and sums of each, arithmetic with a number a row or a column.

A tile has `rows` rows of `columns` numbers, `pitch` bytes apart; what lies behind the columns of a row may be
anything. One number a row stands in blocks: all lanes of block i * step hold the number of row i. With few
pieces of 64 columns an instruction goes down the rows, one piece at a time; with many, along one row.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, UINT16, data_move, vadd, vcadd, vmax, vmul, vor, vsub
from kernels.lang.buffers import FAST_BYTES, UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MAX, MAX_REPEAT, MUL, SUB, flat_binary, flat_convert, flat_dup, size_of
from kernels.pieces.broadcast import block_binary
from kernels.pieces.fold import LOWEST, fold
from kernels.pieces.sides import Lanes, strided_binary
from kernels.pieces.transpose import spread, transpose_16bit, transpose_32bit

BLOCK, LINE, LANES, EDGE = 32, 256, 64, 16
LOWEST_FP16 = -65504.0
FEW_ROWS = 3
"""So few rows are added to columns one by one; an instruction for each piece would be too short."""
MANY_PIECES = 4
"""From so many pieces of a row on, instructions go along the row: its number is then read only once."""


class Tile(NamedTuple):
    """Rows and columns, and bytes from row to row."""

    rows: int
    columns: int
    pitch: int


class Desk(NamedTuple):
    """Room for a tile's numbers: lanes of every row, one number a row, the same in blocks, scratch."""

    kept: int
    numbers: int
    blocks: int
    scratch: int


@emits
def desk(core: Any, rows: int) -> Desk:
    """Allocate room for tiles of up to `rows` rows."""
    groups = (rows + EDGE - 1) // EDGE
    kept, numbers = alloc(core, UB, groups * EDGE * LINE), alloc(core, UB, (groups + EDGE - 1) // EDGE * 1024)
    blocks, scratch = alloc(core, UB, groups * EDGE * 64), alloc(core, UB, 2048 + groups * 3072)
    return Desk(kept, numbers, blocks, scratch)


class Wide(NamedTuple):
    """Arrays of fp32 that fp16 needs beside the tiles."""

    x: int
    other: int
    product: int


@emits
def wide_arrays(core: Any, nbytes: int, arrays: int, dtype: int) -> Wide:
    """Allocate up to three arrays of `nbytes`, none where the tiles are of fp32."""
    nbytes = nbytes if dtype == FP16 else 0
    x, other = alloc(core, UB, nbytes), alloc(core, UB, nbytes if arrays > 1 else 0)
    return Wide(x, other, alloc(core, UB, nbytes if arrays > 2 else 0))


@emits
def widened(core: Any, w: Wide, taken: int, n: int, dtype: int) -> int:
    """Return where a piece lies in fp32."""
    if dtype == FP32:
        return taken
    flat_convert(core, w.x, FP32, taken, FP16, n)
    return w.x


@emits
def is_short(core: Any, shape: Any, tiling: Any) -> int:
    """Return 1 where rows go through UB as a whole: no piece is shorter than what moves fastest."""
    return int(max(tiling.columns, FAST_BYTES // size_of(core, shape.dtype)) >= shape.n)


@emits
def goes_along(core: Any, t: Tile, lanes: int) -> int:
    """Return 1 where instructions go along the rows, 0 where they go down."""
    pieces = (t.columns + lanes - 1) // lanes
    return int(pieces >= MANY_PIECES or t.pitch > MAX_REPEAT * BLOCK)


class Steps(NamedTuple):
    """Element type, lanes of a repeat, and blocks from repeat to repeat."""

    dtype: int
    mask: int
    dst_rep: int
    a_rep: int
    b_rep: int


@emits
def combine(core: Any, op: int, dst: int, a: int, b: int, repeat: int, s: Steps) -> None:
    """Emit dst = a op b for an addition or a maximum."""
    if op == ADD:
        vadd(core, dst, a, b, repeat, s.dtype, s.mask, 1, 1, 1, s.dst_rep, s.a_rep, s.b_rep)
    else:
        vmax(core, dst, a, b, repeat, s.dtype, s.mask, 1, 1, 1, s.dst_rep, s.a_rep, s.b_rep)


@emits
def fold_along(core: Any, op: int, kept: int, row: int, columns: int, dtype: int) -> None:
    """Fold one row onto the lanes of `kept`."""
    lanes = LINE // size_of(core, dtype)
    for done in range(0, columns // lanes, MAX_REPEAT):
        repeat = min(MAX_REPEAT, columns // lanes - done)
        combine(core, op, kept, kept, row + done * LINE, repeat, Steps(dtype, lanes, 0, 0, 8))
    if columns % lanes > 0:
        rest = row + columns // lanes * LINE
        combine(core, op, kept, kept, rest, 1, Steps(dtype, columns % lanes, 8, 8, 8))


@emits
def fold_down(core: Any, op: int, kept: int, x: int, t: Tile, dtype: int, lanes: int) -> None:
    """Fold pieces of so many lanes of all rows onto kept[rows, lanes]; the first two meet each other."""
    step, piece_bytes = t.pitch // BLOCK, lanes * size_of(core, dtype)
    first = 2 * lanes if t.columns >= 2 * lanes else 0
    for done in range(0, t.rows, MAX_REPEAT):
        repeat, to, row = min(MAX_REPEAT, t.rows - done), kept + done * LINE, x + done * t.pitch
        if first > 0:
            combine(core, op, to, row, row + piece_bytes, repeat, Steps(dtype, lanes, 8, step, step))
        for column in range(first, t.columns, lanes):
            mask, piece = min(lanes, t.columns - column), row + column // lanes * piece_bytes
            combine(core, op, to, to, piece, repeat, Steps(dtype, mask, 8, 8, step))


@emits
def fold_rows(core: Any, op: int, kept: int, x: int, t: Tile, dtype: int) -> int:
    """Fold x[rows, columns] by sum or maximum onto kept[rows, lanes], 256 bytes a row; return the lanes.

    These are as many as a repeat has, or half of them where a row has two such halves at most.
    """
    lanes = LINE // size_of(core, dtype)
    neutral = 0.0 if op == ADD else (LOWEST if dtype == FP32 else LOWEST_FP16)
    if goes_along(core, t, lanes) != 0:
        flat_dup(core, kept, neutral, t.rows * lanes, dtype)
        for row in range(t.rows):
            fold_along(core, op, kept + row * LINE, x + row * t.pitch, t.columns, dtype)
        return lanes
    if op == MAX and lanes <= t.columns < 2 * lanes:
        lanes //= 2
    if t.columns < 2 * lanes:
        flat_dup(core, kept, neutral, t.rows * LINE // size_of(core, dtype), dtype)
    fold_down(core, op, kept, x, t, dtype, lanes)
    return lanes


@emits
def row_sums(core: Any, d: Desk, x: int, t: Tile) -> None:
    """Set the numbers to x[rows, columns] fp32 added over the columns."""
    fold_rows(core, ADD, d.kept, x, t, FP32)
    for done in range(0, t.rows, MAX_REPEAT):
        count = min(MAX_REPEAT, t.rows - done)
        vcadd(core, d.numbers + done * 4, d.kept + done * LINE, count, FP32, LANES)


@emits
def halve(core: Any, kept: int, rows: int, step: int, blocks: int, dtype: int) -> None:
    """Set the first `blocks` blocks of every row to the larger of them and those that follow."""
    mask = blocks * BLOCK // size_of(core, dtype)
    for done in range(0, rows, MAX_REPEAT):
        to = kept + done * step * BLOCK
        steps = Steps(dtype, mask, step, step, step)
        combine(core, MAX, to, to, to + blocks * BLOCK, min(MAX_REPEAT, rows - done), steps)


@emits
def halve_to(core: Any, kept: int, rows: int, blocks: int, least: int, dtype: int) -> None:
    """Halve rows of `blocks` blocks, 256 bytes apart, until `least` blocks are left."""
    while blocks > least:
        blocks //= 2
        halve(core, kept, rows, 8, blocks, dtype)


@emits
def maximum_blocks(core: Any, d: Desk, x: int, t: Tile, dtype: int) -> int:
    """Fill the blocks with the largest number of each row, in fp32; return the blocks from row to row.

    Rows of nothing but -inf count as the lowest finite number.
    """
    groups = (t.rows + EDGE - 1) // EDGE
    lanes = fold_rows(core, MAX, d.kept, x, t, dtype)
    if dtype == FP16:
        halve_to(core, d.kept, t.rows, lanes // EDGE, 1, FP16)
        transpose_16bit(core, d.scratch, 1, 16, d.kept, 8, 128, groups)
        for blocks in (8, 4, 2, 1):
            halve(core, d.scratch, groups, 16, blocks, FP16)
        copies = d.scratch + groups * 512
        transpose_16bit(core, copies, 1, 16, d.scratch, 0, 16, groups)
        flat_convert(core, d.blocks, FP32, copies, FP16, groups * EDGE * EDGE)
        return 2
    halve_to(core, d.kept, t.rows, lanes // 8, 2, FP32)
    columns = d.scratch + groups * 2048
    transpose_32bit(core, columns, d.kept, 8, EDGE * 8, groups, d.scratch)
    combine(core, MAX, columns, columns, columns + 512, groups, Steps(FP32, LANES, 32, 32, 32))
    combine(core, MAX, columns + 256, columns + 256, columns + 768, groups, Steps(FP32, LANES, 32, 32, 32))
    for blocks in (8, 4, 2):
        halve(core, columns, groups, 32, blocks, FP32)
    data_move(core, d.numbers, columns, groups, 2, 30, 0)
    number_blocks(core, d.blocks, d, t.rows)
    return 1


@emits
def number_blocks(core: Any, dst: int, d: Desk, rows: int) -> None:
    """Fill block i of dst with the number of row i, in fp32; whole groups of 16 are written.

    As `spread`, with fewer transpositions for many rows: those of 256 are taken apart at once to lower and
    upper half words, which alternate as sixteen rows of each group and are then transposed.
    """
    groups = (rows + EDGE - 1) // EDGE
    if groups < 2:
        spread(core, dst, d.numbers, rows, 4, d.scratch)
        return
    halves, pairs = d.scratch, d.scratch + 1024
    rows_of = pairs + 1024
    for done in range(0, groups, EDGE):
        count = min(EDGE, groups - done)
        transpose_16bit(core, halves, 1, 16, d.numbers + done * 64, 2, 1, 2)
        transpose_16bit(core, pairs, 2, 1, halves, 2, 1, 2)
        for pair in range(8):
            vor(core, rows_of + pair * 64, pairs, pairs, count, UINT16, 32, 1, 1, 1, 16, 2, 2)
        transpose_16bit(core, dst + done * 512, 1, 16, rows_of, 1, 16, count)


@emits
def each_row(core: Any, op: int, dst: int, a: int, blocks: int, step: int, t: Tile) -> None:
    """dst[rows, columns] = a[rows, columns] op the number of the row, in fp32."""
    if goes_along(core, t, LANES) != 0:
        for row in range(t.rows):
            at = row * t.pitch
            block_binary(core, op, dst + at, a + at, blocks + row * step * BLOCK, t.columns, FP32)
        return
    for done in range(0, t.rows, MAX_REPEAT):
        repeat, block = min(MAX_REPEAT, t.rows - done), blocks + done * step * BLOCK
        for column in range(0, t.columns, LANES):
            at = done * t.pitch + column * 4
            same = Lanes(FP32, min(LANES, t.columns - column), t.pitch // BLOCK, step)
            strided_binary(core, op, dst + at, a + at, block, repeat, same)


@emits
def each_column(core: Any, op: int, dst: int, a: int, vector: int, t: Tile) -> None:
    """dst[rows, columns] = a[rows, columns] op vector[columns] (ADD, SUB or MUL), in fp32."""
    if t.pitch > MAX_REPEAT * BLOCK or t.columns > LANES * t.rows:
        for row in range(t.rows):
            flat_binary(core, op, dst + row * t.pitch, a + row * t.pitch, vector, t.columns, FP32)
        return
    step = t.pitch // BLOCK
    for done in range(0, t.rows, MAX_REPEAT):
        repeat = min(MAX_REPEAT, t.rows - done)
        for column in range(0, t.columns, LANES):
            at, mask, other = done * t.pitch + column * 4, min(LANES, t.columns - column), vector + column * 4
            if op == ADD:
                vadd(core, dst + at, a + at, other, repeat, FP32, mask, 1, 1, 1, step, step, 0)
            elif op == SUB:
                vsub(core, dst + at, a + at, other, repeat, FP32, mask, 1, 1, 1, step, step, 0)
            elif op == MUL:
                vmul(core, dst + at, a + at, other, repeat, FP32, mask, 1, 1, 1, step, step, 0)


@emits
def add_columns(core: Any, total: int, x: int, t: Tile) -> None:
    """total[columns] += x[rows, columns] fp32 added over the rows, one after the other."""
    if t.pitch > MAX_REPEAT * BLOCK or t.rows <= FEW_ROWS:
        for row in range(t.rows):
            flat_binary(core, ADD, total, total, x + row * t.pitch, t.columns, FP32)
        return
    for column in range(0, t.columns, LANES):
        mask, at = min(LANES, t.columns - column), column * 4
        fold(core, ADD, total + at, x + at, t.rows, mask, 0, t.pitch // BLOCK)


@emits
def each_lane(core: Any, op: int, dst: int, a: int, lanes: int, n: int) -> None:
    """dst[n] = a[n] op lanes[64] again and again (SUB or MUL), in fp32."""
    done = 0
    while done < n:
        repeat = max(1, min(MAX_REPEAT, (n - done) // LANES))
        at, mask = done * 4, min(LANES, n - done)
        if op == SUB:
            vsub(core, dst + at, a + at, lanes, repeat, FP32, mask, 1, 1, 1, 8, 8, 0)
        elif op == MUL:
            vmul(core, dst + at, a + at, lanes, repeat, FP32, mask, 1, 1, 1, 8, 8, 0)
        done += repeat * LANES
