"""memcheck, racecheck and initcheck in one pass over the boxes of a block's records.

The hand-offs change what the pipes know of each other, everything else is held against the buffers that it
may touch and against shadow memory (see `davinci_sim.core.checks.shadow`).

    set_flag(p, q)     the flag takes p's row of the clocks; of p itself everything so far is done
    wait_flag(p, q)    q's row takes the larger of its own and the flag's entries
    pipe_barrier(p)    p knows that all of its own records are done
    pipe_barrier(ALL)  every pipe knows that about every pipe
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.core.boxes import end_of
from davinci_sim.core.checks.rules import (
    MISALIGNED,
    NO_RECORD,
    OUTSIDE_BUFFER,
    OUTSIDE_SPACE,
    SET_TOO_EARLY,
    WRITES_INPUT,
)
from davinci_sim.core.checks.shadow import (
    ADDED,
    BLOCK_SHIFT,
    LEFT,
    MOST_SPLIT,
    PIPES,
    Clocks,
    Shadow,
    Touch,
    place_of,
    report,
    walk,
)
from davinci_sim.core.order import BARRIER, SET, WAIT, flag_of
from davinci_sim.core.records import HANDLE, HOW, INNER, OUTER, RECORD, RUN
from davinci_sim.isa.jit import jit, uncounted
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT

Ints = npt.NDArray[np.int64]
_S, _ALL = int(Pipe.S), int(Pipe.ALL)
_COUNTED = -1
"""How the read of an atomic add touches its bytes: as part of the add."""

R_LOW, R_HIGH, R_TAIL, R_END, R_CELL, R_FLAGS = range(6)
"""Columns of a range: handles from and to, end for reads of a last block, end of real data, cells, flags."""
RANGE_COLUMNS = 6
IS_WRITTEN, IS_FILLED, IS_UNKNOWN = 1, 2, 4
"""Flags of a range: the kernel may write it, it holds data before the kernel starts, nothing is known."""


class Layout(NamedTuple):
    """Where memory lies and what the instructions' operands want."""

    sizes: Ints  # [space] bytes; GM has none
    cells: Ints  # [space] first cell
    ranges: Ints  # [range, 6], sorted by R_LOW
    operand_words: Ints  # [opcode, operand]: the word of its handle, 0 for none
    operand_aligns: Ints
    atomic: Ints  # [opcode, 3]: word, shift and mask of the field that asks for an atomic add


@uncounted
def _range_of(ranges: Ints, low: int, high: int, is_read: bool) -> int:
    """Return the range that holds the handles from `low` to `high`, or -1."""
    first, behind = 0, ranges.shape[0]
    while first < behind:
        middle = (first + behind) // 2
        if ranges[middle, R_LOW] <= low:
            first = middle + 1
        else:
            behind = middle
    for index in range(first - 1, -1, -1):
        end = ranges[index, R_TAIL] if is_read else ranges[index, R_HIGH]
        if high <= end:
            return index
    return -1


@uncounted
def _check_box(  # noqa: PLR0913, PLR0917 - see shadow
    words: Ints, record: int, base: int, boxes: Ints, row: int, how: int, layout: Layout, shadow: Shadow,
    clocks: Clocks, found: Ints, count: int,
) -> int:  # fmt: skip
    """Check that a row stays inside one buffer or tensor, then compare it with what was there before."""
    low, high = boxes[row, HANDLE], end_of(boxes, row)
    space, is_read = low >> SPACE_SHIFT, how in (READ, FORWARDED)
    me, where = base + record, (0, place_of(words, record))
    if space != 0 and high > (space << SPACE_SHIFT) + layout.sizes[space]:
        return report(found, count, OUTSIDE_SPACE, NO_RECORD, me, where, low, high)
    index = _range_of(layout.ranges, low, high, is_read)
    if index < 0:
        count = report(found, count, OUTSIDE_BUFFER, NO_RECORD, me, where, low, high)
        if space == 0:
            return count
        cell_of, end = layout.cells[space], ADDRESS_MASK
    else:
        flags = layout.ranges[index, R_FLAGS]
        if flags & IS_WRITTEN == 0:
            if is_read or flags & IS_UNKNOWN:
                return count
            return report(found, count, WRITES_INPUT, NO_RECORD, me, where, low, high)
        cell_of = layout.ranges[index, R_CELL]
        end = 0 if flags & IS_FILLED else layout.ranges[index, R_END]
    pipe = (words[record, 0] >> 8) & 255
    t = Touch(me, base, pipe, how, space == 0, where[1], cell_of, space << SPACE_SHIFT, end)
    return walk(words, t, boxes, row, shadow, clocks, found, count)


