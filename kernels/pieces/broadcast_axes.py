"""Two-source arithmetic over up to five axes, any of which either source may lack.

The last two axes are planes. In a plane a source is full, a row (it lacks the plane's rows) or a column (it
lacks the columns); a run is some rows of a plane, or a piece of long rows.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.buffers import UB, alloc, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import MAX_REPEAT, size_of
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.broadcast import AXES, MAX_PITCH, MAX_ROWS, any_binary
from kernels.pieces.rows import (
    compact,
    compact_scratch_bytes,
    load_rows,
    pitch_bytes,
    row_period,
    row_tails,
    store_exact,
)
from kernels.pieces.sides import BLOCK, REPEAT, Lanes, Side, read_behind, strided_sides
from kernels.pieces.transpose import spread

FULL, ROWS, COLUMNS = range(3)
PACK_LIMIT = 768
"""Bytes of a period of padded rows up to which rows are packed; longer ones are stored one by one."""
LEAST_PIECE, LEAST_PLANE = 64, 64
"""Columns of the last piece of a row; bytes of a plane from which on several cores share planes."""


class Axes(NamedTuple):
    """The lengths of the result's axes, and its type."""

    d0: int
    d1: int
    d2: int
    d3: int
    d4: int
    dtype: int


class Strides(NamedTuple):
    """Numbers from index to index of each axis; 0 along an axis that a source lacks."""

    s0: int
    s1: int
    s2: int
    s3: int
    s4: int


class Runs(NamedTuple):
    """How a plane is cut: runs of rows, pieces of columns, and buffers for `height` rows of `width` bytes."""

    runs: int
    pieces: int
    columns: int
    height: int
    pitch: int
    packs: int


class Room(NamedTuple):
    """Buffers: of each slot of a source and the result, spread columns, and scratch for packing and tails."""

    a: int
    b: int
    c: int
    a_blocks: int
    b_blocks: int
    padded: int
    tails: int
    scratch: int


@emits
def strides_of(core: Any, shape: Axes, lacking: int) -> Any:
    """Return the strides of a source that lacks the axes whose bits are set."""
    h0, h1, h2 = 1 - (lacking & 1), 1 - (lacking >> 1 & 1), 1 - (lacking >> 2 & 1)
    h3, h4 = 1 - (lacking >> 3 & 1), 1 - (lacking >> 4 & 1)
    t4 = 1 + h4 * (shape.d4 - 1)
    t3 = t4 * (1 + h3 * (shape.d3 - 1))
    t2 = t3 * (1 + h2 * (shape.d2 - 1))
    t1 = t2 * (1 + h1 * (shape.d1 - 1))
    return Strides(h0 * t1, h1 * t2, h2 * t3, h3 * t4, h4)


@emits
def plane_of(core: Any, s: Strides, shape: Axes, plane: int) -> int:
    """Return where a source's part of a plane begins, in numbers."""
    i2, rest = plane % shape.d2, plane // shape.d2
    return rest // shape.d1 * s.s0 + rest % shape.d1 * s.s1 + i2 * s.s2


