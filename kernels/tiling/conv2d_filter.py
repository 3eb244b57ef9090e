"""Tilings of the convolution's gradient to the filter, and how many parts it is best summed in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import ClassVar, NamedTuple, Self

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import FP32
from davinci_sim.platforms import Platform
from kernels.lang.buffers import UB_GAP
from kernels.lang.shapes import Tiling
from kernels.tiling.conv2d import CORE_SHARES, FLAG_CYCLES, RANKED, SLOTS, slowdown
from kernels.tiling.conv2d_shape import (
    ACCUMULATOR_BYTES,
    BLOCK_BYTES,
    EDGE,
    FEW_SAMPLE,
    FRACTAL_BYTES,
    ConvShape,
    Problem,
    ceil_div,
    check_splits,
    dense_parts,
    even,
    groups,
)
from kernels.tiling.least import Family, labelled, least
from kernels.tiling.together import least_together, loaded, together

HEIGHTS, WIDTHS = (1, 2, 4, 8, 16), (1, 2, 4, 8, 12, 16, 20, 24, 32, 36, 64)
"""Edges of accumulators that are tried, in fractals."""
UB_FRACTALS = 64
"""Accumulator fractals that pass through UB at once, per slot."""


@dataclass(frozen=True)
class FilterShape(ConvShape):
    """The forward convolution's axes; the gradient is given as `splits` sums over shares of the images."""

    TAKES_FEW: ClassVar[bool] = True
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (*ConvShape.SAMPLES, FEW_SAMPLE)
    splits: int = 1
    out_dtype: int = FP32

    def check(self, kernel: str) -> None:
        """Raise BadShape where a split has no image or the convolution is not legal."""
        check_splits(kernel, self.splits, self.n)
        if self.out_dtype != FP32:
            raise BadShape(f"kernel {kernel}: out_dtype\n  rule: sums are fp32\n  next: cast their sum")
        super().check(kernel)


@dataclass(frozen=True)
class FilterTiling(Tiling):
    """How the gradient to the filter is cut; lengths in fractals but for `images` and `rows`.

    `group_cores` x `split_cores` x `filter_cores` x `channel_cores` cores share the dense convolutions, the
    splits, the filter's inner fractals (c1, kh, kw) and the output channel groups. An accumulator in
    L0C, one of `slots`, is m0 output groups x n0 inner fractals; `rows` output rows of an image, or
    `images` whole images, come to L1 at once, k0 fractals of positions to L0A and L0B.
    """

    group_cores: int
    split_cores: int
    filter_cores: int
    channel_cores: int
    images: int
    rows: int
    m0: int
    n0: int
    k0: int
    slots: int

    @classmethod
    def default(cls, shape: FilterShape, platform: Platform) -> Self:
        """Return the tiling with the least estimated cycles."""
        return cls(*best(shape, platform))

    @classmethod
    def space(cls, shape: FilterShape, platform: Platform) -> Iterator[Self]:
        """Yield the default, variants of it that fit, and the next best estimates."""
        first = cls.default(shape, platform)
        yield first
        for changed in (
            {"rows": 1, "images": 1}, {"rows": shape.oh, "images": 2}, {"m0": 1}, {"n0": 1}, {"k0": 1},
            {"slots": 1}, {"filter_cores": 1}, {"split_cores": 1, "channel_cores": 1}, {"group_cores": 1},
        ):  # fmt: skip
            made = replace(first, **changed)
            if made != first and fits(shape, made, platform):
                yield made
        for values in ranked(shape, platform)[1:]:
            yield cls(*values)

    def blocks(self, shape: FilterShape, platform: Platform) -> int:
        """Return one core per share."""
        return self.group_cores * self.split_cores * self.filter_cores * self.channel_cores


class Sides(NamedTuple):
    """The dense convolutions: how many, channel groups in and out, inner fractals."""

    parts: int
    inputs: int
    outputs: int
    depth: int


