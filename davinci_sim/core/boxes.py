"""The bytes that records touch, as a flat table: what the checkers and the automatic barriers read.

`boxes_of` turns a batch of records into rows, one per strided range that an instruction declares in
`accesses`, with runs that follow each other without a gap joined. One case per family of instructions is
written from the table of declarations and compiled once; everything behind it is a small loop over rows.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.isa import INSTRUCTIONS, Instruction
from davinci_sim.isa.instruction import NO_VARIANT
from davinci_sim.isa.jit import jit, uncounted
from davinci_sim.isa.region import Region

Words = npt.NDArray[np.int64]

RECORD, HOW, HANDLE, RUN, INNER, INNER_STRIDE, OUTER, OUTER_STRIDE = range(8)
"""Columns of a row: `outer` x `inner` runs of `run` bytes from `handle`, touched as `how` says."""
BOX_COLUMNS = 8
MOST_BOXES = 16
"""Rows that one record can need; a batch ends when fewer are left."""
EVERY_PIPE = (1 << 16) - 1
BATCH_ROWS = 1024

_VARIANTS = np.array([NO_VARIANT, *(declared.variant for declared in INSTRUCTIONS.values())], dtype=np.int64)


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


def _families() -> list[list[Instruction]]:
    """Group the instructions that share operands and accesses, so that each is compiled once."""
    groups: dict[tuple[Any, ...], list[Instruction]] = {}
    for declared in INSTRUCTIONS.values():
        if declared.operands:
            groups.setdefault((declared.record, declared.accesses), []).append(declared)
    return list(groups.values())


def _takes_variant(accesses: Callable[..., Any]) -> bool:
    return len(inspect.signature(getattr(accesses, "py_func", accesses)).parameters) > 1


def _compile() -> Any:
    """Write and compile the loop with one case per family."""
    scope: dict[str, Any] = {"_put": _put, "_VARIANTS": _VARIANTS, "__name__": __name__}
    lines = [
        "def boxes_of(words, first, last, pipes, out):",
        f"    n, room = 0, out.shape[0] - {MOST_BOXES}",
        "    for r in range(first, last):",
        "        if n > room:",
        "            return r, n",
        "        op = words[r, 0] & 255",
        "        if (pipes >> ((words[r, 0] >> 8) & 255)) & 1 == 0:",
        "            continue",
    ]
    word = "if"
    for number, family in enumerate(_families()):
        scope[f"decode{number}"], scope[f"accesses{number}"] = family[0].decode, family[0].accesses
        variant = ", _VARIANTS[op]" if _takes_variant(family[0].accesses) else ""
        test = " or ".join(f"op == {declared.opcode}" for declared in family)
        lines += [
            f"        {word} {test}:",
            f"            for box in accesses{number}(decode{number}(words, r){variant}):",
            "                n = _put(out, n, r, box)",
        ]
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