@emits
def runs_of(core: Any, shape: Axes, size: int, tile: int) -> Any:
    """Return how planes are cut for tiles of about `tile` numbers."""
    row_bytes = shape.d4 * size
    longest = min(tile * size, MAX_PITCH - LEAST_PIECE * size) // 256 * (256 // size)
    if row_bytes > longest * size:
        full = shape.d4 // longest
        pieces = full + (1 if shape.d4 - full * longest >= LEAST_PIECE else 0)
        pitch = pitch_bytes(core, (longest + LEAST_PIECE) * size)
        return Runs(shape.d3, pieces, longest, pieces // pieces, pitch, pieces * 0)
    period, pitch = row_period(core, row_bytes), pitch_bytes(core, row_bytes)
    packs = 1 if period > 1 and period * pitch <= PACK_LIMIT else 0
    most, group = min(tile * size // pitch, MAX_ROWS), 1
    if packs:
        group = 16 * period
    elif period > 1:  # ends of rows are gathered by sixteens, or one by one
        group = 16 if most >= 16 else 1
        most = most if most >= 16 else 1
    most = max(1, most // group) * group
    runs = (shape.d3 + most - 1) // most
    return Runs(runs, runs // runs, shape.d4, most, pitch, packs)


@emits
def run_binary(core: Any, op: int, dst: int, a: Side, b: Side, rows: int, columns: int, s: Lanes) -> None:
    """Compute a run: rows `s.pitch` blocks apart, by 256 bytes of columns with repeats over the rows."""
    lanes = REPEAT // size_of(core, s.dtype)
    for row in range(0, rows, MAX_REPEAT):
        repeat = min(MAX_REPEAT, rows - row)
        for part in range((columns + lanes - 1) // lanes):
            left = Side(a.at + part * a.step + row * a.rep * BLOCK, a.blk, a.rep, a.step)
            right = Side(b.at + part * b.step + row * b.rep * BLOCK, b.blk, b.rep, b.step)
            some = Lanes(s.dtype, min(lanes, columns - part * lanes), s.pitch, s.b_rep)
            strided_sides(core, op, dst + part * REPEAT + row * s.pitch * BLOCK, left, right, repeat, some)


@emits
def kind_of(core: Any, s: Strides) -> int:
    """Return what a source is in a plane."""
    if s.s4 == 0:
        return COLUMNS
    return FULL if s.s3 > 0 else ROWS


@emits
def fetch_side(core: Any, dst: int, src: int, kind: int, row_bytes: int, rows: int, width: int) -> None:
    """Bring a source's part of a run to UB: `rows` rows of `width` bytes, one row, or a number per row."""
    if kind == FULL:
        load_rows(core, dst, pitch_bytes(core, width), src, row_bytes, rows, width)
    else:
        data_move(core, dst, src, 1, pitch_bytes(core, width) // BLOCK)


@emits
def side_of(
    core: Any, there: int, blocks: int, kind: int, rows: int, size: int, pitch: int, scratch: int
) -> Any:
    """Return a source as instructions read it; a column is spread over blocks first."""
    if kind == COLUMNS:
        spread(core, blocks, there, rows, size, scratch)
        return Side(blocks, kind * 0, kind // kind, kind * 0)
    return Side(there, pitch // pitch, pitch // BLOCK if kind == FULL else kind * 0, pitch * 0 + REPEAT)


@emits
def store_run(
    core: Any, c: int, made: int, tails: int, r: Runs, row_bytes: int, rows: int, width: int
) -> None:
    """Move a run to GM and not a byte more; planes of less than 64 bytes are one core's work, in order."""
    total, pitch = rows * width, pitch_bytes(core, width)
    if r.packs and (total % BLOCK == 0 or total < LEAST_PLANE):
        data_move(core, c, made, 1, pitch_bytes(core, total) // BLOCK)
    elif r.packs:
        store_exact(core, c, total, made, pitch_bytes(core, total), 1, total, tails)
    else:
        store_exact(core, c, row_bytes, made, pitch, rows, width, tails)


@emits
def finish_run(core: Any, room: Room, made: int, tails: int, r: Runs, rows: int, width: int) -> None:
    """Close the gaps between short rows, and gather the ends of what is no whole number of blocks."""
    if r.packs:
        compact(core, made, room.padded, rows, width, room.scratch)
        if rows * width % BLOCK != 0 and rows * width >= LEAST_PLANE:
            row_tails(core, tails, made, 0, 1, rows * width, room.scratch)
    elif width % BLOCK != 0:
        row_tails(core, tails, made, pitch_bytes(core, width) if rows > 1 else 0, rows, width, room.scratch)


@emits
def room_of(core: Any, r: Runs, row_bytes: int, size: int, slot: int, slots: int) -> Any:
    """Reserve the buffers of a kernel; `slot` bytes are for a tile."""
    height = (r.height + 15) // 16 * 16
    packing = compact_scratch_bytes(core, row_bytes) if r.packs else 0
    return Room(
        alloc(core, UB, slots * slot, slots), alloc(core, UB, slots * slot, slots),
        alloc(core, UB, slots * slot, slots), alloc(core, UB, height * BLOCK),
        alloc(core, UB, height * BLOCK),
        alloc(core, UB, slot if r.packs else 0), alloc(core, UB, slots * height * BLOCK, slots),
        alloc(core, UB, max(1024, packing, height // 16 * 2048)),
    )  # fmt: skip


class Place(NamedTuple):
    """One run: where its sources and its result begin, in numbers; rows, columns."""

    a: int
    b: int
    c: int
    rows: int
    columns: int


@emits
def place_of(core: Any, shape: Axes, a: Strides, b: Strides, r: Runs, item: int) -> Any:
    """Return the run with a number."""
    plane, rest = item // (r.runs * r.pieces), item % (r.runs * r.pieces)
    run, piece = rest // r.pieces, rest % r.pieces
    row, end = shape.d3 * run // r.runs, shape.d3 * (run + 1) // r.runs
    column = piece * r.columns
    columns = shape.d4 - column if piece == r.pieces - 1 else r.columns
    return Place(
        plane_of(core, a, shape, plane) + row * a.s3 + column * a.s4,
        plane_of(core, b, shape, plane) + row * b.s3 + column * b.s4,
        (plane * shape.d3 + row) * shape.d4 + column, end - row, columns,
    )  # fmt: skip


class Sources(NamedTuple):
    """The tensors in GM, the numbers of a tile, and the operation."""

    op: int
    a: int
    b: int
    c: int
    tile: int
    slots: int


@emits
def axes_binary(core: Any, w: Sources, shape: Axes, lacking: int) -> None:
    """Compute c = a op b for this block's share of the runs; a and b lack the axes whose bits are set."""
    size = size_of(core, shape.dtype)
    sa, sb = strides_of(core, shape, lacking), strides_of(core, shape, lacking >> 5)
    r, row_bytes = runs_of(core, shape, size, w.tile), shape.d4 * size
    slot = max(r.height * r.pitch, (r.height + 15) // 16 * 16 * size + BLOCK) + read_behind(core, w.op)
    room = room_of(core, r, row_bytes, size, slot, w.slots)
    a_kind, b_kind = kind_of(core, sa), kind_of(core, sb)
    q_in, q_out = queue(core, MTE2, V, w.slots), queue(core, V, MTE3, w.slots)
    items = shape.d0 * shape.d1 * shape.d2 * r.runs * r.pieces
    for item in range(share_start(core, items, 1), share_end(core, items, 1)):
        t = place_of(core, shape, sa, sb, r, item)
        width, taken = t.columns * size, fill(core, q_in) * slot
        pitch = pitch_bytes(core, width)
        numbers = t.rows * size
        fetch_side(core, room.a + taken, w.a + t.a * size, a_kind, row_bytes, t.rows,
                   numbers if a_kind == COLUMNS else width)  # fmt: skip
        fetch_side(core, room.b + taken, w.b + t.b * size, b_kind, row_bytes, t.rows,
                   numbers if b_kind == COLUMNS else width)  # fmt: skip
        filled(core, q_in)
        use(core, q_in)
        left = side_of(core, room.a + taken, room.a_blocks, a_kind, t.rows, size, pitch, room.scratch)
        right = side_of(core, room.b + taken, room.b_blocks, b_kind, t.rows, size, pitch, room.scratch)
        number = fill(core, q_out)
        made, tails = room.c + number * slot, room.tails + number * ((r.height + 15) // 16 * 16) * BLOCK
        same = Lanes(shape.dtype, t.rows * 0, pitch // BLOCK, t.rows * 0)
        run_binary(core, w.op, room.padded if r.packs else made, left, right, t.rows, t.columns, same)
        free(core, q_in)
        finish_run(core, room, made, tails, r, t.rows, width)
        filled(core, q_out)
        use(core, q_out)
        store_run(core, w.c + t.c * size, made, tails, r, row_bytes, t.rows, width)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def two_sources(core: Any, op: int, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """Compute c = a op b by the shape's pattern."""
    if shape.pattern == AXES:
        tile = max(1, tiling.tile // 128) * 128
        rest = shape.n // (shape.d0 * shape.d1 * shape.d2 * shape.rows)
        axes = Axes(shape.d0, shape.d1, shape.d2, shape.rows, rest, shape.dtype)
        axes_binary(core, Sources(op, a, b, c, tile, tiling.slots), axes, shape.lacks)
    else:
        any_binary(core, op, a, b, c, shape, tiling)
