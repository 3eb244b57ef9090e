"""Problems of fused attention, and how they are cut: keys of a tile, queries of a group, groups of a unit."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from davinci_sim.platforms import Platform
from kernels.lang import FP16, Shape, Tiling
from kernels.pieces.attention import EDGE, SUM_ROWS
from kernels.pieces.identity import ONE_BYTES
from kernels.rules import require, require_dtype, round_up

MOST_DEPTH = 256
STATS_BYTES = 12288
"""More than what UB holds beside scores, sums, products, results and queries."""
STEP_CYCLES = 300
"""What barriers and short instructions cost per step, simulated on the 910A; estimates only rank tilings."""


@dataclass(frozen=True)
class AttentionShape(Shape):
    """q[b, heads, t, d], k and v[b, heads, s, d]; s is t unless given; `causal` 1 hides later keys."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("s", "causal")
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"b": 1, "heads": 2, "t": 40, "d": 24}, {"b": 2, "heads": 1, "t": 17, "d": 64, "s": 70},
        {"b": 1, "heads": 1, "t": 150, "d": 33, "causal": 1}, {"b": 1, "heads": 1, "t": 300, "d": 128},
    )  # fmt: skip
    b: int
    heads: int
    t: int
    d: int
    s: int = 0
    causal: int = 0
    dtype: int = FP16
    MASKED: ClassVar[bool] = False

    def check(self, kernel: str) -> None:
        """Refuse other types than fp16, wide heads, odd options, and masks that are not square."""
        require_dtype(kernel, self.dtype, FP16)
        require(kernel, self.d <= MOST_DEPTH, f"d is at most {MOST_DEPTH}", f"d={self.d}")
        require(kernel, self.s >= 0, "s is at least 0", f"s={self.s}")
        require(kernel, self.causal in {0, 1}, "causal is 0 or 1", f"causal={self.causal}")
        same = not self.causal or self.s in {0, self.t}
        require(kernel, same, "with causal there are as many keys as queries", f"t={self.t}, s={self.s}")

    @property
    def keys(self) -> int:
        """How many keys there are."""
        return self.s or self.t

    @property
    def rows(self) -> int:
        """How many queries there are in whole fractals."""
        return round_up(self.t, EDGE)


