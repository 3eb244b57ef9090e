"""Any order of up to four axes.

Neighbours that stay neighbours count as one axis. Where the last axis stays, rows of it are moved; else tiles
are turned by the vector unit's transpositions of 16 x 16 half words.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, ClassVar, Self

import numpy.typing as npt

from davinci_sim.errors import BadShape
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
    block_idx,
    close,
    data_move,
    emits,
    fill,
    filled,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
)
from kernels.pieces.parts import Assembly, assemble
from kernels.pieces.row import Levels, Part, far_row
from kernels.pieces.rows import BLOCK, pitch_bytes, row_period, row_tails, store_exact
from kernels.pieces.turn import (
    RUN,
    Turn,
    View,
    interleave_rows,
    pushed,
    turn_of,
)
from kernels.pieces.turned_tiles import (
    EDGE,
    SMALL_BYTES,
    Place,
    Tiles,
    fetch_tile,
    first_line,
    move_tile,
    separate_piece,
    short_units,
)
from kernels.rules import item_bytes, require, require_dtype, round_up
from kernels.tiling.flat import cores_for

Array = npt.NDArray[Any]
ORDERS = tuple(permutations(range(4)))
TILE_BYTES, ODD_TILE_BYTES = 32 * 1024, 80 * 1024
LONG_ITEM_BYTES = 160
"""Items from here on are moved without a detour; shorter ones come in longer runs and are sorted in UB.

