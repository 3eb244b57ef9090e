"""Barriers within a pipe, put where an instruction reads what an earlier one of its pipe has written.

The vector and the cube unit start an instruction before the result of the one before it has arrived. Writes
arrive in order; a read of a result that may not have arrived needs pipe_barrier(V) or pipe_barrier(M). What
takes its addresses from memory (gathers and scatters) may read and write anything in UB.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.order import BARRIER, SET, WAIT
from davinci_sim.core.records import families, is_rare, regions_text
from davinci_sim.isa import INSTRUCTIONS, Instruction, pipe_barrier
from davinci_sim.isa.jit import inlined, jit, uncounted, uncounted_jit
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.spaces import Space

Words = npt.NDArray[np.int64]
_UB = int(Space.UB) << SPACE_SHIFT
_V, _M, _ALL = int(Pipe.V), int(Pipe.M), int(Pipe.ALL)
_REMEMBERED = 16
"""Ranges written since the last barrier that are kept per pipe; when more come a barrier is put."""
_PIPE = 0xFF << 8
_HEAD = BARRIER | (int(pipe_barrier.instruction.dtypes[0]) << 16)


HOW, LOW, HIGH = range(3)
"""Columns of the bounds of a range: touched how, from, to."""
MOST_RANGES = 16
"""Ranges of one record."""
TWIN, FIRST, LAST = range(3)
"""Columns of a record whose ranges are remembered: its index, its first row, behind its last row."""
TWINS, ROWS = 1 << 9, 1 << 11
"""Records that are remembered (a power of two), and rows for their ranges."""
_ODD = tuple(0x9E3779B97F4A7C15 * (2 * word + 1) % (1 << 63) | 1 for word in range(8))


@uncounted
def _put_bounds(rows: Words, n: int, box: Region) -> int:
    """Write the bounds of a range as row `n`, unless it is empty; return the next row."""
    if box.run_bytes <= 0 or box.inner <= 0 or box.outer <= 0:
        return n
    length = box.run_bytes + (box.inner - 1) * box.inner_stride_bytes
    rows[n, HOW], rows[n, LOW] = box.written, box.handle
    rows[n, HIGH] = box.handle + length + (box.outer - 1) * box.outer_stride_bytes
    return n + 1


@uncounted
def _put_whole(rows: Words, n: int) -> int:
    """Write all of UB as read and written: an instruction whose addresses are data may touch any of it."""
    for how in (READ, WRITTEN):
        rows[n, HOW], rows[n, LOW], rows[n, HIGH] = how, _UB, _UB | ADDRESS_MASK
        n += 1
    return n


def _is_indirect(declared: Instruction) -> bool:
    """Tell whether an instruction takes addresses from memory: its `accesses` cannot know them."""
    return declared.name in {"vgather", "vgatherb", "vscatter"} or declared.name.startswith("scatter_")


def _is_on_units(declared: Instruction) -> bool:
    """Tell whether an instruction can run on the vector or the cube unit, and touches memory."""
    pipes = {declared.pipe, *declared.routes.values()}
    return bool(declared.operands and pipes & {Pipe.V, Pipe.M}) and not _is_indirect(declared)


@uncounted
def _reads_kept(rows: Words, first_row: int, end: int, kept: Words, first: int, last: int) -> bool:
    """Tell whether one of the ranges is read and meets one that is kept."""
    for row in range(first_row, end):
        if rows[row, HOW] == READ:
            for index in range(first, last):
                if rows[row, LOW] < kept[index, HIGH] and kept[index, LOW] < rows[row, HIGH]:
                    return True
    return False


@uncounted
def _keep_written(rows: Words, first_row: int, end: int, kept: Words, first: int, last: int) -> int:
    """Keep the ranges that are written; return behind the last one kept, or -1 when they are too many."""
    for row in range(first_row, end):
        if rows[row, HOW] != WRITTEN:
            continue
        low, high, index = rows[row, LOW], rows[row, HIGH], first
        while index < last and (low > kept[index, HIGH] or high < kept[index, LOW]):
            index += 1
        if index < last:  # touches a kept one: both become one range
            kept[index, LOW], kept[index, HIGH] = min(low, kept[index, LOW]), max(high, kept[index, HIGH])
        elif last - first == _REMEMBERED:
            return -1
        else:
            kept[last, LOW], kept[last, HIGH] = low, high
            last += 1
    return last


@inlined
def _place_of(words: Words, r: int) -> int:
    """Return where a record's ranges are remembered, until another falls on the same place."""
    key = (words[r, 0] & 0xFFFFFFFF) * _ODD[0]
    for word in range(1, 8):  # products that do not wait for each other
        key += words[r, word] * _ODD[word]
    return int((key >> 40) & (TWINS - 1))


@uncounted
def _room(rows: Words, free: int, twins: Words) -> int:
    """Return a row with room behind it for the ranges of a record; when there is none all are forgotten."""
    if free + MOST_RANGES <= rows.shape[0]:
        return free
    for place in range(twins.shape[0]):
        twins[place, TWIN] = -1
    return 0


@inlined
def _is_same(words: Words, earlier: int, r: int) -> bool:
    """Tell whether two records touch the same memory: all is equal but the source lines; -1 is no record."""
    if earlier < 0 or (words[earlier, 0] ^ words[r, 0]) << 32 != 0:
        return False
    differing = 0
    for word in range(1, 8):
        differing |= words[earlier, word] ^ words[r, word]
    return bool(differing == 0)


