"""Adaptive max pooling that keeps where each maximum was seen first, and its gradient.

Positions of the image are numbered row by row; fp32 counts them. A core takes rows of windows, BATCH of them
at once: the rows that they see are folded onto one, lane by lane, which notes the row of the first maximum,
and the columns of that onto the windows. In the gradient a core takes rows of the image, and compares the
numbers of their positions with those of the maxima.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.argmax import MOST, Best, better
from kernels.lang import (
    FP16,
    FP32,
    MAX,
    MIN,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_binary,
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
    vcmpv_eq,
    vcmpv_gt,
    vmul,
    vsel,
)
from kernels.lang.flat import ADD
from kernels.pieces.adaptive import Span, covered
from kernels.pieces.fold import fold, start_of
from kernels.pieces.reduce_rows import narrowed, widened
from kernels.pieces.window import move_planes
from kernels.pooling_adaptive import AdaptiveGradTiling, AdaptiveShape, AdaptiveTiling, spans
from kernels.rules import require, require_dtype

Array = npt.NDArray[Any]
C0, BLOCK, WIDE, LINE, LANES, REPEATS = 16, 32, 64, 256, 64, 252
"""Among them: bytes of a position in fp32, bytes and lanes of a repeat, repeats whose bits fill blocks."""
BATCH, MOST_POSITIONS = 128, 256
BATCH_BYTES = BATCH * WIDE + LINE
"""Room of a number for each window of a batch; comparisons read whole repeats, behind the last one, too."""
SHARED = 5
"""Positions at most that a window shares with others, and those that round its bits up to a block."""
NOWHERE = float(1 << 25)
"""More than the number of any position."""


@dataclass(frozen=True)
class AdaptiveMaxShape(AdaptiveShape):
    """x[n, c, h, w] and y[n, c, oh, ow]; argmax is fp32."""

    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 32, "c": 512, "h": 7, "w": 7, "oh": 1, "ow": 1},
    )
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"n": 1, "c": c, "h": h, "w": w, "oh": oh, "ow": ow, "dtype": dtype}
        for c, h, w, oh, ow in ((20, 9, 7, 4, 3), (5, 3, 3, 5, 6))
        for dtype in (FP16, FP32)
    )

    def check(self, kernel: str) -> None:
        """Refuse types that are not floating point, and positions that fp32 cannot count."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        rule = f"at most {MOST} positions, so that fp32 counts them"
        require(kernel, self.h * self.w <= MOST, rule, f"h={self.h}, w={self.w}")


