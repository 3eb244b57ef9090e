"""The content of L2 in names: what a task finds there, and what it leaves, wherever its operands lie.

A content is written down [way, set], the line that goes next first, sets counted from the first operand's on.
An entry is EMPTY, or name << 1 | modified, where 0 names every line that is no operand's. What a task leaves
is written down likewise, but lines of others are told by where they were: MOVED - n is the entry that was n
ways further back. Since a task can only drive those out, never fetch them, that tells all.
"""

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.l2 import ABSENT, CLEAN, EMPTY, L2, MODIFIED
from davinci_sim.isa.jit import inlined, jit, uncounted_jit

Entries = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]
MOVED = -2
"""What stands for the entry that was there before; less by one for each way that it came from."""
OTHER = 0


@inlined
def _entry(l2: L2, row: int, way: int) -> int:
    """Return line << 1 | modified of the way-th line of a set that goes next, or EMPTY."""
    slot = l2.oldest[row] + way
    line = l2.lines[row, slot if slot < l2.lines.shape[1] else slot - l2.lines.shape[1]]
    if line == EMPTY:
        return EMPTY
    return int(line << 1 | (l2.state[line] == MODIFIED))


@inlined
def _range_of(by_line: Numbers, line: int) -> tuple[int, int, int]:
    """Return (first, behind, name of the first) of the region of a line; of the gap around it, name 0."""
    low = 0
    for region in range(by_line.shape[0]):
        if line < by_line[region, 0]:
            return low, by_line[region, 0], OTHER
        if line < by_line[region, 1]:
            return by_line[region, 0], by_line[region, 1], by_line[region, 2]
        low = by_line[region, 1]
    return low, 1 << 62, OTHER


@uncounted_jit
def rename(l2: L2, shift: int, by_line: Numbers, content: Entries, names: Entries) -> None:
    """Fill content[way, set] with what L2 holds, and names[way, set] with the same in names."""
    sets, ways = l2.lines.shape
    first, behind, name = 0, 0, OTHER
    for way in range(ways):
        for number in range(sets):
            row = number + shift
            entry = _entry(l2, row if row < sets else row - sets, way)
            content[way, number] = names[way, number] = entry
            if entry != EMPTY:
                line = entry >> 1
                if line < first or line >= behind:
                    first, behind, name = _range_of(by_line, line)
                named = OTHER if name == OTHER else line - first + name
                names[way, number] = named << 1 | (entry & 1)


@uncounted_jit
def outcome(l2: L2, shift: int, by_line: Numbers, before: Entries, left: Entries) -> None:
    """Fill left[way, set] with what a task left in L2, where it found `before[way, set]` (lines)."""
    sets, ways = l2.lines.shape
    first, behind, name = 0, 0, OTHER
    for number in range(sets):
        row = number + shift
        moved = 0
        for way in range(ways):
            entry = _entry(l2, row if row < sets else row - sets, way)
            left[way, number] = entry
            if entry == EMPTY:
                continue
            line = entry >> 1
            if line < first or line >= behind:
                first, behind, name = _range_of(by_line, line)
            if name == OTHER:
                while way + moved < ways - 1 and before[way + moved, number] >> 1 != line:
                    moved += 1
                left[way, number] = MOVED - moved
            else:
                left[way, number] = (line - first + name) << 1 | (entry & 1)


@inlined
def _line_of(by_name: Numbers, name: int) -> tuple[int, int, int]:
    """Return (first name, name behind, first line) of the region of a name."""
    region = 0
    while name >= by_name[region, 2] + by_name[region, 1] - by_name[region, 0]:
        region += 1
    first = by_name[region, 2]
    return first, first + by_name[region, 1] - by_name[region, 0], by_name[region, 0]


@inlined
def _put(l2: L2, row: int, way: int, entry: int) -> None:
    """Let an entry be the way-th of a set that goes next."""
    slot = l2.oldest[row] + way
    slot = slot if slot < l2.lines.shape[1] else slot - l2.lines.shape[1]
    l2.lines[row, slot] = entry >> 1 if entry != EMPTY else EMPTY
    if entry != EMPTY:
        l2.state[entry >> 1] = CLEAN + (entry & 1)


@uncounted_jit
def replay(l2: L2, shift: int, by_name: Numbers, before: Entries, left: Entries) -> None:
    """Leave L2, which holds `before[way, set]` (lines), as a task does that leaves `left[way, set]`.

    Sets are gone through way by way, since lines that follow each other lie in sets that do: of the table
    of all lines, that is one page after the other.
    """
    sets, ways = l2.lines.shape
    first, behind, line = 0, 0, 0
    for way in range(ways):
        for number in range(sets):
            if left[way, number] != MOVED and before[way, number] != EMPTY:
                l2.state[before[way, number] >> 1] = ABSENT
    for way in range(ways):
        for number in range(sets):
            entry = left[way, number]
            if entry == MOVED:
                continue
            if entry < MOVED:
                entry = before[way + MOVED - entry, number]
            elif entry != EMPTY:
                name = entry >> 1
                if name < first or name >= behind:
                    first, behind, line = _line_of(by_name, name)
                entry = (name - first + line) << 1 | (entry & 1)
            row = number + shift
            _put(l2, row if row < sets else row - sets, way, entry)


@uncounted_jit
def restore(l2: L2, shift: int, before: Entries) -> None:
    """Leave L2 as it was when it held `before[way, set]` (lines)."""
    sets, ways = l2.lines.shape
    for row in range(sets):
        for way in range(ways):
            if l2.lines[row, way] != EMPTY:
                l2.state[l2.lines[row, way]] = ABSENT
    for way in range(ways):
        for number in range(sets):
            row = number + shift
            _put(l2, row if row < sets else row - sets, way, before[way, number])


@jit
def runs_of(entries: Entries) -> Entries:
    """Return entries as runs [first, step, count]: lines that follow each other take three numbers."""
    runs = np.empty((entries.shape[0], 3), dtype=np.int32)
    count, at = 0, 0
    while at < entries.shape[0]:
        step = entries[at + 1] - entries[at] if at + 1 < entries.shape[0] else 0
        end = at + 1
        while end < entries.shape[0] and entries[end] - entries[end - 1] == step:
            end += 1
        runs[count, 0], runs[count, 1], runs[count, 2] = entries[at], step, end - at
        count, at = count + 1, end
    return runs[:count].copy()


@uncounted_jit
def spread(runs: Entries, entries: Entries) -> None:
    """Fill entries with what runs say."""
    at = 0
    for run in range(runs.shape[0]):
        value = runs[run, 0]
        for _ in range(runs[run, 2]):
            entries[at] = value
            value += runs[run, 1]
            at += 1
