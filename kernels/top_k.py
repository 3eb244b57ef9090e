"""The k largest numbers of each row, with their places.

One place after the other: the largest number of those that are smaller than the last one found, or equal to
it and behind it. So equal numbers come in the order of their places. Numbers are compared in fp32; -inf
counts as the lowest finite number but one. A row with a NaN has no defined answer, but legal places.
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
    MAX,
    MIN,
    MTE2,
    UB,
    UINT16,
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
    flat_scale,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vand,
    vcmpv_eq,
    vcmpv_gt,
    vcmpv_lt,
    vor,
    vsel,
)
from kernels.pieces.broadcast import block_binary
from kernels.pieces.counting import add_number, count_up
from kernels.pieces.fold import LOWEST
from kernels.pieces.rows import load_rows, pitch_bytes
from kernels.pieces.rowstream import RowStream, close_rows, open_rows, room_for_rows, row_unit, send_rows
from kernels.pieces.rowwise import Desk, Tile, desk, maximum_blocks, number_blocks
from kernels.pieces.turn import turn_32bit
from kernels.rules import item_bytes, require, require_dtype, round_up
from kernels.tiling.flat import cores_for

Array = npt.NDArray[Any]
BLOCK, LINE, LANES, EDGE, EIGHT = 32, 256, 64, 16, 8
TILE_BYTES, MOST_COLUMNS, MOST_ROWS, MOST_RESULTS = 24 * 1024, 31 * 64, 128, 512
FIXED_BYTES, RESULT_BYTES = 60 * 1024, 22
"""More than what lies in UB beside a tile of 16 rows; of that, bytes of a result."""
LOWEST_COUNTED = -3.4028232635611926e38
"""What -inf counts as: the number next to the lowest finite one, which stands for what was found before."""
EXACT = 1 << 24
"""Places below are exact as float32."""


@dataclass(frozen=True)
class TopKShape(Shape):
    """x[m, n]; the k largest of each row."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 37, "n": 10, "k": 3}, {"m": 9, "n": 1001, "k": 5, "dtype": FP32}, {"m": 2, "n": 5000, "k": 17},
    )  # fmt: skip
    SMALL: ClassVar[Mapping[str, int]] = {"k": 5}
    LARGE: ClassVar[Mapping[str, int]] = {"k": 5}
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ({"m": 32, "n": 1001, "k": 5},)
    m: int
    n: int
    k: int = 1
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse more results than numbers, or than stay in UB, and other types than the two here."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        require(kernel, self.k <= self.n, "k is at most n", f"k={self.k}, n={self.n}")
        require(kernel, self.k <= MOST_RESULTS, f"k is at most {MOST_RESULTS}", f"k={self.k}")
        require(kernel, self.n < EXACT, "n is below 2 ** 24", f"n={self.n}")


