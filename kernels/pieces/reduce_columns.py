"""The middle axis of x[b, m, n] reduced: rows of n columns folded onto one per matrix, or per part of it.

Matrices of few columns come several at a time, wide ones in tiles of some columns. Half precision is widened
to fp32 on arrival and rounded once at the end.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.buffers import UB, alloc, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import MAX_REPEAT, size_of
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.fold import fold, fold_lanes, start_lines
from kernels.pieces.reduce_rows import (
    BLOCK,
    EDGE,
    LANES,
    LINE,
    folded_type,
    folding,
    narrowed,
    part_start,
    widened,
)
from kernels.pieces.rows import (
    compact,
    compact_scratch_bytes,
    load_rows,
    pitch_bytes,
    row_period,
    row_tails,
    store_exact,
)

MAX_HELD_BYTES = 16 * 1024


class Lines(NamedTuple):
    """A matrix in UB: `height` lines of `width` columns, `pitch` bytes apart, and `rest` columns more.

    Matrices are `matrix` bytes apart, the lines that they are folded onto `kept`.
    """

    height: int
    width: int
    pitch: int
    rest: int
    matrix: int
    kept: int
    size: int


class Held(NamedTuple):
    """How many matrices come at once and are finished at once; buffers of their results and scratch."""

    at_once: int
    most: int
    kept: int
    packed: int
    out: int
    dense: int
    scratch: int


@emits
def fold_matrices(core: Any, op: int, kept: int, tile: int, matrices: int, lines: Lines) -> None:
    """Fold the lines of each of the matrices of a tile onto its line of `kept`."""
    kept_rep, line_rep, matrix_rep = lines.kept // BLOCK, lines.pitch // BLOCK, lines.matrix // BLOCK
    is_across = 1 if matrices > lines.height and matrix_rep <= MAX_REPEAT else 0
    times, repeat = (lines.height, matrices) if is_across else (matrices, lines.height)
    for i in range(times):
        to, start = kept + i * lines.kept * (1 - is_across), tile + i * lines.matrix
        to_rep, src_rep = 0, line_rep
        if is_across:
            start, to_rep, src_rep = tile + i * lines.pitch, kept_rep, matrix_rep
        for column in range(0, lines.width, LANES):
            mask = min(LANES, lines.width - column)
            there = start + column * lines.size
            fold(core, op, to + column * 4, there, repeat, mask, to_rep, src_rep)
        if lines.rest > 0 and not is_across:
            fold(core, op, to, start + lines.height * lines.pitch, 1, lines.rest, 8, 8)
    if lines.rest > 0 and is_across:
        there = tile + lines.height * lines.pitch
        fold(core, op, kept, there, matrices, lines.rest, kept_rep, matrix_rep)


@emits
def lines_of(core: Any, shape: Any, to: int, dense: int) -> Any:
    """Return how a matrix lies in UB, where it is folded in type `to`."""
    m, n, size, wide = shape.m, shape.n, size_of(core, shape.dtype), size_of(core, to)
    if dense:
        matrix = pitch_bytes(core, m * n * size) * wide // size
        return Lines(m * n // LANES, LANES, LANES * wide, m * n % LANES, matrix, LINE, wide)
    pitch, out_size = pitch_bytes(core, n * size) * wide // size, size_of(core, shape.out_dtype)
    return Lines(m, n, pitch, m * 0, m * pitch, pitch_bytes(core, n * out_size) * 4 // out_size, wide)


@emits
def part_of(core: Any, lines: Lines, rows: int, n: int, dense: int) -> Any:
    """Return how some rows of a matrix lie in UB."""
    if dense:
        count, rest = rows * n // LANES, rows * n % LANES
        return Lines(count, LANES, lines.pitch, rest, lines.matrix, lines.kept, lines.size)
    return Lines(rows, n, lines.pitch, lines.rest, lines.matrix, lines.kept, lines.size)


@emits
def held_of(core: Any, shape: Any, lines: Lines, at_once: int, dense: int) -> Any:
    """Reserve room for the results of as many matrices as a tile holds, or as can be packed."""
    out_size = size_of(core, shape.out_dtype)
    row_bytes = shape.n * out_size
    period, out_pitch = row_period(core, row_bytes), pitch_bytes(core, row_bytes)
    group = 16 * period if row_bytes < BLOCK else 1
    most = max(1, min(at_once, MAX_HELD_BYTES // lines.kept) // group) * group
    room = (most + EDGE - 1) // EDGE * EDGE
    kept = alloc(core, UB, room * lines.kept)
    packed = alloc(core, UB, room * out_pitch * 4 // out_size if dense else 0)
    out = alloc(core, UB, room * out_pitch)
    exact = alloc(core, UB, room * BLOCK if period > 1 else 0)
    scratch = 1024 if row_bytes > BLOCK else compact_scratch_bytes(core, row_bytes)
    space = alloc(core, UB, scratch if period > 1 else 0)
    return Held(min(at_once, most), most, kept, packed if dense else kept, out, exact, space)


@emits
def finish_matrices(
    core: Any, op: int, y: int, count: int, shape: Any, held: Held, factor: float, q_out: int
) -> None:
    """Store the kept lines of `count` matrices as rows of y without gaps."""
    out_size = size_of(core, shape.out_dtype)
    row_bytes = shape.n * out_size
    pitch, period = pitch_bytes(core, row_bytes), row_period(core, row_bytes)
    if held.packed != held.kept:
        fold_lanes(core, op, held.kept, count, shape.n)
        there = pitch * 4 // out_size // BLOCK
        data_move(core, held.packed, held.kept, count, shape.n // 8, 8 - shape.n // 8, there - shape.n // 8)
    fill(core, q_out)
    narrowed(core, held.out, held.packed, count * pitch // out_size, factor, shape.out_dtype)
    is_packed = 1 if period > 1 and row_bytes < BLOCK else 0
    if is_packed:
        compact(core, held.dense, held.out, count, row_bytes, held.scratch)
    elif period > 1:
        row_tails(core, held.dense, held.out, pitch, count, row_bytes, held.scratch)
    filled(core, q_out)
    use(core, q_out)
    if is_packed:
        data_move(core, y, held.dense, 1, pitch_bytes(core, count * row_bytes) // BLOCK)
    else:
        store_exact(core, y, row_bytes, held.out, pitch, count, row_bytes, held.dense)
    free(core, q_out)


@emits
def reduce_narrow(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any, factor: float) -> None:
    """Set y[b, n] = x[b, m, n] reduced over m, for this block's share of the matrices."""
    size, m, n, dtype = size_of(core, shape.dtype), shape.m, shape.n, shape.dtype
    rows, out_size = max(1, tiling.rows // EDGE) * EDGE, size_of(core, shape.out_dtype)
    to = folded_type(core, op, dtype)
    dense = 1 if n in (8, 16, 32) else 0  # several rows fill the lanes of a repeat
    lines = lines_of(core, shape, to, dense)
    pitch, matrix = pitch_bytes(core, n * size), lines.matrix * size // size_of(core, to)
    tile = rows * n * size if dense else rows * pitch
    ub_x = alloc(core, UB, tiling.slots * tile, tiling.slots)
    wide = alloc(core, UB, tile * 2 if dtype != to else 0)
    held = held_of(core, shape, lines, tile // matrix, dense)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    period = row_period(core, n * out_size)
    end = share_end(core, shape.b, period)
    for group in range(share_start(core, shape.b, period), end, held.most):
        count = min(held.most, end - group)
        start_lines(core, op, held.kept, count * lines.kept // 4)
        for done in range(0, count, max(1, held.at_once)):
            some = min(max(1, held.at_once), count - done)
            kept, src = held.kept + done * lines.kept, x + (group + done) * m * n * size
            for row in range(0, m, m if held.at_once > 0 else rows):
                height = m if held.at_once > 0 else min(rows, m - row)
                taken, start = ub_x + fill(core, q_in) * tile, src + row * n * size
                if dense:
                    load_rows(core, taken, matrix, start, m * n * size, some, height * n * size)
                else:
                    load_rows(core, taken, pitch, start, n * size, some * height, n * size)
                filled(core, q_in)
                use(core, q_in)
                here = widened(core, taken, wide, dtype, to, tile)
                part = part_of(core, lines, height, n, dense)
                fold_matrices(core, folding(core, op, to), kept, here, some, part)
                free(core, q_in)
        finish_matrices(core, op, y + group * n * out_size, count, shape, held, factor, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def columns_from(core: Any, n: int, unit: int) -> int:
    """Return where a unit of 64 columns begins; the last one takes up to 63 columns more."""
    return n if unit >= max(1, n // LANES) else unit * LANES


@emits
def store_columns(
    core: Any, y: int, values: int, n: int, shape: Any, factor: float, out: int, q_out: int
) -> None:
    """Move values[n], multiplied by `factor`, to GM; where other rows follow, not a byte more."""
    is_exact = 1 if shape.b > 1 else 0
    row_bytes = n * size_of(core, shape.out_dtype)
    pitch = pitch_bytes(core, row_bytes)
    fill(core, q_out)
    narrowed(core, out, values, n, factor, shape.out_dtype)
    if is_exact and row_bytes < pitch:
        row_tails(core, out + pitch, out, 0, 1, row_bytes, out + pitch + EDGE * BLOCK)
    filled(core, q_out)
    use(core, q_out)
    if is_exact:
        store_exact(core, y, row_bytes, out, pitch, 1, row_bytes, out + pitch)
    else:
        data_move(core, y, out, 1, pitch // BLOCK)
    free(core, q_out)


@emits
def reduce_wide(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any, factor: float) -> None:
    """Set y[b, parts, n] = parts of x[b, m, n] reduced over m, for this block's share of the columns."""
    size, n, dtype = size_of(core, shape.dtype), shape.n, shape.dtype
    rows, columns = max(1, tiling.rows // EDGE) * EDGE, max(1, tiling.columns // LANES) * LANES
    pitch, out_size = pitch_bytes(core, min(columns + LANES, n) * size), size_of(core, shape.out_dtype)
    ub_x = alloc(core, UB, tiling.slots * rows * pitch, tiling.slots)
    to = folded_type(core, op, dtype)
    wide = alloc(core, UB, rows * pitch * 2 if dtype != to else 0)
    kept, out = (
        alloc(core, UB, columns * 4 + LINE),
        alloc(core, UB, columns * 4 + LINE + 2 * EDGE * BLOCK + 512),
    )
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 1)
    units = max(1, n // LANES)
    first = share_start(core, shape.b * shape.parts * units, 1)
    last = share_end(core, shape.b * shape.parts * units, 1)
    for part in range(first // units, (last + units - 1) // units):
        end = min(units, last - part * units)
        top = part_start(core, shape.m, EDGE, shape.parts, part % shape.parts)
        bottom = part_start(core, shape.m, EDGE, shape.parts, part % shape.parts + 1)
        src = x + part // shape.parts * shape.m * n * size
        for unit in range(max(0, first - part * units), end, columns // LANES):
            column = columns_from(core, n, unit)
            width = columns_from(core, n, min(end, unit + columns // LANES)) - column
            there = pitch_bytes(core, width * size)
            start_lines(core, op, kept, width)
            for row in range(top, bottom, rows):
                count = min(rows, bottom - row)
                taken = ub_x + fill(core, q_in) * rows * pitch
                load_rows(core, taken, there, src + (row * n + column) * size, n * size, count, width * size)
                filled(core, q_in)
                use(core, q_in)
                tile = widened(core, taken, wide, dtype, to, count * there)
                item = size_of(core, to)
                line = Lines(count, width, there * item // size, count * 0, count * 0, count * 0, item)
                fold_matrices(core, folding(core, op, to), kept, tile, 1, line)
                free(core, q_in)
            row_y = y + (part * n + column) * out_size
            store_columns(core, row_y, kept, width, shape, factor, out, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def reduce_columns(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any, factor: float) -> None:
    """Set y[b, n] = x[b, m, n] reduced over m; or y[b, parts, n]."""
    if shape.b > 1 and shape.parts == 1 and shape.n <= 512:
        reduce_narrow(core, op, x, y, shape, tiling, factor)
    else:
        reduce_wide(core, op, x, y, shape, tiling, factor)
