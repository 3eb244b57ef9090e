"""Shapes of matrix products, and tilings of the pipeline that computes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from math import sqrt
from typing import ClassVar, NamedTuple

from davinci_sim.isa.fields import FP16, FP32
from davinci_sim.platforms import Platform
from kernels.lang.shapes import Shape, Tiling
from kernels.matmul_job import SHARED_A, SHARED_B
from kernels.matmul_results import GELU_ERF, GELU_TANH, RELU_LAST
from kernels.rules import require, require_dtype, round_up
from kernels.tiling.matmul_time import Cut, Estimate, speeds

EDGE = 16
SLOTS = 2
LENGTHS = (16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 512)
"""Edges of tiles that are tried; each is then made even, so that all tiles are alike."""
STEPS = (64, 128, 144, 176, 256, 384, 512)
"""Lengths of steps along k that are tried."""
LEANS = (1, 16, 32)
"""By how much rows of tiles become lower, where each core has one tile."""
TRIED, OFFERED = 6, 16
BANDED, BANDS = 6, (1, 2, 4, 8, 16)
"""How many of the best tilings a search tries in other bands, and in which."""
MAX_DEPTH = 4080
STAGE_ELEMENTS, STAGED_ELEMENTS = 16384, 8192
"""Results that leave at once, at most: less where they are computed on, so that the queues do not fill up."""
MAX_STAGES = 4
CUT_BYTES = 65536
GAPS_BYTES = 4096


class Sizes(NamedTuple):
    """Bytes of the buffers of a core, and how many cores there are."""

    l0a: int
    l0b: int
    l0c: int
    l1: int
    ub: int
    cores: int


@lru_cache(maxsize=64)
def sizes(platform: Platform) -> Sizes:
    """Return the sizes of a chip as integers."""
    p = platform
    figures = p.l0a_bytes, p.l0b_bytes, p.l0c_bytes, p.l1_bytes, p.ub_bytes, p.ai_cores
    return Sizes(*map(int, figures))


def ceil_div(value: int, by: int) -> int:
    """Return value / by, rounded up."""
    return -(-value // by)


def even(length: int, limit: int, unit: int = EDGE) -> int:
    """Return the longest piece that cuts a length evenly into the fewest of at most `limit`; in whole units.

    >>> even(1001, 256)
    256
    >>> even(300, 256)
    160
    """
    units, most = ceil_div(length, unit), max(1, limit // unit)
    return ceil_div(units, ceil_div(units, most)) * unit


@dataclass(frozen=True)
class MatmulShape(Shape):
    """c[b, m, n] = a[b, m, k] @ b[b, k, n]; a is stored (k, m) with trans_a, b (n, k) with trans_b."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("trans_a", "trans_b", "shared", "act")
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 16, "k": 16, "n": 16}, {"m": 100, "k": 70, "n": 50}, {"m": 256, "k": 300, "n": 128},
        {"m": 33, "k": 64, "n": 1001, "trans_b": 1}, {"m": 65, "k": 129, "n": 17, "trans_a": 1, "b": 2},
        {"m": 40, "k": 50, "n": 60, "dtype": FP32, "out_dtype": FP32},
        {"m": 130, "k": 512, "n": 90, "trans_a": 1, "trans_b": 1, "out_dtype": FP32},
    )  # fmt: skip
    APART: ClassVar[tuple[str, ...]] = OPTIONS
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 12288, "k": 1024, "n": 1024}, {"m": 12288, "k": 1024, "n": 4096, "act": 2},
        {"m": 4096, "k": 12288, "n": 1024, "trans_a": 1}, {"m": 32, "k": 2048, "n": 1001},
        {"m": 512, "k": 64, "n": 512, "b": 384, "trans_b": 1},
    )  # fmt: skip
    ADDS: ClassVar[bool] = False
    """Whether a residual is added to the product."""
    m: int
    k: int
    n: int
    b: int = 1
    trans_a: int = 0
    trans_b: int = 0
    shared: int = 0
    act: int = 0
    dtype: int = FP16
    out_dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse element types that the cube cannot multiply, results that L0C does not hold, odd options."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        require_dtype(kernel, self.out_dtype, FP16, FP32, name="out_dtype")
        self.check_options(kernel)

    def check_options(self, kernel: str) -> None:
        """Refuse options out of range."""
        for name, most in (("trans_a", 1), ("trans_b", 1), ("shared", 2), ("act", 3)):
            value = getattr(self, name)
            rule = " or ".join(map(str, range(most + 1)))
            require(kernel, 0 <= value <= most, f"{name} is {rule}", f"{name}={value}")
        rule = "what a batch shares needs a batch: shared is 0 where b is 1"
        require(kernel, self.shared == 0 or self.b > 1, rule, f"b={self.b}, shared={self.shared}")

    def batched(self, rows: int, columns: int) -> tuple[int, ...]:
        """Return the shape of a matrix, with the batch in front if there is one."""
        return (rows, columns) if self.b == 1 else (self.b, rows, columns)

    @cached_property
    def item(self) -> int:
        """Bytes of an element of a and b."""
        return {FP32: 4, FP16: 2}.get(self.dtype, 1)

    @cached_property
    def edge(self) -> int:
        """Elements of a row of a fractal along k."""
        return 32 if self.item == 1 else 16

    @cached_property
    def padded(self) -> tuple[int, int, int]:
        """m, k and n in whole fractals."""
        return round_up(self.m, EDGE), round_up(self.k, self.edge), round_up(self.n, EDGE)

    @property
    def targets(self) -> int:
        """Matrices of c."""
        return self.b

    @property
    def depth(self) -> int:
        """Length of the inner axis that a sum takes, in whole fractals."""
        return self.padded[1]

    @property
    def read_bytes(self) -> int:
        """Bytes of a and b."""
        m, k, n = self.padded
        count_a, count_b = (1 if self.shared == who else self.b for who in (SHARED_A, SHARED_B))
        return (count_a * m + count_b * n) * k * self.item

    @property
    def is_staged(self) -> bool:
        """Whether results are computed in UB, after they have left L0C."""
        return self.ADDS or self.act > RELU_LAST

    @property
    def vector_cycles(self) -> int:
        """Cycles of the vector unit for 64 results, beyond their way out of L0C."""
        rounding = 1 if self.is_staged and self.out_item == 2 else 0
        return rounding + int(self.ADDS) + {GELU_TANH: 10, GELU_ERF: 29}.get(self.act, 0)

    @property
    def taken_bytes(self) -> int:
        """Bytes of UB that are not for results: those for fp32 on its way to L1."""
        return CUT_BYTES if self.item == 4 else 0

    def bytes_leaving(self, stages: int) -> int:
        """Return the bytes of UB for each element of a stage, of which so many are on their way to GM."""
        work = 4 if self.is_staged and self.out_item == 2 else 0
        spares = {GELU_TANH: 1, GELU_ERF: 3}.get(self.act, 0)
        return (stages + 2 * int(self.ADDS)) * self.out_item + work + 4 * spares

    @property
    def out_item(self) -> int:
        """Bytes of an element of c."""
        return 2 if self.out_dtype == FP16 else 4


