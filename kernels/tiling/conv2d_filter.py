"""Tilings of the convolution's gradient to the filter, and how many parts it is best summed in."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import ClassVar, Self

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import FP32
from davinci_sim.platforms import Platform
from kernels.lang.shapes import Tiling
from kernels.tiling.conv2d import FLAG_CYCLES, SLOTS
from kernels.tiling.conv2d_shape import (
    ACCUMULATOR_BYTES,
    BLOCK_BYTES,
    EDGE,
    FRACTAL_BYTES,
    ConvShape,
    ceil_div,
    even,
    groups,
    transfer,
)

UB_FRACTALS = 64
"""Accumulator fractals that pass through UB at once, per slot."""


@dataclass(frozen=True)
class FilterShape(ConvShape):
    """The forward convolution's axes; the gradient is given as `splits` sums over shares of the images."""

    splits: int = 1
    out_dtype: int = FP32
    OPTIONS: ClassVar[tuple[str, ...]] = ("pad",)

    @property
    def depth(self) -> int:
        """Fractals of the filter per group of outputs: channel groups times filter elements."""
        return groups(self.c) * self.kh * self.kw

    def check(self, kernel: str) -> None:
        """Raise BadShape where a split has no image or the convolution is not legal."""
        if self.splits > self.n:
            raise BadShape(
                f"kernel {kernel}: splits={self.splits}, n={self.n}\n"
                "  rule: every split sums at least one image\n  next: use at most n splits"
            )
        if self.out_dtype != FP32:
            raise BadShape(f"kernel {kernel}: out_dtype\n  rule: sums are fp32\n  next: cast their sum")
        super().check(kernel)


@dataclass(frozen=True)
class FilterTiling(Tiling):
    """How the gradient to the filter is cut; lengths in fractals but for `rows`.

    `split_cores` x `filter_cores` x `channel_cores` cores share the splits, the filter's inner fractals
    (c1, kh, kw) and the output channel groups. An accumulator in L0C is m0 output groups x n0 inner
    fractals; `rows` output rows of an image come to L1 at once, k0 fractals of positions to L0A and L0B.
    """

    split_cores: int
    filter_cores: int
    channel_cores: int
    rows: int
    m0: int
    n0: int
    k0: int

    @classmethod
    def default(cls, shape: FilterShape, platform: Platform) -> Self:
        """Return the tiling with the least estimated cycles."""
        return cls(*best(shape, platform))

    @classmethod
    def space(cls, shape: FilterShape, platform: Platform) -> Iterator[Self]:
        """Yield the default, then variants of it that fit."""
        first = cls.default(shape, platform)
        yield first
        for changed in (
            {"rows": 1},
            {"m0": 1},
            {"n0": 1},
            {"k0": 1},
            {"filter_cores": 1},
            {"split_cores": 1},
        ):
            made = replace(first, **changed)
            if made != first and fits(shape, made, platform):
                yield made

    def blocks(self, shape: FilterShape, platform: Platform) -> int:
        """Return one core per share."""
        return self.split_cores * self.filter_cores * self.channel_cores


