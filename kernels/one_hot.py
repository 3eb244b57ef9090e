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
    flat_convert,
    flat_dup,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vcmpv_eq,
    vconv,
    vsel,
)
from kernels.pieces.counting import add_number, count_up
from kernels.pieces.rows import pitch_bytes, row_tails, store_exact
from kernels.pieces.rowstream import close_rows, open_rows, room_for_rows, row_unit, send_rows
from kernels.pieces.transpose import spread
from kernels.rules import item_bytes, require, require_dtype, round_up
from kernels.tiling.flat import cores_for

Array = npt.NDArray[Any]
BLOCK, LANES = 32, 64
TILE_BYTES, MOST_ROWS, MOST_COLUMNS = 24 * 1024, 240, 31 * 64
EXACT = 1 << 24
"""Numbers below are exact as float32, in which they are compared."""


@dataclass(frozen=True)
class OneHotShape(Shape):
    """m numbers; rows of n places hold the number `on` at the place of each and `off` elsewhere."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("on", "off")
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


@dataclass(frozen=True)
class OneHotTiling(Tiling):
    """Rows of a tile, cores to use."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int
    cores: int = 1

    @classmethod
    def default(cls, shape: OneHotShape, platform: Platform) -> Self:
        """Return tiles of 24 KB in fp32."""
        cores = cores_for(2 * shape.m * max(shape.n, LANES) * item_bytes(shape.dtype), platform)
        columns = min(round_up(shape.n, LANES), MOST_COLUMNS)
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


class Hot(NamedTuple):
    """Blocks full of `on` and of `off`, 0, 1, 2 ... along a row, blocks full of each row's number, room."""

    on: int
    off: int
    places: int
    blocks: int
    bits: int
    wide: int
    scratch: int


class Lists(NamedTuple):
    """How numbers come: hand-off, buffers of `nbytes`, the same as float32, and less the columns before."""

    q: int
    ub: int
    nbytes: int
    numbers: int
    shifted: int


@emits
def open_hot(core: Any, rows: int, columns: int, shape: Any) -> Hot:
    """Allocate what does not change from tile to tile, and fill it."""
    groups, wide = (rows + 15) // 16, rows * pitch_bytes(core, columns * 4) if shape.dtype == FP16 else 0
    on, off = alloc(core, UB, BLOCK), alloc(core, UB, BLOCK)
    places, blocks = alloc(core, UB, (columns + LANES) * 4), alloc(core, UB, groups * 16 * BLOCK)
    most = (min(rows, MOST_ROWS) + 3) // 4 * BLOCK  # bits of 64 columns
    bits = alloc(core, UB, (columns + LANES - 1) // LANES * most)
    rounded = alloc(core, UB, wide)
    scratch = alloc(core, UB, groups * 2048)
    kind = INT32 if shape.dtype == INT32 else FP32
    flat_dup(core, on, shape.on * 1.0, 8, kind)
    flat_dup(core, off, shape.off * 1.0, 8, kind)
    count_up(core, places, columns, 1, FP32, scratch)
    return Hot(on, off, places, blocks, bits, rounded, scratch)


@emits
def open_lists(core: Any, rows: int, slots: int) -> Lists:
    """Open the way of the numbers."""
    nbytes = (rows + 15) // 16 * 64
    ub = alloc(core, UB, slots * nbytes, slots)
    numbers, shifted = alloc(core, UB, nbytes), alloc(core, UB, nbytes)
    return Lists(queue(core, MTE2, V, slots), ub, nbytes, numbers, shifted)


@emits
def bring_numbers(core: Any, v: Lists, x: int, i: int, count: int) -> None:
    """Bring numbers from number i on as float32."""
    taken = v.ub + fill(core, v.q) * v.nbytes
    data_move(core, taken, x + i * 4, 1, pitch_bytes(core, count * 4) // BLOCK)
    filled(core, v.q)
    use(core, v.q)
    flat_convert(core, v.numbers, FP32, taken, INT32, count)
    free(core, v.q)


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
            vsel(core, start + column * 4, h.on, h.off, repeat, bits, FP32, mask, 1, 0, 0, step, 0, 0)
        for column in range(0, columns if dtype == FP16 else 0, LANES):
            half, mask = dst + done * pitch + column * 2, min(LANES, columns - column)
            vconv(core, half, start + column * 4, FP16, repeat, FP32, mask, 1, 1, pitch // BLOCK, step)


@emits
def short_rows(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Make whole rows."""
    row_bytes = shape.n * size_of(core, shape.dtype)
    s = open_rows(core, 0, tiling.rows, row_bytes, 1)
    h, v = open_hot(core, s.rows, shape.n, shape), open_lists(core, s.rows, 2)
    unit = row_unit(core, shape.m, row_bytes, 1)
    end = share_end(core, shape.m, unit)
    for row in range(share_start(core, shape.m, unit), end, s.rows):
        count = min(s.rows, end - row)
        bring_numbers(core, v, x, row, count)
        spread(core, h.blocks, v.numbers, count, 4, h.scratch)
        made = room_for_rows(core, s)
        hot_rows(core, made, s.pitch, h, count, shape.n, shape.dtype)
        send_rows(core, s, y, row, count)
    close(core, v.q)
    close_rows(core, s)


@emits
def long_rows(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Make rows piece by piece, each written exactly; a rest of less than two blocks joins the last piece."""
    size, rows = size_of(core, shape.dtype), max(1, min(16, tiling.rows))
    room = MOST_COLUMNS + LANES // 2
    pitch = pitch_bytes(core, room * size)
    h, v = open_hot(core, rows, room, shape), open_lists(core, rows, 2)
    made, tails, scratch = alloc(core, UB, 16 * pitch), alloc(core, UB, 512), alloc(core, UB, 1024)
    q = queue(core, V, MTE3, 1)
    pieces = (shape.n - LANES // 2 + MOST_COLUMNS - 1) // MOST_COLUMNS
    end = share_end(core, shape.m, 1)
    for row in range(share_start(core, shape.m, 1), end, rows):
        count = min(rows, end - row)
        bring_numbers(core, v, x, row, count)
        for piece in range(pieces):
            column = piece * MOST_COLUMNS
            columns = MOST_COLUMNS if piece + 1 < pieces else shape.n - column
            add_number(core, v.shifted, v.numbers, count, -column, FP32, h.scratch)
            spread(core, h.blocks, v.shifted, count, 4, h.scratch)
            fill(core, q)
            hot_rows(core, made, pitch, h, count, columns, shape.dtype)
            row_tails(core, tails, made, pitch, count, columns * size, scratch)
            filled(core, q)
            use(core, q)
            to = y + (row * shape.n + column) * size
            store_exact(core, to, shape.n * size, made, pitch, count, columns * size, tails)
            free(core, q)
    close(core, q)
    close(core, v.q)


def _operands(shape: OneHotShape) -> tuple[Operand, ...]:
    x = Operand("x", (shape.m,), INT32, between=(-1, shape.n + 1), is_whole=True)
    return x, output("y", (shape.m, shape.n), shape.dtype)


def _reference(shape: OneHotShape, x: Array) -> tuple[Array]:
    y = np.where(np.arange(shape.n) == x[:, None], shape.on, shape.off)
    return (y.astype(Operand("", (), shape.dtype).device_dtype.numpy),)


@kernel(OneHotShape, OneHotTiling, _operands, _reference)
def one_hot(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, n] = on at place x[m] of each row, off elsewhere; a number outside of the row leaves it off."""
    if shape.n <= MOST_COLUMNS:
        short_rows(core, x, y, shape, tiling)
    else:
        long_rows(core, x, y, shape, tiling)
