"""A tile of x on its way to y with its axes turned: brought, turned in UB, stored where it ends exactly."""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.buffers import block_dim, room_in_ub
from kernels.lang.emits import emits
from kernels.lang.queues import fill, filled, free, use
from kernels.pieces.rows import BLOCK, pitch_bytes, row_period, row_tails, store_exact
from kernels.pieces.turn import (
    RUN,
    Turn,
    load_inner,
    outer_offset,
    separate_columns,
    turn_16bit,
    turn_32bit,
    turn_items,
)

EDGE = 16
SMALL_BYTES = 128
"""Shares of cores that begin within a block have at least so much on either side."""


class Tiles(NamedTuple):
    """x, y, bytes of an element and of an item, a tile, and its buffers and hand-offs."""

    x: int
    y: int
    size: int
    item: int
    rows: int
    columns: int
    q_in: int
    q_out: int
    ub_in: int
    ub_out: int
    in_bytes: int
    out_bytes: int
    tails: int
    scratch: int


class Place(NamedTuple):
    """A tile: place of the outer axes, first and number of columns (j), first and number of rows (inner)."""

    o: int
    j: int
    columns: int
    i: int
    rows: int


@emits
def fetch_tile(core: Any, w: Tiles, t: Turn, p: Place) -> int:
    """Bring a tile of x to UB; return where it lies, for V to use."""
    taken = w.ub_in + fill(core, w.q_in) * w.in_bytes
    x = w.x + outer_offset(core, t, p.o) * w.size + p.j * w.item
    load_inner(core, taken, w.columns * w.item, x, t, p.i, p.rows, w.size, p.columns * w.item)
    filled(core, w.q_in)
    use(core, w.q_in)
    return taken


@emits
def turn_tile(core: Any, w: Tiles, made: int, pitch: int, taken: int, p: Place) -> None:
    """Turn a tile in UB; rows of the result lie `pitch` bytes apart."""
    from_pitch = w.columns * w.item
    if w.item > w.size:
        turn_items(core, made, pitch, taken, from_pitch, p.rows, p.columns, w.item // BLOCK)
    elif w.size == 2:
        turn_16bit(core, made, pitch, taken, from_pitch, p.rows, p.columns)
    else:
        whole = (p.columns + RUN - 1) // RUN * RUN if w.columns % RUN == 0 else p.columns
        turn_32bit(core, made, pitch, taken, from_pitch, p.rows, whole, w.scratch)


@emits
def move_tile(core: Any, w: Tiles, t: Turn, p: Place) -> None:
    """Turn a tile of x into one of y."""
    inner, pitch = t.i0 * t.i1 * t.i2, w.rows * w.item
    taken = fetch_tile(core, w, t, p)
    made = w.ub_out + fill(core, w.q_out) * w.out_bytes
    tails, width = made + w.tails, p.rows * w.item
    turn_tile(core, w, made, pitch, taken, p)
    if width % BLOCK > 0:
        row_tails(core, tails, made, pitch, p.columns, width, w.scratch)
    free(core, w.q_in)
    filled(core, w.q_out)
    use(core, w.q_out)
    target = w.y + ((p.o * t.j + p.j) * inner + p.i) * w.item
    store_exact(core, target, inner * w.item, made, pitch, p.columns, width, tails)
    free(core, w.q_out)


@emits
def first_line(core: Any, t: Turn, line_bytes: int, share: int) -> int:
    """Return the line of y at which a share begins: at a block, behind 64 bytes of the same matrix."""
    period, lines = row_period(core, line_bytes), t.o0 * t.o1 * t.j
    units = (lines + period - 1) // period
    line = min(lines, units * share // block_dim(core) * period)
    while 0 < line < lines and ((line - 1) % t.j + 1) * line_bytes < SMALL_BYTES // 2:
        line = min(lines, line + period)
    return line


@emits
def short_units(core: Any, few: int, slots: int) -> int:
    """Return for how many runs of 512 bytes, each `few` times, UB holds all buffers of `short_tiles`."""
    fixed, each = slots * (few + EDGE) * BLOCK + 2048, (slots * (2 * few + EDGE) + 2 * few) * 512
    return int((room_in_ub(core) - fixed) // each)


@emits
def separate_piece(core: Any, w: Tiles, t: Turn, o: int, i: int, rows: int) -> None:
    """Turn rows of few columns that follow each other in x."""
    pitch, nbytes, unit = w.columns * w.size, rows * w.size, 512 // w.size
    taken = w.ub_in + fill(core, w.q_in) * w.in_bytes
    src = w.x + (outer_offset(core, t, o) + i * t.j) * w.size
    data_move(core, taken, src, 1, pitch_bytes(core, nbytes * t.j) // BLOCK)
    filled(core, w.q_in)
    use(core, w.q_in)
    made = w.ub_out + fill(core, w.q_out) * w.out_bytes
    whole = (rows + unit - 1) // unit * unit
    separate_columns(core, made, pitch, taken, whole, t.j, w.size // 2, w.scratch)
    if nbytes % BLOCK > 0:
        row_tails(core, made + w.tails, made, pitch, t.j, nbytes, w.scratch)
    free(core, w.q_in)
    filled(core, w.q_out)
    use(core, w.q_out)
    stride = t.i0 * w.size
    target = w.y + o * t.j * stride + i * w.size
    store_exact(core, target, stride, made, pitch, t.j, nbytes, made + w.tails)
    free(core, w.q_out)
