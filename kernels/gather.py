"""Rows of a table by number, and the way back: rows added to those of a table (the gradient of an embedding).

Gathering, a number outside of the table means its nearest row. Adding, it means none. Cores own columns of
the table that they add to, and add in the order of the list: the sum is the same at every run. What is added
are whole blocks: zeros to numbers of the table that the same core owns.
"""

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
    scatter_rows,
    share_end,
    share_start,
    size_of,
    use,
    vconv,
    vector_dup,
)
from kernels.pieces.counting import add_number
from kernels.pieces.parts import Assembly, assemble
from kernels.pieces.row import INDEXED, MOST_NUMBERS, Part, table_row
from kernels.pieces.rows import load_rows, pitch_bytes, row_tails, store_exact
from kernels.pieces.transpose import transpose_16bit
from kernels.rules import item_bytes, require_dtype
from kernels.tiling.rows import RowsShape, RowTiling

Array = npt.NDArray[Any]
BLOCK, LANES, EIGHT, EDGE = 32, 64, 8, 16
MAX_REPEAT = 255
TILE_BYTES, ZERO_BYTES, MAX_COLUMNS = 24 * 1024, 16 * 1024, 1024


@dataclass(frozen=True)
class GatherShape(RowsShape):
    """n numbers of rows of table[v, d]."""

    IS_INDEXED: ClassVar[bool] = True
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37, "v": 9, "d": 64}, {"n": 50, "v": 300, "d": 5, "dtype": FP32},
        {"n": 20, "v": 7, "d": 611}, {"n": 2, "v": 3, "d": 20001},
    )  # fmt: skip
    SMALL: ClassVar[Mapping[str, int]] = {"n": 70, "v": 40, "d": 48}
    LARGE: ClassVar[Mapping[str, int]] = {"n": 3000, "v": 500, "d": 80}
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 12288, "v": 30522, "d": 1024}, {"n": 480, "v": 12288, "d": 1024},
    )  # fmt: skip
    n: int
    v: int
    d: int
    dtype: int = FP16

    @property
    def rows(self) -> int:
        """Rows of the result."""
        return self.n

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes of a row."""
        return (self.d * item_bytes(self.dtype),)

    def check(self, kernel: str) -> None:
        """Refuse other types than those of two and four bytes."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)


def _gather_operands(shape: GatherShape) -> tuple[Operand, ...]:
    return (
        Operand("table", (shape.v, shape.d), shape.dtype),
        Operand("index", (shape.n,), INT32, between=(0, shape.v), is_whole=True),
        output("y", (shape.n, shape.d), shape.dtype),
    )


def _gather_reference(shape: GatherShape, table: Array, index: Array) -> tuple[Array]:
    return (table[np.clip(index, 0, shape.v - 1)],)


@kernel(GatherShape, RowTiling, _gather_operands, _gather_reference)
def gather(core: Any, table: int, index: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, d] = table[index[n], d]; a number outside of the table means its nearest row."""
    width = shape.d * size_of(core, shape.dtype)
    numbers = alloc(core, UB, MOST_NUMBERS * 4)
    row = table_row(core, shape.n, Part(table, INDEXED, width), index, shape.v, numbers)
    assemble(core, row, Assembly(y, shape.n, shape.dtype, tiling.tile, tiling.slots), 0.0)


@dataclass(frozen=True)
class ScatterAddShape(GatherShape):
    """n numbers of rows of dtable[v, d], which is fp32; dy[n, d] has the type `dtype`."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37, "v": 9, "d": 64}, {"n": 50, "v": 300, "d": 8, "dtype": FP32}, {"n": 20, "v": 7, "d": 616},
        {"n": 37, "v": 9, "d": 21}, {"n": 50, "v": 30, "d": 11, "dtype": FP32}, {"n": 40, "v": 7, "d": 3},
    )  # fmt: skip

    def check(self, kernel: str) -> None:
        """Refuse integers."""
        require_dtype(kernel, self.dtype, FP16, FP32)


