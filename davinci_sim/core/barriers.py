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
from davinci_sim.isa.jit import jit, uncounted
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.spaces import Space

Words = npt.NDArray[np.int64]
_UB = int(Space.UB) << SPACE_SHIFT
_V, _M, _ALL = int(Pipe.V), int(Pipe.M), int(Pipe.ALL)
_REMEMBERED = 16
"""Ranges written since the last barrier that are kept per pipe; when more come a barrier is put."""
_HEAD = BARRIER | (int(pipe_barrier.instruction.dtypes[0]) << 16)


HOW, LOW, HIGH = range(3)
"""Columns of the bounds of a range: touched how, from, to."""
MOST_RANGES = 16


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
def _reads_kept(rows: Words, count: int, kept: Words, first: int, last: int) -> bool:
    """Tell whether one of the ranges is read and meets one that is kept."""
    for row in range(count):
        if rows[row, HOW] == READ:
            for index in range(first, last):
                if rows[row, LOW] < kept[index, HIGH] and kept[index, LOW] < rows[row, HIGH]:
                    return True
    return False


@uncounted
def _keep_written(rows: Words, count: int, kept: Words, first: int, last: int) -> int:
    """Keep the ranges that are written; return behind the last one kept, or -1 when they are too many."""
    for row in range(count):
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


@uncounted
def _forget(pipe: int, ends: Words) -> None:
    """Forget what was written before a barrier of a pipe."""
    if pipe in (_ALL, _V):
        ends[0] = 0
    if pipe in (_ALL, _M):
        ends[1] = _REMEMBERED


@uncounted
def _needs_barrier(pipe: int, rows: Words, count: int, kept: Words, ends: Words) -> bool:
    """Tell whether a record reads what its pipe has written since its last barrier; keep what it writes.

    `kept[2 * 16, 3]` holds the ranges of V, then those of M; `ends` says how far each.
    """
    unit = 0 if pipe == _V else 1
    first, last = unit * _REMEMBERED, ends[unit]
    is_needed = last > first and _reads_kept(rows, count, kept, first, last)
    end = _keep_written(rows, count, kept, first, first if is_needed else last)
    if end < 0:
        is_needed, end = True, _keep_written(rows, count, kept, first, first)
    ends[unit] = end
    return is_needed


def _compile(name: str, known: Iterable[Instruction]) -> Any:
    """Write and compile the loop with one case per family of the two units."""
    scope: dict[str, Any] = {"_put_bounds": _put_bounds, "_forget": _forget, "_needs_barrier": _needs_barrier}
    scope |= {"_put_whole": _put_whole, "__name__": __name__}
    indirect = [declared.opcode for declared in INSTRUCTIONS.values() if _is_indirect(declared)]
    lines = [
        f"def {name}(words, places, rows, kept, ends):",
        "    found = 0",
        "    for r in range(words.shape[0]):",
        "        op, pipe, n = words[r, 0] & 255, (words[r, 0] >> 8) & 255, 0",
        f"        if op == {BARRIER}:",
        "            _forget(pipe, ends)",
        f"        elif (pipe != {_V} and pipe != {_M}) or op == {SET} or op == {WAIT}:",
        "            continue",
    ]
    lines += [f"        elif {' or '.join(f'op == {opcode}' for opcode in indirect)}:"]
    lines += ["            n = _put_whole(rows, n)"]
    for number, family in enumerate(families(filter(_is_on_units, known))):
        test, call = regions_text(number, family, scope)
        lines += [f"        elif {test}:", f"            for box in {call}:"]
        lines += ["                n = _put_bounds(rows, n, box)"]
    lines += [
        "        else:",
        "            return -1",
        "        if n > 0 and _needs_barrier(pipe, rows, n, kept, ends):",
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


@jit
def _insert(words: Words, places: npt.NDArray[np.int32], count: int, out: Words) -> None:
    """Copy the records, with a barrier of its pipe before each one in `places[:count]`."""
    to, start = 0, 0
    for index in range(count + 1):
        end = places[index] if index < count else words.shape[0]
        out[to : to + end - start] = words[start:end]
        to += end - start
        start = end
        if index < count:
            pipe = (words[end, 0] >> 8) & 255
            out[to, :] = 0
            out[to, 0] = _HEAD | (pipe << 8) | (words[end, 0] >> 32 << 32)
            out[to, 1] = pipe
            to += 1


def with_barriers(words: Words) -> Words:
    """Return the records of one core with the barriers that reads after writes within a pipe need.

    Ranges are compared by their bounds, so that a barrier may stand where strides would make it needless;
    it costs one cycle and the wait for the result before it. A barrier carries the source line of the
    instruction that it stands before.
    """
    places, count = np.empty(len(words), dtype=np.int32), -1
    rows, kept = np.empty((MOST_RANGES, 3), dtype=np.int64), np.empty((2 * _REMEMBERED, 3), dtype=np.int64)
    for places_of in _PLACES_OF:
        if count < 0:
            count = int(places_of(words, places, rows, kept, np.array([0, _REMEMBERED], dtype=np.int64)))
    if count == 0:
        return words
    out = np.empty((len(words) + count, words.shape[1]), dtype=np.int64)
    _insert(words, places, count, out)
    return out