@dataclass(frozen=True)
class MatmulTiling(Tiling):
    """Edges of tiles in elements, and how they are walked through.

    A tile is m0 x n0, in parts of `part` columns side by side. A step brings at most l1_k of the inner axis
    to L1 (the first one of a core `head_k`, if that is less), and the cube takes k0 at once. Tiles are taken
    in bands of `band` below each other. Of a result `stage` elements leave at once, and `stages` of these are
    on their way; L1 has `slots` panels of a and of b. Each row of tiles is by `lean` lower than the one
    above, in whole fractals (less than 16 is none): blocks start one after the other, and where each has one
    tile the later ones have less to do.
    """

    m0: int
    k0: int
    n0: int
    l1_k: int
    head_k: int
    part: int
    band: int = 4
    stage: int = STAGE_ELEMENTS
    stages: int = 2
    slots: int = SLOTS
    lean: int = 1

    @classmethod
    def default(cls, shape: MatmulShape, platform: Platform) -> "MatmulTiling":
        """Return the tiling with the least estimated time; where none fits the least one."""
        return _ranked(shape, platform)[0]

    @classmethod
    def space(cls, shape: MatmulShape, platform: Platform) -> Iterator["MatmulTiling"]:
        """Yield tilings whose buffers fit, the one with the least estimated time first."""
        yield from _ranked(shape, platform)

    @classmethod
    def candidates(cls, shape: MatmulShape, platform: Platform) -> Iterator["MatmulTiling"]:
        """Yield those of the space with any number of slots, and the best ones in other bands."""
        yield from super().candidates(shape, platform)
        for first, band in product(_ranked(shape, platform)[:BANDED], BANDS):
            yield replace(first, band=band)

    def blocks(self, shape: MatmulShape, platform: Platform) -> int:
        """Return one core per output tile, as many as there are."""
        tiles = shape.targets * len(self.heights(shape)) * ceil_div(shape.n, self.n0)
        return min(int(platform.ai_cores), tiles)

    def heights(self, shape: MatmulShape) -> list[int]:
        """Return the heights of the rows of tiles."""
        left, lean = shape.padded[0], self.lean // EDGE * EDGE
        heights: list[int] = []
        while left > 0:
            heights.append(min(left, max(EDGE, self.m0 - lean * len(heights))))
            left -= heights[-1]
        return heights

    def estimate(self, shape: MatmulShape, platform: Platform) -> Estimate:
        """Return the times of tiles of m0 rows, and what follows from them."""
        steps = self.m0, self.k0, self.n0, self.l1_k, self.head_k
        cut = Cut(*steps, self.part, self.band, self.stage, self.stages)
        return Estimate(cut, shape, speeds(platform))

    def cycles(self, shape: MatmulShape, platform: Platform) -> float:
        """Return the estimated cycles."""
        if self.lean < EDGE:
            return self.estimate(shape, platform).walked()
        columns = ceil_div(shape.n, self.n0)
        rows = (replace(self, m0=height, lean=1) for height in self.heights(shape))
        ends = (row.estimate(shape, platform).single(columns * at) for at, row in enumerate(rows, start=1))
        return max(ends)


