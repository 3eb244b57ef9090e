"""The bytes that records touch, as a flat table: what the checkers read.

`boxes_of` turns a batch of records into rows, one per strided range that an instruction declares in
`accesses`, with runs that follow each other without a gap joined. One case per family of instructions is
written from the table of declarations and compiled once; everything behind it is a small loop over rows.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.holes import ROOM, has_holes, put_lanes
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
from davinci_sim.isa.jit import jit, uncounted
from davinci_sim.isa.region import Region

Words = npt.NDArray[np.int64]

MOST_BOXES = 288
"""Rows that one record can need, every second lane of four operands; a batch ends when fewer are left."""
EVERY_PIPE = (1 << 16) - 1
BATCH_ROWS = 1536


@uncounted
def _put(out: Words, n: int, record: int, box: Region) -> int:
    """Write one range as row `n`, simplified; return the next free row. Empty ranges are left out."""
    run, count, stride = box.run_bytes, box.inner, box.inner_stride_bytes
    outer, outer_stride = box.outer, box.outer_stride_bytes
    if run <= 0 or count <= 0 or outer <= 0:
        return n
    if outer > 1 and outer_stride < stride:  # the shorter stride inside, where runs may join
        count, stride, outer, outer_stride = outer, outer_stride, count, stride
    for _ in range(2):
        if count == 1 or stride in (run, 0):
            if stride == run:
                run *= count
            count, stride, outer, outer_stride = outer, outer_stride, 1, 0
    out[n, RECORD], out[n, HOW], out[n, HANDLE], out[n, RUN] = record, box.written, box.handle, run
    out[n, INNER], out[n, INNER_STRIDE] = count, stride
    out[n, OUTER], out[n, OUTER_STRIDE] = outer, outer_stride
    return n + 1


def _compile() -> Any:
    """Write and compile the loop with one case per family."""
    scope: dict[str, Any] = {"_put": _put, "has_holes": has_holes, "put_lanes": put_lanes, "np": np}
    scope["__name__"] = __name__
    lines = [
        "def boxes_of(words, first, last, pipes, out):",
        f"    n, room = 0, out.shape[0] - {MOST_BOXES}",
        f"    record, rows = np.empty((1, 8), np.int64), np.zeros(({ROOM}, {BOX_COLUMNS}), np.int64)",
        "    for r in range(first, last):",
        "        if n > room:",
        "            return r, n",
        "        op = words[r, 0] & 255",
        "        if (pipes >> ((words[r, 0] >> 8) & 255)) & 1 == 0:",
        "            continue",
        "        if has_holes(words, r):",
        "            n = put_lanes(out, n, words, r, record, rows)",
        "            continue",
    ]
    word = "if"
    for number, family in enumerate(families(each for each in INSTRUCTIONS.values() if each.operands)):
        test, call = regions_text(number, family, scope)
        lines += [f"        {word} {test}:", f"            for box in {call}:"]
        lines += ["                n = _put(out, n, r, box)"]
        word = "elif"
    source = "\n".join([*lines, "    return last, n"]) + "\n"
    exec(compile(source, __file__, "exec"), scope)
    return jit(scope["boxes_of"])


boxes_of = _compile()
"""Compiled: (words, first, last, pipes, out[rows, 8]) -> (record reached, rows filled).

Records of the pipes in the bit set `pipes` are looked at; a full table ends the batch early.
"""


@uncounted
def end_of(boxes: Words, row: int) -> int:
    """Return the handle behind the last byte of a row."""
    end = boxes[row, HANDLE] + boxes[row, RUN] + (boxes[row, INNER] - 1) * boxes[row, INNER_STRIDE]
    return int(end + (boxes[row, OUTER] - 1) * boxes[row, OUTER_STRIDE])