@lru_cache(maxsize=512)
def sides(shape: FilterShape) -> Sides:
    """Return the dense convolutions of a shape."""
    parts, inputs, outputs = dense_parts(shape)
    return Sides(parts, inputs, outputs, inputs * shape.elements)


@lru_cache(maxsize=512)
def image_pitch(shape: FilterShape) -> int:
    """Return the rows of x from one stacked image to the next."""
    return Problem.forward(shape).pitch


def tall_rows(shape: FilterShape, t: FilterTiling) -> tuple[int, int]:
    """Return the most rows of x and of dy that a tile has in L1."""
    seen = shape.oh if shape.skips_rows else shape.h
    if t.images > 1:
        pitch = image_pitch(shape)
        return (t.images - 1) * pitch + seen, (t.images - 1) * (pitch // shape.stride) + shape.oh
    if shape.skips_rows:
        return t.rows, t.rows
    return min(seen, (t.rows - 1) * shape.stride + shape.extent[0]), t.rows


def inner_groups(shape: FilterShape, n0: int) -> int:
    """Return the most channel groups that n0 fractals of (c1, kh, kw) touch."""
    return min(sides(shape).inputs, (n0 - 2) // shape.elements + 2)


def l1_slot_bytes(shape: FilterShape, t: FilterTiling) -> int:
    """Return the bytes of a tile of x and dy in L1."""
    seen, rows = tall_rows(shape, t)
    x = inner_groups(shape, t.n0) * seen * shape.row_blocks * BLOCK_BYTES
    return x + t.m0 * ceil_div(rows * shape.ow, EDGE) * FRACTAL_BYTES + 2 * FRACTAL_BYTES


def fits(shape: FilterShape, t: FilterTiling, platform: Platform) -> bool:
    """Tell whether every buffer of a tiling has room, and its images can be stacked."""
    if t.images > 1 and (t.rows < shape.oh or shape.skips_rows or shape.few):
        return False
    return (
        SLOTS * l1_slot_bytes(shape, t) <= int(platform.l1_bytes)
        and SLOTS * t.m0 * t.k0 * FRACTAL_BYTES <= int(platform.l0a_bytes)
        and SLOTS * t.k0 * t.n0 * FRACTAL_BYTES <= int(platform.l0b_bytes)
        and t.slots * t.m0 * t.n0 * ACCUMULATOR_BYTES <= int(platform.l0c_bytes)
        and SLOTS * max(UB_FRACTALS, t.m0) * ACCUMULATOR_BYTES + 2 * UB_GAP <= int(platform.ub_bytes)
    )


def best(shape: FilterShape, platform: Platform) -> tuple[int, ...]:
    """Return the fields of the tiling with the least estimated cycles among those that fit."""
    return ranked(shape, platform, 1)[0]


@lru_cache(maxsize=512)
def ranked(shape: FilterShape, platform: Platform, count: int = RANKED) -> tuple[tuple[int, ...], ...]:
    """Return the fields of the tilings that fit with the least estimated cycles, the best first."""
    found = least(families(shape, platform), lambda t: estimate(shape, t, platform), count)
    found = found or [FilterTiling(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)]
    return tuple(tuple(getattr(each, name) for name in FilterTiling.names()) for each in found)


def families(shape: FilterShape, platform: Platform) -> list[Family[FilterTiling]]:
    """Return tilings that fit, by shares of the cores and what a tile is, with their bounds."""
    cores, side = int(platform.ai_cores), sides(shape)
    group_cores = min(cores, side.parts)
    split_cores = min(shape.splits, cores // group_cores)
    left = cores // group_cores // split_cores
    tiles = [(1, ceil_div(shape.oh, parts)) for parts in range(1, shape.oh + 1)]
    if not shape.skips_rows:
        tiles += [(images, shape.oh) for images in (2, 4, 8, 16) if images <= ceil_div(shape.n, shape.splits)]
    spreads = (
        (group_cores, split_cores, min(left // shared, side.depth), shared)
        for shared in CORE_SHARES
        if shared <= min(left, side.outputs)
    )
    return [
        (_bound(shape, platform, spread, tile), partial(_cuts, shape, platform, spread, tile))
        for spread, tile in product(spreads, dict.fromkeys(tiles))
    ]


def _bound(
    shape: FilterShape, platform: Platform, spread: tuple[int, int, int, int], tile: tuple[int, int]
) -> float:
    """Return what no estimate lies below for shares of the cores and a tile, whatever the accumulator is.

    One of m0 x n0 fractals makes m * n / (m0 * n0) rounds at least, of which each reads m0 and n0 fractals:
    so that its edges, and what L0C holds, are what keeps reads from being less.
    """
    whole = FilterTiling(*spread, *tile, 1, 1, 1, 1)
    side, (seen, rows) = sides(shape), tall_rows(shape, whole)
    m, n = ceil_div(side.outputs, whole.channel_cores), ceil_div(side.depth, whole.filter_cores)
    runs = ceil_div(shape.splits, whole.split_cores) * ceil_div(side.parts, whole.group_cores)
    positions = ceil_div(rows * shape.ow, EDGE)
    tiles = ceil_div(ceil_div(shape.n, shape.splits), whole.images) * ceil_div(shape.oh, whole.rows)
    tall, wide = min(m, HEIGHTS[-1]), min(n, WIDTHS[-1])
    x_bytes = whole.images * min(seen, shape.h) * shape.row_blocks * BLOCK_BYTES / shape.elements
    dy_bytes = whole.images * whole.rows * shape.ow * BLOCK_BYTES
    cube = tiles * m * n * (positions + int(platform.mmad_head_cycles) / (tall * wide))
    unfold = tiles * m * n * positions * (1 / wide + max(2, shape.stride) / tall)
    store = m * n * ACCUMULATOR_BYTES / int(platform.ub_to_gm_bytes_per_cycle)
    pipes = [runs * work for work in (cube, unfold, store)]
    read = runs * tiles * m * n * (x_bytes / tall + dy_bytes / wide)
    working = loaded(
        least_together(pipes),
        read / int(platform.gm_to_l1_bytes_per_cycle),
        _memory_cycles(shape, platform),
    )
    return whole.blocks(shape, platform) * int(platform.block_start_cycles) + working


def _cuts(
    shape: FilterShape, platform: Platform, spread: tuple[int, int, int, int], tile: tuple[int, int]
) -> Iterator[FilterTiling]:
    """Yield accumulators that fit, for shares of the cores and a tile."""
    side, fractals = sides(shape), int(platform.l0c_bytes) // ACCUMULATOR_BYTES
    l0 = min(int(platform.l0a_bytes), int(platform.l0b_bytes)) // FRACTAL_BYTES // SLOTS
    share_m, share_n = ceil_div(side.outputs, spread[3]), ceil_div(side.depth, spread[2])
    _, rows = tall_rows(shape, FilterTiling(*spread, *tile, 1, 1, 1, 1))
    positions = ceil_div(rows * shape.ow, EDGE)
    shapes = product(HEIGHTS, WIDTHS)
    for m0, n0 in dict.fromkeys((even(share_m, min(m, l0)), even(share_n, min(n, l0))) for m, n in shapes):
        slots = 2 if 2 * m0 * n0 <= fractals else 1
        k0 = even(positions, max(1, l0 // max(m0, n0)))
        made = FilterTiling(*spread, *tile, m0, n0, k0, slots)
        if fits(shape, made, platform):
            yield made


def estimate(shape: FilterShape, t: FilterTiling, platform: Platform) -> float:
    """Estimate cycles: the start, tiles through the pipes of a core for every accumulator, the last store."""
    side, (seen, rows) = sides(shape), tall_rows(shape, t)
    images = ceil_div(shape.n, shape.splits)
    m, n = ceil_div(side.outputs, t.channel_cores), ceil_div(side.depth, t.filter_cores)
    blocks = ceil_div(m, t.m0) * ceil_div(n, t.n0)
    runs = ceil_div(shape.splits, t.split_cores) * ceil_div(side.parts, t.group_cores)
    positions = ceil_div(rows * shape.ow, EDGE)
    steps = ceil_div(positions, t.k0)
    m0, n0 = min(t.m0, m), min(t.n0, n)
    tiles = ceil_div(images, t.images) * ceil_div(shape.oh, t.rows)
    conflicts = max(0, t.k0 - 2) if m0 % 2 or n0 % 2 else 0
    cube = m * n * positions + blocks * steps * (int(platform.mmad_head_cycles) + conflicts + 1)
    heads = min(m0, t.k0) * int(platform.load2d_l0a_head_cycles)
    heads += min(n0, t.k0) * int(platform.load3d_head_cycles) + FLAG_CYCLES
    loads = blocks * (positions * (m0 + n0 * max(2, shape.stride)) + heads * steps)
    x_moves = t.images * (inner_groups(shape, t.n0) if shape.skips_rows and shape.stride > 1 else 1)
    x_bytes = inner_groups(shape, t.n0) * t.images * min(seen, shape.h) * shape.row_blocks * BLOCK_BYTES
    dy_bytes = t.m0 * t.images * t.rows * shape.ow * BLOCK_BYTES
    head, path = int(platform.gm_to_l1_head_cycles), int(platform.gm_to_l1_bytes_per_cycle)
    apart = t.rows * shape.w * BLOCK_BYTES if shape.kh == 1 else BLOCK_BYTES  # windows begin at any row
    slower = slowdown(platform, apart)
    load = (x_moves + t.images) * head + (x_bytes + dy_bytes) * slower / path
    store = m * n * (ACCUMULATOR_BYTES / int(platform.ub_to_gm_bytes_per_cycle)) + blocks * head
    store *= 2 if side.parts > 1 else 1
    busy = [runs * work for work in (tiles * cube, tiles * loads, blocks * store / blocks)]
    working = loaded(together(busy), runs * tiles * blocks * load, _memory_cycles(shape, platform))
    filling = max(
        load, t.blocks(shape, platform) * (x_bytes + dy_bytes) / 2 / int(platform.hbm_bytes_per_cycle)
    )
    last = store / blocks + m0 * n0 * ACCUMULATOR_BYTES / int(platform.l0c_to_ub_bytes_per_cycle)
    launch = t.blocks(shape, platform) * int(platform.block_start_cycles)
    return launch + filling + working + last


def _memory_cycles(shape: FilterShape, platform: Platform) -> float:
    """Return the cycles that device memory is busy with reading each operand once."""
    x = groups(shape.c) * (shape.oh if shape.skips_rows else shape.h) * shape.row_blocks
    dy = groups(shape.o) * shape.oh * shape.ow
    return shape.n * (x + dy) * BLOCK_BYTES / int(platform.hbm_bytes_per_cycle)


def best_splits(shape: FilterShape, platform: Platform) -> int:
    """Return the `splits` with the least estimated cycles, those of adding the parts up included.

    The parts are read once and the sum is written by all cores. One search goes over the tilings of all.
    """
    side, hbm = sides(shape), int(platform.hbm_bytes_per_cycle)
    part_bytes = side.parts * side.depth * side.outputs * ACCUMULATOR_BYTES
    launch = int(platform.task_start_cycles) + int(platform.ai_cores) * int(platform.block_start_cycles)

    def summed(splits: int, cycles: float) -> float:
        return cycles if splits == 1 else cycles + (splits + 1) * part_bytes / hbm + launch

    made = {
        splits: replace(shape, splits=splits)
        for splits in CORE_SHARES
        if splits <= min(shape.n, int(platform.ai_cores))
    }
    choices = [
        labelled(splits, (summed(splits, bound), members))
        for splits, each in made.items()
        for bound, members in families(each, platform)
    ]
    found = least(choices, lambda one: summed(one[0], estimate(made[one[0]], one[1], platform)), 1)
    return found[0][0] if found else 1