@uncounted
def _hand_off(words: Ints, record: int, base: int, clocks: Clocks, found: Ints, count: int) -> int:
    """Let a flag or a barrier change what the pipes know."""
    op, pipe = words[record, 0] & 255, (words[record, 0] >> 8) & 255
    if op == BARRIER:
        if pipe == _ALL:
            for knowing in range(PIPES):
                for other in range(PIPES):
                    clocks.known[knowing, other] = clocks.done[other]
        else:
            clocks.known[pipe, pipe] = clocks.done[pipe]
        return count
    flag, dst = flag_of(words[record, 1]), (words[record, 1] >> 8) & 255
    if op == SET:
        if dst != pipe and clocks.known[pipe, dst] < clocks.taken[flag]:
            where = (0, place_of(words, record))
            count = report(found, count, SET_TOO_EARLY, NO_RECORD, base + record, where, 0, 0)
        for other in range(PIPES):
            clocks.flags[flag, other] = clocks.known[pipe, other]
        clocks.flags[flag, pipe] = clocks.done[pipe]
        return count
    for other in range(PIPES):
        clocks.known[pipe, other] = max(clocks.known[pipe, other], clocks.flags[flag, other])
    clocks.taken[flag] = clocks.done[pipe]
    return count


@uncounted
def _follow_scalar(pipe: int, position: int, clocks: Clocks) -> None:
    """Let a record know what the scalar unit, which handed it out, had waited for."""
    if clocks.scalar[1] != clocks.scalar[2 + pipe] and position > clocks.scalar[0]:
        clocks.scalar[2 + pipe] = clocks.scalar[1]
        for other in range(PIPES):
            clocks.known[pipe, other] = max(clocks.known[pipe, other], clocks.known[_S, other])


@uncounted
def _misaligned(words: Ints, record: int, base: int, layout: Layout, found: Ints, count: int) -> int:
    """Check where the operands of a record begin."""
    op = words[record, 0] & 255
    for operand in range(layout.operand_words.shape[1]):
        word = layout.operand_words[op, operand]
        if word == 0:
            break
        handle = words[record, word]
        if handle >> SPACE_SHIFT != 0 and handle & (layout.operand_aligns[op, operand] - 1) != 0:
            where = (0, place_of(words, record))
            count = report(found, count, MISALIGNED, NO_RECORD, base + record, where, handle, handle + 1)
    return count


@uncounted
def _notes_wanted(boxes: Ints, row: int, rows: int) -> int:
    """Return more than the notes that the record of a row can add; a split block takes some from its KiB."""
    wanted, record = 0, boxes[row, RECORD]
    while row < rows and boxes[row, RECORD] == record:
        runs = boxes[row, OUTER] * boxes[row, INNER]
        wanted += runs * ((boxes[row, RUN] >> BLOCK_SHIFT) + 2 + 2 * MOST_SPLIT)
        row += 1
    return int(wanted)


@uncounted
def _way_of(words: Ints, record: int, how: int, handle: int, layout: Layout) -> int:
    """Return how a row touches its bytes: an atomic add to GM is one touch, not a read and a write."""
    op = words[record, 0] & 255
    if how == READ or handle >> SPACE_SHIFT != 0 or layout.atomic[op, 0] == 0:
        return how
    word, shift, mask = layout.atomic[op, 0], layout.atomic[op, 1], layout.atomic[op, 2]
    if (words[record, word] >> shift) & mask == 0:
        return how
    return ADDED if how == WRITTEN else _COUNTED


@jit
def check_batch(  # noqa: PLR0913, PLR0917 - see shadow
    words: Ints, order: Ints, record: int, reached: int, boxes: Ints, row: int, rows: int, base: int,
    layout: Layout, shadow: Shadow, clocks: Clocks, found: Ints, count: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Check records `record`..`reached` with their boxes `row`..`rows`; return (record, row, findings).

    `words` stand in a legal order and `order` tells their places in the program. It ends early, before the
    record that is returned, when the notes may run out.
    """
    for r in range(record, reached):
        op, pipe = words[r, 0] & 255, (words[r, 0] >> 8) & 255
        has_boxes = row < rows and boxes[row, RECORD] == r
        if has_boxes and _notes_wanted(boxes, row, rows) > shadow.pool[LEFT]:
            return r, row, count
        clocks.done[pipe] += 1
        clocks.stamps[r] = pipe | (clocks.done[pipe] << 8)
        _follow_scalar(pipe, order[r], clocks)
        if op in (SET, WAIT, BARRIER):
            count = _hand_off(words, r, base, clocks, found, count)
            if op == WAIT and pipe == _S:
                clocks.scalar[0] = order[r]
                clocks.scalar[1] += 1
            continue
        count = _misaligned(words, r, base, layout, found, count)
        behind = row
        for is_write in range(2):  # an instruction reads before it writes
            behind = row
            while behind < rows and boxes[behind, RECORD] == r:
                how = boxes[behind, HOW]
                if (how == WRITTEN) == (is_write == 1):
                    way = _way_of(words, r, how, boxes[behind, HANDLE], layout)
                    if way != _COUNTED:
                        count = _check_box(
                            words, r, base, boxes, behind, way, layout, shadow, clocks, found, count
                        )
                behind += 1
        row = behind
    return reached, row, count
