"""The ratio of two norms, from partial sums of squares, as layer-wise rates scale their steps by it."""

from typing import Any

from davinci_sim.isa import FP32, data_move, vcmpv_gt, vector_dup, vsel
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import DIV, MIN, SQRT, flat_binary, flat_unary
from kernels.pieces.numbers import full_block, number_place
from kernels.pieces.partial import LANES, NUMBERS, total

BLOCK, SUMS_BYTES = 32, NUMBERS * 4


@emits
def open_norms(core: Any) -> int:
    """Make room for the partial sums of two tensors, and for what the ratio is computed with."""
    return int(alloc(core, UB, 2 * SUMS_BYTES + 4 * BLOCK))


@emits
def bring_sums(core: Any, norms: int, first: int, second: int) -> None:
    """Fetch the partial sums of two tensors from GM, together with the numbers that are brought."""
    data_move(core, norms, first, 1, SUMS_BYTES // BLOCK)
    data_move(core, norms + SUMS_BYTES, second, 1, SUMS_BYTES // BLOCK)


@emits
def norm_numbers(core: Any, norms: int, numbers: Any, first: int, second: int) -> None:
    """Make numbers `first` and `second`, before all are spread, from the sums: the two norms."""
    for which in range(2):
        place = number_place(core, numbers, first if which == 0 else second)
        total(core, place, norms + which * SUMS_BYTES)
        flat_unary(core, SQRT, place, place, 1, FP32)


@emits
def choose_or(core: Any, dst: int, bits: int, x: int, other: float) -> None:
    """Write the eight lanes of x where bits are set, else `other`, to dst; dst is not x."""
    vector_dup(core, dst, 1, other, FP32, LANES)
    vsel(core, dst, x, dst, 1, bits, FP32, LANES)


@emits
def ratio_block(core: Any, norms: int, numbers: Any, above: int, below: int, first: int, second: int) -> int:
    """Return a block full of above / below, or of 1 where norm `first` or `second` is 0."""
    room = norms + 2 * SUMS_BYTES
    least, zero, bits, made = room, room + BLOCK, room + 2 * BLOCK, room + 3 * BLOCK
    w_norm, g_norm = full_block(core, numbers, first), full_block(core, numbers, second)
    flat_binary(core, MIN, least, w_norm, g_norm, LANES, FP32)
    vector_dup(core, zero, 1, 0.0, FP32, LANES)
    vcmpv_gt(core, bits, least, zero, 1, FP32, 0, 0, 0, 0)
    flat_binary(core, DIV, least, above, below, LANES, FP32)
    choose_or(core, made, bits, least, 1.0)
    return int(made)
