"""Weights of at most 4 input channels from OIHW to FRACTAL_Z_C04, padded with zeros, and back.

Sixteen output channels are turned with everything behind them, so that an element of a channel becomes a
block (two blocks of four-byte numbers). Moves of blocks put the channels of each element of the filter side
by side, and sixteen of them are turned back to a fractal. The way back takes the same steps in the opposite
order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy.typing as npt

from davinci_sim.errors import BadShape
from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Tiling,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_dup,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
)
from kernels.layout_few_channels import FEW
from kernels.layout_weights import Weights, WeightShape, ends_of, fetch_weights, finish_weights, store_weights
from kernels.pieces.transpose import transpose_16bit
from kernels.pieces.window import inner_fractals, move_planes

Array = npt.NDArray[Any]
EDGE, BLOCK, FRACTAL = 16, 32, 256
MOST_ELEMENTS = 121
"""Of a filter: sixteen output channels of 11 x 11 elements fit UB with room for both hand-offs."""


@dataclass(frozen=True)
class FewWeightsShape(WeightShape):
    """w[o, c, kh, kw] of at most 4 input channels."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"o": o, "c": c, "kh": k, "kw": k, "dtype": dtype}
        for o, c, k in ((6, 1, 5), (40, 3, 7), (33, 4, 1), (3, 2, 11))
        for dtype in (FP16, FP32)
    )
    SMALL: ClassVar[Mapping[str, int]] = {"o": 20, "c": 3, "kh": 3, "kw": 3}
    LARGE: ClassVar[Mapping[str, int]] = {"o": 600, "c": 3, "kh": 7, "kw": 7}

    def check(self, kernel: str) -> None:
        """Refuse more channels and filters that UB does not take."""
        super().check(kernel)
        if self.c > FEW or self.kh * self.kw > MOST_ELEMENTS:
            raise BadShape(
                f"kernel {kernel}: c={self.c}, kh={self.kh}, kw={self.kw}\n"
                f"  rule: at most {FEW} input channels and {MOST_ELEMENTS} elements of the filter\n"
                "  next: use FRACTAL_Z"
            )