Of these the smallest tile, 16 x 16 items, fits half of the unified buffer of a 910A once."""
FEW = 64
"""Up to so many places along one axis, tiles leave, or come, in one run: without gaps between lines."""
SHORT_TILE_BYTES, MOST_ROWS = 16 * 1024, 256


def _neighbours(axes: Sequence[int]) -> list[list[int]]:
    """Return runs of axes that follow each other.

    >>> _neighbours([2, 3, 0, 1, 4])
    [[2, 3], [0, 1], [4]]
    """
    runs: list[list[int]] = []
    for axis in axes:
        if runs and axis == runs[-1][-1] + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs


@dataclass(frozen=True)
class TransposeShape(Shape):
    """x[a, b, c, d]; `perm` is the number of the order of its axes in y, 0 to 23 in lexicographic order."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("perm",)
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"c": 33, "d": 70, "perm": 1}, {"c": 33, "d": 150, "perm": 1, "dtype": FP32},
        {"b": 3, "c": 300, "d": 5, "perm": 1}, {"b": 3, "c": 7, "d": 300, "perm": 1, "dtype": FP32},
        {"b": 9, "c": 40, "d": 16, "perm": 2}, {"b": 9, "c": 20, "d": 10, "perm": 2},
        {"b": 2, "c": 3, "d": 1001, "perm": 2}, {"a": 3, "b": 4, "c": 6, "d": 50, "perm": 23},
        {"a": 9, "b": 4, "c": 3, "d": 5, "perm": 5}, {"b": 40, "c": 2, "d": 3, "perm": 1},
    )  # fmt: skip
    SMALL: ClassVar[Mapping[str, int]] = {"a": 2, "b": 5, "c": 20, "d": 17}
    LARGE: ClassVar[Mapping[str, int]] = {"a": 3, "b": 70, "c": 60, "d": 80}
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ({"a": 24, "b": 512, "c": 16, "d": 64, "perm": 2},)
    c: int
    d: int
    a: int = 1
    b: int = 1
    perm: int = 1
    dtype: int = FP16

    @classmethod
    def along(cls, lengths: Sequence[int], axes: Sequence[int], dtype: int = FP16) -> Self:
        """Return the shape for `x.transpose(axes)` of x with these lengths, of any number of axes.

        Raises:
            BadShape: more than four axes are left when neighbours that stay so are counted as one.

        >>> str(TransposeShape.along((2, 3, 4, 5, 6), (0, 3, 4, 1, 2)))
        'c=12,d=30,a=1,b=2,perm=1,dtype=fp16'
        """
        long = [axis for axis in range(len(lengths)) if lengths[axis] > 1]
        in_y = _neighbours([long.index(axis) for axis in axes if lengths[axis] > 1])
        in_x, missing = sorted(in_y), len(ORDERS[0]) - len(in_y)
        if missing < 0:
            raise BadShape(
                f"kernel transpose: axes {tuple(axes)} of {tuple(lengths)}\n"
                "  rule: at most four axes are left when neighbours that stay so count as one\n"
                "  next: transpose in two steps"
            )
        sizes = [1] * missing + [math.prod(lengths[long[axis]] for axis in group) for group in in_x]
        order = (*range(missing), *(missing + in_x.index(group) for group in in_y))
        return cls(sizes[2], sizes[3], sizes[0], sizes[1], ORDERS.index(order), dtype)

    @property
    def lengths(self) -> tuple[int, int, int, int]:
        """Lengths of the axes of x."""
        return (self.a, self.b, self.c, self.d)

    def check(self, kernel: str) -> None:
        """Refuse numbers that are no order of four axes, and other types than those here."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)
        require(kernel, self.perm in range(len(ORDERS)), "perm is 0 to 23", f"perm={self.perm}")


@dataclass(frozen=True)
class TransposeTiling(Tiling):
    """Rows and columns of a tile of x before it is turned (multiples of 16), buffers, cores to use."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows", "columns")
    rows: int
    columns: int
    slots: int = 2
    cores: int = 1

    @classmethod
    def default(cls, shape: TransposeShape, platform: Platform) -> Self:
        """Return tiles of 32 KB, square where the axes are long."""
        t, size = turn_of(None, shape), item_bytes(shape.dtype)
        inner, item, total = t.i0 * t.i1 * t.i2, t.item * size, shape.a * shape.b * shape.c * shape.d * size
        cores = cores_for(4 * total, platform)
        if moves_items(None, t, size):
            most = TILE_BYTES if item % BLOCK == 0 else ODD_TILE_BYTES
            return cls(1, max(1, min(most, round_up(-(-total // cores), 1024)) // item), 2, cores)
        room = TILE_BYTES // item
        columns = round_up(t.j, RUN if t.j >= RUN and item == 4 else EDGE)
        rows = min(round_up(inner, EDGE), max(EDGE, room // min(columns, RUN) // EDGE * EDGE))
        columns = min(columns, max(EDGE, room // rows // EDGE * EDGE))
        if item == 4 and columns % RUN > 0:  # halves of words are turned one after the other: room for both
            rows = min(rows, MOST_ROWS)
        tiling = cls(rows, columns if columns < RUN else columns // RUN * RUN, 2, cores)
        while tiling.columns > RUN and tiling.tiles(t) < 2 * cores:
            tiling = replace(tiling, columns=round_up(tiling.columns // 2, RUN))
        return tiling

    def tiles(self, t: Turn) -> int:
        """Return the number of tiles."""
        return t.o0 * t.o1 * -(-t.j // self.columns) * -(-t.i0 * t.i1 * t.i2 // self.rows)

    @classmethod
    def space(cls, shape: TransposeShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, one of half the rows, one of half the columns, and one of one buffer."""
        first = cls.default(shape, platform)
        yield first
        if first.rows >= 2 * EDGE:
            yield replace(first, rows=first.rows // 2)
        if first.columns >= 2 * EDGE:
            yield replace(first, columns=first.columns // 2)
        yield replace(first, slots=1)

    def blocks(self, shape: TransposeShape, platform: Platform) -> int:
        """Return the cores to use, as many as there are."""
        return min(int(platform.ai_cores), self.cores)


@emits
def moves_items(core: Any, t: Turn, size: int) -> int:
    """Return 1 where items are moved one by one.

    Long ones, those of several elements that are no whole number of blocks, and all that belongs to matrices
    so small that shares of cores would begin anywhere in a block.
    """
    item, inner = t.item * size, t.i0 * t.i1 * t.i2
    if t.j * inner == 1 or item >= LONG_ITEM_BYTES or (t.item > 1 and item % BLOCK > 0):
        return 1
    return 1 if inner * item % BLOCK > 0 and t.j * inner * item < SMALL_BYTES else 0


@emits
def items_moved(core: Any, x: int, y: int, t: Turn, shape: Any, tiling: Any) -> None:
    """Move items to their places in y, one row each."""
    size, v = size_of(core, shape.dtype), View(0, 1, 0, 1, 0, 1, 0, 1, 0)
    item = t.item * size
    v = pushed(core, pushed(core, pushed(core, v, t.i2, t.si2), t.i1, t.si1), t.i0, t.si0)
    v = pushed(core, pushed(core, pushed(core, v, t.j, t.item), t.o1, t.so1), t.o0, t.so0)
    levels, stride = Levels(1, 0, 1, 0, 1, 0), item
    if v.axes == 1:
        levels, stride = Levels(v.n0, 0, 1, 0, 1, 0), v.s0 * size
    if v.axes == 2:
        levels, stride = Levels(v.n1, v.s0 * size, v.n0, 0, 1, 0), v.s1 * size
    if v.axes == 3:
        levels, stride = Levels(v.n2, v.s1 * size, v.n1, v.s0 * size, v.n0, 0), v.s2 * size
    if v.axes == 4:
        levels = Levels(v.n3, v.s2 * size, v.n2, v.s1 * size, v.n1, v.s0 * size)
        stride = v.s3 * size
    row = far_row(core, Part(x, stride, item), levels)
    tile = min(tiling.rows * tiling.columns * item, ODD_TILE_BYTES)
    assemble(core, row, Assembly(y, v.n0 * v.n1 * v.n2 * v.n3, shape.dtype, tile, tiling.slots), 0.0)


@emits
def tile_buffers(core: Any, x: int, y: int, t: Turn, shape: Any, tiling: Any) -> Any:
    """Allocate what turned tiles need."""
    size, slots = size_of(core, shape.dtype), tiling.slots
    item, inner = t.item * size, t.i0 * t.i1 * t.i2
    columns = max(1, tiling.columns // EDGE) * EDGE
    rows = min(max(1, tiling.rows // EDGE) * EDGE, (inner + EDGE - 1) // EDGE * EDGE)
    if inner * item % BLOCK > 0 and inner > rows:
        rows = max(rows, 3 * EDGE)  # a rest of less than two blocks joins the piece before
    in_bytes, tails = rows * columns * item, (columns + EDGE) * rows * item
    out_bytes = tails + (columns + EDGE) * BLOCK
    ub_in, ub_out = alloc(core, UB, slots * in_bytes, slots), alloc(core, UB, slots * out_bytes, slots)
    need = 1024
    if item == 4:
        need = 2 * in_bytes if columns % RUN == 0 else 3072 * (max(rows, columns) // EDGE + 1)
    scratch = alloc(core, UB, need)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    return Tiles(
        x, y, size, item, rows, columns, q_in, q_out, ub_in, ub_out, in_bytes, out_bytes, tails, scratch
    )  # fmt: skip


@emits
def tiles_turned(core: Any, x: int, y: int, t: Turn, shape: Any, tiling: Any) -> None:
    """Turn tile by tile: shares are tiles, or rows of y where these are no whole number of blocks."""
    w, inner = tile_buffers(core, x, y, t, shape, tiling), t.i0 * t.i1 * t.i2
    period, lines = row_period(core, inner * w.item), t.o0 * t.o1 * t.j
    if period == 1:
        across, down = (t.j + w.columns - 1) // w.columns, (inner + w.rows - 1) // w.rows
        tiles = t.o0 * t.o1 * across * down
        for tile in range(share_start(core, tiles, 1), share_end(core, tiles, 1)):
            j, i = tile // down % across * w.columns, tile % down * w.rows
            columns, rows = min(w.columns, t.j - j), min(w.rows, inner - i)
            move_tile(core, w, t, Place(tile // down // across, j, columns, i, rows))
    else:
        line, end = share_start(core, lines, period), share_end(core, lines, period)
        rows = w.rows - 2 * EDGE if inner > w.rows else w.rows
        pieces = max(1, (inner - 2 * EDGE + rows - 1) // rows)
        while line < end:
            columns = min(w.columns, t.j - line % t.j, end - line)
            for piece in range(pieces):
                count = rows if piece + 1 < pieces else inner - piece * rows
                move_tile(core, w, t, Place(line // t.j, line % t.j, columns, piece * rows, count))
            line += columns
    close(core, w.q_out)
    close(core, w.q_in)


@emits
def short_tiles(core: Any, x: int, y: int, few: int, shape: Any, tiling: Any) -> Any:
    """Allocate tiles of `few` places along one axis; along the other, 16 runs of whole blocks."""
    size, slots = size_of(core, shape.dtype), tiling.slots
    unit = 512 // size
    many = max(1, min(SHORT_TILE_BYTES // (few * size * unit), short_units(core, few, slots))) * unit
    nbytes, tails = few * many * size, (few + EDGE) * many * size
    out_bytes = tails + (few + EDGE) * BLOCK
    ub_in, ub_out = alloc(core, UB, slots * nbytes, slots), alloc(core, UB, slots * out_bytes, slots)
    scratch = alloc(core, UB, max(1024, 2 * nbytes))
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    return Tiles(
        x, y, size, size, few, many, q_in, q_out, ub_in, ub_out, nbytes, out_bytes, tails, scratch
    )  # fmt: skip


@emits
def short_lines_turned(core: Any, x: int, y: int, t: Turn, shape: Any, tiling: Any) -> None:
    """Turn tiles whose lines in y are short and no whole number of blocks: they leave without gaps."""
    inner = t.i0 * t.i1 * t.i2
    w = short_tiles(core, x, y, inner, shape, tiling)
    line_bytes, unit = inner * w.size, 512 // w.size
    line = first_line(core, t, line_bytes, block_idx(core))
    end = first_line(core, t, line_bytes, block_idx(core) + 1)
    while line < end:
        rest = min(t.j - line % t.j, end - line)
        count = min(w.columns, rest)
        if 0 < rest - count < SMALL_BYTES // 2:
            count -= SMALL_BYTES // 2  # what is left has more than a block
        taken = fetch_tile(core, w, t, Place(line // t.j, line % t.j, count, 0, inner))
        made, nbytes = w.ub_out + fill(core, w.q_out) * w.out_bytes, count * line_bytes
        whole = (count + unit - 1) // unit * unit
        interleave_rows(core, made, taken, w.columns * w.size, inner, whole, w.size // 2, w.scratch)
        row_tails(core, made + w.tails, made, 0, 1, nbytes, w.scratch)
        free(core, w.q_in)
        filled(core, w.q_out)
        use(core, w.q_out)
        if line + count < end:  # what is spilled is written later
            data_move(core, y + line * line_bytes, made, 1, pitch_bytes(core, nbytes) // BLOCK)
        else:
            store_exact(core, y + line * line_bytes, nbytes, made, 0, 1, nbytes, made + w.tails)
        free(core, w.q_out)
        line += count
    close(core, w.q_out)
    close(core, w.q_in)


@emits
def few_columns_turned(core: Any, x: int, y: int, t: Turn, shape: Any, tiling: Any) -> None:
    """Turn matrices of few columns that lie in x without gaps."""
    w, outer = short_tiles(core, x, y, t.j, shape, tiling), t.o0 * t.o1
    if t.i0 * w.size % BLOCK == 0:
        pieces = (t.i0 + w.columns - 1) // w.columns
        for unit in range(share_start(core, outer * pieces, 1), share_end(core, outer * pieces, 1)):
            i = unit % pieces * w.columns
            separate_piece(core, w, t, unit // pieces, i, min(w.columns, t.i0 - i))
    else:
        rows, period = w.columns - EDGE * 2, row_period(core, t.j * t.i0 * w.size)
        pieces = max(1, (t.i0 - EDGE * 2 + rows - 1) // rows)  # a rest of less than two blocks joins the last
        for o in range(share_start(core, outer, period), share_end(core, outer, period)):
            for piece in range(pieces):
                i = piece * rows
                separate_piece(core, w, t, o, i, rows if piece + 1 < pieces else t.i0 - i)
    close(core, w.q_out)
    close(core, w.q_in)


@emits
def has_few_columns(core: Any, t: Turn, size: int) -> int:
    """Return 1 where few columns of many rows, which follow each other in x, become long lines."""
    is_dense = t.item == 1 and t.i1 * t.i2 == 1 and t.si0 == t.j
    is_short = t.j * size <= BLOCK or (t.j <= FEW and t.j * size % BLOCK > 0)
    return 1 if is_dense and is_short and t.i0 >= RUN and short_units(core, t.j, 1) > 0 else 0


@emits
def has_short_lines(core: Any, t: Turn, line_bytes: int, size: int) -> int:
    """Return 1 where lines of y are short and no whole number of blocks."""
    is_short = line_bytes % BLOCK > 0 and t.i0 * t.i1 * t.i2 <= FEW
    return 1 if is_short and short_units(core, line_bytes // size, 1) > 0 else 0


def _operands(shape: TransposeShape) -> tuple[Operand, ...]:
    turned = tuple(shape.lengths[axis] for axis in ORDERS[shape.perm])
    return Operand("x", shape.lengths, shape.dtype), output("y", turned, shape.dtype)


def _reference(shape: TransposeShape, x: Array) -> tuple[Array]:
    return (x.transpose(ORDERS[shape.perm]).copy(),)


@kernel(TransposeShape, TransposeTiling, _operands, _reference)
def transpose(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Y = x[a, b, c, d] with its axes in the order of number `perm`."""
    size, t = size_of(core, shape.dtype), turn_of(core, shape)
    line_bytes = t.i0 * t.i1 * t.i2 * t.item * size
    if moves_items(core, t, size) != 0:
        items_moved(core, x, y, t, shape, tiling)
    elif has_short_lines(core, t, line_bytes, size) != 0:
        short_lines_turned(core, x, y, t, shape, tiling)
    elif has_few_columns(core, t, size) != 0:
        few_columns_turned(core, x, y, t, shape, tiling)
    else:
        tiles_turned(core, x, y, t, shape, tiling)
