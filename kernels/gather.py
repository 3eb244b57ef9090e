"""Rows of a table by number, and the way back: rows added to those of a table (the gradient of an embedding).

Gathering, a number outside of the table means its nearest row. Adding, it means none. Cores own columns of
the table that they add to, and add in the order of the list: the sum is the same at every run.
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
)
from kernels.pieces.parts import Assembly, assemble
from kernels.pieces.row import INDEXED, MOST_NUMBERS, Part, table_row
from kernels.pieces.rows import load_rows, pitch_bytes
from kernels.rules import item_bytes, require, require_dtype
from kernels.tiling.rows import RowsShape, RowTiling

Array = npt.NDArray[Any]
BLOCK, LANES, EIGHT = 32, 64, 8
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
    )  # fmt: skip

    def check(self, kernel: str) -> None:
        """Refuse integers, and rows that are no whole number of blocks: their ends cannot be added alone."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        require(kernel, self.d % EIGHT == 0, "d is a multiple of 8 (a block of fp32)", f"d={self.d}")


@dataclass(frozen=True)
class ScatterAddTiling(Tiling):
    """Rows of a tile, and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int
    slots: int = 2

    @classmethod
    def default(cls, shape: ScatterAddShape, platform: Platform) -> Self:
        """Return tiles of 24 KB in fp32."""
        columns = min(MAX_COLUMNS, -(-shape.d // EIGHT // cls._strips(shape, platform)) * EIGHT)
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
        return min(int(platform.ai_cores), shape.d // EIGHT)

    def blocks(self, shape: ScatterAddShape, platform: Platform) -> int:
        """Return one core per block of columns, as many as there are."""
        return self._strips(shape, platform)


class Strip(NamedTuple):
    """Columns of a table that a core owns: the first one, how many, and bytes of a row of dy and of fp32."""

    first: int
    columns: int
    from_pitch: int
    pitch: int


@emits
def clear_strip(core: Any, table: int, s: Strip, shape: Any) -> None:
    """Set the columns of all rows of the table to zero."""
    at_once = max(1, min(shape.v, ZERO_BYTES // s.pitch))
    zeros = alloc(core, UB, at_once * s.pitch)
    q = queue(core, V, MTE3, 1)
    fill(core, q)
    flat_dup(core, zeros, 0.0, at_once * s.columns, FP32)
    filled(core, q)
    use(core, q)
    for row in range(0, shape.v, at_once):
        to = table + (row * shape.d + s.first) * 4
        blocks = s.pitch // BLOCK
        data_move(core, to, zeros, min(at_once, shape.v - row), blocks, 0, shape.d * 4 // BLOCK - blocks)
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


@emits
def add_strip(core: Any, dy: int, index: int, table: int, s: Strip, shape: Any, tiling: Any) -> None:
    """Add the columns of dy[n, d] to those rows of the table that the list names."""
    size, slots, rows = size_of(core, shape.dtype), tiling.slots, tiling.rows
    list_bytes = pitch_bytes(core, rows * 4)
    taken_bytes, made_bytes = rows * s.from_pitch, rows * s.pitch
    ub_dy, ub_list = alloc(core, UB, slots * taken_bytes, slots), alloc(core, UB, slots * list_bytes, slots)
    wide, numbers = alloc(core, UB, slots * made_bytes, slots), alloc(core, UB, slots * list_bytes, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for i in range(0, shape.n, rows):
        count, slot = min(rows, shape.n - i), fill(core, q_in)
        blocks, taken = pitch_bytes(core, count * 4) // BLOCK, ub_dy + slot * taken_bytes
        src = dy + (i * shape.d + s.first) * size
        load_rows(core, taken, s.from_pitch, src, shape.d * size, count, s.columns * size)
        data_move(core, ub_list + slot * list_bytes, index + i * 4, 1, blocks)
        filled(core, q_in)
        use(core, q_in)
        other = fill(core, q_out)
        made, listed = wide + other * made_bytes, numbers + other * list_bytes
        widen_rows(core, made, taken, s, count, shape.dtype)
        data_move(core, listed, ub_list + slot * list_bytes, 1, blocks)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        to = table + s.first * 4
        scatter_rows(core, to, made, listed, shape.v, shape.d * 4, count, s.pitch // BLOCK, 0, 1)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


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
    start, end = share_start(core, eights, 1) * EIGHT, share_end(core, eights, 1) * EIGHT
    widest = min(MAX_COLUMNS, end - start)
    for first in range(start, end, widest):
        columns = min(widest, end - first)
        s = Strip(first, columns, pitch_bytes(core, columns * size), columns * 4)
        clear_strip(core, dtable, s, shape)
        add_strip(core, dy, index, dtable, s, shape, tiling)
