"""Rows put together from parts: y[rows] = [part 0 | part 1 | ...], parts of any length in bytes.

A part is a range of columns of an array in GM, or a constant. Parts that are whole blocks are brought side by
side and leave together. Short rows are packed by the vector unit. Of longer ones every part is written in
whole blocks, in ascending order: what it spills over the next part is written again by that. Shares of cores
begin at blocks of y, so that no two cores write one.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.buffers import UB, alloc, block_dim, block_idx, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import flat_dup, size_of
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.lang.rows import COMPACT_LIMIT, load_rows, pitch_bytes, row_period, store_blocks
from kernels.lang.transpose import transpose_16bit

BLOCK, SHARE_BYTES = 32, 512
MAX_PARTS = 8
CONSTANT = -1
"""The stride of a part that is the constant."""
NEVER = 1 << 40
PACKED_BYTES = 128
"""Rows below this are packed where they can be: a burst of a row costs as much as 256 bytes."""
PACKED_TILE_BYTES = 16 * 1024
LONG_ROW_BYTES = 24 * 1024
"""Rows from here on are moved piece by piece."""
LONG_TILE_BYTES = 32 * 1024
WALK_BYTES = 4096
"""Pieces of the rows at either end of a share."""


class Part(NamedTuple):
    """Where a part comes from (its first row), and its bytes from row to row and in a row."""

    src: int
    stride: int
    width: int


class Row(NamedTuple):
    """The parts of a row, their number and the bytes of all.

    Rows come in groups of `inner`, `stride` bytes apart in each; groups are `jump` bytes apart, of every
    `middle` of them the first are `far` bytes apart, and of every `upper` of these the first `farther`.
    """

    parts: int
    width: int
    inner: int
    jump: int
    middle: int
    far: int
    upper: int
    farther: int
    src0: int
    stride0: int
    width0: int
    src1: int
    stride1: int
    width1: int
    src2: int
    stride2: int
    width2: int
    src3: int
    stride3: int
    width3: int
    src4: int
    stride4: int
    width4: int
    src5: int
    stride5: int
    width5: int
    src6: int
    stride6: int
    width6: int
    src7: int
    stride7: int
    width7: int


class Levels(NamedTuple):
    """How rows come in groups; see `Row`."""

    inner: int
    jump: int
    middle: int
    far: int
    upper: int
    farther: int


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
def row_of(core: Any, inner: int, jump: int, a: Part, b: Part, c: Part, d: Part) -> Any:
    """Return a row of up to four parts; those of no width are left out, from the end."""
    width = a.width + b.width + c.width + d.width
    count = min(1, a.width) + min(1, b.width) + min(1, c.width) + min(1, d.width)
    return Row(
        count, width, inner, jump, NEVER, 0, 1, 0, a.src, a.stride, a.width, b.src, b.stride, b.width,
        c.src, c.stride, c.width, d.src, d.stride, d.width, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


@emits
def longer_row(core: Any, row: Row, e: Part, f: Part, g: Part, h: Part) -> Any:
    """Return a row of four parts with up to four more behind them."""
    width = row.width + e.width + f.width + g.width + h.width
    count = 4 + min(1, e.width) + min(1, f.width) + min(1, g.width) + min(1, h.width)
    return Row(
        count, width, row.inner, row.jump, row.middle, row.far, row.upper, row.farther,
        row.src0, row.stride0, row.width0, row.src1, row.stride1, row.width1,
        row.src2, row.stride2, row.width2, row.src3, row.stride3, row.width3,
        e.src, e.stride, e.width, f.src, f.stride, f.width,
        g.src, g.stride, g.width, h.src, h.stride, h.width,
    )  # fmt: skip


@emits
def far_row(core: Any, a: Part, levels: Levels) -> Any:
    """Return a row of one part in groups of groups of groups."""
    return Row(
        1, a.width, levels.inner, levels.jump, levels.middle, levels.far, levels.upper, levels.farther,
        a.src, a.stride, a.width, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


@emits
def group_offset(core: Any, row: Row, group: int) -> int:
    """Return the bytes from the first group of rows to another."""
    block = group // row.middle
    return block // row.upper * row.farther + block % row.upper * row.far + group % row.middle * row.jump


@emits
def part(core: Any, row: Row, index: int) -> Any:
    """Return a part of a row."""
    if index == 0:
        return Part(row.src0, row.stride0, row.width0)
    if index == 1:
        return Part(row.src1, row.stride1, row.width1)
    if index == 2:
        return Part(row.src2, row.stride2, row.width2)
    if index == 3:
        return Part(row.src3, row.stride3, row.width3)
    if index == 4:
        return Part(row.src4, row.stride4, row.width4)
    if index == 5:
        return Part(row.src5, row.stride5, row.width5)
    if index == 6:
        return Part(row.src6, row.stride6, row.width6)
    return Part(row.src7, row.stride7, row.width7)


@emits
def offset_of(core: Any, row: Row, index: int) -> int:
    """Return the bytes of a row before a part."""
    offset = 0
    for before in range(index):
        offset += part(core, row, before).width
    return offset


@emits
def part_at(core: Any, row: Row, offset: int) -> int:
    """Return the part that holds byte `offset` of a row."""
    index, end = 0, row.width0
    while end <= offset:
        index += 1
        end += part(core, row, index).width
    return index


@emits
def padded_bytes(core: Any, row: Row) -> int:
    """Return the bytes of a row each of whose parts has whole blocks."""
    pitch = 0
    for index in range(row.parts):
        pitch += pitch_bytes(core, part(core, row, index).width)
    return pitch


@emits
def widest_part(core: Any, row: Row) -> int:
    """Return the bytes of the longest part."""
    widest = 0
    for index in range(row.parts):
        widest = max(widest, part(core, row, index).width)
    return widest


@emits
def has_constant(core: Any, row: Row) -> int:
    """Return 1 if a part is the constant, else 0."""
    found = 0
    for index in range(row.parts):
        if part(core, row, index).stride == CONSTANT:
            found = 1
    return found


@emits
def load_part(core: Any, dst: int, pitch: int, p: Part, row: Row, first: int, count: int) -> None:
    """Bring a part of `count` rows from row `first` on to UB, `pitch` bytes apart there."""
    groups, group = count // row.inner, first // row.inner
    is_even = first % row.inner == 0 and count % row.inner == 0
    if row.inner < groups and is_even and group // row.middle == (group + groups - 1) // row.middle:
        for i in range(row.inner):  # short groups: the same row of all of them
            src = p.src + group_offset(core, row, group) + i * p.stride
            load_rows(core, dst + i * pitch, row.inner * pitch, src, row.jump, groups, p.width)
        return
    done = 0
    while done < count:
        group, i = (first + done) // row.inner, (first + done) % row.inner
        n, src = min(count - done, row.inner - i), p.src + group_offset(core, row, group) + i * p.stride
        load_rows(core, dst + done * pitch, pitch, src, p.stride, n, p.width)
        done += n


@emits
def load_parts(core: Any, dst: int, pitch: int, row: Row, first: int, count: int) -> None:
    """Bring all parts of rows to UB, each in whole blocks; where the constant belongs, nothing is moved."""
    at = dst
    for index in range(row.parts):
        p = part(core, row, index)
        if p.stride != CONSTANT:
            load_part(core, at, pitch, p, row, first, count)
        at += pitch_bytes(core, p.width)


@emits
def move_piece(core: Any, w: Walk, p: Part, row: Row, i: int, skipped: int, dst: int, blocks: int) -> None:
    """Write blocks of a part of row i, from byte `skipped` of it on, to GM."""
    slot = w.ub + fill(core, w.q) * w.tile
    if p.stride != CONSTANT:
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
    """Fill the slots of a buffer with the constant, if a row has one, before MTE2 uses them."""
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
def assemble_packed(core: Any, row: Row, a: Assembly, value: float) -> None:
    """Make a share of the rows of y, which are short: they are packed in UB."""
    period, pitch = row_period(core, row.width), padded_bytes(core, row)
    group = 16 * period
    start, end = share_start(core, a.rows, period), share_end(core, a.rows, period)
    most = max(1, min(end - start, min(a.tile, PACKED_TILE_BYTES) // pitch))
    height = (most + group - 1) // group * group
    size, made_bytes = height * pitch, height * row.width
    ub, made = alloc(core, UB, a.slots * size, a.slots), alloc(core, UB, a.slots * made_bytes, a.slots)
    scratch = alloc(core, UB, group * (pitch + row.width))
    q_constant = queue(core, V, MTE2, 1)
    fill_constant(core, q_constant, ub, row, value, a, size)
    q_in, q_out = queue(core, MTE2, V, a.slots), queue(core, V, MTE3, a.slots)
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
    total, period = a.rows * row.width, row_period(core, row.width)
    is_short = row.width < PACKED_BYTES and period * pitch <= COMPACT_LIMIT
    if pitch == row.width and pitch <= a.tile and a.rows >= 2 * block_dim(core):
        assemble_whole_blocks(core, row, a, value)
    elif pitch > row.width and (total <= 2 * BLOCK or is_short):
        assemble_packed(core, row, a, value)
    elif widest_part(core, row) >= 2 * BLOCK:
        start, end = cut(core, row, a.rows, block_idx(core)), cut(core, row, a.rows, block_idx(core) + 1)
        if start < end:
            assemble_spilled(core, row, a, value, start, end)
    elif block_idx(core) == 0:  # no boundary between shares has 32 bytes of one part before it
        assemble_spilled(core, row, a, value, 0, total)
