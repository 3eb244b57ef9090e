"""The weights of a convolution from OIHW to FRACTAL_Z, padded with zeros, and back.

Sixteen output channels are turned with everything behind them, then the sixteen input channels of every
position are turned back, so that each position becomes a fractal. Four-byte numbers are pairs of half words.
The way back takes the same steps in the opposite order, and writes not a byte more than the weights.
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
from kernels.pieces.rows import (
    compact,
    compact_scratch_bytes,
    load_rows,
    pitch_bytes,
    row_period,
    row_tails,
    store_exact,
)
from kernels.pieces.transpose import transpose_16bit
from kernels.pieces.window import move_planes
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
def turn_items(core: Any, dst: int, src: int, rows: int, columns: int) -> None:
    """Set dst[columns, rows] = src[rows, columns], items of two blocks."""
    if columns <= rows:
        for column in range(columns):
            data_move(core, dst + column * rows * 64, src + column * 64, rows, 2, 2 * (columns - 1), 0)
    else:
        for row in range(rows):
            data_move(core, dst + row * 64, src + row * columns * 64, columns, 2, 0, 2 * (rows - 1))


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
        turn_items(core, sorted_words, start, EDGE, t.step)
        for half in range(2):
            transpose_16bit(core, made + half * BLOCK, 2, 32, sorted_words + half * 512, 1, 32, t.step)


@emits
def unweave(
    core: Any, dst: int, src: int, words: int, sorted_words: int, t: Weights, groups: int, size: int
) -> None:
    """Set dst[16 rows, groups x 16 channels x step] = src[groups, step, 16 rows, 16 channels]."""
    for group in range(groups):
        came, start = src + group * t.step * FRACTAL * size, words + group * EDGE * t.step * EDGE * size
        if size == 2:
            transpose_16bit(core, start, t.step, 1, came, 1, 16, t.step)
            continue
        for half in range(2):
            transpose_16bit(core, sorted_words + half * 512, 1, 32, came + half * BLOCK, 2, 32, t.step)
        turn_items(core, start, sorted_words, t.step, EDGE)
    transpose_16bit(core, dst, t.pitch // BLOCK, 1, words, 1, 16, t.pitch // BLOCK)


class Ends(NamedTuple):
    """Room in which rows end: the last blocks of each, or short rows block by block and packed; scratch."""

    tails: int
    packed: int
    scratch: int


@emits
def ends_of(core: Any, shape: Any, slots: int) -> Ends:
    """Allocate what the ends of rows need."""
    row_bytes = shape.c * shape.kh * shape.kw * size_of(core, shape.dtype)
    if row_bytes >= BLOCK:
        return Ends(alloc(core, UB, slots * EDGE * EDGE * BLOCK, slots), 0, alloc(core, UB, 1024))
    group = EDGE * row_period(core, row_bytes)
    return Ends(
        alloc(core, UB, group * BLOCK), alloc(core, UB, slots * group * row_bytes, slots),
        alloc(core, UB, compact_scratch_bytes(core, row_bytes)),
    )  # fmt: skip


@emits
def finish_weights(core: Any, e: Ends, made: int, slot: int, t: Weights, shape: Any) -> None:
    """Pack rows of less than a block, and gather the ends of those that are no whole number of blocks."""
    size, area = size_of(core, shape.dtype), shape.kh * shape.kw
    row_bytes = shape.c * area * size
    if row_bytes < BLOCK:
        group = EDGE * row_period(core, row_bytes)
        data_move(core, e.tails, made, EDGE, 1, t.pitch // BLOCK - 1, 0)
        compact(core, e.packed + slot * group * row_bytes, e.tails, t.rows, row_bytes, e.scratch)
    elif t.step == area and t.channels * area * size % BLOCK != 0:
        to, run = e.tails + slot * EDGE * EDGE * BLOCK, t.channels * area * size
        row_tails(core, to, made, t.pitch, t.rows, run, e.scratch)
    elif t.step != area and t.positions * size % BLOCK != 0:
        for row in range(t.rows):
            to, src = e.tails + (slot * EDGE + row) * EDGE * BLOCK, made + row * t.pitch
            row_tails(core, to, src, t.step * size, t.channels, t.positions * size, e.scratch)


@emits
def store_weights(core: Any, w: int, e: Ends, made: int, slot: int, t: Weights, shape: Any) -> None:
    """Write a tile: rows of whole channels, or some positions of each channel."""
    size, area = size_of(core, shape.dtype), shape.kh * shape.kw
    row_bytes, tails = shape.c * area * size, e.tails + slot * EDGE * EDGE * BLOCK
    to = w + t.o * row_bytes + (t.c * area + t.p) * size
    if row_bytes < BLOCK:
        packed = e.packed + slot * EDGE * row_period(core, row_bytes) * row_bytes
        data_move(core, to, packed, 1, pitch_bytes(core, t.rows * row_bytes) // BLOCK)
    elif t.step == area:
        store_exact(core, to, row_bytes, made, t.pitch, t.rows, t.channels * area * size, tails)
    else:
        for row in range(t.rows):
            src, ends, run = made + row * t.pitch, tails + row * EDGE * BLOCK, t.positions * size
            store_exact(core, to + row * row_bytes, area * size, src, t.step * size, t.channels, run, ends)


class Cut(NamedTuple):
    """How weights are cut: sets of groups of 16 input channels, pieces of positions, the room of a tile."""

    sets: int
    groups: int
    pieces: int
    step: int
    room: int


@emits
def cut_of(core: Any, shape: Any, tiling: Any) -> Cut:
    """Return tiles whose rows have a block at least: a last group or piece of less joins the one before."""
    size, area, across = size_of(core, shape.dtype), shape.kh * shape.kw, (shape.c + 15) // 16
    if tiling.positions < area and area >= 2 * EDGE:
        step = max(1, tiling.positions // (2 * EDGE)) * EDGE
        return Cut(across, 1, area // step, step, 2 * step)
    groups = min(tiling.groups, across)
    sets, rest = (across + groups - 1) // groups, shape.c - (across - 1) * EDGE
    if across > 1 and across % groups == 1 % groups and rest * area * size < BLOCK:
        return Cut(max(1, sets - 1), groups, 1, area, (groups + 1) * area)
    return Cut(sets, groups, 1, area, groups * area)


@emits
def tile_of(core: Any, c: Cut, number: int, shape: Any) -> Weights:
    """Return a tile by its number."""
    size, area, across = size_of(core, shape.dtype), shape.kh * shape.kw, (shape.c + 15) // 16
    down = (shape.o + 15) // 16
    part, piece = number // c.pieces, number % c.pieces
    first, o1, p = part // down * c.groups, part % down, piece * c.step
    groups = c.groups if part // down + 1 < c.sets else across - first
    positions = c.step if piece + 1 < c.pieces else area - p
    step = area if c.pieces == 1 else (positions + EDGE - 1) // EDGE * EDGE
    channels, rows = min(groups * EDGE, shape.c - first * EDGE), min(EDGE, shape.o - o1 * EDGE)
    return Weights(first * EDGE, channels, o1 * EDGE, rows, p, positions, step, groups * EDGE * step * size)


def _operands(shape: WeightShape) -> tuple[Operand, ...]:
    axes = (shape.o, shape.c, shape.kh, shape.kw)
    return Operand("w", axes, shape.dtype), output("y", axes, shape.dtype, "FRACTAL_Z")


def _back_operands(shape: WeightShape) -> tuple[Operand, ...]:
    axes = (shape.o, shape.c, shape.kh, shape.kw)
    return Operand("x", axes, shape.dtype, "FRACTAL_Z"), output("w", axes, shape.dtype)


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


@dataclass(frozen=True)
class WeightBackTiling(WeightTiling):
    """As WeightTiling; pieces of a filter have half the positions, the last one up to all of them."""

    def blocks(self, shape: WeightShape, platform: Platform) -> int:
        """Return one core per tile, as many as there are."""
        cut = cut_of(None, shape, self)
        return min(int(platform.ai_cores), cut.sets * -(-shape.o // EDGE) * cut.pieces)


@kernel(WeightShape, WeightBackTiling, _back_operands, _reference)
def fractal_z_to_oihw(core: Any, x: int, w: int, shape: Any, tiling: Any) -> None:
    """w[o, c, kh, kw] = x[c1, kh, kw, o1, o0, c0] with c = c1 * 16 + c0, o = o1 * 16 + o0."""
    size, slots, area = size_of(core, shape.dtype), tiling.slots, shape.kh * shape.kw
    c, fractal, down = cut_of(core, shape, tiling), FRACTAL * size, (shape.o + 15) // 16
    tile = c.room * fractal
    ub_in, ub_out = alloc(core, UB, slots * tile, slots), alloc(core, UB, slots * tile, slots)
    words, sorted_words = alloc(core, UB, tile), alloc(core, UB, tile if size == 4 else 0)
    e, tiles = ends_of(core, shape, slots), c.sets * down * c.pieces
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for number in range(share_start(core, tiles, 1), share_end(core, tiles, 1)):
        t = tile_of(core, c, number, shape)
        groups, taken = (t.channels + 15) // 16, ub_in + fill(core, q_in) * tile
        start = x + ((t.c // EDGE * area + t.p) * down + t.o // EDGE) * fractal
        blocks = fractal // BLOCK
        move_planes(core, taken, start, t.positions * groups, blocks, blocks, down * blocks)
        filled(core, q_in)
        use(core, q_in)
        slot = fill(core, q_out)
        made = ub_out + slot * tile
        unweave(core, made, taken, words, sorted_words, t, groups, size)
        free(core, q_in)
        finish_weights(core, e, made, slot, t, shape)
        filled(core, q_out)
        use(core, q_out)
        store_weights(core, w, e, made, slot, t, shape)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
