"""Rows of a matrix through UB: tiles of whole rows come, one result of the same shape leaves exactly.

As `kernels.pieces.stream`, but every row begins at a block in UB. Rows that are no whole number of blocks are
written without a byte more: their ends are gathered and written apart, those shorter than a block packed.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.buffers import UB, alloc, block_dim
from kernels.lang.emits import emits
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.rows import (
    compact,
    compact_scratch_bytes,
    load_rows,
    pitch_bytes,
    row_period,
    row_tails,
    store_exact,
)

BLOCK, EDGE = 32, 16


class RowStream(NamedTuple):
    """Hand-offs and buffers: tiles of `rows` rows of `row_bytes` bytes, `pitch` bytes apart in UB.

    Sources are `area` bytes apart: two of them begin in different groups of banks.
    """

    q_in: int
    q_out: int
    ub_in: int
    ub_out: int
    padded: int
    ends: int
    scratch: int
    sources: int
    rows: int
    row_bytes: int
    pitch: int
    area: int


@emits
def rows_at_once(core: Any, rows: int, row_bytes: int) -> int:
    """Return the rows of a tile; those that are packed come by whole groups."""
    if row_bytes >= BLOCK:
        return rows
    group = EDGE * row_period(core, row_bytes)
    return max(1, rows // group) * group


@emits
def row_unit(core: Any, rows: int, row_bytes: int, least: int) -> int:
    """Return of how many rows the shares of cores are multiples: `least`, or what packed rows ask for.

    Large shares begin at every eighth row, from where transfers are mostly the fastest.
    """
    period = row_period(core, row_bytes) if row_bytes < BLOCK else 1
    return max(least, period, 8 if rows >= 64 * block_dim(core) else 1)


@emits
def open_rows(core: Any, sources: int, rows: int, row_bytes: int, slots: int) -> RowStream:
    """Open a stream of `sources` matrices; the result has one buffer, which is filled late."""
    rows, pitch = rows_at_once(core, rows, row_bytes), pitch_bytes(core, row_bytes)
    is_packed, is_exact = row_bytes < BLOCK, row_bytes > BLOCK and row_bytes % BLOCK != 0
    area = rows * pitch if sources == 1 else (rows * pitch + 255) // 512 * 512 + 256
    ub_in = alloc(core, UB, slots * sources * area, slots * sources)
    written = (rows + EDGE - 1) // EDGE * EDGE if is_exact else rows  # ends are gathered of 16 rows at once
    ub_out = alloc(core, UB, written * pitch)
    padded = alloc(core, UB, rows * pitch) if is_packed else ub_out
    ends = alloc(core, UB, written * BLOCK if is_exact else 0)
    packing = compact_scratch_bytes(core, row_bytes) if is_packed else 0
    scratch = alloc(core, UB, max(packing, 1024 if is_exact else 0))
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, 1)
    return RowStream(q_in, q_out, ub_in, ub_out, padded, ends, scratch, sources, rows, row_bytes, pitch, area)


@emits
def bring_rows(core: Any, s: RowStream, a: int, b: int, row: int, count: int) -> int:
    """Bring `count` rows from number `row` on of a, and b with two sources; return where they lie."""
    taken = s.ub_in + fill(core, s.q_in) * s.sources * s.area
    for source in range(s.sources):
        start = (a if source == 0 else b) + row * s.row_bytes
        load_rows(core, taken + source * s.area, s.pitch, start, s.row_bytes, count, s.row_bytes)
    filled(core, s.q_in)
    use(core, s.q_in)
    return int(taken)


@emits
def room_for_rows(core: Any, s: RowStream) -> int:
    """Wait for room for a tile of the result; return where."""
    fill(core, s.q_out)
    return int(s.padded)


@emits
def release_rows(core: Any, s: RowStream) -> None:
    """Give the buffers of the sources back."""
    free(core, s.q_in)


@emits
def send_rows(core: Any, s: RowStream, y: int, row: int, count: int) -> None:
    """Write `count` rows of the result from number `row` on."""
    to = y + row * s.row_bytes
    if s.row_bytes < BLOCK:
        compact(core, s.ub_out, s.padded, count, s.row_bytes, s.scratch)
    elif s.row_bytes % BLOCK != 0:
        row_tails(core, s.ends, s.ub_out, s.pitch, count, s.row_bytes, s.scratch)
    filled(core, s.q_out)
    use(core, s.q_out)
    if s.row_bytes < BLOCK:
        data_move(core, to, s.ub_out, 1, (count * s.row_bytes + BLOCK - 1) // BLOCK)
    else:
        store_exact(core, to, s.row_bytes, s.ub_out, s.pitch, count, s.row_bytes, s.ends)
    free(core, s.q_out)


@emits
def close_rows(core: Any, s: RowStream) -> None:
    """Wait until all tiles are through."""
    close(core, s.q_out)
    close(core, s.q_in)
