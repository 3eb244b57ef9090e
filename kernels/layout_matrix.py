"""Matrices between row-major order and FRACTAL_NZ, padded with zeros.

No transposition is needed: groups of 16 columns are moved together, or apart, inside UB. Rows that are no
whole number of blocks are packed in UB, or written up to their last whole block and then their last 32 bytes,
so that nothing beside them is touched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    INT16,
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
    vor,
)
from kernels.lang.flat import MAX_REPEAT
from kernels.pieces.rows import (
    COMPACT_LIMIT,
    compact,
    compact_scratch_bytes,
    load_rows,
    pitch_bytes,
    row_period,
    row_tails,
    store_exact,
)
from kernels.rules import item_bytes, require, require_dtype, round_up

Array = npt.NDArray[Any]
EDGE, BLOCK = 16, 32
TILE_BYTES = 24 * 1024
MAX_BURSTS, MAX_GAP = 4095, 65535


@dataclass(frozen=True)
class MatrixShape(Shape):
    """x[m, n], or (b not 0) b such matrices, one behind the other; their rows are whole blocks then."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        *(
            {"m": m, "n": n, "dtype": dtype}
            for m, n in ((17, 17), (40, 1001), (300, 7), (64, 128))
            for dtype in (FP16, FP32)
        ),
        {"m": 40, "n": 48, "b": 3},
        {"m": 17, "n": 24, "b": 2, "dtype": FP32},
    )
    OPTIONS: ClassVar[tuple[str, ...]] = ("b",)
    UNVARIED: ClassVar[tuple[str, ...]] = ("b",)
    m: int
    n: int
    b: int = 0
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse other types than the two floating-point ones, and several matrices of ragged rows."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        is_whole = self.n * item_bytes(self.dtype) % BLOCK == 0
        require(kernel, self.b < 2 or is_whole, "rows of several matrices are whole blocks", f"n={self.n}")

    @property
    def matrices(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return (self.b, self.m, self.n) if self.b else (self.m, self.n)


@dataclass(frozen=True)
class MatrixTiling(Tiling):
    """Rows and columns (rounded to multiples of 16) of a tile and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows", "columns")
    rows: int
    columns: int
    slots: int = 2

    @classmethod
    def default(cls, shape: MatrixShape, platform: Platform) -> Self:
        """Return tiles of up to 24 KB, whole rows where 16 of them fit."""
        wide = TILE_BYTES // item_bytes(shape.dtype)
        columns = min(round_up(shape.n, EDGE), wide // EDGE // EDGE * EDGE)
        share = -(-max(1, shape.b) * round_up(shape.m, EDGE) // int(platform.ai_cores))
        return cls(max(EDGE, min(round_up(share, EDGE), wide // columns // EDGE * EDGE)), columns)

    @classmethod
    def space(cls, shape: MatrixShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, one of 16 rows and one of half the columns."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > EDGE:
            yield cls(EDGE, first.columns)
        if first.columns >= 2 * EDGE:
            yield cls(first.rows, first.columns // 2 // EDGE * EDGE)

    def blocks(self, shape: MatrixShape, platform: Platform) -> int:
        """Return one core per 8 rows of two bytes or 4 of four, as many as there are."""
        rows = max(1, shape.b) * round_up(shape.m, EDGE)
        return min(int(platform.ai_cores), -(-rows * item_bytes(shape.dtype) // EDGE))


def _to_fractal(shape: MatrixShape) -> tuple[Operand, ...]:
    return Operand("x", shape.matrices, shape.dtype), output("y", shape.matrices, shape.dtype, "NZ")


def _from_fractal(shape: MatrixShape) -> tuple[Operand, ...]:
    return Operand("x", shape.matrices, shape.dtype, "NZ"), output("y", shape.matrices, shape.dtype)


def _same(shape: MatrixShape, x: Array) -> tuple[Array]:
    return (x,)


@emits
def copy_lanes(core: Any, dst: int, dst_rep: int, src: int, src_rep: int, rows: int, halves: int) -> None:
    """Copy the first `halves` half words (up to 32) of every row, bit by bit; strides are in blocks."""
    for row in range(0, rows, MAX_REPEAT):
        at, start = dst + row * dst_rep * BLOCK, src + row * src_rep * BLOCK
        repeat = min(MAX_REPEAT, rows - row)
        if src_rep > MAX_REPEAT:
            for step in range(repeat):
                vor(
                    core, at + step * dst_rep * BLOCK, start + step * src_rep * BLOCK,
                    start + step * src_rep * BLOCK, 1, INT16, halves,
                )  # fmt: skip
        else:
            vor(core, at, start, start, repeat, INT16, halves, 1, 1, 1, dst_rep, src_rep, src_rep)


@emits
def gather_groups(
    core: Any, dst: int, src: int, pitch: int, rows: int, columns: int, size: int, padded_rows: int
) -> None:  # fmt: skip
    """Set dst[columns / 16, padded_rows, 16] = src[rows, columns], zero where src has no element."""
    groups, blocks = (columns + 15) // 16, size // 2
    rest = columns % 16
    if padded_rows > rows:
        flat_dup(core, dst, 0.0, groups * padded_rows * 16 * size // 2, FP16)
    elif rest > 0:
        flat_dup(core, dst + (groups - 1) * padded_rows * 16 * size, 0.0, padded_rows * 8 * size, FP16)
    for group in range(groups):
        to, start = dst + group * padded_rows * 16 * size, src + group * 16 * size
        if rows > 0 and (group + 1) * 16 <= columns:
            data_move(core, to, start, rows, blocks, pitch // BLOCK - blocks, 0)
        elif rows > 0:
            copy_lanes(core, to, blocks, start, pitch // BLOCK, rows, rest * size // 2)


@emits
def move_groups(
    core: Any, dst: int, src: int, groups: int, rows: int, src_rows: int, dst_rows: int, size: int
) -> None:  # fmt: skip
    """Move rows of 16 elements of each group; it has `src_rows` and `dst_rows` of them (0: no more)."""
    blocks = size // 2
    src_gap, dst_gap = (max(src_rows, rows) - rows) * blocks, (max(dst_rows, rows) - rows) * blocks
    if src_gap <= MAX_GAP and dst_gap <= MAX_GAP and groups <= MAX_BURSTS:
        data_move(core, dst, src, groups, rows * blocks, src_gap, dst_gap)
        return
    for group in range(groups):
        to, start = group * (rows * blocks + dst_gap) * BLOCK, group * (rows * blocks + src_gap) * BLOCK
        data_move(core, dst + to, src + start, 1, rows * blocks)


@kernel(MatrixShape, MatrixTiling, _to_fractal, _same)
def nd_to_nz(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[b, n1, m1, m0, n0] = x[b, m, n] with m = m1 * 16 + m0, n = n1 * 16 + n0; padding is zero."""
    size, m, n = size_of(core, shape.dtype), shape.m, shape.n
    rows, columns = max(1, tiling.rows // 16) * 16, max(1, tiling.columns // 16) * 16
    pitch, height, whole = columns * size, (m + 15) // 16 * 16, (n + 15) // 16 * 16
    ub_in = alloc(core, UB, tiling.slots * rows * pitch, tiling.slots)
    ub_out = alloc(core, UB, tiling.slots * rows * pitch, tiling.slots)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, tiling.slots)
    unit = 16 // size  # rows that fill a slot of the bus
    all_rows = max(1, shape.b) * height
    at, end = share_start(core, all_rows, unit), share_end(core, all_rows, unit)
    while at < end:
        matrix, row = at // height, at % height
        count = min(rows, end - at, height - row)
        real = max(0, min(count, m - row))
        at += count
        for column in range(0, n, columns):
            width = min(columns, n - column)
            taken = ub_in + fill(core, q_in) * rows * pitch
            if real > 0:
                source = x + ((matrix * m + row) * n + column) * size
                load_rows(core, taken, pitch, source, n * size, real, width * size)
            filled(core, q_in)
            use(core, q_in)
            made = ub_out + fill(core, q_out) * rows * pitch
            gather_groups(core, made, taken, pitch, real, width, size, count)
            free(core, q_in)
            filled(core, q_out)
            use(core, q_out)
            target = y + ((matrix * whole + column) * height + row * 16) * size
            move_groups(core, target, made, (width + 15) // 16, count, 0, height, size)
            free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def spread_groups(core: Any, dst: int, src: int, pitch: int, rows: int, size: int) -> None:
    """Set dst[rows, columns] = src[groups, rows, 16], rows `pitch` bytes apart and cut off there."""
    blocks = size // 2
    for group in range((pitch + 16 * size - 1) // (16 * size)):
        kept = min(blocks, pitch // BLOCK - group * blocks)
        to, start = dst + group * 16 * size, src + group * rows * 16 * size
        data_move(core, to, start, rows, kept, blocks - kept, pitch // BLOCK - kept)


@emits
def separate_packed_rows(core: Any, x: int, y: int, m: int, n: int, size: int, slots: int) -> None:
    """y[m, n] = x[n1, m1, 16, 16] for short rows that are no whole number of blocks: packed in UB."""
    row_bytes, height, groups = n * size, (m + 15) // 16 * 16, (n + 15) // 16
    period, pitch = row_period(core, row_bytes), pitch_bytes(core, row_bytes)
    rows = 16 * period
    tile = rows * groups * 16 * size
    ub_in, spread = alloc(core, UB, slots * tile, slots), alloc(core, UB, rows * pitch)
    ub_out, scratch = (
        alloc(core, UB, rows * row_bytes),
        alloc(core, UB, compact_scratch_bytes(core, row_bytes)),
    )
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, 1)
    end = share_end(core, m, period)
    for row in range(share_start(core, m, period), end, rows):
        count = min(rows, end - row)
        taken = ub_in + fill(core, q_in) * tile
        move_groups(core, taken, x + row * 16 * size, groups, count, height, 0, size)
        filled(core, q_in)
        use(core, q_in)
        spread_groups(core, spread, taken, pitch, count, size)
        free(core, q_in)
        fill(core, q_out)
        compact(core, ub_out, spread, count, row_bytes, scratch)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + row * row_bytes, ub_out, 1, (count * row_bytes + BLOCK - 1) // BLOCK)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@emits
def separate_exact_rows(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Set y[b, m, n] = x[b, n1, m1, 16, 16], tile by tile, each row of a tile written exactly."""
    size, m, n, slots = size_of(core, shape.dtype), shape.m, shape.n, tiling.slots
    rows, columns = max(1, tiling.rows // 16) * 16, max(1, tiling.columns // 16) * 16
    height, period, whole = (m + 15) // 16 * 16, row_period(core, n * size), (n + 15) // 16 * 16
    room = (columns + 32) * size  # a rest of less than two blocks joins the tile before
    made_bytes = rows * (room + BLOCK)
    ub_in, scratch = alloc(core, UB, slots * rows * room, slots), alloc(core, UB, 1024)
    ub_out = alloc(core, UB, slots * made_bytes, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    pieces, all_rows = max(1, (n - 32 + columns - 1) // columns), max(1, shape.b) * m
    at, end = share_start(core, all_rows, period), share_end(core, all_rows, period)
    while at < end:
        matrix, row = at // m, at % m
        count = min(rows, end - at, m - row)
        at += count
        for column in range(0, pieces * columns, columns):
            width = columns if column + columns < pieces * columns else n - column
            groups = (width + 15) // 16
            source = x + ((matrix * whole + column) * height + row * 16) * size
            taken, pitch = ub_in + fill(core, q_in) * rows * room, groups * 16 * size
            move_groups(core, taken, source, groups, count, height, 0, size)
            filled(core, q_in)
            use(core, q_in)
            made = ub_out + fill(core, q_out) * made_bytes
            tails = made + rows * room
            spread_groups(core, made, taken, pitch, count, size)
            free(core, q_in)
            if width * size % BLOCK != 0:
                row_tails(core, tails, made, pitch, count, width * size, scratch)
            filled(core, q_out)
            use(core, q_out)
            target = y + ((matrix * m + row) * n + column) * size
            store_exact(core, target, n * size, made, pitch, count, width * size, tails)
            free(core, q_out)
    close(core, q_out)
    close(core, q_in)


@kernel(MatrixShape, MatrixTiling, _from_fractal, _same)
def nz_to_nd(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[b, m, n] = x[b, n1, m1, m0, n0] with m = m1 * 16 + m0, n = n1 * 16 + n0."""
    size = size_of(core, shape.dtype)
    row_bytes = shape.n * size
    period = row_period(core, row_bytes)
    if period > 1 and period * pitch_bytes(core, row_bytes) <= COMPACT_LIMIT:
        separate_packed_rows(core, x, y, shape.m, shape.n, size, tiling.slots)
    else:
        separate_exact_rows(core, x, y, shape, tiling)
