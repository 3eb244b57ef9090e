"""Shapes and tilings of pooling: planes of 16 channels, cut into rows and columns of windows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Self

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import DTYPE_NAMES, FP16, FP32
from davinci_sim.platforms import Platform
from kernels.lang.buffers import UB_GAP
from kernels.lang.shapes import Shape, Tiling
from kernels.tiling.conv2d_shape import BLOCK_BYTES, ceil_div, groups, transfer

MAX_WINDOW = 2048
"""Elements of a window: fp16 counts that far exactly."""
BITS_BYTES, SUM_BYTES = 4096, 16384
BUFFERS = 4  # in UB: each may begin behind a gap
LANES = 8  # positions of a repeat
MAX_STRIDE_BLOCKS = 255


@dataclass(frozen=True)
class PoolShape(Shape):
    """x[n, c, h, w] and windows of kh x kw, `stride` apart, all inside x."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"n": n, "c": c, "h": h, "w": h, "kh": k, "kw": k, "stride": stride, "dtype": dtype}
        for n, c, h, k, stride in ((1, 16, 8, 2, 2), (2, 20, 15, 3, 2), (1, 64, 28, 3, 3))
        for dtype in (FP16, FP32)
    )
    n: int
    c: int
    h: int
    w: int
    kh: int
    kw: int
    stride: int = 1
    dtype: int = FP16

    @property
    def oh(self) -> int:
        """Rows of windows."""
        return (self.h - self.kh) // self.stride + 1

    @property
    def ow(self) -> int:
        """Columns of windows."""
        return (self.w - self.kw) // self.stride + 1

    @property
    def planes(self) -> int:
        """Images times channel groups."""
        return self.n * groups(self.c)

    @property
    def unit(self) -> int:
        """Blocks of 32 bytes of one position."""
        return 2 if self.dtype == FP32 else 1

    def check(self, kernel: str) -> None:
        """Raise BadShape where a window does not fit the image or is too large to be counted in fp16."""
        if self.kh > self.h or self.kw > self.w:
            raise BadShape(
                f"kernel {kernel}: the window is {self.kh} x {self.kw}, the image {self.h} x {self.w}\n"
                "  rule: windows lie inside the image\n  next: use a smaller window"
            )
        if self.kh * self.kw > MAX_WINDOW:
            raise BadShape(
                f"kernel {kernel}: the window is {self.kh} x {self.kw} = {self.kh * self.kw} elements\n"
                f"  rule: at most {MAX_WINDOW}, so that indices are exact in fp16\n  next: pool in two steps"
            )
        if self.dtype not in (FP16, FP32):
            raise BadShape(f"kernel {kernel}: dtype {DTYPE_NAMES[self.dtype]}\n  rule: fp16 or fp32")


@dataclass(frozen=True)
class PoolTiling(Tiling):
    """`cores` share tiles of `rows` x `cols` windows of a plane; every hand-off has `slots` buffers."""

    cores: int
    rows: int
    cols: int
    slots: int = 2

    @classmethod
    def default(cls, shape: PoolShape, platform: Platform) -> Self:
        """Return the tiling with the least estimated cycles."""
        return cls(*best(shape, platform, cls))  # type: ignore[arg-type] # a type is hashable

    @classmethod
    def space(cls, shape: PoolShape, platform: Platform) -> Iterator[Self]:
        """Yield the default, then smaller tiles, fewer cores and one slot."""
        first = cls.default(shape, platform)
        yield first
        for changed in ({"rows": 1}, {"cols": 3}, {"cols": 9, "rows": 3}, {"cores": 1}, {"slots": 1}):
            made = replace(first, **changed)
            if made != first and made.used_bytes(shape) <= int(platform.ub_bytes):
                yield made

    def blocks(self, shape: PoolShape, platform: Platform) -> int:
        """Return the cores that take part."""
        return self.cores

    def used_bytes(self, shape: PoolShape) -> int:
        """Return what the buffers take in UB."""
        rows, cols = min(self.rows, shape.oh), min(self.cols, shape.ow)
        seen = ((rows - 1) * shape.stride + shape.kh) * ((cols - 1) * shape.stride + shape.kw)
        beyond = LANES * shape.stride if shape.stride * shape.unit <= MAX_STRIDE_BLOCKS else 0
        slot = (seen + beyond + 2 * rows * cols) * shape.unit * BLOCK_BYTES
        work = shape.kh * shape.kw * BLOCK_BYTES + BITS_BYTES + LANES * shape.unit * BLOCK_BYTES
        return self.slots * slot + work + BUFFERS * UB_GAP

    def moved(self, shape: PoolShape) -> tuple[float, float]:
        """Return the bytes that a tile reads and writes, in a transfer each."""
        rows, cols = min(self.rows, shape.oh), min(self.cols, shape.ow)
        seen = ((rows - 1) * shape.stride + shape.kh) * ((cols - 1) * shape.stride + shape.kw)
        return seen * shape.unit * BLOCK_BYTES, 2 * rows * cols * shape.unit * BLOCK_BYTES


