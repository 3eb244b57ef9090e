"""Pooling to any size of result: window i of oh covers rows i * h // oh up to the next multiple of h / oh.

Planes that fit the unified buffer are pooled whole, several at once. Of larger ones a core takes rows of
windows: the rows of the image that one sees are folded onto one row, piece by piece, and the columns of that
onto the windows. Sums and maxima are fp32.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    ADD,
    FP16,
    FP32,
    MAX,
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
    flat_binary,
    flat_convert,
    flat_dup,
    flat_scale,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vadd,
    vmuls,
)
from kernels.lang.buffers import UB_GAP
from kernels.pieces.adaptive import SPREAD, Grid, Span, covered, pool_planes
from kernels.pieces.fold import fold, start_of
from kernels.pieces.reduce_rows import widened
from kernels.pieces.window import move_planes
from kernels.rules import item_bytes, require, require_dtype

Array = npt.NDArray[Any]
C0, BLOCK, WIDE, LANES, REPEATS = 16, 32, 64, 64, 255
"""Among them: bytes of a position in fp32, and lanes of a repeat."""
TILE_BYTES, MOST_COLUMNS = 16 * 1024, 1024
MOST_WIDTH, GAPS = 127, 9
"""Columns over which an instruction can step from row to row; buffers of whole planes, each slot one."""


@dataclass(frozen=True)
class AdaptiveShape(Shape):
    """x[n, c, h, w] and y[n, c, oh, ow]."""

    SMALL: ClassVar[Mapping[str, int]] = {"oh": 4, "ow": 5}
    LARGE: ClassVar[Mapping[str, int]] = {"oh": 7, "ow": 7}
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 32, "c": 2048, "h": 7, "w": 7, "oh": 1, "ow": 1},
    )
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"n": 2, "c": c, "h": h, "w": w, "oh": oh, "ow": ow, "dtype": dtype}
        for c, h, w, oh, ow in ((20, 9, 7, 4, 3), (16, 60, 61, 7, 7), (5, 3, 3, 5, 6))
        for dtype in (FP16, FP32)
    )
    n: int
    c: int
    h: int
    w: int
    oh: int
    ow: int
    dtype: int = FP16

    @property
    def planes(self) -> int:
        """Images times groups of 16 channels."""
        return self.n * -(-self.c // C0)

    def plane_bytes(self, slots: int) -> int:
        """Return the bytes in UB of a plane that is pooled whole, with `slots` buffers of each hand-off."""
        image, windows = self.h * self.w, self.oh * self.ow
        half = max(image, windows) * BLOCK if self.dtype == FP16 else 0
        moved = slots * (image + windows) * C0 * item_bytes(self.dtype)
        return moved + half + (image + windows + self.oh * self.w) * WIDE

    def check(self, kernel: str) -> None:
        """Refuse types that are not floating point, and rows of windows that no buffer holds."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        rule = f"at most {MOST_COLUMNS} columns of results"
        require(kernel, max(self.ow, 1) <= MOST_COLUMNS, rule, f"ow={self.ow}")