@dataclass(frozen=True)
class FewWeightsTiling(Tiling):
    """Buffers of a hand-off; a tile is 16 output channels."""

    slots: int = 2

    @classmethod
    def default(cls, shape: FewWeightsShape, platform: Platform) -> Self:
        """Return two buffers."""
        return cls()

    @classmethod
    def space(cls, shape: FewWeightsShape, platform: Platform) -> Iterator[Self]:
        """Yield the default and one buffer."""
        yield cls()
        yield replace(cls(), slots=1)

    def blocks(self, shape: FewWeightsShape, platform: Platform) -> int:
        """Return one core per tile, as many as there are."""
        return min(int(platform.ai_cores), -(-shape.o // EDGE))


@emits
def tile_at(core: Any, number: int, shape: Any) -> Weights:
    """Return sixteen output channels by their number, or as many as there are."""
    area, size = shape.kh * shape.kw, size_of(core, shape.dtype)
    pitch = (FEW * area * size + BLOCK - 1) // BLOCK * BLOCK
    return Weights(0, shape.c, number * EDGE, min(EDGE, shape.o - number * EDGE), 0, area, area, pitch)


@emits
def sort_channels(core: Any, dst: int, src: int, t: Weights, unit: int, is_back: int) -> None:
    """Set dst[element, 4] = src[channel, element], items of `unit` bytes; backwards the other way round."""
    blocks = unit // BLOCK
    for channel in range(t.channels):
        if is_back:
            to, start = dst + channel * t.step * unit, src + channel * unit
            move_planes(core, to, start, t.step, blocks, blocks, FEW * blocks)
        else:
            to, start = dst + channel * unit, src + channel * t.step * unit
            move_planes(core, to, start, t.step, blocks, FEW * blocks, blocks)


@emits
def turn_fractals(core: Any, fractals: int, items: int, count: int, size: int, is_back: int) -> None:
    """Set fractals[count, 16 rows, 16] = items[count, 16, 16 rows]; backwards the other way round."""
    halves = size // 2
    for half in range(halves):
        rows, columns = fractals + half * BLOCK, items + half * 512
        if is_back:
            transpose_16bit(core, columns, 1, EDGE * halves, rows, halves, EDGE * halves, count)
        else:
            transpose_16bit(core, rows, halves, EDGE * halves, columns, 1, EDGE * halves, count)


def _operands(shape: FewWeightsShape) -> tuple[Operand, ...]:
    axes = (shape.o, shape.c, shape.kh, shape.kw)
    return Operand("w", axes, shape.dtype), output("y", axes, shape.dtype, "FRACTAL_Z_C04")


def _back_operands(shape: FewWeightsShape) -> tuple[Operand, ...]:
    axes = (shape.o, shape.c, shape.kh, shape.kw)
    return Operand("x", axes, shape.dtype, "FRACTAL_Z_C04"), output("w", axes, shape.dtype)


def _same(shape: FewWeightsShape, w: Array) -> tuple[Array]:
    return (w,)


@kernel(FewWeightsShape, FewWeightsTiling, _operands, _same)
def oihw_to_fractal_z_c04(core: Any, w: int, y: int, shape: Any, tiling: Any) -> None:
    """y[k1, o1, o0, k0] = w[o, c, kh, kw] with (kh kw 4) = k1 * 16 + k0, o = o1 * 16 + o0, zero-padded."""
    size, slots, down = size_of(core, shape.dtype), tiling.slots, (shape.o + 15) // 16
    depth, fractal = inner_fractals(core, shape.kh, shape.kw, FEW), FRACTAL * size
    room, blocks = depth * fractal, fractal // BLOCK
    ub_in, ub_out = alloc(core, UB, slots * room, slots), alloc(core, UB, slots * room, slots)
    words, items = alloc(core, UB, room), alloc(core, UB, room)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    flat_dup(core, items, 0.0, room // 2, FP16)
    for number in range(share_start(core, down, 1), share_end(core, down, 1)):
        t, taken = tile_at(core, number, shape), ub_in + fill(core, q_in) * room
        fetch_weights(core, taken, w, t, shape)
        filled(core, q_in)
        use(core, q_in)
        if t.rows < EDGE:
            flat_dup(core, taken + t.rows * t.pitch, 0.0, (EDGE - t.rows) * t.pitch // 2, FP16)
        transpose_16bit(core, words, 1, EDGE, taken, t.pitch // BLOCK, 1, t.pitch // BLOCK)
        free(core, q_in)
        sort_channels(core, items, words, t, EDGE * size, 0)
        made = ub_out + fill(core, q_out) * room
        turn_fractals(core, made, items, depth, size, 0)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + number * fractal, made, depth, blocks, 0, (down - 1) * blocks)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@kernel(FewWeightsShape, FewWeightsTiling, _back_operands, _same)
def fractal_z_c04_to_oihw(core: Any, x: int, w: int, shape: Any, tiling: Any) -> None:
    """w[o, c, kh, kw] = x[k1, o1, o0, k0] with (kh kw 4) = k1 * 16 + k0, o = o1 * 16 + o0."""
    size, slots, down = size_of(core, shape.dtype), tiling.slots, (shape.o + 15) // 16
    depth, fractal = inner_fractals(core, shape.kh, shape.kw, FEW), FRACTAL * size
    room, blocks = depth * fractal, fractal // BLOCK
    ub_in, ub_out = alloc(core, UB, slots * room, slots), alloc(core, UB, slots * room, slots)
    words, items = alloc(core, UB, room), alloc(core, UB, room)
    ends = ends_of(core, shape, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    flat_dup(core, words, 0.0, room // 2, FP16)
    for number in range(share_start(core, down, 1), share_end(core, down, 1)):
        t, taken = tile_at(core, number, shape), ub_in + fill(core, q_in) * room
        data_move(core, taken, x + number * fractal, depth, blocks, (down - 1) * blocks, 0)
        filled(core, q_in)
        use(core, q_in)
        turn_fractals(core, taken, items, depth, size, 1)
        free(core, q_in)
        sort_channels(core, words, items, t, EDGE * size, 1)
        slot = fill(core, q_out)
        made = ub_out + slot * room
        transpose_16bit(core, made, t.pitch // BLOCK, 1, words, 1, EDGE, t.pitch // BLOCK)
        finish_weights(core, ends, made, slot, t, shape)
        filled(core, q_out)
        use(core, q_out)
        store_weights(core, w, ends, made, slot, t, shape)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
