"""Two-source arithmetic streamed through UB: equal shapes, or one side a number, a row or a column.

`op` is a number of `kernels.lang.flat` (ADD, SUB ...). Every function works on one block's share.
"""

from typing import Any

from davinci_sim.isa import data_move, vadd, vdiv, vmax, vmin, vmul, vsub
from kernels.lang.buffers import UB, alloc, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, DIV, MAX, MAX_REPEAT, MUL, SUB, flat_binary, size_of
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.lang.rows import (
    COMPACT_LIMIT,
    compact,
    compact_scratch_bytes,
    load_rows,
    pitch_bytes,
    row_period,
)
from kernels.lang.transpose import spread

SAME, NUMBER, ROW, COLUMN = range(4)
BLOCK, REPEAT = 32, 256
MAX_PITCH = 255 * BLOCK
MAX_ROWS = 256
"""Rows of a tile against a column: what the scratch of spreading allows."""


@emits
def strided_binary(
    core: Any, op: int, dst: int, a: int, b: int, repeat: int, dtype: int, mask: int, pitch: int, b_rep: int
) -> None:  # fmt: skip
    """dst = a op b for repeats `pitch` blocks apart, where b is one block per repeat, `b_rep` blocks apart."""
    if op == ADD:
        vadd(core, dst, a, b, repeat, dtype, mask, 1, 1, 0, pitch, pitch, b_rep)
    elif op == SUB:
        vsub(core, dst, a, b, repeat, dtype, mask, 1, 1, 0, pitch, pitch, b_rep)
    elif op == MUL:
        vmul(core, dst, a, b, repeat, dtype, mask, 1, 1, 0, pitch, pitch, b_rep)
    elif op == DIV:
        vdiv(core, dst, a, b, repeat, dtype, mask, 1, 1, 0, pitch, pitch, b_rep)
    elif op == MAX:
        vmax(core, dst, a, b, repeat, dtype, mask, 1, 1, 0, pitch, pitch, b_rep)
    else:
        vmin(core, dst, a, b, repeat, dtype, mask, 1, 1, 0, pitch, pitch, b_rep)