@dataclass(frozen=True)
class MaskedShape(AttentionShape):
    """As AttentionShape, with a mask: `mask` 1 is one for all, 2 one per batch."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("s", "causal", "mask")
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"b": 2, "heads": 2, "t": 40, "d": 24},
        {"b": 2, "heads": 1, "t": 70, "d": 64, "s": 150, "mask": 2},
    )
    MASKED: ClassVar[bool] = True
    mask: int = 1

    def check(self, kernel: str) -> None:
        """Refuse what attention refuses, and other masks."""
        super().check(kernel)
        require(kernel, self.mask in {1, 2}, "mask is 1 (for all) or 2 (per batch)", f"mask={self.mask}")


@dataclass(frozen=True)
class AttentionTiling(Tiling):
    """Keys of a tile, columns of 16 queries of a group, groups of a unit, keys of a piece for L0."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    tile: int
    columns: int
    groups: int
    k_piece: int
    v_piece: int

    @classmethod
    def default(cls, shape: AttentionShape, platform: Platform) -> "AttentionTiling":
        """Return the tiling with the least estimated time."""
        return min(cls._fitting(shape, platform), key=lambda tiling: tiling._estimate(shape, platform))

    @classmethod
    def space(cls, shape: AttentionShape, platform: Platform) -> Iterator["AttentionTiling"]:
        """Yield the default tiling, the others, and one of half the keys."""
        first = cls.default(shape, platform)
        yield first
        yield from (tiling for tiling in cls._fitting(shape, platform) if tiling != first)
        if first.tile > EDGE:
            half = round_up(first.tile // 2, EDGE)
            yield replace(first, tile=half)

    @classmethod
    def _fitting(cls, shape: AttentionShape, platform: Platform) -> Iterator["AttentionTiling"]:
        """Yield tilings from large to small groups, each with the longest equal tiles that fit."""
        sizes = [(columns, groups) for columns in (4, 2, 1) for groups in (2, 1)]
        for columns, groups in sizes:
            longest = cls._longest(shape, platform, columns, groups)
            if longest >= EDGE or (columns, groups) == (1, 1):
                yield cls._cut(shape, platform, columns, groups, max(EDGE, longest))

    @classmethod
    def _cut(
        cls, shape: AttentionShape, platform: Platform, columns: int, groups: int, longest: int
    ) -> "AttentionTiling":
        """Return the tiling with equal tiles of at most `longest` keys."""
        width = round_up(shape.d, EDGE)
        tile = round_up(-(-shape.keys // -(-shape.keys // longest)), EDGE)
        l0a, l0b = int(platform.l0a_bytes) // 2, int(platform.l0b_bytes)
        queries = 2 * columns * EDGE
        k_piece = l0a // (2 * max(width, columns * EDGE if shape.MASKED else 0)) // EDGE * EDGE
        l0b -= ONE_BYTES if shape.MASKED else 0
        v_piece = (
            min(l0a // (2 * (width + SUM_ROWS)), (l0b - 2 * queries * width) // 2 // queries) // EDGE * EDGE
        )
        return cls(tile, columns, groups, max(EDGE, min(k_piece, tile)), max(EDGE, min(v_piece, tile)))

    @staticmethod
    def _longest(shape: AttentionShape, platform: Platform, columns: int, groups: int) -> int:
        """Return how many keys fit UB, L1 and L0C, in whole fractals."""
        width, queries = round_up(shape.d, EDGE), columns * EDGE
        sums = queries * (width + SUM_ROWS) * 4
        ub = int(platform.ub_bytes) - STATS_BYTES - (groups + 1) * sums - (groups + 1) * queries * width * 2
        masks = 4 * groups * queries if shape.MASKED else 0
        l1 = int(platform.l1_bytes) - 2 * groups * queries * width * 2 - ONE_BYTES
        l1 //= 8 * width + 2 * queries + masks
        l0c = (int(platform.l0c_bytes) - 2 * sums) // (2 * queries)
        l0b = int(platform.l0b_bytes) - 2 * queries * width * 2 - 2 * 2 * queries * EDGE
        return max(0, min(ub // (2 * queries), l1, l0c) // EDGE * EDGE) if l0b >= 0 else 0

    def _estimate(self, shape: AttentionShape, platform: Platform) -> int:
        """Estimate cycles: the units of a core, each bound by vector unit, cube or memory path."""
        width, queries = round_up(shape.d, EDGE), self.columns * EDGE
        tiles, cores = -(-shape.keys // self.tile), int(platform.ai_cores)
        vector = tiles * (7 * queries * self.tile // 128 + 3 * queries * width // 64 + STEP_CYCLES)
        cube = tiles * queries * self.tile * (2 * width + SUM_ROWS) // 4096
        path = min(int(platform.l2_read_bytes_per_cycle), int(platform.l2_chip_bytes_per_cycle) // cores)
        loads = 4 * width + (2 * self.groups * queries if shape.MASKED else 0)
        unit = max(self.groups * max(vector, cube), tiles * self.tile * loads * 4 // (3 * path))
        return -(-self.units(shape) // cores) * unit

    def units(self, shape: AttentionShape) -> int:
        """Return how many units there are."""
        return shape.b * shape.heads * -(-shape.t // (self.columns * self.groups * EDGE))

    def blocks(self, shape: AttentionShape, platform: Platform) -> int:
        """Return one core per unit, as many as there are."""
        return min(int(platform.ai_cores), self.units(shape))


@dataclass(frozen=True)
class PrepareTiling(Tiling):
    """Queries of a tile, a multiple of 16 and at most 64, and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int
    slots: int = 2

    @classmethod
    def default(cls, shape: AttentionShape, platform: Platform) -> "PrepareTiling":
        """Return the most queries of which UB holds two slots: five arrays of fp16, and sums of sixteen."""
        bytes_each = 2 * (8 * round_up(shape.d, EDGE) + 2 * 2 * EDGE) + 3 * 4 * EDGE
        fitting = int(platform.ub_bytes) * 9 // 10 // bytes_each // EDGE * EDGE
        return cls(max(EDGE, min(64, fitting, round_up(shape.t, EDGE))))

    @classmethod
    def space(cls, shape: AttentionShape, platform: Platform) -> Iterator["PrepareTiling"]:
        """Yield the default tiling, one with single buffers, and the smallest."""
        first = cls.default(shape, platform)
        yield first
        yield replace(first, slots=1)
        yield cls(EDGE)

    def blocks(self, shape: AttentionShape, platform: Platform) -> int:
        """Return one core per tile, as many as there are."""
        return min(int(platform.ai_cores), shape.b * shape.heads * -(-shape.t // self.rows))


@dataclass(frozen=True)
class PairTiling(Tiling):
    """Queries `m` and keys `n` of a block, and queries that are multiplied at once (multiples of 16)."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("m", "n", "piece")
    m: int
    n: int
    piece: int

    @classmethod
    def default(cls, shape: AttentionShape, platform: Platform) -> Self:
        """Return blocks of up to 256 x 128, as many keys and queries at once as L0 holds twice."""
        l0 = min(int(platform.l0a_bytes), int(platform.l0b_bytes)) // 4
        width = round_up(shape.d, EDGE) + SUM_ROWS
        longest = max(EDGE, min(128, l0 // width) // EDGE * EDGE)
        rows = round_up(shape.t, EDGE)
        return cls(min(256, rows), min(longest, round_up(shape.keys, EDGE)), min(longest, rows))

    @classmethod
    def space(cls, shape: AttentionShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling and smaller blocks."""
        first = cls.default(shape, platform)
        yield first
        for m, n in ((first.m // 2, first.n), (first.m, first.n // 2), (EDGE, EDGE)):
            yield cls(round_up(m, EDGE), round_up(n, EDGE), min(first.piece, round_up(m, EDGE)))


class KeyTiling(PairTiling):
    """Cores own blocks of keys."""

    def blocks(self, shape: AttentionShape, platform: Platform) -> int:
        """Return one core per block of keys, as many as there are."""
        return min(int(platform.ai_cores), shape.b * shape.heads * -(-shape.keys // round_up(self.n, EDGE)))


class QueryTiling(PairTiling):
    """Cores own blocks of queries."""

    def blocks(self, shape: AttentionShape, platform: Platform) -> int:
        """Return one core per block of queries, as many as there are."""
        return min(int(platform.ai_cores), shape.b * shape.heads * -(-shape.t // round_up(self.m, EDGE)))
