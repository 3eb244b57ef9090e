"""Shapes and tilings of pooling: planes of 16 channels, several at once or cut into rows and columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import DTYPE_NAMES, FP16, FP32
from davinci_sim.platforms import Platform
from kernels.lang.buffers import UB_GAP
from kernels.lang.shapes import Shape, Tiling
from kernels.pieces.pooling import LANES, MAX_BLOCKS, row_pitch
from kernels.rules import require
from kernels.tiling.conv2d_shape import BLOCK_BYTES, ceil_div, groups
from kernels.tiling.padding import Padding

MAX_WINDOW = 2048
"""Elements of a window: fp16 counts that far exactly."""
MOST_SHARED = 512
"""Elements of a window up to which rows are pooled once for all windows: indices grow to thrice as many."""
BUFFERS = 7  # in UB: each may begin behind a gap
BITS_BYTES, PART_BYTES = 4096, 64 * 8 * BLOCK_BYTES
TILE_CYCLES, INSTRUCTION_CYCLES, LATENCY = 300, 12, 700
"""Cycles, about: of a tile and of an element of its windows however many there are; of a short transfer."""

_row_pitch = getattr(row_pitch, "py_func", row_pitch)


@dataclass(frozen=True)
class PoolShape(Padding, Shape):
    """x[n, c, h, w] and windows of kh x kw, `stride` apart, that reach beyond x by its padding."""

    UNVARIED: ClassVar[tuple[str, ...]] = Padding.SIDES
    OPTIONS: ClassVar[tuple[str, ...]] = ("pad", *UNVARIED)
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 32, "c": 64, "h": 112, "w": 112, "kh": 3, "kw": 3, "stride": 2, "pad": 1},
        {"n": 32, "c": 64, "h": 56, "w": 56, "kh": 3, "kw": 3, "pad": 1},
        {"n": 32, "c": 512, "h": 7, "w": 7, "kh": 3, "kw": 3, "pad": 1},
    )
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"n": n, "c": c, "h": h, "w": h, "kh": k, "kw": k, "stride": stride, "pad": pad, "dtype": dtype}
        for n, c, h, k, stride, pad in (
            (1, 16, 8, 2, 2, 0),
            (2, 20, 15, 3, 2, 1),
            (1, 64, 28, 3, 3, 0),
            (1, 20, 9, 3, 1, 1),
        )
        for dtype in (FP16, FP32)
    )
    n: int
    c: int
    h: int
    w: int
    kh: int
    kw: int
    stride: int = 1
    pad: int = 0
    more_top: int = 0
    more_bottom: int = 0
    more_left: int = 0
    more_right: int = 0
    dtype: int = FP16

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns of an image with its padding."""
        top, bottom, left, right = self.pads
        return self.h + top + bottom, self.w + left + right

    @property
    def oh(self) -> int:
        """Rows of windows."""
        return (self.padded[0] - self.kh) // self.stride + 1

    @property
    def ow(self) -> int:
        """Columns of windows."""
        return (self.padded[1] - self.kw) // self.stride + 1

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
        if self.kh > self.padded[0] or self.kw > self.padded[1]:
            raise BadShape(
                f"kernel {kernel}: the window is {self.kh} x {self.kw}, the image {self.h} x {self.w}\n"
                "  rule: windows lie inside the image and its padding\n  next: use a smaller window"
            )
        stated = {**self.padding, "kh": self.kh, "kw": self.kw}
        window = ", ".join(f"{name}={value}" for name, value in stated.items())
        require(kernel, not self.hides(self.kh, self.kw), "every window sees the image", window)
        if self.kh * self.kw > MAX_WINDOW:
            raise BadShape(
                f"kernel {kernel}: the window is {self.kh} x {self.kw} = {self.kh * self.kw} elements\n"
                f"  rule: at most {MAX_WINDOW}, so that indices are exact in fp16\n  next: pool in two steps"
            )
        if self.dtype not in (FP16, FP32):
            raise BadShape(f"kernel {kernel}: dtype {DTYPE_NAMES[self.dtype]}\n  rule: fp16 or fp32")