@emits
def block_binary(core: Any, op: int, dst: int, a: int, block: int, n: int, dtype: int) -> None:
    """dst[n] = a[n] op x, where all lanes of the block are x."""
    lanes = REPEAT // size_of(core, dtype)
    done = 0
    while done < n:
        repeat = max(1, min(MAX_REPEAT, (n - done) // lanes))
        at = done // lanes * REPEAT
        strided_binary(core, op, dst + at, a + at, block, repeat, dtype, min(lanes, n - done), 8, 0)
        done += repeat * lanes


@emits
def rows_binary(
    core: Any, op: int, dst: int, a: int, blocks: int, rows: int, columns: int, pitch: int, dtype: int
) -> None:  # fmt: skip
    """dst[rows, columns] = a[rows, columns] op x[rows]; rows lie `pitch` bytes apart, block i is full of x[i]."""
    lanes = REPEAT // size_of(core, dtype)
    for row in range(0, rows, MAX_REPEAT):
        repeat = min(MAX_REPEAT, rows - row)
        for column in range(0, columns, lanes):
            at = row * pitch + column // lanes * REPEAT
            mask = min(lanes, columns - column)
            strided_binary(
                core, op, dst + at, a + at, blocks + row * BLOCK, repeat, dtype, mask, pitch // BLOCK, 1
            )


@emits
def stream_binary(
    core: Any, op: int, a: int, b: int, c: int, start: int, end: int, tile: int, slots: int, dtype: int, pattern: int
) -> None:  # fmt: skip
    """c[start:end] = a[start:end] op b; for NUMBER and ROW, b is in UB already: a full block, a full tile."""
    size = size_of(core, dtype)
    pitch = pitch_bytes(core, tile * size)
    ub_a = alloc(core, UB, slots * pitch)
    ub_b = alloc(core, UB, slots * pitch) if pattern == SAME else b
    ub_c = alloc(core, UB, slots * pitch)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for i in range(start, end, tile):
        n = min(tile, end - i)
        blocks = (n * size + BLOCK - 1) // BLOCK
        taken = fill(core, q_in) * pitch
        data_move(core, ub_a + taken, a + i * size, 1, blocks)
        if pattern == SAME:
            data_move(core, ub_b + taken, b + i * size, 1, blocks)
        filled(core, q_in)
        use(core, q_in)
        made = fill(core, q_out) * pitch
        if pattern == NUMBER:
            block_binary(core, op, ub_c + made, ub_a + taken, ub_b, n, dtype)
        else:
            flat_binary(core, op, ub_c + made, ub_a + taken, ub_b + (taken if pattern == SAME else 0), n, dtype)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, c + i * size, ub_c + made, 1, blocks)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def number_binary(
    core: Any, op: int, a: int, b: int, c: int, n: int, dtype: int, tile: int, slots: int
) -> None:  # fmt: skip
    """c[n] = a[n] op b[0]."""
    size = size_of(core, dtype)
    raw, full, scratch = alloc(core, UB, 64), alloc(core, UB, 16 * BLOCK), alloc(core, UB, 2048)
    q = queue(core, MTE2, V, 1)
    fill(core, q)
    data_move(core, raw, b, 1, 1)
    filled(core, q)
    use(core, q)
    spread(core, full, raw, 1, size, scratch)
    free(core, q)
    unit = REPEAT // size
    start, end = share_start(core, n, unit), share_end(core, n, unit)
    stream_binary(core, op, a, full, c, start, end, tile, slots, dtype, NUMBER)
    close(core, q)


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
def row_binary(
    core: Any, op: int, a: int, b: int, c: int, rows: int, columns: int, dtype: int, tile: int, slots: int
) -> None:  # fmt: skip
    """c[rows, columns] = a[rows, columns] op b[columns], rows short enough to be repeated in UB."""
    size = size_of(core, dtype)
    unit = row_period(core, columns * size) * columns
    tile = max(1, tile // unit) * unit
    start, end = share_start(core, rows * columns, unit), share_end(core, rows * columns, unit)
    full = repeated_row(core, b, columns * size, tile * size)
    stream_binary(core, op, a, full, c, start, end, tile, slots, dtype, ROW)


@emits
def column_binary(
    core: Any, op: int, a: int, b: int, c: int, rows: int, columns: int, dtype: int, tile: int, slots: int
) -> None:  # fmt: skip
    """c[rows, columns] = a[rows, columns] op b[rows], rows short enough that a tile holds several."""
    size = size_of(core, dtype)
    row_bytes = columns * size
    pitch, period = pitch_bytes(core, row_bytes), row_period(core, row_bytes)
    group = 1 if period == 1 else 16 * period
    height = max(1, min(tile * size // pitch, MAX_ROWS) // group) * group
    ub_a, ub_b = alloc(core, UB, slots * height * pitch), alloc(core, UB, slots * (height * size + 64))
    full, scratch = alloc(core, UB, (height + 16) * BLOCK), alloc(core, UB, (height + 15) // 16 * 2048)
    ub_c = alloc(core, UB, slots * height * pitch)
    padded, packing = ub_c, ub_c
    if period > 1:
        padded = alloc(core, UB, height * pitch)
        packing = alloc(core, UB, compact_scratch_bytes(core, row_bytes))
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    end = share_end(core, rows, period)
    for row in range(share_start(core, rows, period), end, height):
        count = min(height, end - row)
        slot = fill(core, q_in)
        taken, values = ub_a + slot * height * pitch, ub_b + slot * pitch_bytes(core, height * size + 32)
        load_rows(core, taken, pitch, a + row * row_bytes, row_bytes, count, row_bytes)
        data_move(core, values, b + row * size, 1, pitch_bytes(core, count * size) // BLOCK)
        filled(core, q_in)
        use(core, q_in)
        made = ub_c + fill(core, q_out) * height * pitch
        spread(core, full, values, count, size, scratch)
        rows_binary(core, op, made if period == 1 else padded, taken, full, count, columns, pitch, dtype)
        free(core, q_in)
        if period > 1:
            compact(core, made, padded, count, row_bytes, packing)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, c + row * row_bytes, made, 1, pitch_bytes(core, count * row_bytes) // BLOCK)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def segment_binary(
    core: Any, op: int, a: int, b: int, c: int, n: int, dtype: int, pattern: int,
    q_in: int, q_out: int, buffers: int, pitch: int, blocks: int,
) -> None:  # fmt: skip
    """c[n] = a[n] op b for one piece of a row; b is the piece of the row, or the row's number."""
    size = size_of(core, dtype)
    scratch, full = buffers, buffers + 2048
    buffers += 2048 + 512
    slot = fill(core, q_in)
    ub_a, ub_b = buffers + slot * pitch, buffers + (2 + slot) * pitch
    data_move(core, ub_a, a, 1, pitch_bytes(core, n * size) // BLOCK)
    data_move(core, ub_b, b, 1, 1 if pattern == COLUMN else pitch_bytes(core, n * size) // BLOCK)
    filled(core, q_in)
    use(core, q_in)
    made = buffers + (4 + fill(core, q_out)) * pitch
    if pattern == COLUMN:
        spread(core, full, ub_b, 1, size, scratch)
        block_binary(core, op, made, ub_a, full, n, dtype)
    else:
        flat_binary(core, op, made, ub_a, ub_b, n, dtype)
    free(core, q_in)
    filled(core, q_out)
    use(core, q_out)
    if blocks > 0:
        data_move(core, c, made, 1, blocks)
    free(core, q_out)


@emits
def long_binary(
    core: Any, op: int, a: int, b: int, c: int, rows: int, columns: int, dtype: int, tile: int, pattern: int
) -> None:  # fmt: skip
    """c[rows, columns] = a op b[columns] (ROW) or b[rows] (COLUMN), for rows that are handled piece by piece.

    A row that ends within a block spills over the start of the next one, which is written later by the same
    core. The last row of a share must not spill: its last block is computed once more and written alone.
    """
    size = size_of(core, dtype)
    period, pitch = row_period(core, columns * size), pitch_bytes(core, tile * size)
    buffers = alloc(core, UB, 6 * pitch + 2048 + 512)
    q_in, q_out = queue(core, MTE2, V, 2), queue(core, V, MTE3, 2)
    pieces = (columns + tile - 1) // tile
    unit = 1 if period == 1 else period * pieces
    start, end = share_start(core, rows * pieces, unit), share_end(core, rows * pieces, unit)
    for piece in range(start, end):
        row, column = piece // pieces, piece % pieces * tile
        n = min(tile, columns - column)
        blocks = pitch_bytes(core, n * size) // BLOCK
        if piece == end - 1 and period > 1:
            blocks = n * size // BLOCK
        at, other = (row * columns + column) * size, (column if pattern == ROW else row) * size
        segment_binary(
            core, op, a + at, b + other, c + at, n, dtype, pattern, q_in, q_out, buffers, pitch, blocks
        )
    if period > 1 and end > start:
        row, column = (end - 1) // pieces, columns - BLOCK // size
        at, other = (row * columns + column) * size, (column if pattern == ROW else row) * size
        segment_binary(
            core, op, a + at, b + other, c + at, BLOCK // size, dtype, pattern, q_in, q_out, buffers, pitch, 1
        )
    close(core, q_out)
    close(core, q_in)


@emits
def any_binary(
    core: Any, op: int, a: int, b: int, c: int, n: int, rows: int, pattern: int, dtype: int, tile: int, slots: int
) -> None:  # fmt: skip
    """c = a op b by the broadcast pattern: SAME, NUMBER b[1], ROW b[n/rows] or COLUMN b[rows]."""
    size, columns = size_of(core, dtype), n // rows
    tile = max(1, tile // 128) * 128
    row_bytes = columns * size
    period = row_period(core, row_bytes)
    packs = period * pitch_bytes(core, row_bytes) <= COMPACT_LIMIT
    if pattern == SAME or (pattern == ROW and rows == 1) or (pattern == COLUMN and columns == 1):
        unit = REPEAT // size
        start, end = share_start(core, n, unit), share_end(core, n, unit)
        stream_binary(core, op, a, b, c, start, end, tile, slots, dtype, SAME)
    elif pattern == NUMBER or (pattern == ROW and columns == 1) or (pattern == COLUMN and rows == 1):
        number_binary(core, op, a, b, c, n, dtype, tile, slots)
    elif pattern == ROW and (packs if period > 1 else columns <= tile):
        row_binary(core, op, a, b, c, rows, columns, dtype, tile, slots)
    elif pattern == COLUMN and (packs if period > 1 else row_bytes <= min(MAX_PITCH, tile * size)):
        column_binary(core, op, a, b, c, rows, columns, dtype, tile, slots)
    else:
        long_binary(core, op, a, b, c, rows, columns, dtype, tile, pattern)
