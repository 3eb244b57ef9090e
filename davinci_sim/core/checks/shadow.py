"""memcheck, racecheck and initcheck in one pass over the boxes of a block's records.

Shadow memory keeps, for every space and every output in GM, who last wrote each byte and who has read it
since. A note says (record, how, which): in a list for each KiB `which` are blocks of 32 bytes, and where an
instruction touches a part of a block the block is split off into a list of its own, in which they are bytes.
Whether the record of a note is done when another one starts is told by vector clocks: one row per pipe that
counts how many records of every other pipe are known to be done.

    set_flag(p, q)     the flag takes p's row; of p itself everything so far is done
    wait_flag(p, q)    q's row takes the larger of its own and the flag's entries
    pipe_barrier(p)    p knows that all of its own records are done
    pipe_barrier(ALL)  every pipe knows that about every pipe
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.core.checks.rules import (
    CORES_READ,
    CORES_WRITE,
    NO_BARRIER,
    NO_RECORD,
    READ_AFTER_WRITE,
    UNWRITTEN,
    UNWRITTEN_GM,
    WRITE_AFTER_READ,
    WRITE_AFTER_WRITE,
)
from davinci_sim.core.order import FLAG_COUNT
from davinci_sim.core.records import (
    HANDLE,
    INNER,
    INNER_STRIDE,
    OUTER,
    OUTER_STRIDE,
    RUN,
)
from davinci_sim.isa.jit import uncounted
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN

Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int32]
_S, _ALL = int(Pipe.S), int(Pipe.ALL)
PIPES = 11
ADDED = 3
"""How a note says that a byte was added to atomically; otherwise it says READ or WRITTEN."""
FULL = 0xFFFFFFFF
MOST_SPLIT = 2 * PIPES
"""A block has at most a writer, a reader per pipe and one of another block."""
BLOCK_SHIFT, BLOCK_BYTES = 5, 32

LINK, WHO, WHICH, WAY = range(4)
"""Columns of a note: the next one, the record over all blocks, which bytes or blocks, how touched."""
FREE, USED, LEFT = range(3)


class Shadow(NamedTuple):
    """Shadow memory: the first note or -1 of each KiB and of each block, and which blocks are split off."""

    coarse: Shorts  # [cell / 32]; a cell is a block of 32 bytes
    fine: Shorts  # [cell]
    split: Ints  # [cell / 32]: a bit per block
    notes: Shorts  # [note, 4]
    pool: Ints  # free notes: first of a list, first never used, how many


class Clocks(NamedTuple):
    """What a block's pipes know of each other: see the module."""

    known: Ints  # [pipe, pipe]
    done: Ints  # [pipe]: records so far
    flags: Ints  # [flag, pipe]: the row that a flag carries
    taken: Ints  # [flag]: the wait that took it last, as a count of its pipe
    scalar: Ints  # [0]: position of the last wait of S; [1]: how many; [2 + pipe]: how many the pipe knows
    stamps: Ints  # [record]: its pipe, and its number within the pipe above bit 8


@uncounted
def report(
    found: Ints, count: int, rule: int, first: int, second: int, places: tuple[int, int], low: int, high: int
) -> int:
    """Note a finding, or count it where its rule and source lines are known; return the findings so far."""
    for row in range(count):
        if found[row, 0] == rule and found[row, 3] == places[0] and found[row, 4] == places[1]:
            if found[row, 1] == first and found[row, 2] == second:
                found[row, 5], found[row, 6] = min(found[row, 5], low), max(found[row, 6], high)
            if found[row, 8] != second:
                found[row, 7], found[row, 8] = found[row, 7] + 1, second
            return count
    if count < found.shape[0]:
        found[count, 0], found[count, 1], found[count, 2] = rule, first, second
        found[count, 3], found[count, 4], found[count, 5] = places[0], places[1], low
        found[count, 6], found[count, 7], found[count, 8] = high, 1, second
        return count + 1
    return count


@uncounted
def _unordered(was: int, how: int, stamp: int, pipe: int, known: Ints) -> int:
    """Return the rule that two touches of a byte break when nothing orders them, 0 when something does."""
    other = stamp & 255
    if known[other] >= stamp >> 8:
        return 0
    if other == pipe:
        return NO_BARRIER if was != READ and how == READ else 0
    if how in (READ, FORWARDED):
        return READ_AFTER_WRITE
    return WRITE_AFTER_READ if was == READ else WRITE_AFTER_WRITE