@dataclass(frozen=True)
class AdaptiveMaxTiling(AdaptiveTiling):
    """Positions of a tile and buffers of each hand-off."""

    @classmethod
    def default(cls, shape: AdaptiveShape, platform: Platform) -> Self:
        """Return tiles of 256 positions, or of the rows that a window sees."""
        return cls(min(MOST_POSITIONS, max(1, (-(-shape.h // shape.oh) + 1) * shape.w)))

    def blocks(self, shape: AdaptiveShape, platform: Platform) -> int:
        """Return one core per batch of windows, as many as there are."""
        return min(int(platform.ai_cores), shape.planes * shape.oh * -(-shape.ow // BATCH))


@dataclass(frozen=True)
class AdaptiveMaxGradTiling(AdaptiveGradTiling):
    """Positions of a tile of dx; a core takes rows of it."""

    @classmethod
    def default(cls, shape: AdaptiveShape, platform: Platform) -> Self:
        """Return tiles of whole rows, or of 256 positions."""
        return cls(min(MOST_POSITIONS, shape.w))


class Bench(NamedTuple):
    """Columns of a row of positions; candidates of all windows of a batch, and their bits; NOWHERE and 0."""

    columns: int
    found: int
    nowhere: int
    zero: int
    bits: int


@emits
def bench_of(core: Any, positions: int) -> Bench:
    """Allocate a row of positions, and number them from 0 on."""
    room = positions + SHARED * BATCH
    columns, found = alloc(core, UB, positions * WIDE + LINE), alloc(core, UB, room * WIDE)
    nowhere, zero = alloc(core, UB, BLOCK), alloc(core, UB, BLOCK)
    flat_dup(core, columns, 0.0, C0, FP32)
    flat_dup(core, nowhere, NOWHERE, 8, FP32)
    flat_dup(core, zero, 0.0, 8, FP32)
    have = 1
    while have < positions:
        more = min(have, positions - have)
        flat_scale(core, columns + have * WIDE, columns, more * C0, 1.0, have * 1.0, FP32)
        have += more
    return Bench(columns, found, nowhere, zero, alloc(core, UB, room * 8))


class Sight(NamedTuple):
    """What a window sees of a row of positions: where that begins, how many, and their place in the bench.

    All windows go through a step before the next step: an instruction does not wait for the one before it.
    """

    start: int
    positions: int
    at: int


@emits
def sight_of(core: Any, window: int, columns: Span, shape: Any, before: int) -> Sight:
    """Return what a window sees of some columns, where `before` places of the bench are taken."""
    seen = covered(core, window, shape.ow, shape.w)
    low = max(seen.start, columns.start)
    return Sight(low - columns.start, max(0, min(seen.end, columns.end) - low), before)


@emits
def places_behind(core: Any, s: Sight) -> int:
    """Return how many places are taken with those of a window: bits of four positions fill a block."""
    return s.at + (s.positions + 3) // 4 * 4


@emits
def mark_equal(core: Any, b: Bench, s: Sight, a: int, one: int) -> None:
    """Write for each number of a[count, 16] whether it is that of one[16]."""
    for done in range(0, s.positions, REPEATS):
        bits, here = b.bits + (s.at + done) * 8, a + (s.start + done) * WIDE
        vcmpv_eq(core, bits, here, one, min(REPEATS, s.positions - done), FP32, 1, 1, 2, 0)


@emits
def select_marked(core: Any, b: Bench, s: Sight, yes: int, yes_rep: int, no: int) -> None:
    """Put yes[count, 16] where there is a mark, the number of the block `no` elsewhere.

    `yes` is an array (`yes_rep` 2) or one position (0).
    """
    for done in range(0, s.positions, REPEATS):
        to, bits = b.found + (s.at + done) * WIDE, b.bits + (s.at + done) * 8
        here = yes + done * WIDE * yes_rep // 2
        vsel(core, to, here, no, min(REPEATS, s.positions - done), bits, FP32, C0, 1, 1, 0, 2, yes_rep, 0)


class Pooling(NamedTuple):
    """All that pooling takes: hand-off and buffers for rows of `tile` positions as they come, and in fp32.

    `line` is the row that they are folded onto. Of the windows of a batch: maxima and where they are, what
    these were before a tile, and where they are in that tile.
    """

    q: int
    taken: int
    wide: int
    tile: int
    line: Best
    b: Bench
    made: int
    arg: int
    before: int
    first: int


@emits
def pooling_of(core: Any, shape: Any, tiling: Any) -> Pooling:
    """Allocate everything."""
    position, batch, tile = C0 * size_of(core, shape.dtype), BATCH_BYTES, tiling.tile
    b, room = bench_of(core, min(tile, shape.w)), min(tile, shape.w) * WIDE + LINE
    q, taken_bytes = queue(core, MTE2, V, tiling.slots), tiling.slots * (tile * position + LINE)
    taken = alloc(core, UB, taken_bytes, tiling.slots)
    wide = alloc(core, UB, tile * WIDE + LINE if shape.dtype == FP16 else 0)
    line = Best(alloc(core, UB, room), alloc(core, UB, room), b.bits, alloc(core, UB, BLOCK))
    made, arg = alloc(core, UB, batch), alloc(core, UB, batch)
    return Pooling(q, taken, wide, tile, line, b, made, arg, alloc(core, UB, batch), alloc(core, UB, batch))


@emits
def take_rows(core: Any, u: Pooling, x: int, rows: Span, columns: Span, shape: Any) -> None:
    """Fold some rows of a plane onto one (fp32): its maxima, and the rows where they were seen first."""
    width, position = columns.end - columns.start, C0 * size_of(core, shape.dtype)
    height, lines = max(1, u.tile // width), (width * C0 + LANES - 1) // LANES
    flat_dup(core, u.line.kept, start_of(core, MAX), lines * LANES, FP32)
    flat_dup(core, u.line.seen, rows.start * 1.0, lines * LANES, FP32)
    for row in range(rows.start, rows.end, height):
        count = min(height, rows.end - row)
        taken = u.taken + fill(core, u.q) * (u.tile * position + LINE)
        burst, apart = width * position // BLOCK, shape.w * position // BLOCK
        move_planes(core, taken, x + (row * shape.w + columns.start) * position, count, burst, burst, apart)
        filled(core, u.q)
        use(core, u.q)
        tile = widened(core, taken, u.wide, shape.dtype, FP32, count * width * position)
        for i in range(count):
            better(core, MAX, u.line, tile + i * width * WIDE, row + i, lines, LANES, 8)
        free(core, u.q)


@emits
def take_windows(core: Any, u: Pooling, windows: Span, columns: Span, shape: Any) -> None:
    """Fold the columns of a row onto the windows of a batch, and find where the maxima were seen first."""
    lanes, count = (columns.end - columns.start) * C0, windows.end - windows.start
    seen, b = u.line.seen, u.b
    flat_scale(core, seen, seen, lanes, shape.w * 1.0, columns.start * 1.0, FP32)
    flat_binary(core, ADD, seen, seen, b.columns, lanes, FP32)
    data_move(core, u.before, u.made, 1, count * WIDE // BLOCK)
    flat_dup(core, u.first, NOWHERE, count * C0, FP32)
    for step in range(4):
        places = 0
        for window in range(windows.start, windows.end):
            s, at = sight_of(core, window, columns, shape, places), (window - windows.start) * WIDE
            places = places_behind(core, s)
            if step == 0:
                fold(core, MAX, u.made + at, u.line.kept + s.start * WIDE, s.positions, C0, 0, 2)
            elif step == 1:
                mark_equal(core, b, s, u.line.kept, u.made + at)
            elif step == 2:
                select_marked(core, b, s, seen + s.start * WIDE, 2, b.nowhere)
            else:
                fold(core, MIN, u.first + at, b.found + s.at * WIDE, s.positions, C0, 0, 2)
    flat_binary(core, MIN, u.arg, u.arg, u.first, count * C0, FP32)
    vcmpv_gt(core, b.bits, u.made, u.before, (count * C0 + LANES - 1) // LANES, FP32)
    vsel(core, u.arg, u.first, u.arg, (count * C0 + LANES - 1) // LANES, b.bits, FP32, LANES)


@emits
def pool_batch(core: Any, u: Pooling, x: int, row: int, windows: Span, shape: Any) -> None:
    """Pool some windows of a row of windows of the plane at x."""
    count, rows = windows.end - windows.start, covered(core, row, shape.oh, shape.h)
    flat_dup(core, u.made, start_of(core, MAX), count * C0, FP32)
    flat_dup(core, u.arg, NOWHERE, count * C0, FP32)
    left = covered(core, windows.start, shape.ow, shape.w).start
    end = covered(core, windows.end - 1, shape.ow, shape.w).end
    for column in range(left, end, u.tile):
        columns = Span(column, min(end, column + u.tile))
        take_rows(core, u, x, rows, columns, shape)
        take_windows(core, u, windows, columns, shape)


@emits
def drop_channels(core: Any, arg: int, ones: int, count: int, channels: int) -> None:
    """Set the numbers of channels that are not there to 0; `ones` is room for a position."""
    if channels < C0:
        flat_dup(core, ones, 0.0, C0, FP32)
        flat_dup(core, ones, 1.0, channels, FP32)
        vmul(core, arg, arg, ones, count, FP32, C0, 1, 1, 1, 2, 2, 0)


def _small(name: str, shape: AdaptiveShape, dtype: int) -> Operand:
    return Operand(name, (shape.n, shape.c, shape.oh, shape.ow), dtype, "NC1HWC0")


def _image(name: str, shape: AdaptiveShape) -> Operand:
    return Operand(name, (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0")


def _operands(shape: AdaptiveShape) -> tuple[Operand, ...]:
    small = (shape.n, shape.c, shape.oh, shape.ow)
    made = output("y", small, shape.dtype, "NC1HWC0"), output("argmax", small, FP32, "NC1HWC0")
    return _image("x", shape), *made


def _grad_operands(shape: AdaptiveShape) -> tuple[Operand, ...]:
    argmax = Operand(
        "argmax", (shape.n, shape.c, shape.oh, shape.ow), FP32, "NC1HWC0",
        between=(0, shape.h * shape.w), is_whole=True,
    )  # fmt: skip
    dx = output("dx", (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0")
    return _small("dy", shape, shape.dtype), argmax, dx


def _reference(shape: AdaptiveShape, x: Array) -> tuple[Array, Array]:
    numbers = np.arange(shape.h * shape.w).reshape(shape.h, shape.w)
    y = np.empty((shape.n, shape.c, shape.oh, shape.ow), x.dtype)
    argmax = np.empty(y.shape, np.float32)
    for i, rows in enumerate(spans(shape.oh, shape.h)):
        for j, columns in enumerate(spans(shape.ow, shape.w)):
            seen = x[:, :, rows, columns].reshape(shape.n, shape.c, -1)
            y[:, :, i, j] = seen.max(axis=2)
            argmax[:, :, i, j] = numbers[rows, columns].ravel()[seen.argmax(axis=2)]
    return y, argmax


def _grad_reference(shape: AdaptiveShape, dy: Array, argmax: Array) -> tuple[Array]:
    dx = np.zeros((shape.n, shape.c, shape.h, shape.w))
    numbers = np.arange(shape.h * shape.w).reshape(shape.h, shape.w)
    for i, rows in enumerate(spans(shape.oh, shape.h)):
        for j, columns in enumerate(spans(shape.ow, shape.w)):
            is_there = argmax[:, :, i, j, None, None] == numbers[rows, columns]
            dx[:, :, rows, columns] += np.where(is_there, dy[:, :, i, j, None, None].astype(np.float64), 0.0)
    return (dx.astype(dy.dtype),)


@kernel(AdaptiveMaxShape, AdaptiveMaxTiling, _operands, _reference)
def adaptive_max_pool_with_argmax(core: Any, x: int, y: int, argmax: int, shape: Any, tiling: Any) -> None:
    """y[n, c, oh, ow] = maxima of x[n, c, h, w] over windows; argmax = row * w + column of each first one."""
    position, groups = C0 * size_of(core, shape.dtype), (shape.c + C0 - 1) // C0
    u = pooling_of(core, shape, tiling)
    out_y, out_arg = alloc(core, UB, BATCH * position), alloc(core, UB, BATCH * WIDE)
    ones, q_out, batches = alloc(core, UB, WIDE), queue(core, V, MTE3, 1), (shape.ow + BATCH - 1) // BATCH
    items = shape.n * groups * shape.oh * batches
    for item in range(share_start(core, items, 1), share_end(core, items, 1)):
        row, first = item // batches, item % batches * BATCH
        windows, plane = Span(first, min(shape.ow, first + BATCH)), row // shape.oh
        pool_batch(core, u, x + plane * shape.h * shape.w * position, row % shape.oh, windows, shape)
        count, to = windows.end - first, row * shape.ow + first
        drop_channels(core, u.arg, ones, count, min(C0, shape.c - plane % groups * C0))
        fill(core, q_out)
        narrowed(core, out_y, u.made, count * C0, 1.0, shape.dtype)
        data_move(core, out_arg, u.arg, 1, count * WIDE // BLOCK)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + to * position, out_y, 1, count * position // BLOCK)
        data_move(core, argmax + to * WIDE, out_arg, 1, count * WIDE // BLOCK)
        free(core, q_out)
    close(core, q_out)
    close(core, u.q)


class Giving(NamedTuple):
    """All that the gradient takes: hand-off and buffers for a batch of dy and its argmax, and dy in fp32.

    Of a row of positions: their numbers, and the sums of what they get.
    """

    q: int
    dy: int
    arg: int
    wide: int
    b: Bench
    numbers: int
    sums: int


@emits
def giving_of(core: Any, shape: Any, tile: int, slots: int) -> Giving:
    """Allocate everything for rows of `tile` positions."""
    b, position = bench_of(core, tile), C0 * size_of(core, shape.dtype)
    dy, arg = alloc(core, UB, slots * BATCH * position, slots), alloc(core, UB, slots * BATCH_BYTES, slots)
    numbers, sums = alloc(core, UB, tile * WIDE + LINE), alloc(core, UB, tile * WIDE)
    wide = alloc(core, UB, BATCH * WIDE if shape.dtype == FP16 else 0)
    return Giving(queue(core, MTE2, V, slots), dy, arg, wide, b, numbers, sums)


@emits
def give_batch(core: Any, g: Giving, dy: int, argmax: int, windows: Span, columns: Span, shape: Any) -> None:
    """Add those dy of a batch of windows to a row of positions whose maxima lie in it."""
    count, position = windows.end - windows.start, C0 * size_of(core, shape.dtype)
    slot = fill(core, g.q)
    came, args = g.dy + slot * BATCH * position, g.arg + slot * BATCH_BYTES
    data_move(core, came, dy + windows.start * position, 1, count * position // BLOCK)
    data_move(core, args, argmax + windows.start * WIDE, 1, count * WIDE // BLOCK)
    filled(core, g.q)
    use(core, g.q)
    wide = widened(core, came, g.wide, shape.dtype, FP32, count * position)
    for step in range(3):
        places = 0
        for window in range(windows.start, windows.end):
            s, at = sight_of(core, window, columns, shape, places), (window - windows.start) * WIDE
            places = places_behind(core, s)
            if step == 0:
                mark_equal(core, g.b, s, g.numbers, args + at)
            elif step == 1:
                select_marked(core, g.b, s, wide + at, 0, g.b.zero)
            else:
                fold(core, ADD, g.sums + s.start * WIDE, g.b.found + s.at * WIDE, s.positions, C0, 2, 2)
    free(core, g.q)


@emits
def give_row(core: Any, g: Giving, dy: int, argmax: int, row: int, columns: Span, shape: Any) -> None:
    """Sum up the gradient of some columns of a row of the image."""
    lanes, position = (columns.end - columns.start) * C0, C0 * size_of(core, shape.dtype)
    flat_dup(core, g.sums, 0.0, lanes, FP32)
    data_move(core, g.numbers, g.b.columns, 1, lanes * 4 // BLOCK)
    flat_scale(core, g.numbers, g.numbers, lanes, 1.0, (row * shape.w + columns.start) * 1.0, FP32)
    first, last = columns.start * shape.ow // shape.w, (columns.end * shape.ow + shape.w - 1) // shape.w
    for i in range(row * shape.oh // shape.h, ((row + 1) * shape.oh + shape.h - 1) // shape.h):
        line_dy, line_arg = dy + i * shape.ow * position, argmax + i * shape.ow * WIDE
        for window in range(first, last, BATCH):
            windows = Span(window, min(last, window + BATCH))
            give_batch(core, g, line_dy, line_arg, windows, columns, shape)


@kernel(AdaptiveMaxShape, AdaptiveMaxGradTiling, _grad_operands, _grad_reference)
def adaptive_max_pool_grad(core: Any, dy: int, argmax: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = sum of dy over the windows whose maximum lies there, as argmax says."""
    position, tile, slots = C0 * size_of(core, shape.dtype), min(tiling.tile, shape.w), tiling.slots
    g, out = giving_of(core, shape, tile, slots), alloc(core, UB, slots * tile * position, slots)
    q_out, items = queue(core, V, MTE3, slots), shape.n * ((shape.c + C0 - 1) // C0) * shape.h
    for item in range(share_start(core, items, 1), share_end(core, items, 1)):
        plane = item // shape.h * shape.oh * shape.ow
        plane_dy, plane_arg = dy + plane * position, argmax + plane * WIDE
        for column in range(0, shape.w, tile):
            columns = Span(column, min(shape.w, column + tile))
            count = columns.end - column
            give_row(core, g, plane_dy, plane_arg, item % shape.h, columns, shape)
            made = out + fill(core, q_out) * tile * position
            narrowed(core, made, g.sums, count * C0, 1.0, shape.dtype)
            filled(core, q_out)
            use(core, q_out)
            data_move(core, dx + (item * shape.w + column) * position, made, 1, count * position // BLOCK)
            free(core, q_out)
    close(core, q_out)
    close(core, g.q)
