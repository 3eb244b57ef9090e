"""Rows made of parts: what each comes from, and how it is brought to UB."""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move, gather_rows, pipe_barrier
from kernels.lang.emits import emits
from kernels.lang.queues import MTE2
from kernels.pieces.rows import load_rows, pitch_bytes

BLOCK = 32
CONSTANT = -1
"""The stride of a part that is the constant."""
INDEXED = -2
"""The stride of a part whose rows are those of a table with the numbers of a list."""
MOST_NUMBERS = 1024
"""Numbers of a list in UB."""
NEVER = 1 << 40


class Part(NamedTuple):
    """Where a part comes from (its first row), and its bytes from row to row and in a row."""

    src: int
    stride: int
    width: int


class Row(NamedTuple):
    """The parts of a row, their number and the bytes of all.

    Rows come in groups of `inner`, `stride` bytes apart in each; groups are `jump` bytes apart, of every
    `middle` of them the first are `far` bytes apart, and of every `upper` of these the first `farther`.
    An indexed part has rows of a `table` of so many: `listed` (int32 in GM) says which. `numbers` is where
    that list comes in UB.
    """

    parts: int
    width: int
    inner: int
    jump: int
    middle: int
    far: int
    upper: int
    farther: int
    listed: int
    table: int
    numbers: int
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


@emits
def row_of(core: Any, inner: int, jump: int, a: Part, b: Part, c: Part, d: Part) -> Any:
    """Return a row of up to four parts; those of no width are left out, from the end."""
    width = a.width + b.width + c.width + d.width
    count = min(1, a.width) + min(1, b.width) + min(1, c.width) + min(1, d.width)
    return Row(
        count, width, inner, jump, NEVER, 0, 1, 0, 0, 0, 0,
        a.src, a.stride, a.width, b.src, b.stride, b.width,
        c.src, c.stride, c.width, d.src, d.stride, d.width,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


@emits
def longer_row(core: Any, row: Row, e: Part, f: Part, g: Part, h: Part) -> Any:
    """Return a row of four parts with up to four more behind them."""
    width = row.width + e.width + f.width + g.width + h.width
    count = 4 + min(1, e.width) + min(1, f.width) + min(1, g.width) + min(1, h.width)
    return Row(
        count, width, row.inner, row.jump, row.middle, row.far, row.upper, row.farther, 0, 0, 0,
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
        0, 0, 0, a.src, a.stride, a.width, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    )  # fmt: skip


@emits
def table_row(core: Any, rows: int, a: Part, listed: int, table: int, numbers: int) -> Any:
    """Return a row of one part, of a table with `table` rows; the list comes to `numbers` in UB."""
    return Row(
        1, a.width, rows, 0, NEVER, 0, 1, 0, listed, table, numbers, a.src, a.stride, a.width,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
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
def load_listed(
    core: Any, dst: int, pitch: int, src: int, row: Row, first: int, count: int, width: int
) -> None:
    """Bring `width` bytes of the table's rows with numbers `first` and so on of the list to UB."""
    blocks = (width + BLOCK - 1) // BLOCK
    for done in range(0, count, MOST_NUMBERS):
        n = min(MOST_NUMBERS, count - done)
        data_move(core, row.numbers, row.listed + (first + done) * 4, 1, (n * 4 + BLOCK - 1) // BLOCK)
        pipe_barrier(core, MTE2)
        to = dst + done * pitch
        gather_rows(core, to, src, row.numbers, row.table, row.width, n, blocks, pitch // BLOCK - blocks)


@emits
def load_part(core: Any, dst: int, pitch: int, p: Part, row: Row, first: int, count: int) -> None:
    """Bring a part of `count` rows from row `first` on to UB, `pitch` bytes apart there."""
    if p.stride == INDEXED:
        load_listed(core, dst, pitch, p.src, row, first, count, p.width)
        return
    done = 0
    while done < count:
        group, i = (first + done) // row.inner, (first + done) % row.inner
        whole = min((count - done) // row.inner, row.middle - group % row.middle)
        to, src = dst + done * pitch, p.src + group_offset(core, row, group) + i * p.stride
        if i == 0 and whole > row.inner:  # short groups: the same row of all of them
            for member in range(row.inner):
                start = src + member * p.stride
                load_rows(core, to + member * pitch, row.inner * pitch, start, row.jump, whole, p.width)
            done += whole * row.inner
            continue
        n = min(count - done, row.inner - i)
        if p.stride == 0:
            for member in range(n):
                load_rows(core, to + member * pitch, pitch, src, p.width, 1, p.width)
        else:
            load_rows(core, to, pitch, src, p.stride, n, p.width)
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