@uncounted
def _forget(pipe: int, ends: Words) -> None:
    """Forget what was written before a barrier of a pipe."""
    if pipe in (_ALL, _V):
        ends[0] = 0
    if pipe in (_ALL, _M):
        ends[1] = _REMEMBERED


@uncounted
def _needs_barrier(pipe: int, rows: Words, row: int, end: int, kept: Words, ends: Words) -> bool:
    """Tell whether a record reads what its pipe has written since its last barrier; keep what it writes.

    `rows[row:end]` are its ranges; `kept[2 * 16, 3]` holds those of V, then those of M; `ends` says how far.
    """
    unit = 0 if pipe == _V else 1
    first, last = unit * _REMEMBERED, ends[unit]
    is_needed = last > first and _reads_kept(rows, row, end, kept, first, last)
    behind = _keep_written(rows, row, end, kept, first, first if is_needed else last)
    if behind < 0:
        is_needed, behind = True, _keep_written(rows, row, end, kept, first, first)
    ends[unit] = behind
    return is_needed


def _compile(name: str, known: Iterable[Instruction]) -> Any:
    """Write and compile the loop with one case per family of the two units.

    The ranges of a record are kept for those like it: `twins[place]` is the record and which rows they are.
    """
    scope: dict[str, Any] = {
        "_put_bounds": _put_bounds, "_forget": _forget, "_needs_barrier": _needs_barrier,
        "_put_whole": _put_whole, "_is_same": _is_same, "_place_of": _place_of, "_room": _room,
        "TWIN": TWIN, "FIRST": FIRST, "LAST": LAST, "TWINS": TWINS, "ROWS": ROWS,
        "np": np, "__name__": __name__,
    }  # fmt: skip
    indirect = [declared.opcode for declared in INSTRUCTIONS.values() if _is_indirect(declared)]
    lines = [
        f"def {name}(words, places):",
        "    twins, rows = np.full((TWINS, 3), -1), np.empty((ROWS, 3), np.int64)",
        f"    kept, ends = np.empty(({2 * _REMEMBERED}, 3), np.int64), np.array([0, {_REMEMBERED}])",
        "    found, free = 0, 0",
        "    for r in range(words.shape[0]):",
        "        op, pipe = words[r, 0] & 255, (words[r, 0] >> 8) & 255",
        f"        if op == {BARRIER}:",
        "            _forget(pipe, ends)",
        "            continue",
        f"        if (pipe != {_V} and pipe != {_M}) or op == {SET} or op == {WAIT}:",
        "            continue",
        "        place = _place_of(words, r)",
        "        row, end = twins[place, FIRST], twins[place, LAST]",
        "        if not _is_same(words, twins[place, TWIN], r):",
        "            row = end = _room(rows, free, twins)",
        f"            if {' or '.join(f'op == {opcode}' for opcode in indirect)}:",
        "                end = _put_whole(rows, end)",
    ]
    for number, family in enumerate(families(filter(_is_on_units, known))):
        test, call = regions_text(number, family, scope)
        lines += [f"            elif {test}:", f"                for box in {call}:"]
        lines += ["                    end = _put_bounds(rows, end, box)"]
    lines += [
        "            else:",
        "                return -1",
        "            twins[place, TWIN], twins[place, FIRST], twins[place, LAST] = r, row, end",
        "            free = end",
        "        if end > row and _needs_barrier(pipe, rows, row, end, kept, ends):",
        "            places[found] = r",
        "            found += 1",
        "    return found",
    ]
    exec(compile("\n".join(lines) + "\n", __file__, "exec"), scope)
    return jit(scope[name])


_PLACES_OF = (
    _compile("places_of_usual", [each for each in INSTRUCTIONS.values() if not is_rare(each)]),
    _compile("places_of", INSTRUCTIONS.values()),
)
"""Compiled: fill `places` with the records that need a barrier before them; return how many do.

The first one returns -1 for a program with an instruction that few kernels need.

One loop with all the cases in it: in a function of its own each call would clear the variables of all.
"""


@uncounted_jit
def _insert(words: Words, places: npt.NDArray[np.int32], count: int, out: Words) -> None:
    """Copy the records, with a barrier of its pipe before each one in `places[:count]`."""
    to, start = 0, 0
    for index in range(count + 1):
        end = places[index] if index < count else words.shape[0]
        for r in range(start, end):
            for word in range(8):
                out[to, word] = words[r, word]
            to += 1
        start = end
        if index < count:
            out[to, 0] = _HEAD | (words[end, 0] & _PIPE) | (words[end, 0] >> 32 << 32)
            out[to, 1] = (words[end, 0] & _PIPE) >> 8
            for word in range(2, 8):
                out[to, word] = 0
            to += 1


def with_barriers(words: Words) -> Words:
    """Return the records of one core with the barriers that reads after writes within a pipe need.

    Ranges are compared by their bounds, so that a barrier may stand where strides would make it needless;
    it costs one cycle and the wait for the result before it. A barrier carries the source line of the
    instruction that it stands before.
    """
    places, count = np.empty(len(words), dtype=np.int32), -1
    for places_of in _PLACES_OF:
        if count < 0:
            count = int(places_of(words, places))
    if count == 0:
        return words
    out = np.empty((len(words) + count, words.shape[1]), dtype=np.int64)
    _insert(words, places, count, out)
    return out
