"""The gradient of an LSTM's cell: element by element, from the gates that the cell has kept.

What reaches x, h, w, u and the bias are products with the gates' gradients, and their sums.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
    flat_convert,
    flat_scale,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    use,
)
from kernels.lang.flat import ADD, MUL
from kernels.lstm import EDGE, GATES, LINE, whole
from kernels.pieces.bend import tanh
from kernels.rules import require_dtype, round_up

Array = npt.NDArray[Any]
TILE_BYTES = 2 * 36 + 24
"""UB per element of a tile: two slots of what comes and goes, and six arrays of fp32."""


@dataclass(frozen=True)
class LstmGradShape(Shape):
    """m sequences, a hidden state of length n."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = ({"m": 5, "n": 9}, {"m": 70, "n": 100})
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ({"m": 128, "n": 1024},)
    m: int
    n: int
    dtype: int = FP32

    @property
    def elements(self) -> int:
        """How many numbers a plane has with its padding."""
        return round_up(self.m, EDGE) * round_up(self.n, EDGE)

    def check(self, kernel: str) -> None:
        """Refuse other types than fp32 for the state."""
        require_dtype(kernel, self.dtype, FP32)


@dataclass(frozen=True)
class LstmGradTiling(Tiling):
    """Elements of a tile (a multiple of 256) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    tile: int
    slots: int = 2

    @classmethod
    def default(cls, shape: LstmGradShape, platform: Platform) -> "LstmGradTiling":
        """Return the longest tile that fits twice, or a core's share."""
        share = round_up(-(-shape.elements // int(platform.ai_cores)), LINE)
        longest = int(platform.ub_bytes) * 9 // 10 // TILE_BYTES // LINE * LINE
        return cls(max(LINE, min(share, longest)))

    @classmethod
    def space(cls, shape: LstmGradShape, platform: Platform) -> Iterator["LstmGradTiling"]:
        """Yield the default tiling and single buffering."""
        first = cls.default(shape, platform)
        yield first
        yield replace(first, slots=1)

    def blocks(self, shape: LstmGradShape, platform: Platform) -> int:
        """Return one core per 256 elements, as many as there are."""
        return min(int(platform.ai_cores), shape.elements // LINE)


def _grad_operands(shape: LstmGradShape) -> tuple[Operand, ...]:
    state, planes = (shape.m, shape.n), (GATES, shape.m, shape.n)
    wide = tuple(Operand(name, state, FP32, "NZ") for name in ("c", "c_new", "dh_new", "dc_new"))
    gates = Operand("gates", planes, FP16, "NZ", between=(0, 1))
    return gates, *wide, output("dgates", planes, FP16, "NZ"), output("dc", state, FP32, "NZ")


def _grad_reference(
    shape: LstmGradShape, gates: Array, c: Array, c_new: Array, dh_new: Array, dc_new: Array
) -> tuple[Array, Array]:
    i, f, g, o = gates.astype(np.float32)
    bent = np.tanh(c_new)
    dc = dh_new * o * (1 - bent * bent) + dc_new
    slopes = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh_new * bent * o * (1 - o)
    return np.stack(slopes).astype(np.float16), dc * f


@emits
def complement(core: Any, dst: int, x: int, n: int) -> None:
    """dst[n] = 1 - x[n]."""
    flat_scale(core, dst, x, n, -1.0, 1.0, FP32)


@emits
def product(core: Any, dst: int, x: int, y: int, n: int) -> None:
    """dst[n] = x[n] * y[n]."""
    flat_binary(core, MUL, dst, x, y, n, FP32)


@emits
def gate_slopes(core: Any, made: int, dc: int, at: int, wide: int, tile: int, n: int) -> None:
    """Compute the gradients of a tile; arrays of fp32 lie `4 * tile + 256` bytes apart.

    At `at` are c, c_new, dh_new and dc_new, at `wide` the gates i, f, g, o and two spare arrays; fp16 results
    lie half as far apart, at `made`.
    """
    pitch = 4 * tile + LINE
    c, c_new, dh, dc_new = at, at + pitch, at + 2 * pitch, at + 3 * pitch
    i, f, g, o = wide, wide + pitch, wide + 2 * pitch, wide + 3 * pitch
    spare, rest = wide + 4 * pitch, wide + 5 * pitch
    tanh(core, spare, c_new, n)
    product(core, c_new, dh, o, n)  # dh o
    product(core, dh, c_new, spare, n)  # dh o tanh(c_new)
    complement(core, rest, o, n)
    product(core, o, dh, rest, n)
    flat_convert(core, made + 3 * pitch // 2, FP16, o, FP32, n)
    product(core, rest, spare, spare, n)
    complement(core, rest, rest, n)
    product(core, c_new, c_new, rest, n)
    flat_binary(core, ADD, dc_new, dc_new, c_new, n, FP32)  # all that reaches the state
    product(core, dc, dc_new, f, n)
    product(core, c, dc, c, n)  # through f
    complement(core, f, f, n)
    product(core, c, c, f, n)
    flat_convert(core, made + pitch // 2, FP16, c, FP32, n)
    product(core, dc_new, dc_new, i, n)  # through i and g
    product(core, rest, g, g, n)
    complement(core, rest, rest, n)
    product(core, rest, rest, dc_new, n)
    flat_convert(core, made + 2 * pitch // 2, FP16, rest, FP32, n)
    complement(core, i, i, n)
    product(core, dc_new, dc_new, i, n)
    product(core, dc_new, dc_new, g, n)
    flat_convert(core, made, FP16, dc_new, FP32, n)


@kernel(LstmGradShape, LstmGradTiling, _grad_operands, _grad_reference)
def lstm_cell_grad(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, gates: int, c: int, c_new: int, dh_new: int, dc_new: int, dgates: int, dc: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """dgates[4, m, n] = the gradient of what lstm_cell's gates are bent from; dc[m, n] that of its state.

    Those of x, h, w, u and bias are products with dgates and its sums.
    """
    elements = whole(core, shape.m, shape.m) * whole(core, shape.n, shape.n)
    tile, slots = max(1, tiling.tile // LINE) * LINE, tiling.slots
    pitch = tile * 4 + LINE
    ub_in = alloc(core, UB, slots * 4 * pitch, slots * 4)
    ub_gates = alloc(core, UB, slots * 2 * pitch, slots * 4)
    wide, ub_dc = alloc(core, UB, 6 * pitch), alloc(core, UB, slots * pitch, slots)
    ub_out = alloc(core, UB, slots * 2 * pitch, slots * 4)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    end = share_end(core, elements, LINE)
    for start in range(share_start(core, elements, LINE), end, tile):
        n, slot = min(tile, end - start), fill(core, q_in)
        taken, narrow = ub_in + slot * 4 * pitch, ub_gates + slot * 2 * pitch
        data_move(core, taken, c + start * 4, 1, n // 8)
        data_move(core, taken + pitch, c_new + start * 4, 1, n // 8)
        data_move(core, taken + 2 * pitch, dh_new + start * 4, 1, n // 8)
        data_move(core, taken + 3 * pitch, dc_new + start * 4, 1, n // 8)
        for gate in range(GATES):
            data_move(core, narrow + gate * pitch // 2, gates + (gate * elements + start) * 2, 1, n // 16)
        filled(core, q_in)
        use(core, q_in)
        for gate in range(GATES):
            flat_convert(core, wide + gate * pitch, FP32, narrow + gate * pitch // 2, FP16, n)
        slot = fill(core, q_out)
        made = ub_out + slot * 2 * pitch
        gate_slopes(core, made, ub_dc + slot * pitch, taken, wide, tile, n)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, dc + start * 4, ub_dc + slot * pitch, 1, n // 8)
        for gate in range(GATES):
            data_move(core, dgates + (gate * elements + start) * 2, made + gate * pitch // 2, 1, n // 16)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