@dataclass(frozen=True)
class TopKTiling(Tiling):
    """Rows and columns of a tile, cores to use."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows", "columns")
    rows: int
    columns: int
    cores: int = 1

    @classmethod
    def default(cls, shape: TopKShape, platform: Platform) -> Self:
        """Return tiles of whole rows where some fit UB, so that they come but once; else 24 KB in fp32."""
        cores = cores_for(4 * shape.k * shape.m * shape.n * item_bytes(shape.dtype), platform)
        least = EIGHT if shape.m >= LANES * cores else 1  # as `row_unit` says
        if shape.k * item_bytes(shape.dtype) < BLOCK:
            least = EDGE
        columns = min(round_up(shape.n, LANES), MOST_COLUMNS)
        room = int(platform.ub_bytes) - FIXED_BYTES - RESULT_BYTES * EDGE * round_up(shape.k, EDGE)
        if max(least, EDGE) * columns * (8 + item_bytes(shape.dtype)) > room or columns < shape.n:
            columns = min(columns, TILE_BYTES // (4 * least) // LANES * LANES)
        share = min(MOST_ROWS, -(-shape.m // cores), TILE_BYTES // (4 * columns))
        most = EDGE * MOST_RESULTS // round_up(shape.k, EDGE) // EDGE * EDGE
        return cls(max(least, min(share, most)), columns, cores)

    @classmethod
    def space(cls, shape: TopKShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, one of half the rows, and one of half the columns."""
        first = cls.default(shape, platform)
        yield first
        if first.rows >= 2 * EDGE:
            yield replace(first, rows=first.rows // 2)
        if first.columns > LANES:
            yield replace(first, columns=round_up(first.columns // 2, LANES))

    def blocks(self, shape: TopKShape, platform: Platform) -> int:
        """Return the cores to use, as many as there are."""
        return min(int(platform.ai_cores), self.cores)


class Search(NamedTuple):
    """Room of a search: a tile as it comes, in fp32 and masked; places 0, -1, -2 ...; bits of 64 columns.

    `value` and `place` are one number a row, of the best result so far; `*_blocks` those of the last one.
    """

    q: int
    ub: int
    ub_bytes: int
    x: int
    masked: int
    places: int
    lowest: int
    floor: int
    bits: int
    bits_bytes: int
    value: int
    place: int
    new_value: int
    last_place: int
    value_blocks: int
    place_blocks: int
    columns: int


@emits
def open_search(core: Any, rows: int, columns: int, shape: Any) -> Search:
    """Allocate a search in tiles of rows and columns; fill what stays the same."""
    size, padded = size_of(core, shape.dtype), (rows + EDGE - 1) // EDGE * EDGE
    ub_bytes, wide = rows * pitch_bytes(core, columns * size), rows * columns * 4
    slots = 2 if shape.n > columns else 1  # whole rows come but once
    ub = alloc(core, UB, slots * ub_bytes, slots)
    x, masked = alloc(core, UB, wide), alloc(core, UB, wide)
    places = alloc(core, UB, columns * 4)
    lowest, floor = alloc(core, UB, BLOCK), alloc(core, UB, BLOCK)
    bits_bytes = (columns // LANES * ((rows + 3) // 4 * BLOCK) + LINE - 1) // LINE * LINE
    bits = alloc(core, UB, 3 * bits_bytes)
    numbers = padded // EDGE * 1024
    value, place = alloc(core, UB, numbers), alloc(core, UB, numbers)
    new_value, last_place = alloc(core, UB, numbers), alloc(core, UB, numbers)
    value_blocks, place_blocks = alloc(core, UB, padded * BLOCK), alloc(core, UB, padded * BLOCK)
    flat_dup(core, lowest, LOWEST, EIGHT, FP32)
    flat_dup(core, floor, LOWEST_COUNTED, EIGHT, FP32)
    count_up(core, places, columns, -1, FP32, masked)
    return Search(
        queue(core, MTE2, V, slots), ub, ub_bytes, x, masked, places, lowest, floor, bits, bits_bytes,
        value, place, new_value, last_place, value_blocks, place_blocks, columns,
    )  # fmt: skip


@emits
def bring_tile(core: Any, s: Search, x: int, row: int, column: int, t: Tile, shape: Any) -> None:
    """Bring a tile as fp32, -inf as a finite number."""
    size = size_of(core, shape.dtype)
    pitch, taken = t.pitch * size // 4, s.ub + fill(core, s.q) * s.ub_bytes
    src = x + (row * shape.n + column) * size
    load_rows(core, taken, pitch, src, shape.n * size, t.rows, t.columns * size)
    filled(core, s.q)
    use(core, s.q)
    if shape.dtype == FP16:
        flat_convert(core, s.x, FP32, taken, FP16, t.rows * pitch // 2)
        block_binary(core, MAX, s.x, s.x, s.floor, t.rows * t.pitch // 4, FP32)
    else:
        block_binary(core, MAX, s.x, taken, s.floor, t.rows * t.pitch // 4, FP32)
    free(core, s.q)


@emits
def mask_found(core: Any, s: Search, t: Tile) -> None:
    """Set masked = x where it comes after the last result in the order of results, else the lowest number."""
    step, lower, equal, behind = t.pitch // BLOCK, s.bits, s.bits + s.bits_bytes, s.bits + 2 * s.bits_bytes
    group, lines = (t.rows + 3) // 4 * BLOCK, s.bits_bytes // LINE
    for column in range(0, t.columns, LANES):
        at, x = column // LANES * group, s.x + column * 4
        vcmpv_lt(core, lower + at, x, s.value_blocks, t.rows, FP32, 1, 0, step, 1)
        vcmpv_eq(core, equal + at, x, s.value_blocks, t.rows, FP32, 1, 0, step, 1)
        vcmpv_lt(core, behind + at, s.places + column * 4, s.place_blocks, t.rows, FP32, 1, 0, 0, 1)
    vand(core, equal, equal, behind, lines, UINT16)
    vor(core, lower, lower, equal, lines, UINT16)
    for column in range(0, t.columns, LANES):
        bits, mask = lower + column // LANES * group, min(LANES, t.columns - column)
        to, x = s.masked + column * 4, s.x + column * 4
        vsel(core, to, x, s.lowest, t.rows, bits, FP32, mask, 1, 1, 0, step, step, 0)


@emits
def find_largest(core: Any, s: Search, d: Desk, src: int, t: Tile, column: int) -> None:
    """Set the new value of each row to its largest number, and the desk's numbers to minus its place."""
    step, group = t.pitch // BLOCK, (t.rows + 3) // 4 * BLOCK
    maximum_blocks(core, d, src, t, FP32)
    data_move(core, s.new_value, d.numbers, 1, pitch_bytes(core, t.rows * 4) // BLOCK)
    for at in range(0, t.columns, LANES):
        vcmpv_eq(core, s.bits + at // LANES * group, src + at * 4, d.blocks, t.rows, FP32, 1, 0, step, 1)
    for at in range(0, t.columns, LANES):
        bits, mask, places = s.bits + at // LANES * group, min(LANES, t.columns - at), s.places + at * 4
        vsel(core, s.masked + at * 4, places, s.lowest, t.rows, bits, FP32, mask, 1, 1, 0, step, 0, 0)
    maximum_blocks(core, d, s.masked, t, FP32)
    add_number(core, d.numbers, d.numbers, t.rows, -column, FP32, s.bits)


@emits
def keep_larger(core: Any, s: Search, d: Desk, rows: int) -> None:
    """Take the new value and place of each row where the value is larger than that found so far."""
    for at in range(0, rows * 4, LINE):
        value, place, new_value = s.value + at, s.place + at, s.new_value + at
        vcmpv_gt(core, s.bits, new_value, value, 1, FP32)
        vsel(core, value, new_value, value, 1, s.bits, FP32)
        vsel(core, place, d.numbers + at, place, 1, s.bits, FP32)


@emits
def next_results(core: Any, s: Search, d: Desk, x: int, row: int, rows: int, found: int, shape: Any) -> None:
    """Set value and place of each row to those that follow the last ones; places are negative."""
    blocks = pitch_bytes(core, rows * 4) // BLOCK
    keep_last(core, s, d, rows, found)
    for column in range(0, shape.n, s.columns):
        columns = min(s.columns, shape.n - column)
        size = size_of(core, shape.dtype)
        t = Tile(rows, columns, pitch_bytes(core, columns * size) * 4 // size)
        if found == 0 or shape.n > s.columns:
            bring_tile(core, s, x, row, column, t, shape)
        src = s.x
        if found > 0:
            add_number(core, d.numbers, s.last_place, rows, column, FP32, s.bits)
            number_blocks(core, s.place_blocks, d, rows)
            mask_found(core, s, t)
            src = s.masked
        find_largest(core, s, d, src, t, column)
        if column == 0:
            data_move(core, s.value, s.new_value, 1, blocks)
            data_move(core, s.place, d.numbers, 1, blocks)
        else:
            keep_larger(core, s, d, rows)


@emits
def keep_last(core: Any, s: Search, d: Desk, rows: int, found: int) -> None:
    """Keep the last value in blocks and the last place, if anything was found."""
    if found > 0:
        blocks = pitch_bytes(core, rows * 4) // BLOCK
        data_move(core, s.last_place, s.place, 1, blocks)
        data_move(core, d.numbers, s.value, 1, blocks)
        number_blocks(core, s.value_blocks, d, rows)


class Results(NamedTuple):
    """Values and places of up to `padded` rows, [k][padded] fp32; room to turn them; the last legal place."""

    values: int
    places: int
    turned: int
    halves: int
    scratch: int
    last: int
    padded: int
    width: int


@emits
def open_results(core: Any, rows: int, shape: Any) -> Results:
    """Allocate room for the results of so many rows."""
    padded, width = (rows + EDGE - 1) // EDGE * EDGE, (shape.k + EDGE - 1) // EDGE * EDGE
    nbytes = padded * width * 4
    values, places = alloc(core, UB, nbytes), alloc(core, UB, nbytes)
    turned, halves = alloc(core, UB, nbytes), alloc(core, UB, nbytes // 2)
    scratch = alloc(core, UB, max(2 * nbytes, 3072 * max(padded, width) // EDGE))
    last = alloc(core, UB, BLOCK)
    flat_dup(core, last, (shape.n - 1) * 1.0, EIGHT, FP32)
    return Results(values, places, turned, halves, scratch, last, padded, width)


@emits
def send_results(
    core: Any, r: Results, s: RowStream, src: int, dtype: int, y: int, row: int, count: int
) -> None:
    """Turn results to rows, as numbers of a type, and write them."""
    k, n = s.row_bytes // size_of(core, dtype), r.padded * r.width
    turn_32bit(core, r.turned, r.width * 4, src, r.padded * 4, k, r.padded, r.scratch)
    made = r.turned
    if dtype == FP16:
        flat_convert(core, r.halves, FP16, r.turned, FP32, n)
        made = r.halves
    elif dtype == INT32:
        flat_scale(core, r.turned, r.turned, n, -1.0, 0.0, FP32)
        block_binary(core, MIN, r.turned, r.turned, r.last, n, FP32)
        flat_convert(core, r.scratch, INT32, r.turned, FP32, n)
        made = r.scratch
    gap = (r.width * size_of(core, dtype) - s.pitch) // BLOCK
    data_move(core, room_for_rows(core, s), made, count, s.pitch // BLOCK, gap, 0)
    send_rows(core, s, y, row, count)


def _operands(shape: TopKShape) -> tuple[Operand, ...]:
    values, indices = (
        output("values", (shape.m, shape.k), shape.dtype),
        output("indices", (shape.m, shape.k), INT32),
    )
    return Operand("x", (shape.m, shape.n), shape.dtype), values, indices


def _reference(shape: TopKShape, x: Array) -> tuple[Array, Array]:
    places = np.argsort(-x.astype(np.float64), axis=1, kind="stable")[:, : shape.k]
    return np.take_along_axis(x, places, axis=1), places.astype(np.int32)


@kernel(TopKShape, TopKTiling, _operands, _reference)
def top_k(core: Any, x: int, values: int, indices: int, shape: Any, tiling: Any) -> None:
    """values[m, k] = the k largest of x[m, n], falling; indices[m, k] int32 = their places."""
    value_bytes, index_bytes = shape.k * size_of(core, shape.dtype), shape.k * 4
    columns = max(1, min(tiling.columns, MOST_COLUMNS) // LANES) * LANES
    unit = max(row_unit(core, shape.m, value_bytes, 1), row_unit(core, shape.m, index_bytes, 1))
    rows = max(1, min(tiling.rows, MOST_ROWS) // unit) * unit
    sv, si = open_rows(core, 0, rows, value_bytes, 1), open_rows(core, 0, rows, index_bytes, 1)
    rows = min(rows, sv.rows, si.rows)
    s, d, r = open_search(core, rows, columns, shape), desk(core, rows), open_results(core, rows, shape)
    end = share_end(core, shape.m, unit)
    for row in range(share_start(core, shape.m, unit), end, rows):
        count = min(rows, end - row)
        for found in range(shape.k):
            next_results(core, s, d, x, row, count, found, shape)
            blocks = pitch_bytes(core, count * 4) // BLOCK
            data_move(core, r.values + found * r.padded * 4, s.value, 1, blocks)
            data_move(core, r.places + found * r.padded * 4, s.place, 1, blocks)
        send_results(core, r, sv, r.values, shape.dtype, values, row, count)
        send_results(core, r, si, r.places, INT32, indices, row, count)
    close(core, s.q)
    close_rows(core, si)
    close_rows(core, sv)
