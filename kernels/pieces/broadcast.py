"""Two-source arithmetic streamed through UB: equal shapes, or one side a number, a row or a column.

`op` is as in `kernels.pieces.sides`: arithmetic or a comparison. Every function works on one block's share.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.buffers import FAST_BYTES, UB, alloc, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import MAX_REPEAT, size_of
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.rows import (
    COMPACT_LIMIT,
    compact,
    compact_scratch_bytes,
    load_rows,
    pitch_bytes,
    row_period,
)
from kernels.pieces.sides import BLOCK, REPEAT, Lanes, flat_sides, read_behind, strided_binary
from kernels.pieces.stream import bring, close_stream, open_tiles, release, room, send
from kernels.pieces.transpose import spread

SAME, NUMBER, ROW, COLUMN, AXES = range(5)
MAX_PITCH = 255 * BLOCK
MAX_ROWS = 256
"""Rows of a tile against a column: what the scratch of spreading allows."""


class Work(NamedTuple):
    """c = a op b in GM for a[rows, columns], and how it is cut: elements of a tile, buffers of a hand-off."""

    op: int
    a: int
    b: int
    c: int
    rows: int
    columns: int
    dtype: int
    tile: int
    slots: int


class Pieces(NamedTuple):
    """Hand-offs and buffers of a kernel that goes piece by piece: two slots of `pitch` bytes each."""

    q_in: int
    q_out: int
    full: int
    scratch: int
    a: int
    b: int
    c: int
    pitch: int


@emits
def block_binary(core: Any, op: int, dst: int, a: int, block: int, n: int, dtype: int) -> None:
    """Compute dst[n] = a[n] op x, where all lanes of the block are x."""
    lanes = REPEAT // size_of(core, dtype)
    done = 0
    while done < n:
        repeat = max(1, min(MAX_REPEAT, (n - done) // lanes))
        at = done // lanes * REPEAT
        strided_binary(core, op, dst + at, a + at, block, repeat, Lanes(dtype, min(lanes, n - done), 8, 0))
        done += repeat * lanes


@emits
def rows_binary(
    core: Any, op: int, dst: int, a: int, blocks: int, rows: int, columns: int, dtype: int
) -> None:
    """Compute dst[rows, columns] = a[rows, columns] op x[rows]; block i is full of x[i]."""
    lanes, pitch = REPEAT // size_of(core, dtype), pitch_bytes(core, columns * size_of(core, dtype))
    for row in range(0, rows, MAX_REPEAT):
        repeat = min(MAX_REPEAT, rows - row)
        for column in range(0, columns, lanes):
            at = row * pitch + column // lanes * REPEAT
            same = Lanes(dtype, min(lanes, columns - column), pitch // BLOCK, 1)
            strided_binary(core, op, dst + at, a + at, blocks + row * BLOCK, repeat, same)


@emits
def stream_binary(core: Any, w: Any, b: int, unit: int, pattern: int) -> None:
    """Compute c = a op b in shares of whole units; for NUMBER and ROW, b is a full block or tile in UB."""
    n, sources = w.rows * w.columns, 2 if pattern == SAME else 1
    size = size_of(core, w.dtype)
    room_behind = read_behind(core, w.op) // size
    s = open_tiles(core, sources, w.tile + room_behind, size, size, w.slots, sources - 1)
    end = share_end(core, n, unit)
    for i in range(share_start(core, n, unit), end, w.tile):
        count = min(w.tile, end - i)
        taken = bring(core, s, w.a, w.b, w.b, i, count)
        made = room(core, s)
        if pattern == NUMBER:
            block_binary(core, w.op, made, taken, b, count, w.dtype)
        else:
            flat_sides(core, w.op, made, taken, taken + s.pitch if pattern == SAME else b, count, w.dtype)
        release(core, s)
        send(core, s, w.c, made, i, count)
    close_stream(core, s)


@emits
def spread_number(core: Any, b: int, size: int) -> int:
    """Return a block of UB that is full of the number b[0]."""
    raw, full, scratch = alloc(core, UB, 64), alloc(core, UB, 16 * BLOCK), alloc(core, UB, 2048)
    q = queue(core, MTE2, V, 1)
    fill(core, q)
    data_move(core, raw, b, 1, 1)
    filled(core, q)
    use(core, q)
    spread(core, full, raw, 1, size, scratch)
    free(core, q)
    close(core, q)
    return full


@emits
def number_binary(core: Any, w: Any) -> None:
    """Compute c = a op b[0]."""
    size = size_of(core, w.dtype)
    stream_binary(core, w, spread_number(core, w.b, size), FAST_BYTES // size, NUMBER)


@emits
def repeated_row(core: Any, b: int, row_bytes: int, need: int) -> int:
    """Return a UB buffer that holds the row b again and again, without gaps, for at least `need` bytes."""
    period, pitch = row_period(core, row_bytes), pitch_bytes(core, row_bytes)
    have = row_bytes if period == 1 else 16 * period * row_bytes
    full = alloc(core, UB, max(need, have))
    q = queue(core, MTE2, V, 1)
    fill(core, q)
    staged = full if period == 1 else alloc(core, UB, 16 * period * pitch)
    data_move(core, staged, b, 1, pitch // BLOCK)
    filled(core, q)
    use(core, q)
    if period > 1:
        done = 1
        while done < 16 * period:
            data_move(core, staged + done * pitch, staged, 1, done * pitch // BLOCK)
            done *= 2
        scratch = alloc(core, UB, compact_scratch_bytes(core, row_bytes))
        compact(core, full, staged, 16 * period, row_bytes, scratch)
    while have < need:
        more = min(have, need - have)
        data_move(core, full + have, full, 1, more // BLOCK)
        have += more
    free(core, q)
    close(core, q)
    return full


@emits
def row_binary(core: Any, w: Any) -> None:
    """Compute c = a op b[columns] for rows short enough to be repeated in UB."""
    size = size_of(core, w.dtype)
    unit = row_period(core, w.columns * size) * w.columns
    tile = max(1, w.tile // unit) * unit
    full = repeated_row(core, w.b, w.columns * size, tile * size + read_behind(core, w.op))
    cut = Work(w.op, w.a, w.b, w.c, w.rows, w.columns, w.dtype, tile, w.slots)
    stream_binary(core, cut, full, unit, ROW)


@emits
def column_binary(core: Any, w: Any) -> None:
    """Compute c = a op b[rows] for rows short enough that a tile holds several."""
    size, row_bytes = size_of(core, w.dtype), w.columns * size_of(core, w.dtype)
    pitch, period = pitch_bytes(core, row_bytes), row_period(core, row_bytes)
    group = 1 if period == 1 else 16 * period
    height = max(1, min(w.tile * size // pitch, MAX_ROWS) // group) * group
    tile, values = height * pitch, pitch_bytes(core, height * size + BLOCK)
    taken_bytes = tile + read_behind(core, w.op)
    ub_a = alloc(core, UB, w.slots * taken_bytes, w.slots)
    ub_b = alloc(core, UB, w.slots * values, w.slots)
    full, scratch = alloc(core, UB, (height + 16) * BLOCK), alloc(core, UB, (height + 15) // 16 * 2048)
    ub_c = alloc(core, UB, w.slots * tile, w.slots)
    padded = alloc(core, UB, tile if period > 1 else 0)
    packing = alloc(core, UB, compact_scratch_bytes(core, row_bytes) if period > 1 else 0)
    q_in, q_out = queue(core, MTE2, V, w.slots), queue(core, V, MTE3, w.slots)
    end = share_end(core, w.rows, period)
    for row in range(share_start(core, w.rows, period), end, height):
        count, slot = min(height, end - row), fill(core, q_in)
        taken, numbers = ub_a + slot * taken_bytes, ub_b + slot * values
        load_rows(core, taken, pitch, w.a + row * row_bytes, row_bytes, count, row_bytes)
        data_move(core, numbers, w.b + row * size, 1, pitch_bytes(core, count * size) // BLOCK)
        filled(core, q_in)
        use(core, q_in)
        made = ub_c + fill(core, q_out) * tile
        spread(core, full, numbers, count, size, scratch)
        rows_binary(core, w.op, made if period == 1 else padded, taken, full, count, w.columns, w.dtype)
        free(core, q_in)
        if period > 1:
            compact(core, made, padded, count, row_bytes, packing)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, w.c + row * row_bytes, made, 1, pitch_bytes(core, count * row_bytes) // BLOCK)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def piece_binary(core: Any, w: Any, p: Any, row: int, column: int, n: int, blocks: int, pattern: int) -> None:
    """Compute n elements of a row from `column` on; write `blocks` blocks of them."""
    size = size_of(core, w.dtype)
    at, other = (row * w.columns + column) * size, (column if pattern == ROW else row) * size
    whole = pitch_bytes(core, n * size) // BLOCK
    slot = fill(core, p.q_in) * p.pitch
    data_move(core, p.a + slot, w.a + at, 1, whole)
    data_move(core, p.b + slot, w.b + other, 1, whole if pattern == ROW else 1)
    filled(core, p.q_in)
    use(core, p.q_in)
    made = p.c + fill(core, p.q_out) * p.pitch
    if pattern == ROW:
        flat_sides(core, w.op, made, p.a + slot, p.b + slot, n, w.dtype)
    else:
        spread(core, p.full, p.b + slot, 1, size, p.scratch)
        block_binary(core, w.op, made, p.a + slot, p.full, n, w.dtype)
    free(core, p.q_in)
    filled(core, p.q_out)
    use(core, p.q_out)
    if blocks > 0:
        data_move(core, w.c + at, made, 1, blocks)
    free(core, p.q_out)


@emits
def long_binary(core: Any, w: Any, pattern: int) -> None:
    """Compute c = a op b[columns] (ROW) or b[rows] (COLUMN) for rows that are handled piece by piece.

    A row that ends within a block spills over the start of the next one, which is written later by the same
    core. The last row of a share must not spill: its last block is computed once more and written alone.
    """
    size = size_of(core, w.dtype)
    period, pitch = row_period(core, w.columns * size), pitch_bytes(core, w.tile * size)
    full, scratch = alloc(core, UB, 16 * BLOCK), alloc(core, UB, 2048)
    a, b, c = alloc(core, UB, 2 * pitch), alloc(core, UB, 2 * pitch), alloc(core, UB, 2 * pitch)
    p = Pieces(queue(core, MTE2, V, 2), queue(core, V, MTE3, 2), full, scratch, a, b, c, pitch)
    pieces = (w.columns + w.tile - 1) // w.tile
    unit = 1 if period == 1 else period * pieces
    start, end = share_start(core, w.rows * pieces, unit), share_end(core, w.rows * pieces, unit)
    for piece in range(start, end):
        column = piece % pieces * w.tile
        n = min(w.tile, w.columns - column)
        blocks = pitch_bytes(core, n * size) // BLOCK
        if piece == end - 1 and period > 1:
            blocks = n * size // BLOCK
        piece_binary(core, w, p, piece // pieces, column, n, blocks, pattern)
    if period > 1 and end > start:
        n = BLOCK // size
        piece_binary(core, w, p, (end - 1) // pieces, w.columns - n, n, 1, pattern)
    close(core, p.q_out)
    close(core, p.q_in)


@emits
def any_binary(core: Any, op: int, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """Compute c = a op b by the shape's pattern: SAME, NUMBER b[1], ROW b[n / rows] or COLUMN b[rows]."""
    size, pattern, rows = size_of(core, shape.dtype), shape.pattern, shape.rows
    columns, tile = shape.n // rows, max(1, tiling.tile // 128) * 128
    row_bytes = columns * size
    period = row_period(core, row_bytes)
    packs = period > 1 and period * pitch_bytes(core, row_bytes) <= COMPACT_LIMIT
    w = Work(op, a, b, c, rows, columns, shape.dtype, tile, tiling.slots)
    if pattern == SAME or (pattern == ROW and rows == 1) or (pattern == COLUMN and columns == 1):
        stream_binary(core, w, b, FAST_BYTES // size, SAME)
    elif pattern == NUMBER or (pattern == ROW and columns == 1) or (pattern == COLUMN and rows == 1):
        number_binary(core, w)
    elif pattern == ROW and (packs or (period == 1 and columns <= tile)):
        row_binary(core, w)
    elif pattern == COLUMN and (packs or (period == 1 and row_bytes <= min(MAX_PITCH, tile * size))):
        column_binary(core, w)
    else:
        long_binary(core, w, pattern)
