"""Max pooling with the index of the maximum, and its gradient, on the vector unit.

Maps lie as NC1HWC0. A tile is some planes of 16 channels, or some rows and columns of windows of one plane;
its windows form one stream, so that an instruction works on up to 2040 of them (`kernels.pieces.pooling`).
Where windows overlap, each row of the image is pooled once for all windows that see it, then rows of windows.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    MAX,
    MTE2,
    MTE3,
    UB,
    Operand,
    V,
    alloc,
    close,
    emits,
    fill,
    filled,
    free,
    kernel,
    output,
    queue,
    use,
    vadd,
    vadds,
    vcmpv_eq,
    vcmpv_gt,
    vmax,
    vsel,
)
from kernels.pieces.fold import start_of
from kernels.pieces.pooling import (
    BLOCK,
    C0,
    LANES,
    Pool,
    Reach,
    Strided,
    Tile,
    blank,
    blank_map,
    blank_unseen,
    channel_mask,
    dense,
    element,
    fetch_map,
    lanes_of,
    load_windows,
    map_blocks,
    mask_channels,
    most_windows,
    move_map,
    numbers_of,
    phases_of,
    pool_of,
    reach_of,
    store_windows,
    store_zeros,
    tile_at,
    window_blocks,
    windows_of,
)
from kernels.tiling.pooling import MOST_SHARED, MaxPoolTiling, PoolGradTiling, PoolShape

Array = npt.NDArray[Any]
BIT_BYTES = 16
REPEATS, GRAD_REPEATS = 255, 64
"""Repeats of one instruction: those of the gradient need room for their products."""


class WorkSpace(NamedTuple):
    """Blocks full of the numbers 0, 1, 2 ...; bits of a comparison; products of an instruction."""

    numbers: int
    bits: int
    part: int


class Piece(NamedTuple):
    """What one instruction works on: windows from a number on, half of each position."""

    window: int
    windows: int
    repeat: int
    half: int


class Part(NamedTuple):
    """Elements of a window: the first one, how many, and what number stands for the index of the first."""

    first: int
    elements: int
    number: int


class Rows(NamedTuple):
    """Buffers of `size` bytes: of each phase the largest elements of rows of windows, and their indices."""

    at: int
    size: int


@emits
def piece_at(core: Any, p: Pool, window: int, most: int, windows: int, half: int) -> Any:
    """Return the piece of the stream from a window on."""
    count = min(most, windows - window)
    return Piece(window, count, (count + 7) // 8, half)


@emits
def whole_repeats(core: Any, p: Pool, windows: int) -> int:
    """Return the windows rounded up to eights, where an instruction takes so many."""
    return (windows + 7) // 8 * 8 if most_windows(core, p, 1) > 1 else windows


@emits
def number_block(core: Any, s: WorkSpace, number: int) -> Any:
    """Return a number as an operand: one block for all of an instruction."""
    return Strided(s.numbers + number * BLOCK, s.bits * 0, s.bits * 0)


@emits
def select(core: Any, p: Pool, piece: Piece, bits: int, to: Strided, a: Strided, b: Strided) -> None:
    """Put a where the bit is 1, b elsewhere."""
    vsel(
        core, to.at, a.at, b.at, piece.repeat, bits, p.dtype, lanes_of(core, p, piece.windows), to.blk, a.blk,
        b.blk, to.rep, a.rep, b.rep,
    )  # fmt: skip


@emits
def larger(core: Any, p: Pool, piece: Piece, to: Strided, a: Strided, b: Strided) -> None:
    """Put the larger of a and b."""
    vmax(
        core, to.at, a.at, b.at, piece.repeat, p.dtype, lanes_of(core, p, piece.windows), to.blk, a.blk,
        b.blk, to.rep, a.rep, b.rep,
    )  # fmt: skip


@emits
def first_larger(core: Any, p: Pool, piece: Piece, bits: int, y: Strided, a: Strided, b: Strided) -> None:
    """Put the larger of a and b to y, and set the bits where it is b alone.

    What selects by the bits comes behind: the unit then waits for both results at once.
    """
    vcmpv_gt(core, bits, b.at, a.at, piece.repeat, p.dtype, b.blk, a.blk, b.rep, a.rep)
    larger(core, p, piece, y, a, b)


@emits
def pool_piece(
    core: Any, p: Pool, x: int, y: Strided, arg: Strided, piece: Piece, s: WorkSpace, part: Part
) -> None:
    """Put the largest of some elements of each window to y, the index of the first as large as it to arg."""
    top = element(core, p, x, part.first // p.kw, part.first % p.kw, piece.window, piece.half)
    index = number_block(core, s, part.number)
    if part.elements == 1:
        larger(core, p, piece, y, top, top)
        larger(core, p, piece, arg, index, index)
    for more in range(1, part.elements):
        number = part.first + more
        now = element(core, p, x, number // p.kw, number % p.kw, piece.window, piece.half)
        first_larger(core, p, piece, s.bits, y, top, now)
        select(core, p, piece, s.bits, arg, number_block(core, s, part.number + more), index)
        top, index = y, arg


@emits
def pool_part(core: Any, p: Pool, x: int, y: int, arg: int, windows: int, s: WorkSpace, part: Part) -> None:
    """Pool some elements of the windows of a stream."""
    whole, most = whole_repeats(core, p, windows), most_windows(core, p, REPEATS)
    for half in range(p.unit):
        for window in range(0, whole, most):
            piece = piece_at(core, p, window, most, whole, half)
            top, index = dense(core, p, y, window, half), dense(core, p, arg, window, half)
            pool_piece(core, p, x, top, index, piece, s, part)


@emits
def rows_of_windows(core: Any, p: Pool, r: Rows, i: int, piece: Piece) -> Any:
    """Return what is known of row i of the windows: the largest elements and, `r.size` behind, indices."""
    there = r.at + i % p.stride * 2 * r.size
    return dense(core, p, there, piece.window + i // p.stride * p.pitch, piece.half)


@emits
def fold_rows(core: Any, p: Pool, r: Rows, y: int, arg: int, windows: int, s: WorkSpace) -> None:
    """Pool the rows of windows: indices in a row become those in a window.

    An index is too large by the rows from its own to the last one of this phase, until that has passed.
    """
    whole, most = whole_repeats(core, p, windows), most_windows(core, p, REPEATS)
    for unit in range(p.unit * ((whole + most - 1) // most)):
        piece = piece_at(core, p, unit // p.unit * most, most, whole, unit % p.unit)
        top = rows_of_windows(core, p, r, 0, piece)
        index = Strided(top.at + r.size, top.blk, top.rep)
        to, made = dense(core, p, y, piece.window, piece.half), dense(core, p, arg, piece.window, piece.half)
        for i in range(1, p.kh):
            now = rows_of_windows(core, p, r, i, piece)
            other = Strided(now.at + r.size, now.blk, now.rep)
            if i % p.stride == 0:
                lanes, lower = lanes_of(core, p, piece.windows), -1.0 * p.kw * p.stride
                vadds(core, made.at, index.at, piece.repeat, lower, p.dtype, lanes, made.blk, index.blk,
                      made.rep, index.rep)  # fmt: skip
                index = made
            first_larger(core, p, piece, s.bits, to, top, now)
            select(core, p, piece, s.bits, made, other, index)
            top, index = to, made


@emits
def shares_rows(core: Any, p: Pool) -> bool:
    """Tell whether windows that see the same row pool it once: their indices are exact, too."""
    return bool(p.kh > p.stride and p.kw > 1 and p.kh * p.kw <= MOST_SHARED)


@emits
def rows_of(core: Any, p: Pool) -> Any:
    """Allocate the largest elements of the rows of windows, and their indices."""
    phases = phases_of(core, p) if shares_rows(core, p) else 0
    size = (p.phase + LANES) * p.unit * BLOCK
    return Rows(alloc(core, UB, 2 * phases * size, max(1, 2 * phases)), size)


@emits
def indices(core: Any, p: Pool) -> int:
    """Return how many numbers stand for indices."""
    return p.kw * (phases_of(core, p) + p.above * p.stride) if shares_rows(core, p) else p.kh * p.kw


@emits
def pool_tile(core: Any, p: Pool, x: int, y: int, arg: int, windows: int, s: WorkSpace, r: Rows) -> None:
    """Pool all windows of a tile, those that are not there included."""
    if not shares_rows(core, p):
        pool_part(core, p, x, y, arg, windows, s, Part(0, p.kh * p.kw, 0))
        return
    for phase in range(phases_of(core, p)):
        there = r.at + phase * 2 * r.size
        part = Part(phase * p.kw, p.kw, (phase + p.above * p.stride) * p.kw)
        below = windows + (p.kh - 1 - phase) // p.stride * p.pitch
        pool_part(core, p, x, there, there + r.size, below, s, part)
    fold_rows(core, p, r, y, arg, windows, s)


def windows_in(x: Array, shape: PoolShape, fill_value: float) -> Array:
    """Return the elements of each window of x[n, c, h, w] as [n, c, oh, ow, kh * kw]."""
    top, bottom, left, right = shape.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill_value)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (shape.kh, shape.kw), axis=(2, 3))
    steps = windows[:, :, :: shape.stride, :: shape.stride]
    return steps.reshape(shape.n, shape.c, shape.oh, shape.ow, -1)


def max_pool_reference(shape: PoolShape, x: Array) -> tuple[Array, Array]:
    """Return the largest element of each window, and the index of the first one that is as large."""
    flat = windows_in(x, shape, -np.inf)
    return flat.max(axis=-1), flat.argmax(axis=-1).astype(x.dtype)


def scattered(shape: PoolShape, parts: Array) -> Array:
    """Return the sum, as dx[n, c, h, w], of parts[kh * kw, n, c, oh, ow]: an element of all windows each."""
    dx, (top, _, left, _) = np.zeros((shape.n, shape.c, *shape.padded), np.float32), shape.pads
    for number, part in enumerate(parts):
        i, j = divmod(number, shape.kw)
        dx[:, :, i :: shape.stride, j :: shape.stride][:, :, : shape.oh, : shape.ow] += part
    return dx[:, :, top : top + shape.h, left : left + shape.w]


def max_pool_grad_reference(shape: PoolShape, dy: Array, argmax: Array) -> tuple[Array]:
    """Return dx: each dy at its window's maximum, summed in float32 and rounded once."""
    parts = np.stack([np.where(argmax == number, dy, 0) for number in range(shape.kh * shape.kw)])
    return (scattered(shape, parts).astype(dy.dtype),)


