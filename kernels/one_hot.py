"""Numbers as rows that are `on` at one place and `off` everywhere else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    INT32,
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
    scatter_rows,
    share_end,
    share_start,
    size_of,
    use,
    vcmpv_eq,
    vconv,
    vsel,
)
from kernels.lang.flat import ADD, MAX, MIN, SUB
from kernels.pieces.broadcast import block_binary
from kernels.pieces.counting import count_up
from kernels.pieces.rows import pitch_bytes
from kernels.pieces.rowstream import close_rows, open_rows, room_for_rows, row_unit, send_rows
from kernels.pieces.transpose import spread
from kernels.rules import item_bytes, require, require_dtype, round_up
from kernels.tiling.flat import cores_for

Array = npt.NDArray[Any]
BLOCK, LANES, EIGHT = 32, 64, 8
TILE_BYTES, FILL_BYTES, MOST_ROWS = 24 * 1024, 32 * 1024, 240
MOST_COLUMNS, MOST_ODD = 31 * 64, 255
"""Longer rows are filled, and of each a block is written again: for 140 cycles. So are those that begin
beside blocks and have more places than the second.
"""
EXACT = 1 << 24
"""Numbers below are exact as float32, in which they are compared."""


@dataclass(frozen=True)
class OneHotShape(Shape):
    """m numbers; rows of n places hold the number `on` at the place of each and `off` elsewhere."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("on", "off")
    APART: ClassVar[tuple[str, ...]] = OPTIONS
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 37, "n": 10}, {"m": 200, "n": 64, "dtype": FP32}, {"m": 5, "n": 1001, "on": 3, "off": -1},
        {"m": 2, "n": 9000, "dtype": INT32},
    )  # fmt: skip
    m: int
    n: int
    on: int = 1
    off: int = 0
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse more places than float32 counts, and other types than those here."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)
        require(kernel, self.n < EXACT, "n is below 2 ** 24", f"n={self.n}")


@emits
def is_filled_first(core: Any, n: int, size: int) -> int:
    """Return 1 for rows that are filled before their places are written, 0 for those that are compared."""
    return 1 if n > MOST_COLUMNS or (n > MOST_ODD and n * size % BLOCK != 0) else 0


@dataclass(frozen=True)
class OneHotTiling(Tiling):
    """Rows of a tile, cores to use."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int
    cores: int = 1

    @classmethod
    def default(cls, shape: OneHotShape, platform: Platform) -> Self:
        """Return tiles of 24 KB in fp32, of which long rows hold one block each."""
        cores = cores_for(2 * shape.m * max(shape.n, LANES) * item_bytes(shape.dtype), platform)
        is_long = is_filled_first(None, shape.n, item_bytes(shape.dtype))
        columns = LANES if is_long else round_up(shape.n, LANES)
        return cls(max(1, min(MOST_ROWS, -(-shape.m // cores), TILE_BYTES // (4 * columns))), cores)

    @classmethod
    def space(cls, shape: OneHotShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, and one of half the rows."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > 1:
            yield replace(first, rows=first.rows // 2)

    def blocks(self, shape: OneHotShape, platform: Platform) -> int:
        """Return the cores to use, as many as there are."""
        return min(int(platform.ai_cores), self.cores)


class Spots(NamedTuple):
    """What is made of which numbers in GM: the places x and the rows y, and what stands in them.

    At its place a row holds `on` and, where each row has a number of its own (`scaled` 1), the negative of
    that of `scales`; `off` stands everywhere else.
    """

    x: int
    y: int
    on: int
    off: int
    scales: int
    scaled: int


class Hot(NamedTuple):
    """Blocks full of `on` and of `off`, 0, 1, 2 ... along a row, blocks full of each row's number, room.

    Blocks of `on` are `on_rep` blocks apart from row to row: 0 where all rows have the same.
    """

    on: int
    on_rep: int
    off: int
    places: int
    blocks: int
    bits: int
    wide: int
    scratch: int


class Lists(NamedTuple):
    """How numbers come: hand-off, buffers of `nbytes`, the same as float32."""

    q: int
    ub: int
    nbytes: int
    numbers: int


class Starts(NamedTuple):
    """Integers of rows: blocks full of the first and of the last place where a block fits into a row.

    Behind them where each row begins, where in it its block does, where the block lies, and its hand-off.
    """

    first: int
    last: int
    rows: int
    block: int
    listed: int
    q: int


@emits
def open_hot(core: Any, rows: int, columns: int, a: Spots, dtype: int) -> Hot:
    """Allocate what does not change from tile to tile, and fill it."""
    groups, wide = (rows + 15) // 16, rows * pitch_bytes(core, columns * 4) if dtype == FP16 else 0
    on, off = alloc(core, UB, groups * 16 * BLOCK if a.scaled else BLOCK), alloc(core, UB, BLOCK)
    places, blocks = alloc(core, UB, (columns + LANES) * 4), alloc(core, UB, groups * 16 * BLOCK)
    most = (min(rows, MOST_ROWS) + 3) // 4 * BLOCK  # bits of 64 columns
    bits = alloc(core, UB, (columns + LANES - 1) // LANES * most)
    rounded = alloc(core, UB, wide)
    scratch = alloc(core, UB, groups * 2048)
    kind = INT32 if dtype == INT32 else FP32
    flat_dup(core, on, a.on * 1.0, 8, kind)
    flat_dup(core, off, a.off * 1.0, 8, kind)
    count_up(core, places, columns, 1, FP32, scratch)
    return Hot(on, a.scaled, off, places, blocks, bits, rounded, scratch)


@emits
def open_lists(core: Any, rows: int, slots: int) -> Lists:
    """Open the way of the numbers."""
    nbytes = (rows + 15) // 16 * 64
    ub = alloc(core, UB, slots * nbytes, slots)
    return Lists(queue(core, MTE2, V, slots), ub, nbytes, alloc(core, UB, nbytes))


@emits
def bring_list(core: Any, v: Lists, x: int, i: int, count: int, dtype: int) -> int:
    """Bring numbers from number i on as they are; return where they lie until they are given back."""
    taken, size = v.ub + fill(core, v.q) * v.nbytes, size_of(core, dtype)
    data_move(core, taken, x + i * size, 1, pitch_bytes(core, count * size) // BLOCK)
    filled(core, v.q)
    use(core, v.q)
    return int(taken)


@emits
def bring_numbers(core: Any, v: Lists, x: int, i: int, count: int, dtype: int) -> None:
    """Bring numbers from number i on as float32."""
    taken = bring_list(core, v, x, i, count, dtype)
    if dtype == FP32:
        data_move(core, v.numbers, taken, 1, pitch_bytes(core, count * 4) // BLOCK)
    else:
        flat_convert(core, v.numbers, FP32, taken, dtype, count)
    free(core, v.q)


@emits
def bring_scales(core: Any, h: Hot, v: Lists, a: Spots, i: int, count: int, dtype: int) -> None:
    """Fill the blocks of `on` with the negatives of the rows' own numbers from number i on."""
    if a.scaled:
        bring_numbers(core, v, a.scales, i, count, dtype)
        flat_scale(core, v.numbers, v.numbers, count, -1.0, 0.0, FP32)
        spread(core, h.on, v.numbers, count, 4, h.scratch)


