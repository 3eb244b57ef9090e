"""Arrays with their axes in another order, as few axes as possible: neighbours that stay so become one.

y is read as [outer, j, inner, item]: an item is what is contiguous in both arrays, j runs over neighbouring
items of x, and inner stands for the axes behind j in y.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move
from kernels.lang.emits import emits
from kernels.pieces.rows import BLOCK, load_rows
from kernels.pieces.transpose import transpose_16bit, transpose_32bit

RUN = 128
"""Columns of four bytes that two passes transpose at a time: 16 runs of whole blocks."""


class View(NamedTuple):
    """Axes of y, the first one first: lengths, and elements from place to place in x."""

    axes: int
    n0: int
    s0: int
    n1: int
    s1: int
    n2: int
    s2: int
    n3: int
    s3: int


class Turn(NamedTuple):
    """y[o0, o1, j, i0, i1, i2, item]: lengths and strides in x in elements; axes that are missing have 1."""

    o0: int
    so0: int
    o1: int
    so1: int
    j: int
    i0: int
    si0: int
    i1: int
    si1: int
    i2: int
    si2: int
    item: int


@emits
def axis_length(core: Any, shape: Any, axis: int) -> int:
    """Return the length of axis 0 to 3 of x[a, b, c, d]."""
    if axis == 0:
        return int(shape.a)
    if axis == 1:
        return int(shape.b)
    return int(shape.c if axis == 2 else shape.d)


@emits
def axis_stride(core: Any, shape: Any, axis: int) -> int:
    """Return the elements of x from place to place of an axis."""
    stride = 1
    for behind in range(axis + 1, 4):
        stride *= axis_length(core, shape, behind)
    return stride


@emits
def axis_of(core: Any, perm: int, place: int) -> int:
    """Return the axis of x at a place of y, for permutations of four in lexicographic order."""
    left, index, permutations = 15, perm, 6  # a bit for each axis that is left
    found = 0
    for at in range(place + 1):
        wanted = index // permutations
        index, permutations = index % permutations, max(1, permutations // max(1, 3 - at))
        found = 0
        while wanted > 0 or left >> found & 1 == 0:
            wanted -= left >> found & 1
            found += 1
        left -= 1 << found
    return found


@emits
def pushed(core: Any, v: View, n: int, s: int) -> Any:
    """Return a view with one more axis before the others, joined to the first if they are neighbours in x."""
    if n == 1:
        return v
    if v.axes > 0 and s == v.n0 * v.s0:
        return View(v.axes, n * v.n0, v.s0, v.n1, v.s1, v.n2, v.s2, v.n3, v.s3)
    return View(v.axes + 1, n, s, v.n0, v.s0, v.n1, v.s1, v.n2, v.s2)


@emits
def dropped(core: Any, v: View) -> Any:
    """Return a view without its first axis."""
    return View(v.axes - 1, v.n1, v.s1, v.n2, v.s2, v.n3, v.s3, 1, 0)


@emits
def last_run(core: Any, v: View) -> int:
    """Return the elements that are contiguous in x and at the end of y."""
    n, s = v.n0, v.s0
    if v.axes > 1:
        n, s = v.n1, v.s1
    if v.axes > 2:
        n, s = v.n2, v.s2
    if v.axes > 3:
        n, s = v.n3, v.s3
    return n if s == 1 else 1


@emits
def turn_of(core: Any, shape: Any) -> Any:
    """Return how x[a, b, c, d] becomes y; what is one contiguous copy has no j and no inner axis."""
    v = View(0, 1, 0, 1, 0, 1, 0, 1, 0)
    for back in range(4):
        axis = axis_of(core, shape.perm, 3 - back)
        v = pushed(core, v, axis_length(core, shape, axis), axis_stride(core, shape, axis))
    item = last_run(core, v)
    o0, so0, o1, so1, outer = 1, 0, 1, 0, 0
    while v.axes > 1 and v.s0 != item:
        o0, so0, o1, so1 = o1, so1, v.n0, v.s0
        v = dropped(core, v)
        outer += 1
    j = v.n0 if v.axes > 1 else 1
    v = dropped(core, v)
    inner = v.axes - (1 if item > 1 else 0)
    i2, si2 = (v.n2, v.s2) if inner > 2 else (1, 0)
    i1, si1 = (v.n1, v.s1) if inner > 1 else (1, 0)
    i0, si0 = (v.n0, v.s0) if inner > 0 else (1, 0)
    return Turn(o0, so0, o1, so1, j, i0, si0, i1, si1, i2, si2, item)


@emits
def outer_offset(core: Any, t: Turn, o: int) -> int:
    """Return the elements of x before place o of the outer axes."""
    return o // t.o1 * t.so0 + o % t.o1 * t.so1


@emits
def inner_offset(core: Any, t: Turn, i: int) -> int:
    """Return the elements of x before place i of the inner axes."""
    return i // t.i2 // t.i1 * t.si0 + i // t.i2 % t.i1 * t.si1 + i % t.i2 * t.si2


@emits
def load_inner(  # noqa: PLR0913, PLR0917 - a move between two places with a stride each
    core: Any, dst: int, pitch: int, x: int, t: Turn, i: int, count: int, size: int, n: int
) -> None:
    """Bring n bytes of `count` places of the inner axes from place i on, each to a row of UB."""
    last, stride = t.i0, t.si0
    if t.i1 > 1:
        last, stride = t.i1, t.si1
    if t.i2 > 1:
        last, stride = t.i2, t.si2
    done = 0
    while done < count:
        rows = min(count - done, last - (i + done) % last)
        src = x + inner_offset(core, t, i + done) * size
        load_rows(core, dst + done * pitch, pitch, src, stride * size, rows, n)
        done += rows


@emits
def turn_16bit(
    core: Any, dst: int, dst_pitch: int, src: int, src_pitch: int, rows: int, columns: int
) -> None:
    """Set dst[columns, rows] = src[rows, columns] of two bytes; whole tiles of 16 x 16 are written."""
    down, across = src_pitch // BLOCK, dst_pitch // BLOCK
    if rows <= columns:
        for row in range(0, rows, 16):
            to, start = dst + row * 2, src + row * src_pitch
            transpose_16bit(core, to, across, 16 * across, start, down, 1, (columns + 15) // 16)
    else:
        for column in range(0, columns, 16):
            to, start = dst + column * dst_pitch, src + column * 2
            transpose_16bit(core, to, across, 1, start, down, 16 * down, (rows + 15) // 16)


@emits
def turn_32bit(
    core: Any, dst: int, dst_pitch: int, src: int, src_pitch: int, rows: int, columns: int, scratch: int
) -> None:
    """Set dst[columns, rows] = src[rows, columns] of four bytes; whole tiles of 16 x 16 are written.

    Scratch is twice the tile, 3 KB at least for every 16 rows or columns.
    """
    if columns % RUN == 0:
        turn_runs(core, dst, dst_pitch, src, src_pitch, rows, columns, scratch)
        return
    down = src_pitch // BLOCK
    gap = dst_pitch // BLOCK - 2
    if rows <= columns:
        tiles = (columns + 15) // 16
        for row in range(0, rows, 16):
            transpose_32bit(core, scratch + tiles * 2048, src + row * src_pitch, down, 2, tiles, scratch)
            data_move(core, dst + row * 4, scratch + tiles * 2048, tiles * 16, 2, 0, gap)
    else:
        tiles = (rows + 15) // 16
        for column in range(0, columns, 16):
            made = scratch + tiles * 2048
            transpose_32bit(core, made, src + column * 4, down, 16 * down, tiles, scratch)
            for tile in range(tiles):
                data_move(core, dst + column * dst_pitch + tile * 64, made + tile * 1024, 16, 2, 0, gap)


@emits
def turn_runs(
    core: Any, dst: int, dst_pitch: int, src: int, src_pitch: int, rows: int, columns: int, scratch: int
) -> None:
    """Set dst[columns, rows] = src[rows, columns] of four bytes in two passes; columns are 16 runs.

    Half words of each row: [run][column x half] -> [column][half][run]; those of eight rows are put beside
    each other, [column][row x half][run] -> [run][column][row x half].
    """
    run, padded = columns // 16, (rows + 7) // 8 * 8
    mixed = scratch + padded * columns * 4
    for row in range(rows):
        halves = scratch + row * columns * 4
        transpose_16bit(core, halves, 1, 16, src + row * src_pitch, run // 8, 1, run // 8)
    for row in range(rows):
        data_move(core, mixed + row * 64, scratch + row * columns * 4, run, 2, 0, 2 * padded - 2)
    across = dst_pitch // BLOCK
    for row in range(0, rows, 8):
        transpose_16bit(core, dst + row * 4, run * across, across, mixed + row * 64, 1, 2 * padded, run)


@emits
def turn_items(
    core: Any, dst: int, dst_pitch: int, src: int, src_pitch: int, rows: int, columns: int, blocks: int
) -> None:
    """Set dst[columns, rows] = src[rows, columns], items of so many blocks."""
    down, across = src_pitch // BLOCK, dst_pitch // BLOCK
    if rows <= columns:
        for row in range(rows):
            to, start = dst + row * blocks * BLOCK, src + row * src_pitch
            data_move(core, to, start, columns, blocks, 0, across - blocks)
    else:
        for column in range(columns):
            to, start = dst + column * dst_pitch, src + column * blocks * BLOCK
            data_move(core, to, start, rows, blocks, down - blocks, 0)


@emits
def separate_columns(
    core: Any, dst: int, dst_pitch: int, src: int, rows: int, columns: int, halves: int, scratch: int
) -> None:
    """Set dst[columns, rows] = src[rows, columns] for few columns, without gaps in src.

    An element has one or two half words; rows are 16 runs of whole blocks. Scratch is twice the tile:
    [run][row x column x half] -> [row x column x half][run], sorted by columns, and back.
    """
    run = rows // 16 * halves
    kept = scratch + rows * columns * halves * 2
    transpose_16bit(core, scratch, 1, 16, src, run * columns // 16, 1, run * columns // 16)
    for column in range(columns):
        to, start = kept + column * run * BLOCK, scratch + column * halves * BLOCK
        data_move(core, to, start, rows // 16, halves, (columns - 1) * halves, 0)
    for column in range(columns):
        to, start = dst + column * dst_pitch, kept + column * run * BLOCK
        transpose_16bit(core, to, run // 16, 1, start, 1, 16, run // 16)


@emits
def interleave_rows(
    core: Any, dst: int, src: int, src_pitch: int, rows: int, columns: int, halves: int, scratch: int
) -> None:
    """Set dst[columns, rows] = src[rows, columns] for few rows, without gaps in dst.

    The way back of `separate_columns`; scratch is twice the tile.
    """
    run = columns // 16 * halves
    mixed = scratch + rows * columns * halves * 2
    for row in range(rows):
        to, start = scratch + row * run * BLOCK, src + row * src_pitch
        transpose_16bit(core, to, 1, 16, start, run // 16, 1, run // 16)
    for row in range(rows):
        to, start = mixed + row * halves * BLOCK, scratch + row * run * BLOCK
        data_move(core, to, start, columns // 16, halves, 0, (rows - 1) * halves)
    transpose_16bit(core, dst, run * rows // 16, 1, mixed, 1, 16, run * rows // 16)
