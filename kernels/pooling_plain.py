"""Max pooling without the index of the maximum, for networks that are not trained.

Tiles and streams are those of `kernels.pooling`; nothing is compared, and half as much is written.
"""

from typing import Any

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
    queue,
    use,
)
from kernels.pieces.fold import start_of
from kernels.pieces.pooling import (
    BLOCK,
    LANES,
    Pool,
    blank,
    blank_map,
    dense,
    element,
    fetch_map,
    map_blocks,
    most_windows,
    phases_of,
    pool_of,
    store_windows,
    tile_at,
    window_blocks,
    windows_of,
)
from kernels.pooling import (
    REPEATS,
    Part,
    Rows,
    larger,
    max_pool,
    max_pool_reference,
    piece_at,
    shares_rows,
    whole_repeats,
)
from kernels.tiling.pooling import MaxPoolTiling, PoolShape

Array = npt.NDArray[Any]


@emits
def largest_part(core: Any, p: Pool, x: int, y: int, windows: int, part: Part) -> None:
    """Put the largest of some elements of each window of a stream to y."""
    whole, most = whole_repeats(core, p, windows), most_windows(core, p, REPEATS)
    for unit in range(p.unit * ((whole + most - 1) // most)):
        piece = piece_at(core, p, unit // p.unit * most, most, whole, unit % p.unit)
        to = dense(core, p, y, piece.window, piece.half)
        top = element(core, p, x, part.first // p.kw, part.first % p.kw, piece.window, piece.half)
        if part.elements == 1:
            larger(core, p, piece, to, top, top)
        for number in range(part.first + 1, part.first + part.elements):
            now = element(core, p, x, number // p.kw, number % p.kw, piece.window, piece.half)
            larger(core, p, piece, to, top, now)
            top = to


@emits
def largest_rows(core: Any, p: Pool, r: Rows, y: int, windows: int) -> None:
    """Put the largest of the rows of each window, of which each phase has its buffer, to y."""
    whole, most = whole_repeats(core, p, windows), most_windows(core, p, REPEATS)
    for unit in range(p.unit * ((whole + most - 1) // most)):
        piece = piece_at(core, p, unit // p.unit * most, most, whole, unit % p.unit)
        to = dense(core, p, y, piece.window, piece.half)
        top = dense(core, p, r.at, piece.window, piece.half)
        for i in range(1, p.kh):
            window = piece.window + i // p.stride * p.pitch
            now = dense(core, p, r.at + i % p.stride * r.size, window, piece.half)
            larger(core, p, piece, to, top, now)
            top = to


@emits
def largest_tile(core: Any, p: Pool, x: int, y: int, windows: int, r: Rows) -> None:
    """Pool all windows of a tile, those that are not there included."""
    if not shares_rows(core, p):
        largest_part(core, p, x, y, windows, Part(0, p.kh * p.kw, 0))
        return
    for phase in range(phases_of(core, p)):
        below = windows + (p.kh - 1 - phase) // p.stride * p.pitch
        largest_part(core, p, x, r.at + phase * r.size, below, Part(phase * p.kw, p.kw, 0))
    largest_rows(core, p, r, y, windows)


@emits
def plain_rows(core: Any, p: Pool) -> Any:
    """Allocate the largest elements of the rows of windows."""
    phases = phases_of(core, p) if shares_rows(core, p) else 0
    size = (p.phase + LANES) * p.unit * BLOCK
    return Rows(alloc(core, UB, phases * size, max(1, phases)), size)


def _operands(shape: PoolShape) -> tuple[Operand, ...]:
    return max_pool.operands(shape)[:2]


def _reference(shape: PoolShape, x: Array) -> tuple[Array]:
    return max_pool_reference(shape, x)[:1]


@kernel(PoolShape, MaxPoolTiling, _operands, _reference)
def max_pool_plain(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, c, oh, ow] = largest of x's windows kh x kw."""
    p, slots, lowest = pool_of(core, shape, tiling, 0, 0), tiling.slots, start_of(core, MAX)
    slot, result = map_blocks(core, p), window_blocks(core, p, p.height if p.planes > 1 else p.rows) * BLOCK
    ux, uy = alloc(core, UB, slots * slot * BLOCK, slots), alloc(core, UB, slots * result, slots)
    r = plain_rows(core, p)
    for buffer in range(slots if p.is_padded else 0):
        blank(core, ux + buffer * slot * BLOCK, lowest, slot, p.dtype)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for ahead in range(slots - 1):
        fetch_map(core, p, q_in, shape, p.first + ahead, x, ux, slot * BLOCK)
    for number in range(p.first, p.last):
        fetch_map(core, p, q_in, shape, number + slots - 1, x, ux, slot * BLOCK)
        t = tile_at(core, p, shape, number, 0)
        there, made = ux + use(core, q_in) * slot * BLOCK, uy + fill(core, q_out) * result
        if p.is_padded and p.row_tiles > 1:
            blank_map(core, p, t, there, lowest)
        largest_tile(core, p, there, made, windows_of(core, p, t), r)
        if p.is_padded and p.col_tiles > 1:
            blank(core, there, lowest, slot, p.dtype)
        free(core, q_in)
        filled(core, q_out)
        store_windows(core, p, t, y, uy + use(core, q_out) * result)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