@dataclass(frozen=True)
class AdaptiveTiling(Tiling):
    """Whole planes of a tile or, where that is 0, positions of one; buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    tile: int
    slots: int = 2
    planes: int = 0

    @classmethod
    def default(cls, shape: AdaptiveShape, platform: Platform) -> Self:
        """Return as many planes as fit, in equal tiles; else 16 KB, or the rows that a window sees."""
        return cls(cls.positions(shape), *cls.whole_planes(shape, platform))

    @classmethod
    def positions(cls, shape: AdaptiveShape) -> int:
        """Return the positions of a tile of one plane."""
        rows = -(-shape.h // shape.oh) + 1
        return min(TILE_BYTES // (C0 * item_bytes(shape.dtype)), max(1, rows * shape.w))

    @staticmethod
    def whole_planes(shape: AdaptiveShape, platform: Platform) -> tuple[int, int]:
        """Return buffers of each hand-off, and how many planes fit, or 0."""
        share = -(-shape.planes // int(platform.ai_cores))
        room = int(platform.ub_bytes) - GAPS * UB_GAP
        for slots in (2, 1):
            most = min(share, room // shape.plane_bytes(slots))
            if most > 0 and max(shape.w, shape.ow) <= MOST_WIDTH:
                return slots, -(-share // -(-share // most))
        return 2, 0

    @classmethod
    def space(cls, shape: AdaptiveShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, half of its planes, and tiles of one plane, one of them small."""
        first = cls.default(shape, platform)
        yield first
        if first.planes > 1:
            yield cls(first.tile, first.slots, first.planes // 2)
        if first.planes:
            yield cls(first.tile)
        if first.tile >= 4:
            yield cls(first.tile // 4)

    def blocks(self, shape: AdaptiveShape, platform: Platform) -> int:
        """Return one core per plane or per row of windows, as many as there are."""
        items = shape.planes if self.planes else shape.planes * self.rows(shape)
        return min(int(platform.ai_cores), items)

    def rows(self, shape: AdaptiveShape) -> int:
        """Return the rows that cores share."""
        return shape.oh


class Tile(NamedTuple):
    """A buffer of loaded rows, one in fp32, the row they are folded onto, and the results of a row."""

    taken: int
    wide: int
    line: int
    made: int
    q: int


@emits
def fold_line(core: Any, op: int, kept: int, src: int, lanes: int) -> None:
    """Combine a row with another, lane by lane."""
    fold(core, op, kept, src, lanes // LANES, LANES, 8, 8)
    if lanes % LANES > 0:
        done = lanes // LANES * LANES * 4
        fold(core, op, kept + done, src + done, 1, lanes % LANES, 8, 8)


@emits
def fold_row(core: Any, op: int, b: Tile, x: int, shape: Any, rows: Span, columns: Span, tiling: Any) -> None:
    """Fold some rows of a plane onto one row (fp32), columns from `columns.start` on."""
    width, position = columns.end - columns.start, C0 * size_of(core, shape.dtype)
    height = max(1, tiling.tile // width)
    flat_dup(core, b.line, start_of(core, op), width * C0, FP32)
    for row in range(rows.start, rows.end, height):
        count = min(height, rows.end - row)
        taken = b.taken + fill(core, b.q) * tiling.tile * position
        burst, apart = width * position // BLOCK, shape.w * position // BLOCK
        move_planes(core, taken, x + (row * shape.w + columns.start) * position, count, burst, burst, apart)
        filled(core, b.q)
        use(core, b.q)
        tile = widened(core, taken, b.wide, shape.dtype, FP32, count * width * position)
        for i in range(count):
            fold_line(core, op, b.line, tile + i * width * WIDE, width * C0)
        free(core, b.q)


@emits
def fold_windows(core: Any, op: int, b: Tile, shape: Any, columns: Span) -> None:
    """Fold the columns of a row, of which some are there, onto the windows that cover them."""
    for j in range(columns.start * shape.ow // shape.w, shape.ow):
        seen = covered(core, j, shape.ow, shape.w)
        low, high = max(seen.start, columns.start), min(seen.end, columns.end)
        if high > low:
            src = b.line + (low - columns.start) * WIDE
            fold(core, op, b.made + j * WIDE, src, high - low, C0, 0, 2)
        if seen.start >= columns.end:
            return


@emits
def average_row(core: Any, made: int, shape: Any, rows: int) -> None:
    """Divide the sums of a row of windows by what each covers."""
    for j in range(shape.ow):
        seen = covered(core, j, shape.ow, shape.w)
        there = made + j * WIDE
        vmuls(core, there, there, 1, 1.0 / (rows * (seen.end - seen.start)), FP32, C0)


@emits
def pool_rows(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Pool this block's share of the rows of windows."""
    position = C0 * size_of(core, shape.dtype)
    taken = alloc(core, UB, tiling.slots * tiling.tile * position, tiling.slots)
    wide = alloc(core, UB, tiling.tile * WIDE if shape.dtype == FP16 else 0)
    line, made = alloc(core, UB, min(tiling.tile, shape.w) * WIDE), alloc(core, UB, shape.ow * WIDE)
    out = alloc(core, UB, shape.ow * position)
    b = Tile(taken, wide, line, made, queue(core, MTE2, V, tiling.slots))
    q_out, items = queue(core, V, MTE3, 1), shape.n * ((shape.c + C0 - 1) // C0) * shape.oh
    for item in range(share_start(core, items, 1), share_end(core, items, 1)):
        rows = covered(core, item % shape.oh, shape.oh, shape.h)
        source = x + item // shape.oh * shape.h * shape.w * position
        flat_dup(core, made, start_of(core, op), shape.ow * C0, FP32)
        for column in range(0, shape.w, tiling.tile):
            columns = Span(column, min(shape.w, column + tiling.tile))
            fold_row(core, op, b, source, shape, rows, columns, tiling)
            fold_windows(core, op, b, shape, columns)
        if op == ADD:
            average_row(core, made, shape, rows.end - rows.start)
        fill(core, q_out)
        if shape.dtype == FP16:
            flat_convert(core, out, FP16, made, FP32, shape.ow * C0)
        else:
            data_move(core, out, made, 1, shape.ow * WIDE // BLOCK)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + item * shape.ow * position, out, 1, shape.ow * position // BLOCK)
        free(core, q_out)
    close(core, q_out)
    close(core, b.q)


@emits
def adaptive(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Pool this block's share of the planes, or of the rows of windows."""
    if tiling.planes > 0:
        g = Grid(shape.h, shape.w, shape.oh, shape.ow, shape.dtype, tiling.planes)
        pool_planes(core, op, x, y, g, shape.n * ((shape.c + C0 - 1) // C0), tiling.slots)
    else:
        pool_rows(core, op, x, y, shape, tiling)


def spans(windows: int, length: int) -> list[slice]:
    """Return what each window covers of an axis.

    >>> [(span.start, span.stop) for span in spans(3, 7)]
    [(0, 3), (2, 5), (4, 7)]
    """
    return [slice(i * length // windows, -(-(i + 1) * length // windows)) for i in range(windows)]


def _image(name: str, shape: AdaptiveShape) -> Operand:
    return Operand(name, (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0")


def _pooled(name: str, shape: AdaptiveShape) -> Operand:
    return Operand(name, (shape.n, shape.c, shape.oh, shape.ow), shape.dtype, "NC1HWC0")


def _operands(shape: AdaptiveShape) -> tuple[Operand, ...]:
    return _image("x", shape), output("y", _pooled("y", shape).shape, shape.dtype, "NC1HWC0")


def _adaptive(function: Callable[..., Array]) -> Callable[[Callable[..., None]], Any]:
    def reference(shape: AdaptiveShape, x: Array) -> tuple[Array]:
        wide = x.astype(np.float64)
        rows = np.stack([function(wide[:, :, r], axis=2) for r in spans(shape.oh, shape.h)], axis=2)
        columns = [function(rows[..., c], axis=3) for c in spans(shape.ow, shape.w)]
        return (np.stack(columns, axis=3).astype(x.dtype),)

    return kernel(AdaptiveShape, AdaptiveTiling, _operands, reference)


@_adaptive(np.mean)
def adaptive_avg_pool(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, c, oh, ow] = averages of x[n, c, h, w] over windows that together cover it."""
    adaptive(core, ADD, x, y, shape, tiling)


@_adaptive(np.max)
def adaptive_max_pool(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, c, oh, ow] = maxima of x[n, c, h, w] over windows that together cover it."""
    adaptive(core, MAX, x, y, shape, tiling)


def _grad_operands(shape: AdaptiveShape) -> tuple[Operand, ...]:
    return _pooled("dy", shape), output("dx", _image("x", shape).shape, shape.dtype, "NC1HWC0")


def _grad_reference(shape: AdaptiveShape, dy: Array) -> tuple[Array]:
    dx = np.zeros((shape.n, shape.c, shape.h, shape.w))
    for i, rows in enumerate(spans(shape.oh, shape.h)):
        for j, columns in enumerate(spans(shape.ow, shape.w)):
            count = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, :, rows, columns] += dy[:, :, i : i + 1, j : j + 1].astype(np.float64) / count
    return (dx.astype(dy.dtype),)


@emits
def share_row(core: Any, dx: int, dy: int, shape: Any, columns: Span) -> None:
    """Add a row of dy (fp32), each divided by its columns, to the columns that its windows cover."""
    for j in range(columns.start * shape.ow // shape.w, shape.ow):
        seen = covered(core, j, shape.ow, shape.w)
        low, high = max(seen.start, columns.start), min(seen.end, columns.end)
        for part in range(low, high, REPEATS):
            there = dx + (part - columns.start) * WIDE
            vadd(core, there, there, dy + j * WIDE, min(REPEATS, high - part), FP32, C0, 1, 1, 1, 2, 2, 0)
        if seen.start >= columns.end:
            return


@emits
def sum_rows(core: Any, b: Tile, dy: int, shape: Any, row: int) -> None:
    """Sum up the rows of dy whose windows cover a row of the image, each divided by what they cover."""
    position = C0 * size_of(core, shape.dtype)
    flat_dup(core, b.made, 0.0, shape.ow * C0, FP32)
    for i in range(row * shape.oh // shape.h, ((row + 1) * shape.oh + shape.h - 1) // shape.h):
        seen = covered(core, i, shape.oh, shape.h)
        taken = b.taken + fill(core, b.q) * shape.ow * position
        data_move(core, taken, dy + i * shape.ow * position, 1, shape.ow * position // BLOCK)
        filled(core, b.q)
        use(core, b.q)
        tile = widened(core, taken, b.wide, shape.dtype, FP32, shape.ow * position)
        flat_scale(core, b.line, tile, shape.ow * C0, 1.0 / (seen.end - seen.start), 0.0, FP32)
        summand = tile if seen.end - seen.start == 1 else b.line  # a factor of 1 is not computed
        flat_binary(core, ADD, b.made, b.made, summand, shape.ow * C0, FP32)
        free(core, b.q)
    average_row(core, b.made, shape, row - row + 1)


@dataclass(frozen=True)
class AdaptiveGradTiling(AdaptiveTiling):
    """Whole planes of a tile, or positions of one of dx; a core then takes rows of it."""

    @classmethod
    def positions(cls, shape: AdaptiveShape) -> int:
        """Return whole rows, or 16 KB."""
        return min(TILE_BYTES // (C0 * item_bytes(shape.dtype)), shape.w)

    def rows(self, shape: AdaptiveShape) -> int:
        """Return the rows that cores share."""
        return shape.h


@emits
def spread_rows(core: Any, dy: int, dx: int, shape: Any, tiling: Any) -> None:
    """Compute this block's share of the rows of dx."""
    position, tile = C0 * size_of(core, shape.dtype), min(tiling.tile, shape.w)
    row_bytes = shape.ow * WIDE
    taken = alloc(core, UB, tiling.slots * shape.ow * position, tiling.slots)
    b = Tile(
        taken, alloc(core, UB, row_bytes if shape.dtype == FP16 else 0), alloc(core, UB, row_bytes),
        alloc(core, UB, row_bytes), queue(core, MTE2, V, tiling.slots),
    )  # fmt: skip
    sums = alloc(core, UB, tile * WIDE)
    out = alloc(core, UB, tiling.slots * tile * position, tiling.slots)
    q_out = queue(core, V, MTE3, tiling.slots)
    items = shape.n * ((shape.c + C0 - 1) // C0) * shape.h
    for item in range(share_start(core, items, 1), share_end(core, items, 1)):
        source = dy + item // shape.h * shape.oh * shape.ow * position
        sum_rows(core, b, source, shape, item % shape.h)
        for column in range(0, shape.w, tile):
            columns = Span(column, min(shape.w, column + tile))
            count = columns.end - column
            flat_dup(core, sums, 0.0, count * C0, FP32)
            share_row(core, sums, b.made, shape, columns)
            made = out + fill(core, q_out) * tile * position
            if shape.dtype == FP16:
                flat_convert(core, made, FP16, sums, FP32, count * C0)
            else:
                data_move(core, made, sums, 1, count * WIDE // BLOCK)
            filled(core, q_out)
            use(core, q_out)
            data_move(core, dx + (item * shape.w + column) * position, made, 1, count * position // BLOCK)
            free(core, q_out)
    close(core, q_out)
    close(core, b.q)


@kernel(AdaptiveShape, AdaptiveGradTiling, _grad_operands, _grad_reference)
def adaptive_avg_pool_grad(core: Any, dy: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = sum of dy / count over the windows that cover it."""
    if tiling.planes > 0:
        g = Grid(shape.h, shape.w, shape.oh, shape.ow, shape.dtype, tiling.planes)
        pool_planes(core, SPREAD, dy, dx, g, shape.n * ((shape.c + C0 - 1) // C0), tiling.slots)
    else:
        spread_rows(core, dy, dx, shape, tiling)