@lru_cache(maxsize=1024)
def _ranked(shape: MatmulShape, platform: Platform) -> tuple[MatmulTiling, ...]:
    """Return the best tilings: edges of tiles by a rough estimate, then steps by one that walks."""
    m, _, n = shape.padded
    heights, widths = (sorted({even(length, limit) for limit in LENGTHS}) for length in (m, n))
    parts = (1,) if shape.is_staged else (2, 1)  # one: the vector unit has the time of the whole next tile
    edges = (
        _tiling(shape, platform, m0, n0, round_up(ceil_div(n0, each), EDGE), STEPS[-1])
        for m0, n0, each in product(heights, widths, parts)
    )
    rough = sorted(filter(None, edges), key=lambda tiling: tiling.estimate(shape, platform).rough())
    tried = dict.fromkeys(
        variant
        for tiling in rough[:TRIED]
        for step in STEPS
        for lean in LEANS
        for variant in _variants(shape, platform, tiling, step, lean)
    )
    ranked = sorted(tried, key=lambda tiling: tiling.cycles(shape, platform))
    least = MatmulTiling(EDGE, shape.edge, EDGE, shape.edge, shape.edge, EDGE, 1, EDGE * EDGE)
    return tuple(ranked[:OFFERED]) or (least,)


def _variants(
    shape: MatmulShape, platform: Platform, tiling: MatmulTiling, step: int, lean: int
) -> Iterator[MatmulTiling]:
    """Yield a tiling with other steps, and with a first step of half the length; or one that leans."""
    rows, m0 = len(tiling.heights(shape)), tiling.m0
    if lean >= EDGE:
        tiles = shape.targets * rows * ceil_div(shape.n, tiling.n0)
        m0 = round_up(ceil_div(shape.padded[0] + lean * rows * (rows - 1) // 2, rows), EDGE)
        if rows == 1 or shape.targets > 1 or tiles > int(platform.ai_cores) or m0 <= lean * (rows - 1):
            return
    made = _tiling(shape, platform, m0, tiling.n0, tiling.part, step)
    if made is None:
        return
    yield replace(made, lean=lean, band=1) if lean >= EDGE else made
    half = round_up(made.l1_k // 2, made.k0)
    if lean < EDGE and half < made.l1_k:
        yield replace(made, head_k=half)


def _tiling(
    shape: MatmulShape, platform: Platform, m0: int, n0: int, part: int, step: int
) -> MatmulTiling | None:
    """Return a tiling of these edges, with steps of at most that length, if its buffers fit."""
    half, chip = min(2, shape.item), sizes(platform)
    accumulators = max(2, ceil_div(n0, part)) * 4 * m0 * part
    per_k = SLOTS * half * max(m0 * chip.l0b, part * chip.l0a)
    k_limit = min(chip.l0a * chip.l0b // per_k, MAX_DEPTH)
    l1_limit = chip.l1 // (SLOTS * shape.item * (m0 + n0))
    room = chip.ub - 4 * n0 - shape.taken_bytes - GAPS_BYTES  # for results on their way
    most = STAGED_ELEMENTS if shape.is_staged else STAGE_ELEMENTS
    stage = min(most, room // shape.bytes_leaving(2)) // (EDGE * m0) * EDGE * m0
    fits = accumulators <= chip.l0c and min(k_limit, l1_limit) >= shape.edge and stage > 0
    if not fits:
        return None
    l1_k = even(shape.depth, min(l1_limit, step), shape.edge)
    k0 = even(l1_k, k_limit, shape.edge)
    band = min(ceil_div(shape.m, m0), max(1, round(sqrt(chip.cores * n0 / m0))))
    slots = range(2 if shape.item == 4 else MAX_STAGES, 1, -1)
    stages = next(each for each in slots if stage * shape.bytes_leaving(each) <= room)
    return MatmulTiling(m0, k0, n0, l1_k, l1_k, part, band, stage, stages)
