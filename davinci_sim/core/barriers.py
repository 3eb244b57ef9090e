"""Barriers within a pipe, put where an instruction reads what an earlier one of its pipe has written.

The vector and the cube unit start an instruction before the result of the one before it has arrived. Writes
arrive in order; a read of a result that may not have arrived needs pipe_barrier(V) or pipe_barrier(M).
"""

import numpy as np
import numpy.typing as npt

from davinci_sim.core.boxes import BATCH_ROWS, BOX_COLUMNS, HANDLE, HOW, RECORD, boxes_of, end_of
from davinci_sim.core.order import BARRIER
from davinci_sim.isa import pipe_barrier
from davinci_sim.isa.jit import jit, uncounted
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN

Words = npt.NDArray[np.int64]
_V, _M, _ALL = int(Pipe.V), int(Pipe.M), int(Pipe.ALL)
_PIPES = (1 << _V) | (1 << _M)
_REMEMBERED = 16
"""Ranges written since the last barrier that are kept per pipe; when more come a barrier is put."""
_HEAD = BARRIER | (int(pipe_barrier.instruction.dtypes[0]) << 16)


@uncounted
def _reads_written(boxes: Words, first: int, last: int, lows: Words, highs: Words, kept: int) -> bool:
    """Tell whether rows first..last read a range that is kept."""
    for row in range(first, last):
        if boxes[row, HOW] == READ:
            low, high = boxes[row, HANDLE], end_of(boxes, row)
            for index in range(kept):
                if low < highs[index] and lows[index] < high:
                    return True
    return False


@uncounted
def _keep_written(boxes: Words, first: int, last: int, lows: Words, highs: Words, kept: int) -> int:
    """Keep the ranges that rows first..last write; return how many are kept, or -1 when they are too many."""
    for row in range(first, last):
        if boxes[row, HOW] != WRITTEN:
            continue
        low, high = boxes[row, HANDLE], end_of(boxes, row)
        index = 0
        while index < kept and (low > highs[index] or high < lows[index]):
            index += 1
        if index < kept:  # touches a kept one: both become one range
            lows[index], highs[index] = min(low, lows[index]), max(high, highs[index])
        elif kept == _REMEMBERED:
            return -1
        else:
            lows[kept], highs[kept] = low, high
            kept += 1
    return kept


@jit
def _places(words: Words, boxes: Words, places: npt.NDArray[np.int32]) -> int:
    """Fill `places` with the records that need a barrier before them; return how many do."""
    lows, highs = np.empty((2, _REMEMBERED), np.int64), np.empty((2, _REMEMBERED), np.int64)
    kept, found, record, last = np.zeros(2, np.int64), 0, 0, words.shape[0]
    while record < last:
        reached, rows = boxes_of(words, record, last, _PIPES, boxes)
        row = 0
        for r in range(record, reached):
            op, pipe = words[r, 0] & 255, (words[r, 0] >> 8) & 255
            if op == BARRIER:
                for unit in (_V, _M):
                    if pipe in (_ALL, unit):
                        kept[unit - _V] = 0
            if row >= rows or boxes[row, RECORD] != r:
                continue
            unit, behind = pipe - _V, row
            while behind < rows and boxes[behind, RECORD] == r:
                behind += 1
            is_needed = _reads_written(boxes, row, behind, lows[unit], highs[unit], kept[unit])
            after = 0 if is_needed else kept[unit]
            after = _keep_written(boxes, row, behind, lows[unit], highs[unit], after)
            if after < 0:
                is_needed, after = True, _keep_written(boxes, row, behind, lows[unit], highs[unit], 0)
            if is_needed:
                places[found] = r
                found += 1
            kept[unit] = after
            row = behind
        record = reached
    return found


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
    boxes = np.empty((BATCH_ROWS, BOX_COLUMNS), dtype=np.int64)
    places = np.empty(len(words), dtype=np.int32)
    count = int(_places(words, boxes, places))
    if count == 0:
        return words
    out = np.empty((len(words) + count, words.shape[1]), dtype=np.int64)
    _insert(words, places, count, out)
    return out