def inner_groups(shape: FilterShape, n0: int) -> int:
    """Return the most channel groups that n0 fractals of (c1, kh, kw) touch."""
    return min(groups(shape.c), (n0 - 2) // (shape.kh * shape.kw) + 2)


def seen_rows(shape: FilterShape, rows: int) -> int:
    """Return the most rows of x under `rows` rows of dy."""
    if shape.skips_rows:
        return rows
    return min(shape.h, (rows - 1) * shape.stride + shape.extent[0])


def l1_slot_bytes(shape: FilterShape, t: FilterTiling) -> int:
    """Return the bytes of a tile of x and dy in L1."""
    x = inner_groups(shape, t.n0) * seen_rows(shape, t.rows) * shape.w * BLOCK_BYTES
    return x + t.m0 * t.rows * shape.ow * BLOCK_BYTES + FRACTAL_BYTES


def fits(shape: FilterShape, t: FilterTiling, platform: Platform) -> bool:
    """Tell whether every buffer of a tiling has room."""
    return (
        SLOTS * l1_slot_bytes(shape, t) <= int(platform.l1_bytes)
        and SLOTS * t.m0 * t.k0 * FRACTAL_BYTES <= int(platform.l0a_bytes)
        and SLOTS * t.k0 * t.n0 * FRACTAL_BYTES <= int(platform.l0b_bytes)
        and SLOTS * t.m0 * t.n0 * ACCUMULATOR_BYTES <= int(platform.l0c_bytes)
        and SLOTS * max(UB_FRACTALS, t.m0) * ACCUMULATOR_BYTES <= int(platform.ub_bytes)
    )


@lru_cache(maxsize=512)
def best(shape: FilterShape, platform: Platform) -> tuple[int, ...]:
    """Return the fields of the tiling with the least estimated cycles among those that fit."""
    found = min(candidates(shape, platform), key=lambda t: estimate(shape, t, platform), default=None)
    found = found or FilterTiling(1, 1, 1, 1, 1, 1, 1)
    return tuple(getattr(found, name) for name in FilterTiling.names())


def candidates(shape: FilterShape, platform: Platform) -> Iterator[FilterTiling]:
    """Yield tilings that fit, by shares of the cores, rows of a tile and edges of the accumulator."""
    cores, outputs = int(platform.ai_cores), groups(shape.o)
    split_cores = min(shape.splits, cores)
    left = cores // split_cores
    channel_cores = [c for c in (1, 2, 4, 8, 16, 32) if c <= min(left, outputs)]
    heights = sorted({ceil_div(shape.oh, parts) for parts in range(1, shape.oh + 1)})
    limit = int(platform.l0c_bytes) // ACCUMULATOR_BYTES // SLOTS
    l0 = min(int(platform.l0a_bytes), int(platform.l0b_bytes)) // FRACTAL_BYTES // SLOTS
    for shared, rows, m0, n0 in product(channel_cores, heights, (1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 32, 64)):
        filter_cores = min(left // shared, shape.depth)
        share_m, share_n = ceil_div(outputs, shared), ceil_div(shape.depth, filter_cores)
        if (m0 > 1 and m0 // 2 >= share_m) or (n0 > 1 and n0 // 2 >= share_n) or m0 * n0 > limit:
            continue
        m, n = even(share_m, min(m0, l0)), even(share_n, min(n0, l0))
        k0 = even(ceil_div(rows * shape.ow, EDGE), max(1, l0 // max(m, n)))
        made = FilterTiling(split_cores, filter_cores, shared, rows, m, n, k0)
        if fits(shape, made, platform):
            yield made


def estimate(shape: FilterShape, t: FilterTiling, platform: Platform) -> float:
    """Estimate cycles: tiles through the busiest pipe of a core for every accumulator, then its store."""
    splits = ceil_div(shape.splits, t.split_cores)
    images = ceil_div(shape.n, shape.splits)
    m = ceil_div(groups(shape.o), t.channel_cores)
    n = ceil_div(shape.depth, t.filter_cores)
    blocks = ceil_div(m, t.m0) * ceil_div(n, t.n0)
    positions = ceil_div(t.rows * shape.ow, EDGE)
    steps = ceil_div(positions, t.k0)
    m0, n0 = min(t.m0, m), min(t.n0, n)
    cube = m0 * n0 * positions + (int(platform.mmad_head_cycles) + FLAG_CYCLES) * steps
    loads = m0 * (positions + int(platform.load2d_l0a_head_cycles) * steps)
    unfolds = n0 * positions * shape.stride + int(platform.load3d_head_cycles) * min(t.k0, n0) * steps
    rate = int(platform.hbm_bytes_per_cycle) / t.blocks(shape, platform)
    rate = min(int(platform.l2_read_bytes_per_cycle), rate)
    x_bytes = inner_groups(shape, t.n0) * seen_rows(shape, t.rows) * shape.w * BLOCK_BYTES
    dy_bytes = t.m0 * t.rows * shape.ow * BLOCK_BYTES
    moves = inner_groups(shape, t.n0) if shape.skips_rows and shape.stride > 1 else 1
    reads = moves * transfer(x_bytes / moves, platform, rate) + transfer(dy_bytes, platform, rate)
    tiles = blocks * images * splits * ceil_div(shape.oh, t.rows)
    store = transfer(m0 * n0 * ACCUMULATOR_BYTES, platform, rate)
    busiest = max(cube, loads + unfolds + FLAG_CYCLES * steps, reads)
    return reads + max(tiles * busiest, blocks * splits * store) + store


def best_splits(shape: FilterShape, platform: Platform) -> int:
    """Return the `splits` with the least estimated cycles, those of adding the parts up included.

    The parts are read once and the sum is written by all cores.
    """
    part_bytes = shape.depth * groups(shape.o) * ACCUMULATOR_BYTES

    def cycles(splits: int) -> float:
        made = replace(shape, splits=splits)
        adding = 0.0 if splits == 1 else (splits + 1) * part_bytes / int(platform.hbm_bytes_per_cycle)
        launch = 0 if splits == 1 else int(platform.task_start_cycles)
        return estimate(made, FilterTiling.default(made, platform), platform) + adding + launch

    options = [s for s in (1, 2, 4, 8, 16, 32, 64) if s <= min(shape.n, int(platform.ai_cores))]
    return min(options, key=cycles)
