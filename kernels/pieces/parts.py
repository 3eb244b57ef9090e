"""Rows put together from parts: y[rows] = [part 0 | part 1 | ...], parts of any length in bytes.

A part is a range of columns of an array in GM, or a constant. Parts that are whole blocks are brought side by
side and leave together. Short rows are packed by the vector unit. Of longer ones every part is written in
whole blocks, in ascending order: what it spills over the next part is written again by that. Shares of cores
begin at blocks of y, so that no two cores write one.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.buffers import UB, alloc, block_dim, block_idx, room_in_ub, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import flat_dup, size_of
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.row import (
    CONSTANT,
    INDEXED,
    Part,
    Row,
    group_offset,
    has_constant,
    load_listed,
    load_parts,
    offset_of,
    padded_bytes,
    part,
    part_at,
    widest_part,
)
from kernels.pieces.rows import pitch_bytes, row_period, store_blocks
from kernels.pieces.transpose import transpose_16bit

BLOCK, SHARE_BYTES = 32, 512
PACKED_BYTES = 128
"""Rows below this are packed where they can be: a burst of a row costs as much as 256 bytes."""
PACKED_TILE_BYTES = 16 * 1024
LONG_ROW_BYTES = 24 * 1024
"""Rows from here on are moved piece by piece."""
LONG_TILE_BYTES = 32 * 1024
WALK_BYTES = 4096
"""Pieces of the rows at either end of a share."""


class Assembly(NamedTuple):
    """What is made: y[rows], the type of its elements, the bytes of a tile, the buffers of a hand-off."""

    y: int
    rows: int
    dtype: int
    tile: int
    slots: int


class Walk(NamedTuple):
    """Hand-off, buffers of `tile` bytes and the constant of a walk along y."""

    q: int
    ub: int
    constant: int
    tile: int


@emits
def move_piece(core: Any, w: Walk, p: Part, row: Row, i: int, skipped: int, dst: int, blocks: int) -> None:
    """Write blocks of a part of row i, from byte `skipped` of it on, to GM."""
    slot = w.ub + fill(core, w.q) * w.tile
    if p.stride == INDEXED:
        load_listed(core, slot, blocks * BLOCK, p.src + skipped, row, i, 1, blocks * BLOCK)
    elif p.stride != CONSTANT:
        src = p.src + group_offset(core, row, i // row.inner) + i % row.inner * p.stride + skipped
        data_move(core, slot, src, 1, blocks)
    filled(core, w.q)
    use(core, w.q)
    data_move(core, dst, w.constant if p.stride == CONSTANT else slot, 1, blocks)
    free(core, w.q)


@emits
def walk(core: Any, w: Walk, row: Row, y: int, start: int, stop: int, end: int) -> None:
    """Write bytes `start` to `stop` of rows to y piece by piece, in ascending order, nothing behind `end`.

    Of a piece whose last block would reach further, its last 32 bytes are written; shorter ones are left out.
    """
    at = start
    while at < stop:
        i, offset = at // row.width, at % row.width
        index = part_at(core, row, offset)
        p, skipped = part(core, row, index), offset - offset_of(core, row, index)
        n = min(w.tile, p.width - skipped, stop - at)
        is_far = 1 if at + pitch_bytes(core, n) > end else 0
        blocks = n // BLOCK if is_far else (n + BLOCK - 1) // BLOCK
        if blocks > 0:
            move_piece(core, w, p, row, i, skipped, y + at, blocks)
        if is_far and blocks > 0:
            move_piece(core, w, p, row, i, skipped + n - BLOCK, y + at + n - BLOCK, 1)
        at += n


@emits
def join_last(core: Any, w: Walk, row: Row, y: int, place: int, end: int, joined: int) -> None:
    """Bring the last 32 bytes before `end`, which several parts share, to UB at `joined`.

    They are put together in y at byte `place`, where 64 bytes will be written again.
    """
    q = queue(core, MTE3, MTE2, 1)
    fill(core, q)
    walk(core, w, row, y + place - (end - BLOCK), end - BLOCK, end, end + BLOCK)
    filled(core, q)
    use(core, q)
    fill(core, w.q)
    data_move(core, joined, y + place, 1, 1)
    filled(core, w.q)
    use(core, w.q)
    free(core, w.q)
    free(core, q)
    close(core, q)


@emits
def cut(core: Any, row: Row, rows: int, share: int) -> int:
    """Return the byte of y at which a share begins: one whose last 32 bytes before belong to one part."""
    total = rows * row.width
    units = (total + SHARE_BYTES - 1) // SHARE_BYTES
    at = min(total, units * share // block_dim(core) * SHARE_BYTES)
    while 0 < at < total:
        offset = (at - 1) % row.width
        if offset - offset_of(core, row, part_at(core, row, offset)) >= BLOCK - 1:
            break
        at = min(total, at + BLOCK)
    return at


@emits
def fill_constant(core: Any, q: int, ub: int, row: Row, value: float, a: Assembly, size: int) -> None:
    """Fill the slots of a buffer, `size` bytes each, with the constant, if a row has one, before MTE2."""
    if has_constant(core, row) != 0 and size > 0:
        fill(core, q)
        for slot in range(a.slots):
            flat_dup(core, ub + slot * size, value, size // size_of(core, a.dtype), a.dtype)
        filled(core, q)
        use(core, q)
        free(core, q)


@emits
def store_rows(core: Any, dst: int, src: int, pitch: int, row: Row, count: int) -> None:
    """Write rows one behind the other, each part in whole blocks; up to 31 bytes behind them are spoilt.

    What the end of a row has spoilt of the next one is written again.
    """
    offset, at = 0, src
    for index in range(row.parts):
        width = part(core, row, index).width
        blocks = pitch_bytes(core, width)
        store_blocks(core, dst + offset, row.width, at, pitch, count, blocks // BLOCK)
        offset, at = offset + width, at + blocks
    step = row_period(core, row.width) if row.parts == 1 else 1  # the rows that a later phase has spoilt
    offset, at, index, width = 0, src + step * pitch, 0, 0
    while index < row.parts and width < BLOCK and count > step:  # up to a part that nothing spills over
        width = part(core, row, index).width
        again = (count - 1) // step
        store_blocks(core, dst + step * row.width + offset, step * row.width, at, step * pitch, again, 1)
        offset, at, index = offset + width, at + pitch_bytes(core, width), index + 1


@emits
def assemble_spilled(core: Any, row: Row, a: Assembly, value: float, start: int, end: int) -> None:
    """Make bytes `start` to `end` of y: whole rows tile by tile, what is before and behind them as a walk."""
    pitch, last_width = padded_bytes(core, row), part(core, row, row.parts - 1).width
    first, last = (start + row.width - 1) // row.width, (end - 1) // row.width
    if row.width >= LONG_ROW_BYTES or last <= first + 1:
        last = first - 1  # all is a walk
    height = max(1, min(last - first, a.tile // pitch))
    size = height * pitch if last > first else 0
    step = min(a.tile, LONG_TILE_BYTES) // SHARE_BYTES * SHARE_BYTES if last < first else WALK_BYTES
    ub, on_way = alloc(core, UB, a.slots * size, a.slots), alloc(core, UB, a.slots * step, a.slots)
    constant = alloc(core, UB, a.slots * step if has_constant(core, row) != 0 else 0, a.slots)
    joined = alloc(core, UB, BLOCK)
    q_constant = queue(core, V, MTE2, 1)
    fill_constant(core, q_constant, ub, row, value, a, size)
    fill_constant(core, q_constant, constant, row, value, a, step)
    q = queue(core, MTE2, MTE3, a.slots)
    w = Walk(q, on_way, constant, step)
    has_joined = end == a.rows * row.width and last_width < BLOCK
    if has_joined:
        join_last(core, w, row, a.y, start, end, joined)
    if last < first:
        walk(core, w, row, a.y, start, end, end)
    else:
        walk(core, w, row, a.y, start, first * row.width, end)
        for i in range(first, last, height):
            count = min(height, last - i)
            slot = ub + fill(core, q) * size
            load_parts(core, slot, pitch, row, i, count)
            filled(core, q)
            use(core, q)
            store_rows(core, a.y + i * row.width, slot, pitch, row, count)
            free(core, q)
        walk(core, w, row, a.y, last * row.width, end, end)
    if has_joined:
        data_move(core, a.y + end - BLOCK, joined, 1, 1)
    close(core, q)
    close(core, q_constant)


@emits
def assemble_whole_blocks(core: Any, row: Row, a: Assembly, value: float) -> None:
    """Make a share of the rows of y, all of whose parts are whole blocks."""
    start, end = share_start(core, a.rows, 1), share_end(core, a.rows, 1)
    height = max(1, min(end - start, a.tile // row.width))
    size = height * row.width
    ub = alloc(core, UB, a.slots * size, a.slots)
    q_constant = queue(core, V, MTE2, 1)
    fill_constant(core, q_constant, ub, row, value, a, size)
    q = queue(core, MTE2, MTE3, a.slots)
    for i in range(start, end, height):
        count = min(height, end - i)
        slot = ub + fill(core, q) * size
        load_parts(core, slot, row.width, row, i, count)
        filled(core, q)
        use(core, q)
        data_move(core, a.y + i * row.width, slot, 1, count * row.width // BLOCK)
        free(core, q)
    close(core, q)
    close(core, q_constant)


@emits
def pack_parts(core: Any, dst: int, src: int, rows: int, row: Row, scratch: int) -> None:
    """Close the gaps between parts in UB: row i ends up at dst + i * row.width.

    Sixteen runs of a period of rows are transposed, so that half words become blocks, which moves can pack,
    and transposed back. Both buffers are used by whole groups of 16 periods.
    """
    period, pitch = row_period(core, row.width), padded_bytes(core, row)
    group = 16 * period
    padded, packed = period * pitch // BLOCK, period * row.width // BLOCK  # blocks of a run
    columns, kept = scratch, scratch + group * pitch
    for i in range(0, rows, group):
        transpose_16bit(core, columns, 1, 16, src + i * pitch, padded, 1, padded)
        offset, at = 0, 0
        for index in range(row.parts):
            width = part(core, row, index).width
            to, start = kept + offset * 16, columns + at * 16
            data_move(core, to, start, period, width // 2, (pitch - width) // 2, (row.width - width) // 2)
            offset, at = offset + width, at + pitch_bytes(core, width)
        transpose_16bit(core, dst + i * row.width, packed, 1, kept, 1, 16, packed)


@emits
def packed_height(core: Any, row: Row, a: Assembly) -> int:
    """Return the most rows of a tile that are packed at once: whole groups."""
    group = 16 * row_period(core, row.width)
    return int(max(1, min(a.tile, PACKED_TILE_BYTES) // (group * padded_bytes(core, row))) * group)


@emits
def packing_bytes(core: Any, row: Row, a: Assembly, slots: int) -> int:
    """Return the bytes of UB that packing takes."""
    lines = slots * packed_height(core, row, a) + 16 * row_period(core, row.width)
    return int(lines * (padded_bytes(core, row) + row.width))


@emits
def assemble_packed(core: Any, row: Row, a: Assembly, value: float) -> None:
    """Make a share of the rows of y, which are short: they are packed in UB."""
    period, pitch = row_period(core, row.width), padded_bytes(core, row)
    group, slots = 16 * period, a.slots
    if packing_bytes(core, row, a, slots) > room_in_ub(core):
        slots = 1
    start, end = share_start(core, a.rows, period), share_end(core, a.rows, period)
    height = min(packed_height(core, row, a), max(1, (end - start + group - 1) // group) * group)
    size, made_bytes = height * pitch, height * row.width
    ub, made = alloc(core, UB, slots * size, slots), alloc(core, UB, slots * made_bytes, slots)
    scratch = alloc(core, UB, group * (pitch + row.width))
    q_constant = queue(core, V, MTE2, 1)
    cut_down = Assembly(a.y, a.rows, a.dtype, a.tile, slots)
    fill_constant(core, q_constant, ub, row, value, cut_down, size)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for i in range(start, end, height):
        count = min(height, end - i)
        slot = ub + fill(core, q_in) * size
        load_parts(core, slot, pitch, row, i, count)
        filled(core, q_in)
        use(core, q_in)
        packed = made + fill(core, q_out) * made_bytes
        pack_parts(core, packed, slot, count, row, scratch)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, a.y + i * row.width, packed, 1, pitch_bytes(core, count * row.width) // BLOCK)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
    close(core, q_constant)


@emits
def assemble(core: Any, row: Row, a: Assembly, value: float) -> None:
    """Make y[rows] of parts; `value` is the constant."""
    pitch = padded_bytes(core, row)
    total, widest = a.rows * row.width, widest_part(core, row)
    is_short = total <= 2 * BLOCK or row.width < PACKED_BYTES or widest < BLOCK
    if pitch == row.width and pitch <= a.tile and a.rows >= 2 * block_dim(core):
        assemble_whole_blocks(core, row, a, value)
    elif pitch > row.width and is_short and packing_bytes(core, row, a, 1) <= room_in_ub(core):
        assemble_packed(core, row, a, value)
    elif widest >= BLOCK:
        start, end = cut(core, row, a.rows, block_idx(core)), cut(core, row, a.rows, block_idx(core) + 1)
        if start < end:
            assemble_spilled(core, row, a, value, start, end)
    elif block_idx(core) == 0:  # shares begin behind 32 bytes of one part, and there are none
        assemble_spilled(core, row, a, value, 0, total)
