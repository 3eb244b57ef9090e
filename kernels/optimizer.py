"""Weight updates: one pass over weights, moments and gradients."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    use,
)
from kernels.lang.broadcast import block_binary
from kernels.lang.flat import ADD, MUL, SUB
from kernels.lang.transpose import spread
from kernels.rules import require_dtype
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
LANES, SIZE = 64, 4
RATE_BYTES = 512
"""Room of a number that fills its block: blocks come by sixteens."""


@dataclass(frozen=True)
class MomentumShape(FlatShape):
    """n weights in fp32."""

    LIVE: ClassVar[int] = 5
    dtype: int = FP32

    def check(self, kernel: str) -> None:
        """Refuse other types than fp32: master weights have no other."""
        require_dtype(kernel, self.dtype, FP32)


def _momentum_reference(
    shape: MomentumShape, w: Array, m: Array, g: Array, learning_rate: Array, momentum: Array
) -> tuple[Array, Array]:
    moved = momentum * m + g
    return (w - learning_rate * moved).astype(np.float32), moved.astype(np.float32)


def _momentum_operands(shape: MomentumShape) -> tuple[Operand, ...]:
    n = (shape.n,)
    inputs = (Operand("w", n, FP32), Operand("m", n, FP32), Operand("g", n, FP32))
    numbers = (Operand("learning_rate", (1,), FP32), Operand("momentum", (1,), FP32))
    return (*inputs, *numbers, output("w_new", n, FP32), output("m_new", n, FP32))


@emits
def update(core: Any, made: int, taken: int, pitch: int, rates: int, n: int) -> None:
    """Compute w_new and m_new from w, m, g in UB, arrays `pitch` bytes apart; rates are two full blocks."""
    w, m, g = taken, taken + pitch, taken + 2 * pitch
    w_new, m_new, learning_rate, momentum = made, made + pitch, rates, rates + RATE_BYTES
    block_binary(core, MUL, m_new, m, momentum, n, FP32)
    flat_binary(core, ADD, m_new, m_new, g, n, FP32)
    block_binary(core, MUL, w_new, m_new, learning_rate, n, FP32)
    flat_binary(core, SUB, w_new, w, w_new, n, FP32)


@kernel(MomentumShape, FlatTiling, _momentum_operands, _momentum_reference)
def apply_momentum(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, m: int, g: int, learning_rate: int, momentum: int, w_new: int, m_new: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """m_new[n] = momentum * m[n] + g[n]; w_new[n] = w[n] - learning_rate * m_new[n]; may be in place."""
    tile, slots = max(1, tiling.tile // 128) * 128, tiling.slots
    pitch = tile * SIZE
    raw, rates, scratch = alloc(core, UB, 128), alloc(core, UB, 2 * RATE_BYTES), alloc(core, UB, 2048)
    ub_in = alloc(core, UB, slots * 3 * pitch, slots * 3)
    ub_out = alloc(core, UB, slots * 2 * pitch, slots * 2)
    q_rates, q_in = queue(core, MTE2, V, 1), queue(core, MTE2, V, slots)
    q_out = queue(core, V, MTE3, slots)
    fill(core, q_rates)
    data_move(core, raw, learning_rate, 1, 1)
    data_move(core, raw + 64, momentum, 1, 1)
    filled(core, q_rates)
    use(core, q_rates)
    for number in range(2):
        spread(core, rates + number * RATE_BYTES, raw + number * 64, 1, SIZE, scratch)
    end = share_end(core, shape.n, FAST_BYTES // SIZE)
    for i in range(share_start(core, shape.n, FAST_BYTES // SIZE), end, tile):
        n = min(tile, end - i)
        blocks, at = (n * SIZE + 31) // 32, i * SIZE
        taken = ub_in + fill(core, q_in) * 3 * pitch
        data_move(core, taken, w + at, 1, blocks)
        data_move(core, taken + pitch, m + at, 1, blocks)
        data_move(core, taken + 2 * pitch, g + at, 1, blocks)
        filled(core, q_in)
        use(core, q_in)
        made = ub_out + fill(core, q_out) * 2 * pitch
        update(core, made, taken, pitch, rates, n)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, w_new + at, made, 1, blocks)
        data_move(core, m_new + at, made + pitch, 1, blocks)
        free(core, q_out)
    free(core, q_rates)
    close(core, q_out)
    close(core, q_in)
    close(core, q_rates)