def _operands(shape: PoolShape) -> tuple[Operand, ...]:
    small = (shape.n, shape.c, shape.oh, shape.ow)
    return (
        Operand("x", (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0"),
        output("y", small, shape.dtype, "NC1HWC0"),
        output("argmax", small, shape.dtype, "NC1HWC0"),
    )


def _operands_grad(shape: PoolShape) -> tuple[Operand, ...]:
    small = (shape.n, shape.c, shape.oh, shape.ow)
    return (
        Operand("dy", small, shape.dtype, "NC1HWC0"),
        Operand("argmax", small, shape.dtype, "NC1HWC0", between=(0, shape.kh * shape.kw), is_whole=True),
        output("dx", (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0"),
    )


@emits
def mask_indices(core: Any, p: Pool, t: Tile, arg: int, groups: int, mask: int) -> None:
    """Set the indices of channels that are not there to 0, in the planes of a tile that have such."""
    for plane in range(t.planes):
        if (t.plane + plane) % groups == groups - 1:
            there = arg + plane * p.height * p.pitch * p.unit * BLOCK
            mask_channels(core, p, there, (t.rows - 1) * p.pitch + t.cols, mask)


@kernel(PoolShape, MaxPoolTiling, _operands, max_pool_reference)
def max_pool(core: Any, x: int, y: int, argmax: int, shape: Any, tiling: Any) -> None:
    """y[n, c, oh, ow] = largest of x's windows kh x kw; argmax[n, c, oh, ow] = its index in the window."""
    p, slots, lowest = pool_of(core, shape, tiling, 0, 0), tiling.slots, start_of(core, MAX)
    slot, result = map_blocks(core, p), window_blocks(core, p, p.height if p.planes > 1 else p.rows) * BLOCK
    ux, uy = alloc(core, UB, slots * slot * BLOCK, slots), alloc(core, UB, slots * 2 * result, slots * 2)
    bits = alloc(core, UB, (REPEATS + 1) * BIT_BYTES)
    space = WorkSpace(numbers_of(core, p, indices(core, p)), bits, bits)
    r = rows_of(core, p)
    mask = channel_mask(core, p, shape.c)
    for buffer in range(slots if p.is_padded else 0):
        blank(core, ux + buffer * slot * BLOCK, lowest, slot, p.dtype)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for ahead in range(slots - 1):
        fetch_map(core, p, q_in, shape, p.first + ahead, x, ux, slot * BLOCK)
    for number in range(p.first, p.last):
        fetch_map(core, p, q_in, shape, number + slots - 1, x, ux, slot * BLOCK)
        t = tile_at(core, p, shape, number, 0)
        there, made = ux + use(core, q_in) * slot * BLOCK, uy + fill(core, q_out) * 2 * result
        if p.is_padded and p.row_tiles > 1:
            blank_map(core, p, t, there, lowest)
        pool_tile(core, p, there, made, made + result, windows_of(core, p, t), space, r)
        if p.is_padded and shape.c % C0 > 0:  # padding is less than zeros of channels that are not there
            mask_indices(core, p, t, made + result, (shape.c + C0 - 1) // C0, mask)
        if p.is_padded and p.col_tiles > 1:
            blank(core, there, lowest, slot, p.dtype)
        free(core, q_in)
        filled(core, q_out)
        made = uy + use(core, q_out) * 2 * result
        store_windows(core, p, t, y, made)
        store_windows(core, p, t, argmax, made + result)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


class Stream(NamedTuple):
    """How many windows a tile of a gradient has, and how many its map would have room for."""

    windows: int
    room: int


@emits
def is_first(core: Any, p: Pool, number: int) -> int:
    """Tell whether an element lies within a stride of its window's first: no other window writes there."""
    return 1 if number // p.kw < p.stride and number % p.kw < p.stride else 0


@emits
def grad_piece(
    core: Any, p: Pool, dx: int, dy: Strided, arg: Strided, piece: Piece, s: WorkSpace, number: int
) -> None:
    """Give dy to element `number` of the windows whose argmax it is: write it, or add where others wrote."""
    this = number_block(core, s, number)
    vcmpv_eq(core, s.bits, arg.at, this.at, piece.repeat, p.dtype, arg.blk, this.blk, arg.rep, this.rep)
    to = element(core, p, dx, number // p.kw, number % p.kw, piece.window, piece.half)
    if is_first(core, p, number):
        select(core, p, piece, s.bits, to, dy, number_block(core, s, 0))
    else:
        part = Strided(s.part, p.unit // p.unit, 8 * p.unit // p.unit)
        select(core, p, piece, s.bits, part, dy, number_block(core, s, 0))
        vadd(
            core, to.at, to.at, part.at, piece.repeat, p.dtype, lanes_of(core, p, piece.windows), to.blk,
            to.blk, 1, to.rep, to.rep, 8,
        )  # fmt: skip


@emits
def grad_tile(core: Any, p: Pool, dx: int, given: int, size: int, stream: Stream, s: WorkSpace) -> None:
    """Give every dy of a tile (behind the argmax) to its place: those that write first, then the rest."""
    most, whole = most_windows(core, p, GRAD_REPEATS), whole_repeats(core, p, stream.windows)
    for turn in range(2 * p.unit):
        adds, half = turn // p.unit, turn % p.unit
        for window in range(0, whole, most):
            index, dy = dense(core, p, given, window, half), dense(core, p, given + size, window, half)
            for number in range(p.kh * p.kw):
                room = stream.room - number // p.kw // p.stride * p.pitch
                below = whole_repeats(core, p, min(stream.windows, room))
                if is_first(core, p, number) != adds and below > window:
                    piece = piece_at(core, p, window, most, below, half)
                    grad_piece(core, p, dx, dy, index, piece, s, number)


class Handles(NamedTuple):
    """The tensors of a gradient."""

    dy: int
    argmax: int
    dx: int


@emits
def fetch_windows(
    core: Any, p: Pool, q: int, shape: Any, number: int, g: Handles, there: int, size: int
) -> None:
    """Bring argmax and dy of the windows that reach into a tile to UB, if there is such a tile."""
    if number < p.last:
        t = tile_at(core, p, shape, number, 1)
        buffer = there + fill(core, q) * 2 * size
        load_windows(core, p, t, g.argmax, buffer)
        load_windows(core, p, t, g.dy, buffer + size)
        filled(core, q)


@emits
def stream_of(core: Any, p: Pool, t: Tile, reach: Reach) -> Any:
    """Return the stream of the windows that reach into a tile."""
    before = (t.planes - 1) * p.height
    return Stream((before + reach.rows) * p.pitch, (before + p.height - reach.top) * p.pitch)


@emits
def map_above(core: Any, p: Pool, dx: int, top: int) -> int:
    """Return where a map begins for windows whose first row is row `top` of it."""
    return dx + top * p.pitch * p.stride * p.unit * BLOCK


@kernel(PoolShape, PoolGradTiling, _operands_grad, max_pool_grad_reference)
def max_pool_grad(core: Any, dy: int, argmax: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = sum of dy[n, c, oh, ow] over the windows whose argmax is there, zero elsewhere."""
    p, slots, g = pool_of(core, shape, tiling, 1, 0), tiling.slots, Handles(dy, argmax, dx)
    rows = p.height if p.planes > 1 else min(p.height, p.oh)
    size, slot = window_blocks(core, p, rows) * BLOCK, map_blocks(core, p) * BLOCK
    given, made = alloc(core, UB, slots * 2 * size, slots * 2), alloc(core, UB, slots * slot, slots)
    bits, part = alloc(core, UB, (GRAD_REPEATS + 1) * BIT_BYTES), alloc(core, UB, GRAD_REPEATS * 8 * BLOCK)
    space = WorkSpace(numbers_of(core, p, p.kh * p.kw), bits, part)
    zeros = alloc(core, UB, p.cols * p.stride * p.unit * BLOCK if p.kh < p.stride else 0)
    blank(core, zeros, 0.0, p.cols * p.stride * p.unit if p.kh < p.stride else 0, p.dtype)
    for buffer in range(slots):
        blank(core, given + buffer * 2 * size, -1.0, size // BLOCK, p.dtype)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for ahead in range(slots - 1):
        fetch_windows(core, p, q_in, shape, p.first + ahead, g, given, size)
    for number in range(p.first, p.last):
        fetch_windows(core, p, q_in, shape, number + slots - 1, g, given, size)
        t = tile_at(core, p, shape, number, 1)
        there, result, reach = (
            given + use(core, q_in) * 2 * size,
            made + fill(core, q_out) * slot,
            reach_of(core, p, t),
        )
        if p.kw < p.stride:
            blank(core, result, 0.0, slot // BLOCK, p.dtype)
        elif p.planes == 1:
            blank_unseen(core, p, reach, result, p.dtype)
        stream = stream_of(core, p, t, reach)
        blank(core, there + stream.windows * p.unit * BLOCK, -1.0, 8 * p.unit, p.dtype)
        grad_tile(core, p, map_above(core, p, result, reach.top), there, size, stream, space)
        if p.col_tiles > 1:
            blank(core, there, -1.0, size // BLOCK, p.dtype)
        free(core, q_in)
        filled(core, q_out)
        move_map(core, p, t, dx, made + use(core, q_out) * slot, 1)
        store_zeros(core, p, t, dx, zeros)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