@dataclass(frozen=True)
class PoolTiling(Tiling):
    """`cores` share tiles of `planes` whole planes, or of `rows` x `cols` windows; hand-offs have `slots`."""

    cores: int
    rows: int
    cols: int
    slots: int = 2
    planes: int = 1
    WORK_BYTES: ClassVar[int] = BITS_BYTES
    """Bits of comparisons and products of an instruction."""
    ADDS_ROWS: ClassVar[bool] = False
    """Whether rows of sums are added to each other: they then lie where both can be read at once."""

    @classmethod
    def default(cls, shape: PoolShape, platform: Platform) -> Self:
        """Return the tiling with the least estimated cycles."""
        return cls(*best(shape, platform, cls))  # type: ignore[arg-type] # a type is hashable

    @classmethod
    def space(cls, shape: PoolShape, platform: Platform) -> Iterator[Self]:
        """Yield the default, then smaller tiles, fewer cores and one slot."""
        first = cls.default(shape, platform)
        yield first
        changes: tuple[dict[str, Any], ...] = (
            {"rows": 1}, {"cols": 3}, {"cols": 9, "rows": 3}, {"cores": 1}, {"slots": 1},
        )  # fmt: skip
        for changed in changes:
            made = replace(first, **changed)
            if made != first and made.used_bytes(shape) <= int(platform.ub_bytes):
                yield made

    def blocks(self, shape: PoolShape, platform: Platform) -> int:
        """Return the cores that take part."""
        return self.cores

    @classmethod
    def grid(cls, shape: PoolShape) -> tuple[int, int]:
        """Return the rows and columns of windows that tiles share."""
        return shape.oh, shape.ow

    def tiles(self, shape: PoolShape) -> int:
        """Return how many tiles there are."""
        high, wide = self.grid(shape)
        planes = self.planes if self.rows >= high and self.cols >= wide else 1
        return ceil_div(shape.planes, planes) * ceil_div(high, self.rows) * ceil_div(wide, self.cols)

    def windows(self, shape: PoolShape) -> int:
        """Return the windows of a tile's stream, those that are not there included."""
        high, wide = self.grid(shape)
        planes = self.planes if self.rows >= high and self.cols >= wide else 1
        above, left = (shape.kh - 1) // shape.stride, (shape.kw - 1) // shape.stride
        adds_rows = self.ADDS_ROWS and shape.kh > shape.stride
        pitch = _row_pitch(None, min(self.cols, wide) + left, adds_rows)
        return planes * (min(self.rows, high) + above) * int(pitch)

    def used_bytes(self, shape: PoolShape) -> int:
        """Return what the buffers take in UB."""
        windows, s = self.windows(shape), shape.stride
        beyond = shape.kw + 2 * LANES
        positions = self.map_positions(shape, windows) + beyond + 2 * self.stored(shape)
        slot = positions * shape.unit * BLOCK_BYTES
        work = shape.kh * shape.kw * BLOCK_BYTES + self.WORK_BYTES
        zeros = min(self.cols, self.grid(shape)[1]) * s * shape.unit * BLOCK_BYTES if shape.kh < s else 0
        return self.slots * slot + work + zeros + BUFFERS * UB_GAP

    @staticmethod
    def map_positions(shape: PoolShape, windows: int) -> int:
        """Return the positions of a map: windows that are near are worked on in eights."""
        slack = LANES if LANES * shape.stride * shape.unit <= MAX_BLOCKS else 0
        return min(shape.stride, shape.kh) * (windows + slack) * shape.stride

    def stored(self, shape: PoolShape) -> int:
        """Return the windows of a buffer that holds one position of each: without rows that do not exist."""
        windows, rows = self.windows(shape), min(self.rows, self.grid(shape)[0])
        above = (shape.kh - 1) // shape.stride
        return windows if self.planes > 1 else windows // (rows + above) * self.window_rows(shape, rows)

    def window_rows(self, shape: PoolShape, rows: int) -> int:
        """Return the rows of windows of a tile of one plane."""
        return rows


@dataclass(frozen=True)
class MaxPoolTiling(PoolTiling):
    """How maxima are cut: where windows overlap, rows of windows lie beside the map."""

    def used_bytes(self, shape: PoolShape) -> int:
        """Return what the buffers take in UB."""
        used = super().used_bytes(shape)
        if shape.kh <= shape.stride or shape.kw == 1 or shape.kh * shape.kw > MOST_SHARED:
            return used
        phases = min(shape.kh, shape.stride)
        each = (self.windows(shape) + 2 * LANES) * shape.unit * BLOCK_BYTES + UB_GAP
        numbers = shape.kw * (phases + shape.kh - 1 - shape.kh) * BLOCK_BYTES
        return used + 2 * phases * each + numbers


