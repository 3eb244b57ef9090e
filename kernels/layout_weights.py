"""The weights of a convolution from OIHW to FRACTAL_Z, padded with zeros.

Sixteen output channels are turned with everything behind them, then the sixteen input channels of every
position are turned back, so that each position becomes a fractal. Four-byte numbers are pairs of half words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

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
from kernels.pieces.rows import load_rows
from kernels.pieces.transpose import transpose_16bit
from kernels.rules import item_bytes, require_dtype

Array = npt.NDArray[Any]
EDGE, BLOCK, FRACTAL = 16, 32, 256
TILE_BYTES = 24 * 1024
"""Bytes of a tile: 16 output channels of some input channels, or of some positions of 16 of them."""


@dataclass(frozen=True)
class WeightShape(Shape):
    """w[o, c, kh, kw]."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"o": o, "c": c, "kh": k, "kw": k, "dtype": dtype}
        for o, c, k in ((6, 1, 5), (40, 20, 3), (33, 64, 1), (3, 2, 11))
        for dtype in (FP16, FP32)
    )
    SMALL: ClassVar[Mapping[str, int]] = {"o": 20, "c": 20, "kh": 3, "kw": 3}
    LARGE: ClassVar[Mapping[str, int]] = {"o": 200, "c": 130, "kh": 3, "kw": 3}
    o: int
    c: int
    kh: int
    kw: int
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse other types than the two floating-point ones."""
        require_dtype(kernel, self.dtype, FP16, FP32)


@dataclass(frozen=True)
class WeightTiling(Tiling):
    """Groups of 16 input channels and positions of the filter (by 16, or all) of a tile, buffers."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("groups", "positions")
    groups: int
    positions: int
    slots: int = 2

    @classmethod
    def default(cls, shape: WeightShape, platform: Platform) -> Self:
        """Return tiles of up to 24 KB, smaller where cores would have nothing to do."""
        area, fractal = shape.kh * shape.kw, FRACTAL * item_bytes(shape.dtype)
        room = TILE_BYTES // fractal
        if area > room:
            return cls(1, room // EDGE * EDGE)
        across, down = -(-shape.c // EDGE), -(-shape.o // EDGE)
        return cls(max(1, min(room // area, across * down // int(platform.ai_cores), across)), area)

    @classmethod
    def space(cls, shape: WeightShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, one of half the groups, and one of one buffer."""
        first = cls.default(shape, platform)
        yield first
        if first.groups > 1:
            yield replace(first, groups=first.groups // 2)
        yield replace(first, slots=1)

    def blocks(self, shape: WeightShape, platform: Platform) -> int:
        """Return one core per tile, as many as there are."""
        area, across = shape.kh * shape.kw, -(-shape.c // EDGE)
        tiles = (
            -(-across // self.groups) * -(-shape.o // EDGE) * -(-area // max(1, min(self.positions, area)))
        )
        return min(int(platform.ai_cores), tiles)


class Weights(NamedTuple):
    """A tile: first and number of input channels, of output channels and of positions.

    `step` places of a channel lie in UB, `pitch` bytes of an output channel.
    """

    c: int
    channels: int
    o: int
    rows: int
    p: int
    positions: int
    step: int
    pitch: int


@emits
def fetch_weights(core: Any, dst: int, w: int, t: Weights, shape: Any) -> None:
    """Bring a tile to UB: all positions of a channel in one run with those that follow, or each apart."""
    size, area = size_of(core, shape.dtype), shape.kh * shape.kw
    row_bytes, first = shape.c * area * size, w + ((t.o * shape.c + t.c) * area + t.p) * size
    if t.step == area:
        load_rows(core, dst, t.pitch, first, row_bytes, t.rows, t.channels * area * size)
        return
    for row in range(t.rows):
        to, src = dst + row * t.pitch, first + row * row_bytes
        load_rows(core, to, t.step * size, src, area * size, t.channels, t.positions * size)


@emits
def sort_positions(core: Any, dst: int, src: int, step: int) -> None:
    """Set dst[step, 16 channels] = src[16 channels, step], items of two blocks."""
    if step <= EDGE:
        for place in range(step):
            data_move(core, dst + place * EDGE * 64, src + place * 64, EDGE, 2, 2 * (step - 1), 0)
    else:
        for channel in range(EDGE):
            data_move(core, dst + channel * 64, src + channel * step * 64, step, 2, 0, 2 * (EDGE - 1))


@emits
def weave(
    core: Any, dst: int, src: int, words: int, sorted_words: int, t: Weights, groups: int, size: int
) -> None:
    """Set dst[groups, step, 16 rows, 16 channels] = src[16 rows, groups x 16 channels x step]."""
    halves, place_bytes = size // 2, EDGE * size
    places = groups * EDGE * t.step
    if t.rows < EDGE:
        flat_dup(core, src + t.rows * t.pitch, 0.0, (EDGE - t.rows) * t.pitch // 2, FP16)
    transpose_16bit(core, words, 1, 16, src, t.pitch // BLOCK, 1, t.pitch // BLOCK)
    known = t.channels * t.step
    if known < places:
        flat_dup(core, words + known * place_bytes, 0.0, (places - known) * EDGE * halves, FP16)
    for group in range(groups):
        made, start = dst + group * t.step * FRACTAL * size, words + group * EDGE * t.step * place_bytes
        if size == 2:
            transpose_16bit(core, made, 1, 16, start, t.step, 1, t.step)
            continue
        sort_positions(core, sorted_words, start, t.step)
        for half in range(2):
            transpose_16bit(core, made + half * BLOCK, 2, 32, sorted_words + half * 512, 1, 32, t.step)


def _operands(shape: WeightShape) -> tuple[Operand, ...]:
    axes = (shape.o, shape.c, shape.kh, shape.kw)
    return Operand("w", axes, shape.dtype), output("y", axes, shape.dtype, "FRACTAL_Z")


def _reference(shape: WeightShape, w: Array) -> tuple[Array]:
    return (w,)


@kernel(WeightShape, WeightTiling, _operands, _reference)
def oihw_to_fractal_z(core: Any, w: int, y: int, shape: Any, tiling: Any) -> None:
    """y[c1, kh, kw, o1, o0, c0] = w[o, c, kh, kw] c = c1 * 16 + c0, o = o1 * 16 + o0, padded with zeros."""
    size, slots, area = size_of(core, shape.dtype), tiling.slots, shape.kh * shape.kw
    across, down = (shape.c + 15) // 16, (shape.o + 15) // 16
    step = area if tiling.positions >= area else max(1, tiling.positions // EDGE) * EDGE
    groups = tiling.groups if step == area else 1
    pitch = groups * EDGE * step * size
    tile, fractal = EDGE * pitch, FRACTAL * size
    ub_in, ub_out = alloc(core, UB, slots * tile, slots), alloc(core, UB, slots * tile, slots)
    words, sorted_words = alloc(core, UB, tile), alloc(core, UB, step * fractal if size == 4 else 0)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    sets, pieces = (across + groups - 1) // groups, (area + step - 1) // step
    tiles = sets * down * pieces
    for number in range(share_start(core, tiles, 1), share_end(core, tiles, 1)):
        group, o1, p = number // pieces // down * groups, number // pieces % down, number % pieces * step
        count = min(groups, across - group)
        channels, rows = min(count * EDGE, shape.c - group * EDGE), min(EDGE, shape.o - o1 * EDGE)
        t = Weights(group * EDGE, channels, o1 * EDGE, rows, p, min(step, area - p), step, pitch)
        taken = ub_in + fill(core, q_in) * tile
        fetch_weights(core, taken, w, t, shape)
        filled(core, q_in)
        use(core, q_in)
        made = ub_out + fill(core, q_out) * tile
        weave(core, made, taken, words, sorted_words, t, count, size)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        to, blocks = y + ((group * area + p) * down + o1) * fractal, fractal // BLOCK
        data_move(
            core, to, made, count * area if step == area else t.positions, blocks, 0, (down - 1) * blocks
        )
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