@uncounted
def _signed(mask: int) -> int:
    """Return 32 bits as the signed number with the same bits."""
    return mask - ((mask & 0x80000000) << 1)


@uncounted
def _drop(heads: Shorts, notes: Shorts, pool: Ints, cell: int, before: int, note: int) -> None:
    """Take a note out of its list and keep it for reuse."""
    after = notes[note, LINK]
    if before < 0:
        heads[cell] = after
    else:
        notes[before, LINK] = after
    notes[note, LINK] = pool[FREE]
    pool[FREE] = note
    pool[LEFT] += 1


@uncounted
def _add(heads: Shorts, notes: Shorts, pool: Ints, cell: int, record: int, mask: int, way: int) -> None:
    """Put a new note at the head of a cell's list."""
    note = pool[FREE]
    if note >= 0:
        pool[FREE] = notes[note, LINK]
    else:
        note = pool[USED]
        pool[USED] = note + 1
    pool[LEFT] -= 1
    notes[note, LINK], notes[note, WHO] = heads[cell], record
    notes[note, WHICH], notes[note, WAY] = _signed(mask), way
    heads[cell] = note


@uncounted
def _column(notes: Shorts, note: int, column: int) -> int:
    """Return one number of a note."""
    return int(np.int64(notes[note, column]))


@uncounted
def _conflict(
    was: int, how: int, who: int, record: int, base: int, pipe: int, known: Ints, stamps: Ints
) -> int:
    """Return the rule that a touch breaks against an earlier one of the same bytes, 0 if none."""
    is_read = how in (READ, FORWARDED)
    if who == record or (was == READ and is_read) or (was == ADDED and how == ADDED):
        return 0
    if who < base:
        return CORES_READ if is_read or was == READ else CORES_WRITE
    return _unordered(was, how, stamps[who - base], pipe, known)


@uncounted
def _is_replaced(was: int, way: int, who: int, base: int, pipe: int, stamps: Ints) -> bool:
    """Tell whether a new touch makes an earlier one of the same bytes needless to remember."""
    if way == WRITTEN or who < base:
        return way == WRITTEN
    return bool(way == ADDED or (was == READ and stamps[who - base] & 255 == pipe))


