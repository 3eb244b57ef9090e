"""Shapes of convolutions, and tilings of the pipeline that computes them as implicit matrix products."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import ClassVar, Self

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import DTYPE_NAMES, FP16, FP32
from davinci_sim.platforms import Platform
from kernels.lang.buffers import UB_GAP
from kernels.lang.shapes import Shape, Tiling
from kernels.lang.window import SKIP_WIDTH

EDGE, FRACTAL_BYTES, BLOCK_BYTES, ACCUMULATOR_BYTES = 16, 512, 32, 1024
SLOTS = 2
UB_BUFFERS = 4  # results, stage, bias and its padded copy: each may begin behind a gap
CHUNK_BYTES = 65536
"""Weights that come to L1 at once, but at least one channel group: enough to hide a transfer's head."""
STAGE_BYTES = 32768
"""UB through which a strided gradient passes on its way to L1, per slot; as much holds zeros."""
FLAG_CYCLES = 4
"""Slots that the flags of one step take in a pipe."""
MAX_STRIDE, MAX_FILTER = 63, 255


def ceil_div(value: int, by: int) -> int:
    """Return value / by, rounded up."""
    return -(-value // by)


def even(length: int, limit: int) -> int:
    """Return the longest piece when `length` is cut evenly into the fewest pieces of at most `limit`.

    >>> even(9, 8)
    5
    """
    return ceil_div(length, ceil_div(length, limit))


def groups(channels: int) -> int:
    """Return how many groups of 16 channels there are."""
    return ceil_div(channels, EDGE)


@dataclass(frozen=True)
class ConvShape(Shape):
    """x[n, c, h, w] and w[o, c, kh, kw] give y[n, o, oh, ow]; the gradients keep the forward names."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("pad",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 1, "c": 3, "h": 12, "w": 12, "o": 20, "kh": 3, "kw": 3, "pad": 1},
        {"n": 2, "c": 32, "h": 14, "w": 14, "o": 48, "kh": 1, "kw": 1, "stride": 2},
        {"n": 1, "c": 64, "h": 28, "w": 28, "o": 64, "kh": 3, "kw": 3, "stride": 2, "pad": 1},
        {"n": 2, "c": 16, "h": 20, "w": 20, "o": 16, "kh": 5, "kw": 5, "pad": 2, "dilation": 2},
        {"n": 4, "c": 128, "h": 10, "w": 10, "o": 130, "kh": 3, "kw": 3},
    )
    n: int
    c: int
    h: int
    w: int
    o: int
    kh: int
    kw: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    dtype: int = FP16
    out_dtype: int = FP16

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns that the dilated filter spans."""
        return (self.kh - 1) * self.dilation + 1, (self.kw - 1) * self.dilation + 1

    @property
    def dense(self) -> tuple[int, int]:
        """Rows and columns of the result at stride 1."""
        (eh, ew), both = self.extent, 2 * self.pad
        return self.h + both - eh + 1, self.w + both - ew + 1

    @property
    def oh(self) -> int:
        """Rows of y."""
        return (self.dense[0] - 1) // self.stride + 1

    @property
    def ow(self) -> int:
        """Columns of y."""
        return (self.dense[1] - 1) // self.stride + 1

    @property
    def macs(self) -> int:
        """Multiplications, those with padding included."""
        return self.n * self.oh * self.ow * self.o * self.c * self.kh * self.kw

    @property
    def skips_rows(self) -> bool:
        """Whether rows that no window sees stay in GM."""
        return self.kh == 1 and self.w >= SKIP_WIDTH

    def check(self, kernel: str) -> None:
        """Raise BadShape where the filter does not fit the image or the instructions."""
        eh, ew = self.extent
        if min(self.dense) < 1:
            raise BadShape(
                f"kernel {kernel}: the filter spans {eh} x {ew}, the padded image is "
                f"{self.h + 2 * self.pad} x {self.w + 2 * self.pad}\n"
                "  rule: the filter must fit\n  next: raise pad"
            )
        if not 0 <= self.pad < min(eh, ew):
            raise BadShape(
                f"kernel {kernel}: pad={self.pad}, the filter spans {eh} x {ew}\n"
                "  rule: 0 <= pad < what the filter spans, so that windows see the image\n  next: lower pad"
            )
        limits = (("stride", MAX_STRIDE), ("kh", MAX_FILTER), ("kw", MAX_FILTER), ("dilation", MAX_FILTER))
        for name, limit in (*limits, ("pad", MAX_FILTER)):
            if getattr(self, name) > limit:
                raise BadShape(
                    f"kernel {kernel}: {name}={getattr(self, name)}\n  rule: load3d takes at most {limit}"
                )
        if self.dtype != FP16 or self.out_dtype not in (FP16, FP32):
            raise BadShape(
                f"kernel {kernel}: dtype {DTYPE_NAMES[self.dtype]}, out_dtype {DTYPE_NAMES[self.out_dtype]}\n"
                "  rule: operands are fp16, results fp16 or fp32\n  next: cast the operands"
            )


@dataclass(frozen=True)
class Problem:
    """A convolution as the pipeline sees it: a map that windows slide over, a result map, weights.

    `spread` is the distance at which the rows and columns of the tensor lie in the map (zeros between);
    `mirrored` says that the weights are read transposed and from their last element.
    """

    images: int
    groups: int
    h: int
    w: int
    results: int
    oh: int
    ow: int
    kh: int
    kw: int
    row_stride: int
    stride: int
    dilation: int
    spread: int
    mirrored: bool
    position_bytes: int

    @classmethod
    def forward(cls, s: ConvShape) -> "Problem":
        """See y = conv(x, w); a filter of one row may skip the rows between its steps."""
        h, row_stride = (s.oh, 1) if s.skips_rows else (s.h, s.stride)
        return cls(
            s.n, groups(s.c), h, s.w, groups(s.o), s.oh, s.ow, s.kh, s.kw, row_stride, s.stride, s.dilation,
            1, False, EDGE * (4 if s.out_dtype == FP32 else 2),
        )  # fmt: skip

    @classmethod
    def backward_input(cls, s: ConvShape) -> "Problem":
        """See dx as a convolution of stride 1 over dy, its elements `stride` apart."""
        return cls(
            s.n, groups(s.o), *s.dense, groups(s.c), s.h, s.w, s.kh, s.kw, 1, 1, s.dilation,
            s.stride, True, EDGE * (4 if s.out_dtype == FP32 else 2),
        )  # fmt: skip

    @property
    def depth(self) -> int:
        """Fractals of the inner axis: channel groups times filter elements."""
        return self.groups * self.kh * self.kw

    def rows_seen(self, rows: int) -> int:
        """Return the most rows of the map that `rows` rows of the result see."""
        return min(self.h, (rows - 1) * self.row_stride + (self.kh - 1) * self.dilation + 1)


@dataclass(frozen=True)
class ConvTiling(Tiling):
    """How a convolution is cut; lengths in fractals or channel groups but for `rows`.

    A core works on a share of the (image, `rows` output rows) tiles and of the output channel groups:
    `tile_cores` x `channel_cores`. Its output tile is m0 x n0 fractals; L0A holds m0 x k0 at a time, L0B
    kb x n0. Weights come to L1 by `chunk` channel groups; with `weight_slots` = 1 they all stay there, with 2
    they pass by. `map_groups` channel groups of the map are in L1 at once: all of them, or a chunk.
    """

    tile_cores: int
    channel_cores: int
    rows: int
    m0: int
    n0: int
    k0: int
    kb: int
    chunk: int
    map_groups: int
    weight_slots: int

    @classmethod
    def problem(cls, shape: ConvShape) -> Problem:
        """Return what the pipeline computes."""
        return Problem.forward(shape)

    @classmethod
    def default(cls, shape: ConvShape, platform: Platform) -> Self:
        """Return the tiling with the least estimated cycles."""
        return cls(*best(cls.problem(shape), platform))

    @classmethod
    def space(cls, shape: ConvShape, platform: Platform) -> Iterator[Self]:
        """Yield the default, then variants that fit: fewer rows, smaller tiles, weights that pass by."""
        first, problem = cls.default(shape, platform), cls.problem(shape)
        yield first
        variants = (
            {"rows": 1}, {"m0": 1}, {"m0": 3}, {"n0": 1}, {"k0": 1}, {"kb": first.k0}, {"weight_slots": 2},
            {"weight_slots": 2, "chunk": 1}, {"map_groups": 1, "chunk": 1},
            {"tile_cores": 1, "rows": problem.oh},
        )  # fmt: skip
        for changed in variants:
            made = replace(first, **changed)
            if made != first and fits(problem, made, platform):
                yield made

    def blocks(self, shape: ConvShape, platform: Platform) -> int:
        """Return one core per share."""
        return self.tile_cores * self.channel_cores


@dataclass(frozen=True)
class BackwardInputTiling(ConvTiling):
    """How the gradient to the input is cut: as the convolution over dy that it is."""

    @classmethod
    def problem(cls, shape: ConvShape) -> Problem:
        """Return what the pipeline computes."""
        return Problem.backward_input(shape)


def fits(p: Problem, t: ConvTiling, platform: Platform) -> bool:
    """Tell whether every buffer of a tiling has room."""
    chunk_bytes = t.chunk * p.kh * p.kw * t.n0 * FRACTAL_BYTES
    columns = ceil_div(ceil_div(p.results, t.channel_cores), t.n0)
    chunks = columns * ceil_div(p.groups, t.chunk) if t.weight_slots == 1 else SLOTS
    l1 = chunks * chunk_bytes + SLOTS * t.map_groups * p.rows_seen(t.rows) * p.w * BLOCK_BYTES
    ub = SLOTS * t.m0 * t.n0 * EDGE * p.position_bytes + ceil_div(p.results, t.channel_cores) * 128
    ub += ((SLOTS + 1) * STAGE_BYTES if p.spread > 1 else 0) + UB_BUFFERS * UB_GAP
    return (
        l1 <= int(platform.l1_bytes)
        and ub <= int(platform.ub_bytes)
        and SLOTS * t.m0 * t.k0 * FRACTAL_BYTES <= int(platform.l0a_bytes)
        and SLOTS * t.kb * t.n0 * FRACTAL_BYTES <= int(platform.l0b_bytes)
        and SLOTS * t.m0 * t.n0 * ACCUMULATOR_BYTES <= int(platform.l0c_bytes)
    )


@lru_cache(maxsize=512)
def best(p: Problem, platform: Platform) -> tuple[int, ...]:
    """Return the fields of the tiling with the least estimated cycles among those that fit."""
    found = min(candidates(p, platform), key=lambda tiling: estimate(p, tiling, platform), default=None)
    if found is None:
        found = _cut(p, platform, 1, 1, 1, 1) or ConvTiling(1, 1, 1, 1, 1, 1, 1, 1, 1, 2)
    return tuple(getattr(found, name) for name in ConvTiling.names())


def candidates(p: Problem, platform: Platform) -> Iterator[ConvTiling]:
    """Yield tilings that fit, by cores that share the channels, rows of a tile, and edges of a product."""
    cores = int(platform.ai_cores)
    channel_cores = [c for c in (1, 2, 4, 8, 16, 32, 64) if c <= min(cores, p.results)]
    heights = sorted({ceil_div(p.oh, parts) for parts in range(1, p.oh + 1)})
    for shared, rows, n0, more in product(channel_cores, heights, (1, 2, 4, 8, 16), (1, 2, 4)):
        share = ceil_div(p.results, shared)
        if n0 > 1 and n0 // 2 >= share:
            continue
        made = _cut(p, platform, shared, rows, min(n0, share), more)
        if made is not None:
            yield made


def _cut(p: Problem, platform: Platform, shared: int, rows: int, n0: int, more: int) -> ConvTiling | None:
    """Fill in what follows from share, rows, n0 and `more` times the fewest pieces; None if nothing fits."""
    in_m = ceil_div(rows * p.ow, EDGE)
    l0a, l0b = (int(b) // SLOTS // FRACTAL_BYTES for b in (platform.l0a_bytes, platform.l0b_bytes))
    ub = int(platform.ub_bytes) * 3 // 4 - (3 * STAGE_BYTES if p.spread > 1 else 0)
    limit = min(int(platform.l0c_bytes) // ACCUMULATOR_BYTES, ub // (EDGE * p.position_bytes)) // SLOTS
    m_limit = min(l0a, limit // n0)
    if m_limit < 1:
        return None
    m0 = even(in_m, max(1, ceil_div(m_limit, more)))
    kernel = p.kh * p.kw
    chunk = max(1, min(p.groups, CHUNK_BYTES // (kernel * n0 * FRACTAL_BYTES)))
    kb = even(chunk * kernel, max(1, l0b // n0))
    k0 = even(kb, max(1, l0a // m0))
    tiles = p.images * ceil_div(p.oh, rows)
    for map_groups, weight_slots in ((p.groups, 1), (p.groups, 2), (chunk, 1), (chunk, 2)):
        cores = min(tiles, int(platform.ai_cores) // shared)
        made = ConvTiling(cores, shared, rows, m0, n0, k0, kb, chunk, map_groups, weight_slots)
        if fits(p, made, platform):
            return made
    return None


def estimate(p: Problem, t: ConvTiling, platform: Platform) -> float:
    """Estimate cycles: the first loads, the busiest pipe of a core, the last store."""
    tiles = ceil_div(p.images * ceil_div(p.oh, t.rows), t.tile_cores)
    share = ceil_div(p.results, t.channel_cores)
    pieces = ceil_div(ceil_div(t.rows * p.ow, EDGE), t.m0)
    stores = pieces * ceil_div(share, t.n0)
    rate = int(platform.hbm_bytes_per_cycle) / (t.tile_cores * t.channel_cores)
    reading = min(int(platform.l2_read_bytes_per_cycle), rate)
    map_bytes = p.groups * p.rows_seen(t.rows) * p.w * BLOCK_BYTES / p.spread**2
    weight_bytes = p.depth * share * FRACTAL_BYTES
    moves = p.groups if p.stride > p.row_stride else 1  # where rows are skipped, every plane is a transfer
    reads = (
        moves * transfer(map_bytes / moves, platform, reading) * (1 if t.map_groups >= p.groups else stores)
    )
    weights = transfer(weight_bytes, platform, reading)
    if t.weight_slots > 1:
        reads += weights * pieces
    out_bytes = t.rows * p.ow * p.position_bytes * share
    store = transfer(out_bytes / stores, platform, reading)
    busiest = max(*_computing(p, t, platform), reads, stores * store, (map_bytes + out_bytes) / rate)
    waiting = weights if t.weight_slots == 1 else 0
    return reads + max(busiest, waiting) + (tiles - 1) * busiest + store


def transfer(size_bytes: float, platform: Platform, rate: float) -> float:
    """Return the cycles of one transfer from GM: its head and path, or its share of the memory."""
    path = size_bytes / int(platform.gm_to_l1_bytes_per_cycle)
    return max(int(platform.gm_to_l1_head_cycles) + path, size_bytes / rate)


def _computing(p: Problem, t: ConvTiling, platform: Platform) -> tuple[float, float, float]:
    """Return the cycles that a tile takes on M, MTE1 and V."""
    share, in_m = ceil_div(p.results, t.channel_cores), ceil_div(t.rows * p.ow, EDGE)
    columns, pieces = ceil_div(share, t.n0), ceil_div(in_m, t.m0)
    chunk_depth = t.chunk * p.kh * p.kw
    chunks = ceil_div(p.groups, t.chunk)
    steps = chunks * ceil_div(chunk_depth, t.kb) * ceil_div(t.kb, t.k0) * pieces * columns
    cube = p.depth * in_m * share + (int(platform.mmad_head_cycles) + FLAG_CYCLES) * steps
    heads = steps * (min(t.k0, t.m0) * int(platform.load3d_head_cycles) + FLAG_CYCLES)
    loads = p.depth if p.mirrored else chunks * ceil_div(chunk_depth, t.kb)
    weights = 2 * p.depth * share + loads * columns * int(platform.load2d_l0b_head_cycles)
    weights *= 1 if t.kb >= p.depth else pieces
    unfold = p.depth * in_m * p.stride * columns + heads + weights
    drain = in_m * share * ACCUMULATOR_BYTES / int(platform.l0c_to_ub_bytes_per_cycle)
    return cube, unfold, drain
