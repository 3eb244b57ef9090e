"""A second opinion on mutants that nobody catches, slow and simple, byte by byte.

Such a mutant is equivalent to the kernel, for all data, in two cases. One: every two instructions that touch
a common byte are still ordered, by another flag than the changed one (`is_ordered`). Two: the bytes that it
writes or leaves out are never read before something else overwrites them (`is_dead`). Both are decided with
nothing of the checkers: sets of bytes from the records' declared accesses, and reachability.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from davinci_sim.core.boxes import BATCH_ROWS, EVERY_PIPE, boxes_of
from davinci_sim.core.order import BARRIER, SET, WAIT
from davinci_sim.core.program import Program
from davinci_sim.core.records import BOX_COLUMNS
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space

Words = npt.NDArray[np.int64]
ELEMENT = 2
"""Bytes that are told apart: no kernel touches a single one."""


def is_ordered(program: Program, order: Words) -> bool:
    """Tell whether all records that touch a common byte, one of them writing, are ordered by the hand-offs.

    `order` is a legal order of all records.
    """
    before = _ancestors(program.words, order)
    touched = [_touched(program.words, int(record)) for record in order]
    pipes = (program.words[order, 0] >> 8 & 255).tolist()
    for late in range(len(order)):
        for early in range(late):
            is_known = before[late] >> early & 1
            if not is_known and _conflict(touched[early], touched[late], pipes[early] == pipes[late]):
                return False
    return True


def is_dead(right: Program, wrong: Program, order: Words) -> bool:
    """Tell whether nobody ever reads the bytes that one changed or missing record writes otherwise.

    `order` is a legal order of the right program. Bytes of GM must be overwritten, too: others may read them.
    """
    record, changed = _changed(right.words, wrong.words)
    place = int(np.flatnonzero(order == record)[0])
    for later in order[place + 1 :].tolist():
        reads, ordered_reads, writes = _touched(right.words, later)
        if not changed.isdisjoint(reads | ordered_reads):
            return False
        changed = changed - writes
    return all(handle * ELEMENT >> SPACE_SHIFT != Space.GM for handle in changed)


def _changed(right: Words, wrong: Words) -> tuple[int, frozenset[int]]:
    """Return the record that differs, and the bytes that hold something else behind it."""
    if len(wrong) < len(right):
        same = (right[: len(wrong)] == wrong).all(axis=1)
        record = int(np.argmin(same)) if not same.all() else len(wrong)
        return record, _touched(right, record)[2]
    record = int(np.flatnonzero((right != wrong).any(axis=1))[0])
    before, after = _touched(right, record), _touched(wrong, record)
    if before[0] <= after[0] and before[2] <= after[2] and _runs(right, record) == {1}:
        return record, after[2] - before[2]  # a single run that goes on: what it wrote before stays the same
    return record, before[2] | after[2]


def _runs(words: Words, record: int) -> set[int]:
    """Return the numbers of runs that the ranges of a record have."""
    rows = np.empty((BATCH_ROWS, BOX_COLUMNS), dtype=np.int64)
    _, count = boxes_of(words, record, record + 1, EVERY_PIPE, rows)
    return {row[4] * row[6] for row in rows[:count].tolist()}


def _ancestors(words: Words, order: Words) -> list[int]:
    """Return, per place in the order, the bit set of places that are done before that record starts.

    Processed in a legal order: what is done before the start of a record is what is done before the start
    of the one before it in its pipe, and what its flag or barrier adds.
    """
    started: dict[int, int] = {}  # pipe -> done before its latest record started
    members: dict[int, int] = {}  # pipe -> all its records so far
    flags: dict[int, int] = {}
    result = []
    for place, record in enumerate(order.tolist()):
        op, pipe, flag = int(words[record, 0]) & 255, int(words[record, 0]) >> 8 & 255, int(words[record, 1])
        done = started.get(pipe, 0)
        if op == WAIT:
            done |= flags.pop(flag & 0xFFFFFF, 0)
        elif op == BARRIER and pipe != Pipe.ALL:
            done |= members.get(pipe, 0)
        elif op == BARRIER:
            everything = (1 << place) - 1
            done = everything
            started = {int(each): everything for each in Pipe}
        elif op == SET:
            flags[flag & 0xFFFFFF] = done | members.get(pipe, 0)
        result.append(done)
        started[pipe] = done
        members[pipe] = members.get(pipe, 0) | 1 << place
    return result


Touched = tuple[frozenset[int], frozenset[int], frozenset[int]]


def _touched(words: Words, record: int) -> Touched:
    """Return the handles of the bytes that a record reads, reads in its unit's own order, and writes."""
    rows = np.empty((BATCH_ROWS, BOX_COLUMNS), dtype=np.int64)
    _, count = boxes_of(words, record, record + 1, EVERY_PIPE, rows)
    found: tuple[set[int], set[int], set[int]] = (set(), set(), set())
    for row in rows[:count].tolist():
        how = row[1]
        found[0 if how == READ else 2 if how == WRITTEN else 1].update(*_runs_of(row))
    return frozenset(found[0]), frozenset(found[1]), frozenset(found[2])


def _runs_of(row: list[int]) -> Iterator[range]:
    _, _, handle, run, inner, inner_stride, outer, outer_stride = row
    for i in range(outer):
        for j in range(inner):
            start = handle + i * outer_stride + j * inner_stride
            yield range(start // ELEMENT, -(-(start + run) // ELEMENT))


def _conflict(early: Touched, late: Touched, same_pipe: bool) -> bool:
    """Tell whether two records need an order; within a pipe only a read after a write does."""
    if same_pipe:
        return not early[2].isdisjoint(late[0])
    is_written_before = any(not early[2].isdisjoint(each) for each in late)
    return is_written_before or any(not late[2].isdisjoint(each) for each in early[:2])