@uncounted
def _touch(  # noqa: PLR0913, PLR0917 - arrays by themselves: a tuple of them costs more than the work
    heads: Shorts, notes: Shorts, pool: Ints, known: Ints, stamps: Ints, cell: int, mask: int, how: int,
    record: int, base: int, is_gm: bool, pipe: int,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Compare one touch with a list, then note it; return (broken rule, other record, which, written ones).

    Notes of records below `base` are of other blocks: on chip they mean nothing any more.
    """
    way = READ if how == FORWARDED else how
    rule, culprit, bad, written, foreign, mine = 0, NO_RECORD, 0, 0, 0, -1
    before, note = -1, int(np.int64(heads[cell]))
    while note >= 0:
        after, who = _column(notes, note, LINK), _column(notes, note, WHO)
        held, was = _column(notes, note, WHICH) & FULL, _column(notes, note, WAY)
        kept = held
        if who < base and not is_gm:
            kept = 0
        elif who < base and was != WRITTEN:  # of all other blocks' readers one is enough
            kept &= ~foreign
            foreign |= held
        overlap = held & mask if is_gm or who >= base else 0
        if overlap != 0:
            written |= overlap if was != READ else 0
            if rule == 0:
                rule, culprit, bad = _conflict(was, how, who, record, base, pipe, known, stamps), who, overlap
            if not (who == record and was == way) and _is_replaced(was, way, who, base, pipe, stamps):
                kept &= ~mask
        if who == record and was == way:
            mine = note
        if kept == 0:
            _drop(heads, notes, pool, cell, before, note)
        else:
            if kept != held:
                notes[note, WHICH] = _signed(kept)
            before = note
        note = after
    if mine >= 0:
        notes[mine, WHICH] = _signed((_column(notes, mine, WHICH) & FULL) | mask)
    else:
        _add(heads, notes, pool, cell, record, mask, way)
    return rule, culprit, bad, written


@uncounted
def _split(shadow: Shadow, cell: int) -> None:
    """Give a block a list of its own, with what its KiB knows of it."""
    group, bit = cell >> 5, 1 << (cell & 31)
    shadow.split[group] |= bit
    before, note = -1, int(np.int64(shadow.coarse[group]))
    while note >= 0:
        after, held = _column(shadow.notes, note, LINK), _column(shadow.notes, note, WHICH) & FULL
        if held & bit != 0:
            who, way = _column(shadow.notes, note, WHO), _column(shadow.notes, note, WAY)
            if held == bit:
                _drop(shadow.coarse, shadow.notes, shadow.pool, group, before, note)
            else:
                shadow.notes[note, WHICH] = _signed(held & ~bit)
                before = note
            _add(shadow.fine, shadow.notes, shadow.pool, cell, who, FULL, way)
        else:
            before = note
        note = after


@uncounted
def _join(shadow: Shadow, cell: int) -> None:
    """Forget a block's own list: the whole block is written anew."""
    shadow.split[cell >> 5] &= ~(1 << (cell & 31))
    while shadow.fine[cell] >= 0:
        _drop(shadow.fine, shadow.notes, shadow.pool, cell, -1, shadow.fine[cell])


@uncounted
def place_of(words: Ints, record: int) -> int:
    """Return the source location of a record."""
    return int((words[record, 0] >> 32) & 0xFFFFFFFF)


class Touch(NamedTuple):
    """A box that is being looked at."""

    record: int  # over all blocks
    base: int
    pipe: int
    how: int
    is_gm: bool
    place: int  # source location
    cells: int  # cell of the space's or tensor's byte 0
    space: int  # handle of that byte
    end: int  # bytes from here on need no writer


@uncounted
def _tell(
    words: Ints, t: Touch, found: Ints, count: int, outcome: tuple[int, int, int, int], mask: int,
    first: int, unit: int,
) -> int:  # fmt: skip
    """Report what came out of one touch of the bits `mask`; each stands for `unit` bytes from `first` on."""
    rule, other, bad, written = outcome
    if rule != 0:
        there = place_of(words, other - t.base) if other >= t.base else 0
        low, high = _extent(bad, t.space + first, unit)
        count = report(found, count, rule, other, t.record, (there, t.place), low, high)
    missing = mask & ~written
    if missing != 0 and t.how in (READ, FORWARDED) and first < t.end:
        if t.end - first < 32 * unit:
            missing &= (1 << ((t.end - first + unit - 1) // unit)) - 1
        if missing != 0:
            low, high = _extent(missing, t.space + first, unit)
            rule = UNWRITTEN_GM if t.is_gm else UNWRITTEN
            count = report(found, count, rule, NO_RECORD, t.record, (0, t.place), low, high)
    return count


@uncounted
def _extent(bits: int, first: int, unit: int) -> tuple[int, int]:
    """Return the handles from the lowest bit to behind the highest."""
    low, high = 0, 32
    while (bits >> low) & 1 == 0:
        low += 1
    while (bits >> (high - 1)) & 1 == 0:
        high -= 1
    return first + low * unit, first + high * unit


@uncounted
def _touch_bytes(
    words: Ints, t: Touch, shadow: Shadow, clocks: Clocks, found: Ints, count: int, low: int, high: int
) -> int:
    """Touch bytes low..high, all of one block and fewer than it has."""
    cell, first = t.cells + (low >> BLOCK_SHIFT), low & ~31
    if (shadow.split[cell >> 5] >> (cell & 31)) & 1 == 0:
        _split(shadow, cell)
    mask = ((1 << (high - low)) - 1) << (low - first)
    outcome = _touch(
        shadow.fine, shadow.notes, shadow.pool, clocks.known[t.pipe], clocks.stamps, cell, mask, t.how,
        t.record, t.base, t.is_gm, t.pipe,
    )  # fmt: skip
    return _tell(words, t, found, count, outcome, mask, first, 1)


@uncounted
def _touch_split(
    words: Ints, t: Touch, shadow: Shadow, clocks: Clocks, found: Ints, count: int, group: int, mask: int
) -> int:
    """Touch whole blocks that have lists of their own; one that is written loses its own."""
    for bit in range(32):
        if (mask >> bit) & 1 != 0:
            cell = group * 32 + bit
            outcome = _touch(
                shadow.fine, shadow.notes, shadow.pool, clocks.known[t.pipe], clocks.stamps, cell, FULL,
                t.how, t.record, t.base, t.is_gm, t.pipe,
            )  # fmt: skip
            count = _tell(words, t, found, count, outcome, FULL, (cell - t.cells) << BLOCK_SHIFT, 1)
            if t.how == WRITTEN:
                _join(shadow, cell)
    return count


@uncounted
def _touch_group(
    words: Ints, t: Touch, shadow: Shadow, clocks: Clocks, found: Ints, count: int, group: int, mask: int
) -> int:
    """Touch the blocks `mask` of a KiB."""
    own = shadow.split[group] & mask
    if own != 0:
        count = _touch_split(words, t, shadow, clocks, found, count, group, own)
        if t.how != WRITTEN:
            mask &= ~own
    if mask != 0:
        outcome = _touch(
            shadow.coarse, shadow.notes, shadow.pool, clocks.known[t.pipe], clocks.stamps, group, mask, t.how,
            t.record, t.base, t.is_gm, t.pipe,
        )  # fmt: skip
        if outcome[0] != 0 or (t.how != WRITTEN and outcome[3] != mask):
            first = ((group << 5) - t.cells) << BLOCK_SHIFT
            count = _tell(words, t, found, count, outcome, mask, first, BLOCK_BYTES)
    return count


@uncounted
def walk(
    words: Ints, t: Touch, boxes: Ints, row: int, shadow: Shadow, clocks: Clocks, found: Ints, count: int
) -> int:
    """Touch every byte of a row; blocks of one KiB that come one after another are touched at once."""
    start, run = boxes[row, HANDLE] - t.space, boxes[row, RUN]
    group, mask = -1, 0
    for outer in range(boxes[row, OUTER]):
        for step in range(boxes[row, INNER]):
            low = start + outer * boxes[row, OUTER_STRIDE] + step * boxes[row, INNER_STRIDE]
            high = low + run
            head = min(high, (low + BLOCK_BYTES - 1) & ~31)
            tail = max(head, high & ~31)
            if low < head:
                count = _touch_bytes(words, t, shadow, clocks, found, count, low, head)
            cell, last = t.cells + (head >> BLOCK_SHIFT), t.cells + (tail >> BLOCK_SHIFT)
            while cell < last:
                behind = min(last, ((cell >> 5) + 1) << 5)
                if cell >> 5 != group:
                    if mask != 0:
                        count = _touch_group(words, t, shadow, clocks, found, count, group, mask)
                    group, mask = cell >> 5, 0
                mask |= ((1 << (behind - cell)) - 1) << (cell & 31)
                cell = behind
            if tail < high:
                count = _touch_bytes(words, t, shadow, clocks, found, count, tail, high)
    if mask != 0:
        count = _touch_group(words, t, shadow, clocks, found, count, group, mask)
    return count


def new_clocks(records: int) -> Clocks:
    """Return the clocks of a block that starts."""
    return Clocks(
        known=np.zeros((PIPES, PIPES), np.int64),
        done=np.zeros(PIPES, np.int64),
        flags=np.zeros((FLAG_COUNT, PIPES), np.int64),
        taken=np.zeros(FLAG_COUNT, np.int64),
        scalar=np.zeros(2 + PIPES, np.int64),
        stamps=np.zeros(records, np.int64),
    )


def new_shadow(cells: int, notes: int) -> Shadow:
    """Return shadow memory of which nothing is known."""
    groups = cells // 32 + 1
    return Shadow(
        coarse=np.full(groups, -1, np.int32),
        fine=np.full(groups * 32, -1, np.int32),
        split=np.zeros(groups, np.int64),
        notes=np.empty((notes, 4), np.int32),
        pool=np.array([-1, 0, notes], np.int64),
    )


def grown(shadow: Shadow) -> Shadow:
    """Return the same shadow memory with room for twice as many notes."""
    more = np.empty_like(shadow.notes)
    pool = shadow.pool.copy()
    pool[LEFT] += len(more)
    return shadow._replace(notes=np.concatenate([shadow.notes, more]), pool=pool)
