"""Choices lane by lane: one of two arrays or numbers, by a comparison with a number."""

from typing import Any, NamedTuple

from davinci_sim.isa import vcmpv_ge, vcmpv_gt, vcmpv_lt, vsel
from kernels.lang.emits import emits
from kernels.lang.flat import MAX_REPEAT, size_of

LINE = 256
GREATER, NOT_LESS, LESS = range(3)
BITS_BYTES = MAX_REPEAT * 16
"""Room of the bits of one comparison."""


class Pick(NamedTuple):
    """What stands where the test holds and where it does not, and room for the bits.

    Both are arrays (`*_step` 1) or single blocks full of one number (`*_step` 0).
    """

    yes: int
    yes_step: int
    no: int
    no_step: int
    bits: int


@emits
def where(core: Any, test: int, dst: int, a: int, bound: int, pick: Pick, n: int, dtype: int) -> None:
    """dst[n] = yes[n] where a[n] > (>=, <) the number of the block `bound`, else no[n]; not where a is NaN.

    Whole repeats are computed.
    """
    lanes = LINE // size_of(core, dtype)
    for done in range(0, n, MAX_REPEAT * lanes):
        repeat = min(MAX_REPEAT, (n - done + lanes - 1) // lanes)
        at = done // lanes * LINE
        if test == GREATER:
            vcmpv_gt(core, pick.bits, a + at, bound, repeat, dtype, 1, 0, 8, 0)
        elif test == NOT_LESS:
            vcmpv_ge(core, pick.bits, a + at, bound, repeat, dtype, 1, 0, 8, 0)
        else:
            vcmpv_lt(core, pick.bits, a + at, bound, repeat, dtype, 1, 0, 8, 0)
        yes, no = pick.yes + at * pick.yes_step, pick.no + at * pick.no_step
        yes_rep, no_rep = 8 * pick.yes_step, 8 * pick.no_step
        vsel(
            core, dst + at, yes, no, repeat, pick.bits, dtype, lanes, 1, pick.yes_step, pick.no_step, 8,
            yes_rep, no_rep,
        )  # fmt: skip
