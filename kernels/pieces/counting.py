"""Numbers that follow each other, made in UB."""

from typing import Any

from davinci_sim.isa import FP32, INT32, vadds, vector_dup
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, MAX_REPEAT
from kernels.pieces.broadcast import block_binary

EIGHT, LANES, LINE = 8, 64, 256
EXACT = 1 << 12
"""Integers are put together of a multiple of this and a rest: both are exact as float32."""


@emits
def add_number(core: Any, dst: int, a: int, n: int, value: int, dtype: int, scratch: int) -> None:
    """Set dst[n] = a[n] + value, fp32 or int32; scratch is 32 bytes, for int32."""
    if dtype == INT32:
        rest = value % EXACT
        vector_dup(core, scratch, 1, (value - rest) * 1.0, INT32, EIGHT)
        block_binary(core, ADD, dst, a, scratch, n, INT32)
        vector_dup(core, scratch, 1, rest * 1.0, INT32, EIGHT)
        block_binary(core, ADD, dst, dst, scratch, n, INT32)
        return
    done = 0
    while done < n:
        repeat = max(1, min(MAX_REPEAT, (n - done) // LANES))
        at = done // LANES * LINE
        vadds(core, dst + at, a + at, repeat, value * 1.0, FP32, min(LANES, n - done))
        done += repeat * LANES


@emits
def count_up(core: Any, dst: int, n: int, step: int, dtype: int, scratch: int) -> None:
    """Set dst[n] = 0, step, 2 * step ..., fp32 or int32; whole blocks are written. Scratch is 32 bytes."""
    for lane in range(EIGHT - 1, -1, -1):  # each covers the lanes before it
        vector_dup(core, dst, 1, lane * step * 1.0, dtype, lane + 1)
    done = EIGHT
    while done < n:
        more = min(done, (n - done + EIGHT - 1) // EIGHT * EIGHT)
        add_number(core, dst + done * 4, dst, more, done * step, dtype, scratch)
        done += more
