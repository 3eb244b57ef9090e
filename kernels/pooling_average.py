"""Average pooling of windows with stride and padding, and its gradient.

Half precision is summed in fp32 and rounded once. Windows form one stream, as in max pooling. Where windows
overlap, rows are summed once for all that see them; so are the columns of a gradient.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    ADD,
    FP16,
    FP32,
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
    flat_binary,
    flat_convert,
    flat_dup,
    flat_scale,
    free,
    kernel,
    queue,
    use,
    vadd,
    vaxpy_mixed,
    vconv,
    vmuls,
)
from kernels.pieces.pooling import (
    BLOCK,
    C0,
    LANES,
    Pool,
    Span,
    Tile,
    blank,
    blank_map,
    blank_rows,
    dense,
    element,
    fetch_map,
    is_near,
    load_windows,
    map_blocks,
    most_windows,
    move_map,
    phases_of,
    pool_of,
    reach_of,
    store_windows,
    store_zeros,
    tile_at,
    window_blocks,
    windows_of,
)
from kernels.pieces.window import move_planes
from kernels.pooling import scattered, windows_in
from kernels.tiling.pooling import AverageGradTiling, AverageShape, AverageTiling, PoolShape

Array = npt.NDArray[Any]
REPEATS, WIDE = 255, 64
"""Repeats of one instruction; bytes of a position in fp32."""


@emits
def add_half(core: Any, p: Pool, total: int, x: int, number: int, windows: int) -> None:
    """Add an element of each window, in fp16, over their number, to the sums: a repeat takes four windows."""
    factor = 1.0 / (p.kh * p.kw)
    most = most_windows(core, p, REPEATS) // 2 + 1 - is_near(core, p.stride, p.unit)
    for window in range(0, windows, most):
        count = min(most, windows - window)
        src = element(core, p, x, number // p.kw, number % p.kw, window, 0)
        to, lanes = total + window * WIDE, min(64, count * C0)
        vaxpy_mixed(core, to, src.at, (count + 3) // 4, factor, lanes, 1, src.blk, 8, src.rep // 2)


@emits
def add_wide(core: Any, p: Pool, total: int, x: int, number: int, windows: int) -> None:
    """Add an element of each window, in fp32, to the sums: a repeat takes half of eight windows."""
    most = most_windows(core, p, REPEATS)
    for half in range(2):
        for window in range(0, windows, most):
            count = min(most, windows - window)
            src = element(core, p, x, number // p.kw, number % p.kw, window, half)
            to = dense(core, p, total, window, half)
            vadd(
                core, to.at, to.at, src.at, (count + 7) // 8, FP32, min(64, count * 8), to.blk, to.blk,
                src.blk, to.rep, to.rep, src.rep,
            )  # fmt: skip


@emits
def seen(core: Any, at: int, length: int, window: int) -> int:
    """Return how many elements of a window that begins at `at` lie in the image, along one axis."""
    return min(length, at + window) - max(0, at)


@emits
def scale_column(core: Any, values: int, rows: int, pitch: int, factor: float) -> None:
    """Multiply a column of windows (fp32), `pitch` windows apart."""
    most = REPEATS if pitch * 2 <= REPEATS else 1
    for row in range(0, rows, most):
        at, rep = values + row * pitch * WIDE, pitch * 2 if most > 1 else 0
        vmuls(core, at, at, min(most, rows - row), factor, FP32, C0, 1, 1, rep, rep)


class Room(NamedTuple):
    """Room for sums in fp32: of windows, and of the rows of windows of each phase."""

    total: int
    rows: int


class Corner(NamedTuple):
    """The first row and column of the windows of a plane in UB, and how many rows and columns there are."""

    row: int
    col: int
    rows: int
    cols: int


@emits
def leave_padding_out(core: Any, p: Pool, corner: Corner, planes: int, values: int) -> None:
    """Multiply the windows at the border (fp32) so that they count only what lies in the image."""
    for plane in range(planes):
        there = values + plane * p.height * p.pitch * WIDE
        for row in range(corner.rows):
            count = seen(core, (corner.row + row) * p.stride - p.top, p.h, p.kh)
            if 0 < count < p.kh:
                line = there + row * p.pitch * WIDE
                flat_scale(core, line, line, corner.cols * C0, p.kh / count, 0.0, FP32)
        for col in range(corner.cols):
            count = seen(core, (corner.col + col) * p.stride - p.side, p.w, p.kw)
            if 0 < count < p.kw:
                scale_column(core, there + col * WIDE, corner.rows, p.pitch, p.kw / count)


@emits
def add_element(core: Any, p: Pool, total: int, x: int, number: int, windows: int) -> None:
    """Add an element of each window to the sums, in half precision already over the number of elements."""
    if p.dtype == FP16:
        add_half(core, p, total, x, number, windows)
    else:
        add_wide(core, p, total, x, number, windows)


@emits
def sum_elements(core: Any, p: Pool, total: int, x: int, first: int, elements: int, windows: int) -> None:
    """Set the sums (fp32) to those of some elements of each window."""
    flat_dup(core, total, 0.0, windows * C0, FP32)
    for number in range(first, first + elements):
        add_element(core, p, total, x, number, windows)


@emits
def shares_rows(core: Any, p: Pool) -> bool:
    """Tell whether windows that see the same row share the sums of its elements: most rows are seen twice."""
    return bool(p.kh >= 2 * p.stride and p.kw > 1)


@emits
def rows_bytes(core: Any, p: Pool) -> int:
    """Return the bytes of the sums of all rows of a phase."""
    return (p.phase + LANES) * WIDE


@emits
def sum_windows(core: Any, p: Pool, total: int, x: int, rows: int, windows: int) -> None:
    """Set the sums (fp32) to those of all elements of each window."""
    if not shares_rows(core, p):
        sum_elements(core, p, total, x, 0, p.kh * p.kw, windows)
        return
    for phase in range(phases_of(core, p)):
        below = windows + (p.kh - 1 - phase) // p.stride * p.pitch
        sum_elements(core, p, rows + phase * rows_bytes(core, p), x, phase * p.kw, p.kw, below)
    so_far = rows
    for i in range(1, p.kh):
        row = rows + i % p.stride * rows_bytes(core, p) + i // p.stride * p.pitch * WIDE
        flat_binary(core, ADD, total, so_far, row, windows * C0, FP32)
        so_far = total


@emits
def average_tile(core: Any, p: Pool, t: Tile, made: int, x: int, w: Room, include_pad: int) -> None:
    """Set the windows of a tile to the averages of their elements."""
    windows = windows_of(core, p, t)
    sums = w.total if p.dtype == FP16 else made
    sum_windows(core, p, sums, x, w.rows, windows)
    if p.dtype == FP32:
        flat_scale(core, sums, sums, windows * C0, 1.0 / (p.kh * p.kw), 0.0, FP32)
    if p.is_padded and include_pad == 0:
        leave_padding_out(core, p, Corner(t.row, t.col, t.rows, t.cols), t.planes, sums)
    if p.dtype == FP16:
        flat_convert(core, made, FP16, sums, FP32, windows * C0)


def _counts(shape: AverageShape) -> Array:
    """Return what the sum of each window is divided by, [oh, ow]."""
    if shape.include_pad:
        return np.full((shape.oh, shape.ow), shape.kh * shape.kw)
    ones = np.ones((shape.n, shape.c, shape.h, shape.w))
    return np.asarray(windows_in(ones, shape, 0)[0, 0].sum(axis=-1))


def avg_pool_reference(shape: AverageShape, x: Array) -> tuple[Array]:
    """Return the average of each window."""
    return ((windows_in(x.astype(np.float64), shape, 0).sum(axis=-1) / _counts(shape)).astype(x.dtype),)


def avg_pool_grad_reference(shape: AverageShape, dy: Array) -> tuple[Array]:
    """Return dx: each dy shared by the elements of its window."""
    each = dy.astype(np.float64) / _counts(shape)
    return (scattered(shape, np.stack([each] * (shape.kh * shape.kw))).astype(dy.dtype),)


def _image(name: str, shape: PoolShape, is_output: bool = False) -> Operand:
    size = (shape.n, shape.c, shape.h, shape.w)
    return Operand(name, size, shape.dtype, "NC1HWC0", is_output=is_output)


def _pooled(name: str, shape: PoolShape, is_output: bool = False) -> Operand:
    size = (shape.n, shape.c, shape.oh, shape.ow)
    return Operand(name, size, shape.dtype, "NC1HWC0", is_output=is_output)


@kernel(
    AverageShape, AverageTiling, lambda shape: (_image("x", shape), _pooled("y", shape, True)),
    avg_pool_reference,
)  # fmt: skip
def avg_pool(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, c, oh, ow] = average of windows kh x kw; padding counts as zeros, or not with include_pad=0."""
    p, slots = pool_of(core, shape, tiling, 0, 1), tiling.slots
    blocks = window_blocks(core, p, p.height if p.planes > 1 else p.rows)
    slot, result = map_blocks(core, p) * BLOCK, blocks * BLOCK
    ux, uy = alloc(core, UB, slots * slot, slots), alloc(core, UB, slots * result, slots)
    total, phases = alloc(core, UB, result * 2 if p.dtype == FP16 else 0), phases_of(core, p)
    rows = alloc(core, UB, phases * rows_bytes(core, p) if shares_rows(core, p) else 0, phases)
    w = Room(total, rows)
    for buffer in range(slots if p.is_padded else 0):
        blank(core, ux + buffer * slot, 0.0, slot // BLOCK, p.dtype)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for ahead in range(slots - 1):
        fetch_map(core, p, q_in, shape, p.first + ahead, x, ux, slot)
    for number in range(p.first, p.last):
        fetch_map(core, p, q_in, shape, number + slots - 1, x, ux, slot)
        t = tile_at(core, p, shape, number, 0)
        there, made = ux + use(core, q_in) * slot, uy + fill(core, q_out) * result
        if p.is_padded and p.row_tiles > 1:
            blank_map(core, p, t, there, 0.0)
        average_tile(core, p, t, made, there, w, shape.include_pad)
        if p.is_padded and p.col_tiles > 1:
            blank(core, there, 0.0, slot // BLOCK, p.dtype)
        free(core, q_in)
        filled(core, q_out)
        store_windows(core, p, t, y, uy + use(core, q_out) * result)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)


class Sums(NamedTuple):
    """Buffers of `size` bytes in fp32, a number for each position that a window could start at.

    What each window gives; for each phase of columns that several windows of a row see, what these give
    together; the sums of one phase of rows and columns.
    """

    given: int
    rows: int
    total: int
    size: int


@emits
def shared_phases(core: Any, length: int, stride: int) -> int:
    """Return how many phases of an axis several windows see."""
    return min(stride, max(0, length - stride))


@emits
def sums_of(core: Any, p: Pool) -> Any:
    """Allocate the sums."""
    size = p.planes * p.height * p.pitch * WIDE
    down, across = shared_phases(core, p.kh, p.stride), shared_phases(core, p.kw, p.stride)
    given, rows = alloc(core, UB, size), alloc(core, UB, across * size, max(1, across))
    return Sums(given, rows, alloc(core, UB, size * min(1, down)), size)


@emits
def add_shifted(core: Any, dst: int, src: int, shift: int, terms: int, start: int, end: int) -> None:
    """dst[q] = src[q] + src[q - shift] + src[q - 2 * shift] ..., so many terms, for q from start to end."""
    to, there, n = dst + start * WIDE, src + start * WIDE, (end - start) * C0
    flat_binary(core, ADD, to, there, there - shift * WIDE, n, FP32)
    for term in range(2, terms):
        flat_binary(core, ADD, to, to, there - term * shift * WIDE, n, FP32)


@emits
def share_rows(core: Any, p: Pool, s: Sums, positions: int) -> None:
    """Add up what windows of a row give to each column, for the phases of columns that several see."""
    for column in range(shared_phases(core, p.kw, p.stride)):
        to, terms = s.rows + column * s.size, (p.kw - column + p.stride - 1) // p.stride
        blank(core, to, 0.0, p.left * 2, FP32)
        add_shifted(core, to, s.given, 1, terms, p.left, positions)


@emits
def share_tile(core: Any, p: Pool, t: Tile, s: Sums, result: int) -> None:
    """Set the map of a tile to what windows give to each position: sums along rows, then along columns."""
    start, end = p.above * p.pitch, t.planes * p.height * p.pitch
    if p.kw < p.stride:
        blank(core, result, 0.0, map_blocks(core, p), p.dtype)
    share_rows(core, p, s, end)
    for phase in range(phases_of(core, p) * min(p.stride, p.kw)):
        row, column = phase // min(p.stride, p.kw), phase % min(p.stride, p.kw)
        src = s.given
        if column < shared_phases(core, p.kw, p.stride):
            src = s.rows + column * s.size
        if row < shared_phases(core, p.kh, p.stride):
            add_shifted(core, s.total, src, p.pitch, (p.kh - row + p.stride - 1) // p.stride, start, end)
            src = s.total
        place = row * p.phase * p.stride + start * p.stride + column
        put_apart(core, p, result + place * p.unit * BLOCK, src + start * WIDE, end - start)


@emits
def put_apart(core: Any, p: Pool, dst: int, src: int, positions: int) -> None:
    """Put neighbouring positions (fp32) to every `p.stride`th position of a map."""
    if p.dtype == FP16:
        narrow_apart(core, dst, src, positions, p.stride)
    else:
        move_planes(core, dst, src, positions, 2, 2 * p.stride, 2)


@emits
def narrow_apart(core: Any, dst: int, src: int, positions: int, stride: int) -> None:
    """Convert positions from fp32, where they are neighbours, to fp16, `stride` blocks apart."""
    most = REPEATS if 4 * stride <= REPEATS else 1
    done = 0
    while done < positions:
        repeat = max(1, min(most, (positions - done) // 4))
        lanes, apart = min(64, (positions - done) * C0), 4 * stride if most > 1 else 0
        to, start = dst + done * stride * BLOCK, src + done * WIDE
        vconv(core, to, start, FP16, repeat, FP32, lanes, stride, 1, apart, 8)
        done += repeat * 4


@emits
def widen_windows(core: Any, p: Pool, t: Tile, given: int, dy: int, include_pad: int) -> None:
    """Set the windows of a tile in fp32 to what each gives to an element; those that are not there to 0."""
    reach, factor = reach_of(core, p, t), 1.0 / (p.kh * p.kw)
    windows = ((t.planes - 1) * p.height + reach.rows) * p.pitch
    wide = given + reach.top * p.pitch * WIDE
    if p.dtype == FP16:
        flat_convert(core, wide, FP32, dy, FP16, windows * C0)
        flat_scale(core, wide, wide, windows * C0, factor, 0.0, FP32)
    else:
        flat_scale(core, wide, dy, windows * C0, factor, 0.0, FP32)
    if p.planes == 1:
        span = Span(reach.top, min(p.height, reach.top + reach.rows), reach.top)
        blank_rows(core, given, span, p.height, p.pitch * 2, 0.0, FP32)
    if p.is_padded and include_pad == 0:
        corner = Corner(reach.first, t.col - p.left, reach.rows, t.cols + p.left)
        leave_padding_out(core, p, corner, t.planes, wide)


@emits
def fetch_windows(
    core: Any, p: Pool, q: int, shape: Any, number: int, dy: int, there: int, size: int
) -> None:
    """Bring dy of the windows that reach into a tile to UB, if there is such a tile."""
    if number < p.last:
        buffer = there + fill(core, q) * size
        load_windows(core, p, tile_at(core, p, shape, number, 1), dy, buffer)
        filled(core, q)


@kernel(
    AverageShape, AverageGradTiling, lambda shape: (_pooled("dy", shape), _image("dx", shape, True)),
    avg_pool_grad_reference,
)  # fmt: skip
def avg_pool_grad(core: Any, dy: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = sum of dy / count over the windows that see it."""
    p, slots = pool_of(core, shape, tiling, 1, 1), tiling.slots
    rows = p.height if p.planes > 1 else min(p.height, p.oh)
    size, slot = window_blocks(core, p, rows) * BLOCK, map_blocks(core, p) * BLOCK
    given, made = alloc(core, UB, slots * size, slots), alloc(core, UB, slots * slot, slots)
    s = sums_of(core, p)
    zeros = alloc(core, UB, p.cols * p.stride * p.unit * BLOCK if p.kh < p.stride else 0)
    blank(core, zeros, 0.0, p.cols * p.stride * p.unit if p.kh < p.stride else 0, p.dtype)
    for buffer in range(slots):
        blank(core, given + buffer * size, 0.0, size // BLOCK, p.dtype)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for ahead in range(slots - 1):
        fetch_windows(core, p, q_in, shape, p.first + ahead, dy, given, size)
    for number in range(p.first, p.last):
        fetch_windows(core, p, q_in, shape, number + slots - 1, dy, given, size)
        t = tile_at(core, p, shape, number, 1)
        there = given + use(core, q_in) * size
        widen_windows(core, p, t, s.given, there, shape.include_pad)
        if p.col_tiles > 1:
            blank(core, there, 0.0, size // BLOCK, p.dtype)
        free(core, q_in)
        result = made + fill(core, q_out) * slot
        share_tile(core, p, t, s, result)
        filled(core, q_out)
        move_map(core, p, t, dx, made + use(core, q_out) * slot, 1)
        store_zeros(core, p, t, dx, zeros)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