@emits
def hot_rows(core: Any, dst: int, pitch: int, h: Hot, rows: int, columns: int, dtype: int) -> None:
    """Fill dst[rows, columns], rows `pitch` bytes apart: on where the place is the row's number, else off."""
    to, step = dst, pitch // BLOCK
    if dtype == FP16:
        to, step = h.wide, pitch_bytes(core, columns * 4) // BLOCK
    for done in range(0, rows, MOST_ROWS):
        repeat, start = min(MOST_ROWS, rows - done), to + done * step * BLOCK
        bits_bytes = (repeat + 3) // 4 * BLOCK
        for column in range(0, columns, LANES):
            bits = h.bits + column // LANES * bits_bytes
            vcmpv_eq(core, bits, h.places + column * 4, h.blocks + done * BLOCK, repeat, FP32, 1, 0, 0, 1)
        for column in range(0, columns, LANES):
            bits, mask = h.bits + column // LANES * bits_bytes, min(LANES, columns - column)
            on = h.on + done * h.on_rep * BLOCK
            vsel(core, start + column * 4, on, h.off, repeat, bits, FP32, mask, 1, 0, 0, step, h.on_rep, 0)
        for column in range(0, columns if dtype == FP16 else 0, LANES):
            half, mask = dst + done * pitch + column * 2, min(LANES, columns - column)
            vconv(core, half, start + column * 4, FP16, repeat, FP32, mask, 1, 1, pitch // BLOCK, step)


@emits
def short_rows(core: Any, a: Spots, shape: Any, tiling: Any) -> None:
    """Make whole rows."""
    row_bytes = shape.n * size_of(core, shape.dtype)
    s = open_rows(core, 0, tiling.rows, row_bytes, 1)
    h, v = open_hot(core, s.rows, shape.n, a, shape.dtype), open_lists(core, s.rows, 2)
    unit = row_unit(core, shape.m, row_bytes, 1)
    end = share_end(core, shape.m, unit)
    for row in range(share_start(core, shape.m, unit), end, s.rows):
        count = min(s.rows, end - row)
        bring_scales(core, h, v, a, row, count, shape.dtype)
        bring_numbers(core, v, a.x, row, count, INT32)
        spread(core, h.blocks, v.numbers, count, 4, h.scratch)
        made = room_for_rows(core, s)
        hot_rows(core, made, s.pitch, h, count, shape.n, shape.dtype)
        send_rows(core, s, a.y, row, count)
    close(core, v.q)
    close_rows(core, s)


@emits
def fill_exactly(core: Any, y: int, nbytes: int, a: Spots, dtype: int) -> None:
    """Set `nbytes` of y, at least a block of them, to `off` and nothing else."""
    room = min(FILL_BYTES, nbytes // BLOCK * BLOCK)
    full, q = alloc(core, UB, room), queue(core, V, MTE3, 1)
    fill(core, q)
    flat_dup(core, full, a.off * 1.0, room // size_of(core, dtype), dtype)
    filled(core, q)
    use(core, q)
    for at in range(0, nbytes // BLOCK * BLOCK, room):
        data_move(core, y + at, full, 1, min(room, nbytes - at) // BLOCK)
    if nbytes % BLOCK != 0:
        data_move(core, y + nbytes - BLOCK, full, 1, 1)
    free(core, q)
    close(core, q)


@emits
def places_of(core: Any, s: Starts, raw: int, numbers: int, count: int) -> None:
    """Set the place of a block in each row that holds the row's place, and the numbers to the lanes there."""
    block_binary(core, MAX, s.block, raw, s.first, count, INT32)
    block_binary(core, MIN, s.block, s.block, s.last, count, INT32)
    flat_binary(core, SUB, numbers, raw, s.block, count, INT32)
    flat_convert(core, numbers, FP32, numbers, INT32, count)
    flat_binary(core, ADD, s.listed, s.block, s.rows, count, INT32)


@emits
def open_starts(core: Any, rows: int, n: int, lanes: int) -> Starts:
    """Allocate what places of blocks need, and fill what stays as it is."""
    room = pitch_bytes(core, rows * 4)
    made = Starts(
        alloc(core, UB, BLOCK), alloc(core, UB, BLOCK), alloc(core, UB, room), alloc(core, UB, room),
        alloc(core, UB, room), queue(core, V, MTE3, 1),
    )  # fmt: skip
    count_up(core, made.rows, rows, n, INT32, made.first)
    flat_dup(core, made.first, 0.0, EIGHT, INT32)
    flat_dup(core, made.last, (n - lanes) * 1.0, EIGHT, INT32)
    return made


@emits
def long_rows(core: Any, a: Spots, shape: Any, tiling: Any) -> None:
    """Fill whole rows with `off`, then write of each the block that holds its place."""
    n, size, rows = shape.n, size_of(core, shape.dtype), max(1, min(MOST_ROWS, tiling.rows))
    lanes, unit = BLOCK // size, row_unit(core, shape.m, n * size, 1)
    start, end = share_start(core, shape.m, unit), share_end(core, shape.m, unit)
    if end > start:
        fill_exactly(core, a.y + start * n * size, (end - start) * n * size, a, shape.dtype)
    h, v = open_hot(core, rows, lanes, a, shape.dtype), open_lists(core, rows, 2)
    s, made = open_starts(core, rows, n, lanes), alloc(core, UB, rows * BLOCK)
    for row in range(start, end, rows):
        count = min(rows, end - row)
        bring_scales(core, h, v, a, row, count, shape.dtype)
        raw = bring_list(core, v, a.x, row, count, INT32)
        fill(core, s.q)
        places_of(core, s, raw, v.numbers, count)
        free(core, v.q)
        spread(core, h.blocks, v.numbers, count, 4, h.scratch)
        hot_rows(core, made, BLOCK, h, count, lanes, shape.dtype)
        filled(core, s.q)
        use(core, s.q)
        to, reached = a.y + row * n * size, count * n - lanes + 1
        scatter_rows(core, to, made, s.listed, reached, size, count, 1)
        free(core, s.q)
    close(core, s.q)
    close(core, v.q)


@emits
def rows_with_spots(core: Any, a: Spots, shape: Any, tiling: Any) -> None:
    """Make this block's share of the rows y[m, n] from its numbers x[m]."""
    if is_filled_first(core, shape.n, size_of(core, shape.dtype)) != 0:
        long_rows(core, a, shape, tiling)
    else:
        short_rows(core, a, shape, tiling)


def _operands(shape: OneHotShape) -> tuple[Operand, ...]:
    x = Operand("x", (shape.m,), INT32, between=(-1, shape.n + 1), is_whole=True)
    return x, output("y", (shape.m, shape.n), shape.dtype)


def _reference(shape: OneHotShape, x: Array) -> tuple[Array]:
    y = np.where(np.arange(shape.n) == x[:, None], shape.on, shape.off)
    return (y.astype(Operand("", (), shape.dtype).device_dtype.numpy),)


@kernel(OneHotShape, OneHotTiling, _operands, _reference)
def one_hot(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, n] = on at place x[m] of each row, off elsewhere; a number outside of the row leaves it off."""
    rows_with_spots(core, Spots(x, y, shape.on, shape.off, 0, 0), shape, tiling)