@dataclass(frozen=True)
class PoolGradTiling(PoolTiling):
    """How the gradient is cut: a tile of windows, and those before it that reach into its part of dx."""

    def used_bytes(self, shape: PoolShape) -> int:
        """Return what the buffers take in UB."""
        (rows, cols), (seen_h, seen_w) = self._windows(shape), self._seen(shape)
        read = (2 * rows * cols + LANES) * shape.unit * BLOCK_BYTES
        slot = read + seen_h * seen_w * shape.unit * BLOCK_BYTES
        work = shape.kh * shape.kw * BLOCK_BYTES + BITS_BYTES + SUM_BYTES
        return self.slots * slot + work + BUFFERS * UB_GAP

    def moved(self, shape: PoolShape) -> tuple[float, float]:
        """Return the bytes that a tile reads and writes."""
        (rows, cols), (seen_h, seen_w) = self._windows(shape), self._seen(shape)
        return 2 * rows * cols * shape.unit * BLOCK_BYTES, seen_h * seen_w * shape.unit * BLOCK_BYTES

    def _windows(self, shape: PoolShape) -> tuple[int, int]:
        """Return the most rows and columns of windows of a tile, those that reach into it included."""
        halo_h, halo_w = (shape.kh - 1) // shape.stride, (shape.kw - 1) // shape.stride
        return min(shape.oh, self.rows + halo_h), min(shape.ow, self.cols + halo_w)

    def _seen(self, shape: PoolShape) -> tuple[int, int]:
        """Return the most rows and columns of dx that a tile holds."""
        rows, cols = self._windows(shape)
        rest_h = shape.h - ((shape.oh - 1) * shape.stride + shape.kh)
        rest_w = shape.w - ((shape.ow - 1) * shape.stride + shape.kw)
        reach_h, reach_w = max(shape.kh, shape.stride) + rest_h, max(shape.kw, shape.stride) + rest_w
        high, wide = (rows - 1) * shape.stride + reach_h, (cols - 1) * shape.stride + reach_w
        return min(shape.h, high), min(shape.w, wide)


@lru_cache(maxsize=512)
def best(shape: PoolShape, platform: Platform, tiling: type[PoolTiling]) -> tuple[int, ...]:
    """Return the fields of the tiling with the least estimated cycles among those that fit."""
    found = min(candidates(shape, platform, tiling), key=lambda t: estimate(shape, t, platform), default=None)
    found = found or tiling(1, 1, 1, 1)
    return found.cores, found.rows, found.cols, found.slots


def candidates(shape: PoolShape, platform: Platform, tiling: type[PoolTiling]) -> Iterator[PoolTiling]:
    """Yield tilings that fit: the widest columns that do for each number of rows."""
    for slots in (2, 1):
        found = False
        for rows in sorted({ceil_div(shape.oh, parts) for parts in range(1, shape.oh + 1)}):
            for cols in sorted({ceil_div(shape.ow, parts) for parts in range(1, shape.ow + 1)}, reverse=True):
                tiles = shape.planes * ceil_div(shape.oh, rows) * ceil_div(shape.ow, cols)
                made = tiling(min(int(platform.ai_cores), tiles), rows, cols, slots)
                if made.used_bytes(shape) <= int(platform.ub_bytes):
                    found = True
                    yield made
                    break
        if found:
            return


def estimate(shape: PoolShape, t: PoolTiling, platform: Platform) -> float:
    """Estimate cycles: the first load, tiles through the busiest pipe, the last store."""
    tiles = ceil_div(shape.planes * ceil_div(shape.oh, t.rows) * ceil_div(shape.ow, t.cols), t.cores)
    read, written = t.moved(shape)
    rate = int(platform.hbm_bytes_per_cycle) / t.cores
    path = min(int(platform.l2_read_bytes_per_cycle), rate)
    loads, stores = transfer(read, platform, path), 2 * transfer(written / 2, platform, path)
    elements = shape.kh * shape.kw
    repeats = t.rows * ceil_div(t.cols, LANES) * shape.unit
    instructions = 3 * elements * ceil_div(t.cols, LANES) * shape.unit
    vector = 5 * elements * repeats + int(platform.vector_min_cycles) * instructions
    busiest = max(loads, vector, stores, (read + written) / rate)
    return loads + vector + (tiles - 1) * busiest + stores