@dataclass(frozen=True)
class PoolGradTiling(PoolTiling):
    """How a gradient is cut: tiles own positions of dx, in groups of a stride, and see all windows there."""

    WORK_BYTES: ClassVar[int] = BITS_BYTES + PART_BYTES

    @classmethod
    def grid(cls, shape: PoolShape) -> tuple[int, int]:
        """Return the rows and columns of groups of positions."""
        top, _, left, _ = shape.pads
        return ceil_div(shape.h + top, shape.stride), ceil_div(shape.w + left, shape.stride)

    def window_rows(self, shape: PoolShape, rows: int) -> int:
        """Return the rows of windows that reach into a tile of one plane."""
        return min(shape.oh, rows + (shape.kh - 1) // shape.stride)


@dataclass(frozen=True)
class AverageShape(PoolShape):
    """Like PoolShape; with include_pad=1 the padding counts as zeros, with 0 not at all."""

    OPTIONS: ClassVar[tuple[str, ...]] = (*PoolShape.OPTIONS, "include_pad")
    include_pad: int = 1

    def check(self, kernel: str) -> None:
        """Refuse further what include_pad cannot be."""
        super().check(kernel)
        require(
            kernel, self.include_pad in (0, 1), "include_pad is 0 or 1", f"include_pad={self.include_pad}"
        )


@dataclass(frozen=True)
class AverageTiling(PoolTiling):
    """How averages are cut: half precision needs sums in fp32 beside."""

    WORK_BYTES: ClassVar[int] = 0
    ADDS_ROWS: ClassVar[bool] = True

    def used_bytes(self, shape: PoolShape) -> int:
        """Return what the buffers take in UB."""
        used = super().used_bytes(shape) + (self.stored(shape) + LANES) * 2 * BLOCK_BYTES
        if shape.kh < 2 * shape.stride or shape.kw == 1:
            return used
        return used + shape.stride * ((self.windows(shape) + 2 * LANES) * 2 * BLOCK_BYTES + UB_GAP)


@dataclass(frozen=True)
class AverageGradTiling(PoolGradTiling):
    """How the gradient of averages is cut: what windows give in fp32 beside, and its sums."""

    WORK_BYTES: ClassVar[int] = 0
    ADDS_ROWS: ClassVar[bool] = True

    def used_bytes(self, shape: PoolShape) -> int:
        """Return what the buffers take in UB."""
        down, across = (min(shape.stride, max(0, window - shape.stride)) for window in (shape.kh, shape.kw))
        each = self.windows(shape) * 2 * BLOCK_BYTES + UB_GAP
        return super().used_bytes(shape) + (1 + across + min(1, down)) * each


@lru_cache(maxsize=512)
def best(shape: PoolShape, platform: Platform, tiling: type[PoolTiling]) -> tuple[int, ...]:
    """Return the fields of the tiling with the least estimated cycles among those that fit."""
    found = min(candidates(shape, platform, tiling), key=lambda t: estimate(shape, t), default=None)
    found = found or tiling(1, 1, 1, 1)
    return found.cores, found.rows, found.cols, found.slots, found.planes


def candidates(shape: PoolShape, platform: Platform, tiling: type[PoolTiling]) -> Iterator[PoolTiling]:
    """Yield tilings that fit: several planes, some rows or, where a row is too long, some columns of one."""
    (high, wide), cores = tiling.grid(shape), int(platform.ai_cores)
    share = ceil_div(shape.planes, cores)
    for slots in (2, 1):
        made = [tiling(cores, high, wide, slots, planes) for planes in _parts(share)]
        made += [tiling(cores, rows, wide, slots) for rows in _parts(high)]
        fitting = [t for t in made if t.used_bytes(shape) <= int(platform.ub_bytes)]
        if not fitting:
            narrow = [tiling(cores, 1, cols, slots) for cols in _parts(wide)]
            fitting = [t for t in narrow if t.used_bytes(shape) <= int(platform.ub_bytes)]
        if fitting:
            yield from (replace(t, cores=min(cores, t.tiles(shape))) for t in fitting)
            return


def _parts(length: int) -> list[int]:
    """Return the lengths that cut an axis in equal parts, the largest first."""
    return sorted({ceil_div(length, parts) for parts in range(1, length + 1)}, reverse=True)


def estimate(shape: PoolShape, t: PoolTiling) -> float:
    """Estimate cycles: a load, the tiles of the busiest core by vector work, a store."""
    windows = t.stored(shape) * 6 / LANES + INSTRUCTION_CYCLES
    cycles = windows * shape.kh * shape.kw * shape.unit + TILE_CYCLES
    moved = t.windows(shape) * min(shape.stride, shape.kh) * shape.stride * shape.unit * BLOCK_BYTES
    each = max(cycles, moved / 32)  # a core's share of the memory is about 32 bytes a cycle
    return LATENCY + moved / 64 + ceil_div(t.tiles(shape), t.cores) * each