@dataclass(frozen=True)
class ScatterAddTiling(Tiling):
    """Rows of a tile, and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int
    slots: int = 2

    @classmethod
    def default(cls, shape: ScatterAddShape, platform: Platform) -> Self:
        """Return tiles of 24 KB in fp32."""
        columns = min(MAX_COLUMNS, -(-(shape.d // EIGHT) // cls._strips(shape, platform)) * EIGHT)
        columns = max(columns, EIGHT)
        return cls(max(1, min(MOST_NUMBERS, shape.n, TILE_BYTES // (4 * columns))))

    @classmethod
    def space(cls, shape: ScatterAddShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, and one of half the rows."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > 1:
            yield replace(first, rows=first.rows // 2)

    @staticmethod
    def _strips(shape: ScatterAddShape, platform: Platform) -> int:
        return min(int(platform.ai_cores), max(1, shape.d // EIGHT))

    def blocks(self, shape: ScatterAddShape, platform: Platform) -> int:
        """Return one core per block of columns, as many as there are."""
        return self._strips(shape, platform)


class Strip(NamedTuple):
    """Columns of a table that a core owns: the first one, how many, and bytes of a row of dy and of fp32.

    The last `rest` of them are no whole block.
    """

    first: int
    columns: int
    from_pitch: int
    pitch: int
    rest: int


@emits
def clear_rows(core: Any, table: int, stride: int, row_bytes: int, rows: int) -> None:
    """Set `row_bytes` of each of the table's rows, `stride` bytes apart, to zero and nothing else."""
    pitch = pitch_bytes(core, row_bytes)
    at_once = max(1, min(rows, ZERO_BYTES // pitch))
    zeros = alloc(core, UB, at_once * pitch)
    q = queue(core, V, MTE3, 1)
    fill(core, q)
    flat_dup(core, zeros, 0.0, at_once * pitch // 4, FP32)
    filled(core, q)
    use(core, q)
    for row in range(0, rows, at_once):
        to, count = table + row * stride, min(at_once, rows - row)
        store_exact(core, to, stride, zeros, pitch, count, row_bytes, zeros)
    free(core, q)
    close(core, q)


@emits
def widen_rows(core: Any, dst: int, src: int, s: Strip, rows: int, dtype: int) -> None:
    """Set dst[rows, columns] (fp32) = src[rows, columns]."""
    if dtype == FP32:
        data_move(core, dst, src, 1, rows * s.pitch // BLOCK)
        return
    for column in range(0, s.columns, LANES):
        mask = min(LANES, s.columns - column)
        for done in range(0, rows, MAX_REPEAT):
            to, start = dst + done * s.pitch + column * 4, src + done * s.from_pitch + column * 2
            repeat = min(MAX_REPEAT, rows - done)
            vconv(core, to, start, FP32, repeat, FP16, mask, 1, 1, s.pitch // BLOCK, s.from_pitch // BLOCK)


class Strands(NamedTuple):
    """Buffers of a list of rows: of each slot the rows and their numbers, as they come and as they leave."""

    q_in: int
    q_out: int
    dy: int
    came: int
    wide: int
    listed: int
    tails: int
    rows: int
    list_bytes: int


@emits
def open_strands(core: Any, s: Strip, rows: int, slots: int) -> Strands:
    """Make room for `rows` rows of a strip; ends of rows are gathered of 16 at once."""
    listed, sixteens = pitch_bytes(core, rows * 4), (rows + EDGE - 1) // EDGE * EDGE
    return Strands(
        queue(core, MTE2, V, slots), queue(core, V, MTE3, slots),
        alloc(core, UB, slots * sixteens * s.from_pitch, slots), alloc(core, UB, slots * listed, slots),
        alloc(core, UB, slots * sixteens * s.pitch, slots), alloc(core, UB, slots * listed, slots),
        alloc(core, UB, slots * sixteens * BLOCK if s.rest > 0 else 0, slots), sixteens, listed,
    )  # fmt: skip


@emits
def bring_listed(core: Any, u: Strands, s: Strip, dy: int, index: int, i: int, count: int, shape: Any) -> int:
    """Bring rows of dy and their numbers, from number `i` on; return the slot in which they lie."""
    size, slot = size_of(core, shape.dtype), fill(core, u.q_in)
    taken, src = u.dy + slot * u.rows * s.from_pitch, dy + (i * shape.d + s.first) * size
    load_rows(core, taken, s.from_pitch, src, shape.d * size, count, s.columns * size)
    came = u.came + slot * u.list_bytes
    data_move(core, came, index + i * 4, 1, pitch_bytes(core, count * 4) // BLOCK)
    filled(core, u.q_in)
    use(core, u.q_in)
    return slot


@emits
def add_strip(core: Any, dy: int, index: int, table: int, s: Strip, shape: Any, tiling: Any) -> None:
    """Add the columns of dy[n, d] to those rows of the table that the list names.

    A rest of columns is added as the block that ends with it, whose other lanes are zero.
    """
    rows, stride = tiling.rows, shape.d * 4
    u, scratch = open_strands(core, s, rows, tiling.slots), alloc(core, UB, 1024 if s.rest > 0 else 0)
    whole, to = s.columns // EIGHT, table + s.first * 4
    for i in range(0, shape.n, rows):
        count = min(rows, shape.n - i)
        slot = bring_listed(core, u, s, dy, index, i, count, shape)
        other = fill(core, u.q_out)
        made, listed = u.wide + other * u.rows * s.pitch, u.listed + other * u.list_bytes
        widen_rows(core, made, u.dy + slot * u.rows * s.from_pitch, s, count, shape.dtype)
        data_move(core, listed, u.came + slot * u.list_bytes, 1, pitch_bytes(core, count * 4) // BLOCK)
        free(core, u.q_in)
        ends = u.tails + other * u.rows * BLOCK
        if s.rest > 0:
            row_tails(core, ends, made, s.pitch, count, s.columns * 4, scratch)
            for done in range(0, count, MAX_REPEAT):
                repeat = min(MAX_REPEAT, count - done)
                vector_dup(core, ends + done * BLOCK, repeat, 0.0, FP32, EIGHT - s.rest, 1, 1)
        filled(core, u.q_out)
        use(core, u.q_out)
        scatter_rows(core, to, made, listed, shape.v, stride, count, whole, s.pitch // BLOCK - whole, 1)
        if s.rest > 0:
            last = to + s.columns * 4 - BLOCK
            scatter_rows(core, last, ends, listed, shape.v, stride, count, 1, 0, 1)
        free(core, u.q_out)
    close(core, u.q_out)
    close(core, u.q_in)


@emits
def place_rows(core: Any, dst: int, src: int, rows: int, shift: int, shape: Any, scratch: int) -> None:
    """Write rows of less than a block as blocks of fp32, `shift` numbers from their start, zero elsewhere.

    Half words become blocks, which a move can shift. Scratch is 96 bytes a row; rows come by sixteens.
    """
    tiles, halves = (rows + EDGE - 1) // EDGE, size_of(core, shape.dtype) // 2
    kept = shape.d * halves
    columns, shifted = scratch, scratch + tiles * EDGE * BLOCK
    placed = dst if shape.dtype == FP32 else shifted + tiles * EDGE * BLOCK
    transpose_16bit(core, columns, 1, EDGE, src, 1, EDGE, tiles)
    flat_dup(core, shifted, 0.0, tiles * EDGE * EIGHT, FP32)
    data_move(core, shifted + shift * halves * BLOCK, columns, tiles, kept, EDGE - kept, EDGE - kept)
    transpose_16bit(core, placed, 1, EDGE, shifted, 1, EDGE, tiles)
    for done in range(0, rows if shape.dtype == FP16 else 0, MAX_REPEAT):
        to, start = dst + done * BLOCK, placed + done * BLOCK
        vconv(core, to, start, FP32, min(MAX_REPEAT, rows - done), FP16, EIGHT, 1, 1, 1, 1)


@emits
def add_narrow(core: Any, dy: int, index: int, table: int, shape: Any, tiling: Any) -> None:
    """Add dy[n, d] for d below 8 to those rows of the table that the list names: one core's work.

    A block that begins with a row reaches into those behind it. Of the last rows it would leave the table:
    they all lie in the table's last block, to which they are added one after the other.
    """
    s, rows, d = Strip(0, shape.d, BLOCK, BLOCK, 0), tiling.rows, shape.d
    u, scratch = open_strands(core, s, rows, tiling.slots), alloc(core, UB, (rows + EDGE) * 3 * BLOCK)
    number = alloc(core, UB, BLOCK)
    last = (shape.v * d + EIGHT - 1) // EIGHT * EIGHT - EIGHT  # where the table's last block begins
    within = last // d + 1  # rows from which on a block fits
    for i in range(0, shape.n, rows):
        count = min(rows, shape.n - i)
        slot = bring_listed(core, u, s, dy, index, i, count, shape)
        for row in range(within - 1, shape.v):
            other = fill(core, u.q_out)
            made, listed = u.wide + other * u.rows * BLOCK, u.listed + other * u.list_bytes
            is_single, shift = min(1, row + 1 - within), max(0, row * d - last)
            place_rows(core, made, u.dy + slot * u.rows * BLOCK, count, shift, shape, scratch)
            add_number(core, listed, u.came + slot * u.list_bytes, count, -row * is_single, INT32, number)
            filled(core, u.q_out)
            use(core, u.q_out)
            to, reached = table + last * 4 * is_single, 1 if is_single else within
            scatter_rows(core, to, made, listed, reached, d * 4, count, 1, 0, 1)
            free(core, u.q_out)
        free(core, u.q_in)
    close(core, u.q_out)
    close(core, u.q_in)


def _scatter_operands(shape: ScatterAddShape) -> tuple[Operand, ...]:
    return (
        Operand("dy", (shape.n, shape.d), shape.dtype),
        Operand("index", (shape.n,), INT32, between=(0, shape.v), is_whole=True),
        output("dtable", (shape.v, shape.d), FP32),
    )


def _scatter_reference(shape: ScatterAddShape, dy: Array, index: Array) -> tuple[Array]:
    total = np.zeros((shape.v, shape.d))
    inside = (index >= 0) & (index < shape.v)
    np.add.at(total, index[inside], dy[inside].astype(np.float64))
    return (total.astype(np.float32),)


@kernel(ScatterAddShape, ScatterAddTiling, _scatter_operands, _scatter_reference)
def scatter_add(core: Any, dy: int, index: int, dtable: int, shape: Any, tiling: Any) -> None:
    """dtable[v, d] = the sum of dy[n, d] over all n with index[n] = v; numbers outside are left out."""
    eights, size = shape.d // EIGHT, size_of(core, shape.dtype)
    if eights == 0:
        clear_rows(core, dtable, BLOCK, BLOCK, (shape.v * shape.d + EIGHT - 1) // EIGHT)
        add_narrow(core, dy, index, dtable, shape, tiling)
        return
    start, end = share_start(core, eights, 1) * EIGHT, share_end(core, eights, 1) * EIGHT
    end += shape.d % EIGHT if end == eights * EIGHT else 0
    widest = min(MAX_COLUMNS, (end - start) // EIGHT * EIGHT)
    pieces = (end - start + widest - EIGHT) // widest  # less than a block joins the last piece
    for piece in range(pieces):
        first = start + piece * widest
        columns = widest if piece + 1 < pieces else end - first
        pitch = pitch_bytes(core, columns * 4)
        s = Strip(first, columns, pitch_bytes(core, columns * size), pitch, columns % EIGHT)
        clear_rows(core, dtable + first * 4, shape.d * 4, columns * 4, shape.v)
        add_strip(core, dy, index, dtable, s, shape, tiling)
