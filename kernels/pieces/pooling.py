"""Windows of pooling as one stream: all windows of a tile, in several rows and planes, are evenly apart.

A map in UB is sorted by the phases of its rows: phase p holds rows p, p + stride, ... of each plane. A row
has `pitch` * stride positions, so that from window to window, also from the last of a row to the first of the
next, it is `stride` positions to go. For that the tile takes rows and columns of windows that do not exist:
`above` and `left` of them, as many as a window reaches beyond its own stride. What comes out there is not
stored. A position is a block of 16 channels, two blocks in fp32.

A tile of a gradient owns positions, in groups of a stride, and sees the windows that reach into it.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, data_move, vector_dup, vmul
from kernels.lang.buffers import UB, alloc, block_dim, block_idx
from kernels.lang.emits import emits
from kernels.lang.flat import flat_dup
from kernels.lang.queues import fill, filled
from kernels.pieces.window import move_planes

BLOCK, LANES, MAX_BLOCKS, C0 = 32, 8, 255, 16
LONG_ROW = 48
"""Windows of a row beside which a few that are not there do not count."""


class Pool(NamedTuple):
    """Extents, windows, and the tiles of this core: `planes` x `rows` x `cols` of a grid."""

    h: int
    w: int
    oh: int
    ow: int
    kh: int
    kw: int
    stride: int
    top: int  # rows of padding
    side: int  # columns of padding on the left
    is_padded: int
    dtype: int
    unit: int  # blocks of a position
    planes: int
    rows: int
    cols: int
    above: int
    left: int
    height: int  # rows of windows of a plane in UB
    pitch: int  # windows of a row in UB
    phase: int  # windows from phase to phase: instructions work on up to seven too many
    row_tiles: int
    col_tiles: int
    first: int
    last: int


class Tile(NamedTuple):
    """`planes` planes from `plane` on, `rows` rows from `row` on, `cols` columns from `col` on."""

    plane: int
    planes: int
    row: int
    rows: int
    col: int
    cols: int


class Strided(NamedTuple):
    """An operand of vector instructions: its handle, block stride and repeat stride."""

    at: int
    blk: int
    rep: int


class Reach(NamedTuple):
    """Windows that reach into a tile: `rows` rows from number `first` on, at row `top` of the tile's map."""

    first: int
    rows: int
    top: int


class Span(NamedTuple):
    """Rows or columns in UB that lie in the tensor: from `low` to `high`, the first being number `start`."""

    low: int
    high: int
    start: int


@emits
def row_pitch(core: Any, columns: int, adds_rows: bool) -> int:
    """Return the windows from row to row: where long rows are added, so many that neighbours meet in no bank.

    A window and the one below it then lie an odd number of half lines apart: one instruction reads both.
    """
    return (columns + 3) // 8 * 8 + 4 if adds_rows and columns >= LONG_ROW else columns


