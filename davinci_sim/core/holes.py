"""Which bytes a vector instruction touches whose mask has holes, lane by lane.

`accesses` of an instruction counts a mask as full below its highest lane. What lane j touches is therefore
what is added when the mask is the first j + 1 lanes and not the first j: of the region that holds the last
byte (see `davinci_sim.isa.lanes.lane_regions`), so many bytes at its end.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.records import (
    BOX_COLUMNS,
    HANDLE,
    HOW,
    INNER,
    INNER_STRIDE,
    OUTER,
    OUTER_STRIDE,
    RECORD,
    RUN,
    families,
    regions_text,
)
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.fields import MaskField
from davinci_sim.isa.jit import apart, uncounted
from davinci_sim.isa.lanes import BLOCK_BYTES, REPEAT_BYTES, lane_is_on

Words = npt.NDArray[np.int64]

SIZE = RECORD
"""In rows of regions: bytes of a lane, 0 where a region does not follow the lanes."""
MOST_REGIONS = 16
_WHOLE, _BEFORE, _AFTER = 0, MOST_REGIONS, 2 * MOST_REGIONS
ROOM = 3 * MOST_REGIONS
"""Rows to work in: regions of the record, of fewer lanes, of one more."""
MASK_LANES = 128


def _mask_words() -> Words:
    """Return, by opcode, the word in which the mask begins, 0 for none."""
    found = np.zeros(len(INSTRUCTIONS) + 1, dtype=np.int64)
    for declared in INSTRUCTIONS.values():
        for field, offset in zip(declared.fields, declared.offsets, strict=True):
            if isinstance(field, MaskField):
                found[declared.opcode] = 1 + offset // 8
    return found


_MASK_WORDS = _mask_words()


@uncounted
def has_holes(words: Words, r: int) -> bool:
    """Tell whether a record has a mask that is not that of its first lanes."""
    word = _MASK_WORDS[words[r, 0] & 255]
    if word == 0:
        return False
    low, high = words[r, word], words[r, word + 1]
    return bool(low & (low + 1) != 0 or high & (high + 1) != 0 or (high != 0 and low != -1))


@uncounted
def _keep(rows: Words, n: int, box: Any) -> int:
    """Write a region as row `n`, with runs of 0 bytes if it is empty; return the next row."""
    run = box.run_bytes if box.inner > 0 and box.outer > 0 else 0
    rows[n, SIZE], rows[n, HOW], rows[n, HANDLE], rows[n, RUN] = 0, box.written, box.handle, run
    rows[n, INNER], rows[n, INNER_STRIDE] = box.inner, box.inner_stride_bytes
    rows[n, OUTER], rows[n, OUTER_STRIDE] = box.outer, box.outer_stride_bytes
    return n + 1


def _compile() -> Any:
    """Write the function with one case per family that has a mask."""
    scope: dict[str, Any] = {"_keep": _keep, "__name__": __name__}
    lines = ["def regions_of(words, r, rows, n):", "    op = words[r, 0] & 255"]
    masked = [declared for declared in INSTRUCTIONS.values() if _MASK_WORDS[declared.opcode] != 0]
    word = "if"
    for number, family in enumerate(families(masked)):
        test, call = regions_text(number, family, scope)
        lines += [f"    {word} {test}:", f"        for box in {call}:", "            n = _keep(rows, n, box)"]
        word = "elif"
    exec(compile("\n".join([*lines, "    return n"]) + "\n", __file__, "exec"), scope)
    return apart(scope["regions_of"])


_regions_of = _compile()
"""Compiled: (words, record, rows, n) -> row behind the regions, from row n on, of a record with a mask."""


@uncounted
def _of_first_lanes(record: Words, word: int, lanes: int, rows: Words, n: int) -> None:
    """Fill rows from `n` on with the regions that a record would have if its mask were the first lanes."""
    record[0, word] = -1 if lanes >= 64 else (1 << lanes) - 1
    record[0, word + 1] = -1 if lanes >= MASK_LANES else (1 << max(0, lanes - 64)) - 1
    _regions_of(record, 0, rows, n)


@uncounted
def _put_lane(out: Words, n: int, r: int, rows: Words, k: int, lane: int) -> int:
    """Write what a lane adds to region `k` as row `n`, or join it to the row before; return the next row."""
    size, row, last = rows[k, SIZE], _BEFORE + k, n - 1
    handle = rows[row, HANDLE] + rows[row, RUN]
    if lane * size % BLOCK_BYTES == 0:
        row = _AFTER + k
        handle = rows[row, HANDLE]
    outer, stride = rows[row, OUTER], rows[row, OUTER_STRIDE]
    if stride == 0:
        outer = 1
    if last >= 0 and out[last, RECORD] == r and out[last, HOW] == rows[k, HOW]:
        is_next = out[last, HANDLE] + out[last, RUN] == handle
        if is_next and out[last, OUTER] == outer and out[last, OUTER_STRIDE] == stride:
            out[last, RUN] += size
            return n
    out[n, RECORD], out[n, HOW], out[n, HANDLE], out[n, RUN] = r, rows[k, HOW], handle, size
    out[n, INNER], out[n, INNER_STRIDE], out[n, OUTER], out[n, OUTER_STRIDE] = 1, 0, outer, stride
    return n + 1


@uncounted
def _find_sizes(record: Words, word: int, rows: Words, count: int) -> int:
    """Note the bytes of a lane of each region that follows the lanes; return the most."""
    _of_first_lanes(record, word, 1, rows, _BEFORE)
    _of_first_lanes(record, word, 2, rows, _AFTER)
    widest = 1
    for k in range(count):
        size = rows[_BEFORE + k, RUN]
        if size > 0 and rows[_AFTER + k, RUN] == 2 * size:
            rows[k, SIZE] = size
            widest = max(widest, size)
    return int(widest)


@uncounted
def put_lanes(out: Words, n: int, words: Words, r: int, record: Words, rows: Words) -> int:
    """Write the bytes of record `r`, whose mask has holes, from row `n` on; return the next free row.

    `record[1, 8]` and `rows[ROOM, 8]` are room to work in. Regions that do not follow the lanes (bits,
    results of a whole repeat) are written as they are.
    """
    word = _MASK_WORDS[words[r, 0] & 255]
    low, high = words[r, word], words[r, word + 1]
    for column in range(BOX_COLUMNS):
        record[0, column] = words[r, column]
    count = _regions_of(words, r, rows, _WHOLE)
    lanes = min(MASK_LANES, REPEAT_BYTES // _find_sizes(record, word, rows, count))
    for k in range(count):
        if rows[k, SIZE] == 0 and rows[_BEFORE + k, RUN] > 0:
            for column in range(BOX_COLUMNS):
                out[n, column] = rows[k, column]
            out[n, RECORD] = r
            n += 1
    for k in range(count):
        for lane in range(lanes if rows[k, SIZE] > 0 else 0):
            if lane_is_on(low, high, lane):
                _of_first_lanes(record, word, lane, rows, _BEFORE)
                _of_first_lanes(record, word, lane + 1, rows, _AFTER)
                n = _put_lane(out, n, r, rows, k, lane)
    return n