@emits
def pool_of(core: Any, shape: Any, tiling: Any, is_grad: int, adds_rows: int) -> Any:
    """Return the tiles of this core: of windows or, of a gradient, of the groups of positions they start.

    With `adds_rows` rows of sums are added to each other where windows overlap.
    """
    s, top, side = shape.stride, shape.pad + shape.more_top, shape.pad + shape.more_left
    bottom, right = shape.pad + shape.more_bottom, shape.pad + shape.more_right
    oh, ow = (shape.h + top + bottom - shape.kh) // s + 1, (shape.w + side + right - shape.kw) // s + 1
    grid_h, grid_w = oh, ow
    if is_grad:
        grid_h, grid_w = (shape.h + top + s - 1) // s, (shape.w + side + s - 1) // s
    rows, cols = min(tiling.rows, grid_h), min(tiling.cols, grid_w)
    planes = tiling.planes if rows == grid_h and cols == grid_w else s // s
    row_tiles, col_tiles = (grid_h + rows - 1) // rows, (grid_w + cols - 1) // cols
    total = shape.n * ((shape.c + C0 - 1) // C0)
    tiles = (total + planes - 1) // planes * row_tiles * col_tiles
    above, left = (shape.kh - 1) // s, (shape.kw - 1) // s
    pitch = row_pitch(core, cols + left, adds_rows != 0 and shape.kh > s)
    return Pool(
        shape.h, shape.w, oh, ow, shape.kh, shape.kw, s, top, side,
        min(1, top + side + bottom + right), shape.dtype,
        2 if shape.dtype == FP32 else 1, planes, rows, cols, above, left, rows + above, pitch,
        planes * (rows + above) * pitch + LANES * is_near(core, s, 2 if shape.dtype == FP32 else 1),
        row_tiles, col_tiles, tiles * block_idx(core) // block_dim(core),
        tiles * (block_idx(core) + 1) // block_dim(core),
    )  # fmt: skip


@emits
def tile_at(core: Any, p: Pool, shape: Any, number: int, is_grad: int) -> Any:
    """Return the tile with a number."""
    plane, rest = number // (p.row_tiles * p.col_tiles) * p.planes, number % (p.row_tiles * p.col_tiles)
    row, col = rest // p.col_tiles * p.rows, rest % p.col_tiles * p.cols
    total = shape.n * ((shape.c + C0 - 1) // C0)
    grid_h, grid_w = p.oh, p.ow
    if is_grad:
        grid_h, grid_w = (p.h + p.top + p.stride - 1) // p.stride, (p.w + p.side + p.stride - 1) // p.stride
    return Tile(
        plane, min(p.planes, total - plane), row, min(p.rows, grid_h - row), col, min(p.cols, grid_w - col)
    )


@emits
def phases_of(core: Any, p: Pool) -> int:
    """Return how many of the rows of a stride windows see."""
    return min(p.stride, p.kh)


@emits
def windows_of(core: Any, p: Pool, t: Tile) -> int:
    """Return how many windows the stream of a tile has, those that are not there included."""
    return ((t.planes - 1) * p.height + t.rows - 1) * p.pitch + t.cols


@emits
def reach_of(core: Any, p: Pool, t: Tile) -> Any:
    """Return the windows that reach into a tile; of several planes, with the rows above that do not exist."""
    if p.planes > 1:
        return Reach(-p.above, p.height, p.above * 0)
    first = max(0, t.row - p.above)
    return Reach(first, max(0, min(p.oh, t.row + t.rows) - first), first - t.row + p.above)


@emits
def window_blocks(core: Any, p: Pool, rows: int) -> int:
    """Return the blocks of a buffer of some rows of windows: whole repeats are worked on."""
    return (p.planes * rows * p.pitch + LANES) * p.unit


@emits
def map_blocks(core: Any, p: Pool) -> int:
    """Return the blocks of a map: whole repeats of windows reach beyond its end."""
    return (phases_of(core, p) * p.phase * p.stride + p.kw) * p.unit


@emits
def is_near(core: Any, stride: int, unit: int) -> int:
    """Tell whether eight windows are near enough for the strides of one instruction."""
    return 1 if LANES * stride * unit <= MAX_BLOCKS else 0


@emits
def most_windows(core: Any, p: Pool, repeats: int) -> int:
    """Return how many windows an instruction takes: `repeats` times eight, or one where they are far."""
    return repeats * LANES if is_near(core, p.stride, p.unit) else 1


@emits
def element(core: Any, p: Pool, there: int, i: int, j: int, window: int, half: int) -> Any:
    """Return element (i, j) of the windows from number `window` on, in a map; `half` of each position."""
    place = (i % p.stride * p.phase + i // p.stride * p.pitch + window) * p.stride + j
    blk = p.stride * p.unit * is_near(core, p.stride, p.unit)
    return Strided(there + (place * p.unit + half) * BLOCK, blk, LANES * blk)


@emits
def dense(core: Any, p: Pool, there: int, window: int, half: int) -> Any:
    """Return the windows from number `window` on in a buffer of one position per window."""
    return Strided(there + (window * p.unit + half) * BLOCK, p.unit, LANES * p.unit)


@emits
def lanes_of(core: Any, p: Pool, windows: int) -> int:
    """Return the lanes that an instruction works on in a repeat: those of eight windows, or of one."""
    return min(windows, LANES) * C0 // p.unit


@emits
def inside(core: Any, first: int, step: int, count: int, length: int) -> Any:
    """Return which of `count` numbers first, first + step, ... lie between 0 and length."""
    low = min(count, max(0, (step - 1 - first) // step))
    return Span(low, max(low, min(count, (length - first + step - 1) // step)), first + low * step)


@emits
def move_map(core: Any, p: Pool, t: Tile, tensor: int, there: int, is_grad: int) -> None:
    """Bring the part of a feature map under a tile of windows to UB; or store what a tile owns of dx."""
    s, halo = p.stride, p.above if is_grad else p.above * 0
    left = p.left * s if is_grad else 0
    columns = t.cols * s if is_grad else (t.cols - 1) * s + p.kw
    across = inside(core, t.col * s - p.side, p.stride // p.stride, columns, p.w)
    burst, row = (across.high - across.low) * p.unit, p.pitch * s * p.unit
    for phase in range(phases_of(core, p)):
        rows = t.rows if is_grad else t.rows + (p.kh - 1 - phase) // s
        down = inside(core, t.row * s + phase - p.top, s, rows, p.h)
        for plane in range(t.planes):
            lies = phase * p.phase + (plane * p.height + halo + down.low) * p.pitch
            ub = there + (lies * s + left + across.low) * p.unit * BLOCK
            gm = tensor + (((t.plane + plane) * p.h + down.start) * p.w + across.start) * p.unit * BLOCK
            if down.high > down.low and burst > 0:
                if is_grad:
                    move_planes(core, gm, ub, down.high - down.low, burst, s * p.w * p.unit, row)
                else:
                    move_planes(core, ub, gm, down.high - down.low, burst, row, s * p.w * p.unit)


@emits
def fetch_map(core: Any, p: Pool, q: int, shape: Any, number: int, x: int, there: int, slot: int) -> None:
    """Bring the map under a tile of windows to UB, if there is such a tile."""
    if number < p.last:
        buffer = there + fill(core, q) * slot
        move_map(core, p, tile_at(core, p, shape, number, 0), x, buffer, 0)
        filled(core, q)


@emits
def store_windows(core: Any, p: Pool, t: Tile, tensor: int, there: int) -> None:
    """Store one position per window of a tile."""
    for plane in range(t.planes):
        ub = there + plane * p.height * p.pitch * p.unit * BLOCK
        gm = tensor + (((t.plane + plane) * p.oh + t.row) * p.ow + t.col) * p.unit * BLOCK
        move_planes(core, gm, ub, t.rows, t.cols * p.unit, p.ow * p.unit, p.pitch * p.unit)


@emits
def load_windows(core: Any, p: Pool, t: Tile, tensor: int, there: int) -> None:
    """Bring one position per window that reaches into a tile to UB."""
    reach, one = reach_of(core, p, t), p.unit // p.unit
    down = inside(core, reach.first, one, reach.rows, p.oh)
    across = inside(core, t.col - p.left, one, t.cols + p.left, p.ow)
    burst, row = (across.high - across.low) * p.unit, p.pitch * p.unit
    for plane in range(t.planes):
        ub = there + ((plane * p.height + down.low) * row + across.low * p.unit) * BLOCK
        gm = tensor + (((t.plane + plane) * p.oh + down.start) * p.ow + across.start) * p.unit * BLOCK
        if down.high > down.low and burst > 0:
            move_planes(core, ub, gm, down.high - down.low, burst, row, p.ow * p.unit)


@emits
def store_zeros(core: Any, p: Pool, t: Tile, dx: int, zeros: int) -> None:
    """Store a row of zeros wherever a tile owns a row that no window sees."""
    across = inside(core, t.col * p.stride - p.side, p.unit // p.unit, t.cols * p.stride, p.w)
    for phase in range(phases_of(core, p), p.stride):
        down = inside(core, t.row * p.stride + phase - p.top, p.stride, t.rows, p.h)
        for plane in range(t.planes):
            for row in range(down.high - down.low):
                y = (t.plane + plane) * p.h + down.start + row * p.stride
                gm = dx + (y * p.w + across.start) * p.unit * BLOCK
                if across.high > across.low:
                    data_move(core, gm, zeros, 1, (across.high - across.low) * p.unit)


@emits
def blank(core: Any, there: int, value: float, blocks: int, dtype: int) -> None:
    """Fill blocks with a number."""
    flat_dup(core, there, value, blocks * (C0 if dtype == FP16 else LANES), dtype)


@emits
def blank_rows(core: Any, there: int, span: Span, rows: int, row: int, value: float, dtype: int) -> None:
    """Fill the rows of a buffer that do not lie in the tensor; rows are `row` blocks long."""
    if span.low > 0:
        blank(core, there, value, span.low * row, dtype)
    if span.high < rows:
        blank(core, there + span.high * row * BLOCK, value, (rows - span.high) * row, dtype)


@emits
def blank_map(core: Any, p: Pool, t: Tile, there: int, value: float) -> None:
    """Fill the padding above and below the map under a tile; that beside it stays from tile to tile."""
    row = p.pitch * p.stride * p.unit
    for phase in range(phases_of(core, p)):
        down = inside(core, t.row * p.stride + phase - p.top, p.stride, p.height, p.h)
        first = there + phase * p.phase * p.stride * p.unit * BLOCK
        blank_rows(core, first, down, p.height, row, value, p.dtype)


@emits
def blank_unseen(core: Any, p: Pool, reach: Reach, dx: int, dtype: int) -> None:
    """Fill the rows of a map of dx that are the first row of no window."""
    step = p.stride * (2 if dtype == FP32 else 1)
    span = Span(reach.top, min(p.height, reach.top + reach.rows), reach.top)
    for phase in range(phases_of(core, p)):
        first = dx + phase * p.phase * step * BLOCK
        blank_rows(core, first, span, p.height, p.pitch * step, 0.0, dtype)


@emits
def numbers_of(core: Any, p: Pool, count: int) -> int:
    """Return blocks that are full of 0, 1, ... count - 1."""
    there = alloc(core, UB, count * BLOCK)
    for number in range(count):
        vector_dup(core, there + number * BLOCK, 1, number, p.dtype, C0 // p.unit)
    return there


@emits
def channel_mask(core: Any, p: Pool, c: int) -> int:
    """Return a position that is 1 in the channels of the last group that are there, and 0 in the others."""
    there = alloc(core, UB, p.unit * BLOCK)
    vector_dup(core, there, 1, 0.0, p.dtype, C0)
    vector_dup(core, there, 1, 1.0, p.dtype, (c - 1) % C0 + 1)
    return there


@emits
def mask_channels(core: Any, p: Pool, there: int, windows: int, mask: int) -> None:
    """Set the channels that are not there to 0, in a buffer of one finite number per window."""
    lanes = LANES * C0 // p.unit
    for half in range(p.unit):
        done = 0
        while done < windows:
            repeat = max(1, min(MAX_BLOCKS, (windows - done) // LANES))
            at, some = there + (done * p.unit + half) * BLOCK, min(lanes, (windows - done) * C0 // p.unit)
            vmul(core, at, at, mask + half * BLOCK, repeat, p.dtype, some, p.unit, p.unit, 0, LANES * p.unit,
                 LANES * p.unit, 0)  # fmt: skip
            done += repeat * LANES
