"""The pipeline of a convolution's gradient to its filter: dw = dy^T @ im2col(x), summed over positions.

Positions are the inner axis. A tile of dy lies in L1 as (o1, position, 16), each group from a whole fractal
on: load2d transposes its fractals into L0A. load3d unfolds x into L0B and transposes there. An accumulator
in L0C holds (k, o1, 16, 16), which is the order of FRACTAL_Z, over all the images of a split. Where a tile
has several images, rows of zeros lie between them, in x and in dy.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP32, data_move, l0c_to_ub, load2d, mmad, set_2d, vector_dup, vmul
from kernels.lang.buffers import L0A, L0B, L0C, L1, UB, alloc, block_idx
from kernels.lang.emits import emits
from kernels.lang.flat import flat_dup
from kernels.lang.queues import MTE1, MTE2, MTE3, M, V, close, fill, filled, free, is_fresh, queue, use
from kernels.pieces.convolution_plan import Share, dense_parts, image_rows
from kernels.pieces.window import (
    Patch,
    Rows,
    Window,
    fetch_rows,
    forward_window,
    inner_fractals,
    move_planes,
    rows_seen,
    unfold,
)

FRACTAL, BLOCK, ACCUMULATOR = 512, 32, 1024
SLOTS, UB_FRACTALS = 2, 64
LANES, MAX_FILL = 64, 32767


class FilterPlan(NamedTuple):
    """The convolution, its tiles, and this core's share of splits, output groups and inner fractals."""

    window: Window
    share: Share
    groups: int
    outputs: int
    map_there: int
    outputs_there: int
    part: int  # which of the dense convolutions
    taken: int  # groups of channels in it: 1 where nothing lies beside its diagonal
    inputs_each: int
    outputs_each: int
    n: int
    splits: int
    images: int
    apart: int  # result rows from image to image of a tile
    rows: int
    row_tiles: int
    m0: int
    n0: int
    k0: int
    slots: int  # accumulators in L0C
    column: int  # which of the cores that share a split
    first_split: int
    last_split: int
    m_start: int
    m_end: int
    n_start: int
    n_end: int


class FilterBuffers(NamedTuple):
    """Tensors in GM, buffers with the bytes of their slots, and queues."""

    x: int
    dy: int
    dw: int
    tile: int
    tile_slot: int
    dy_offset: int
    dy_pitch: int  # positions from group to group
    a: int
    a_slot: int
    b: int
    b_slot: int
    c: int
    c_slot: int
    u: int
    mask: int
    qx: int
    qa: int
    qc: int
    qu: int


class Turn(NamedTuple):
    """What is done now: a tile, of so many of a split, for the accumulator from (m, n) on."""

    split: int
    tile: int
    tiles: int
    m: int
    n: int


@emits
def elements_of(core: Any, window: Window) -> int:
    """Return how many inner fractals the filter has in a channel group: one an element, or four in one."""
    return inner_fractals(core, window.kh, window.kw, window.per_block)


@emits
def filter_plan(core: Any, shape: Any, tiling: Any, part: int) -> Any:
    """Return the plan of this core for one of the dense convolutions."""
    window, share = forward_window(core, shape), dense_parts(core, shape)
    there, outputs_there = (shape.c + 15) // 16, (shape.o + 15) // 16
    groups = min(share.inputs, there - part * share.inputs)
    outputs = min(share.outputs, outputs_there - part * share.outputs)
    depth, rows = groups * elements_of(core, window), min(tiling.rows, window.oh)
    column = block_idx(core) % tiling.channel_cores
    along = block_idx(core) // tiling.channel_cores % tiling.filter_cores
    split = block_idx(core) // (tiling.channel_cores * tiling.filter_cores) % tiling.split_cores
    row_tiles = (window.oh + rows - 1) // rows
    return FilterPlan(
        window, share, groups, outputs, there, outputs_there, part, share.taken,
        shape.c // shape.groups, shape.o // shape.groups, shape.n, shape.splits,
        tiling.images if row_tiles == 1 and window.row_step == 1 and window.per_block == 1 else 1,
        image_rows(core, window), rows, row_tiles, tiling.m0, tiling.n0, tiling.k0,
        tiling.slots, column + along,
        shape.splits * split // tiling.split_cores, shape.splits * (split + 1) // tiling.split_cores,
        outputs * column // tiling.channel_cores, outputs * (column + 1) // tiling.channel_cores,
        depth * along // tiling.filter_cores, depth * (along + 1) // tiling.filter_cores,
    )  # fmt: skip


@emits
def open_filter_pipeline(core: Any, p: FilterPlan, x: int, dy: int, dw: int) -> Any:
    """Hand out the buffers and open the queues."""
    window, elements = p.window, elements_of(core, p.window)
    seen = min(window.h, (p.rows - 1) * window.stride_h + (window.kh - 1) * window.dilation + 1)
    length = p.rows
    if p.images > 1:
        seen, length = (
            (p.images - 1) * p.apart * window.stride_h + window.h,
            (p.images - 1) * p.apart + p.rows,
        )
    inner = min(p.groups, (p.n0 + elements - 2) // elements + 1)
    dy_offset = inner * seen * (window.w // window.per_block) * BLOCK
    dy_pitch = (length * window.ow + 15) // 16 * 16
    tile_slot = (dy_offset + p.m0 * dy_pitch * BLOCK + 2 * FRACTAL - 1) // FRACTAL * FRACTAL
    tile = alloc(core, L1, SLOTS * tile_slot, SLOTS)
    a_slot, b_slot, c_slot = p.m0 * p.k0 * FRACTAL, p.k0 * p.n0 * FRACTAL, p.m0 * p.n0 * ACCUMULATOR
    a, b, c = (
        alloc(core, L0A, SLOTS * a_slot, SLOTS),
        alloc(core, L0B, SLOTS * b_slot, SLOTS),
        alloc(core, L0C, p.slots * c_slot, p.slots),
    )
    u = alloc(core, UB, SLOTS * max(UB_FRACTALS, p.m0) * ACCUMULATOR, SLOTS)
    mask = alloc(core, UB, ACCUMULATOR) if p.taken > 1 else u
    qx, qa = queue(core, MTE2, MTE1, SLOTS), queue(core, MTE1, M, SLOTS)
    qc, qu = queue(core, M, V, p.slots), queue(core, V, MTE3, SLOTS)
    return FilterBuffers(
        x, dy, dw, tile, tile_slot, dy_offset, dy_pitch, a, a_slot, b, b_slot, c, c_slot, u, mask,
        qx, qa, qc, qu,
    )  # fmt: skip


@emits
def close_filter_pipeline(core: Any, b: FilterBuffers) -> None:
    """Wait until everything is stored."""
    close(core, b.qu)
    close(core, b.qc)
    close(core, b.qa)
    close(core, b.qx)


@emits
def tiles_of(core: Any, p: FilterPlan, split: int) -> int:
    """Return how many tiles a split has."""
    count = p.n * (split + 1) // p.splits - p.n * split // p.splits
    return int((count + p.images - 1) // p.images * p.row_tiles)


@emits
def turn_at(core: Any, p: FilterPlan, split: int, step: int) -> Any:
    """Return step `step` of a split: tiles of the images within accumulators, inner fractals first."""
    tiles = tiles_of(core, p, split)
    columns = (p.n_end - p.n_start + p.n0 - 1) // p.n0
    block = step // tiles
    return Turn(
        split, step % tiles, tiles, p.m_start + block // columns * p.m0, p.n_start + block % columns * p.n0
    )


@emits
def turns_of(core: Any, p: FilterPlan, split: int) -> int:
    """Return how many steps a split has."""
    blocks = (p.m_end - p.m_start + p.m0 - 1) // p.m0 * ((p.n_end - p.n_start + p.n0 - 1) // p.n0)
    return int(tiles_of(core, p, split) * blocks)


@emits
def first_image(core: Any, p: FilterPlan, s: Turn) -> int:
    """Return the first image of a step's tile."""
    return int(p.n * s.split // p.splits + s.tile // p.row_tiles * p.images)


@emits
def images_of(core: Any, p: FilterPlan, s: Turn) -> int:
    """Return how many images a step's tile has."""
    return int(min(p.images, p.n * (s.split + 1) // p.splits - first_image(core, p, s)))


@emits
def rows_of(core: Any, p: FilterPlan, s: Turn) -> Any:
    """Return the rows of dy in a tile and what they see of x."""
    first = s.tile % p.row_tiles * p.rows
    one = rows_seen(core, p.window, first, min(p.rows, p.window.oh - first))
    if p.images == 1:
        return one
    tall = (p.images - 1) * p.apart * p.window.stride_h + p.window.h
    return Rows(
        first, one.length + (images_of(core, p, s) - 1) * p.apart, 0, tall, one.pad_top, one.pad_bottom, 0
    )


@emits
def fetch_turn(core: Any, p: FilterPlan, b: FilterBuffers, s: Turn) -> None:
    """Bring the rows of x that the inner fractals of a step touch, and its rows of dy, to L1."""
    rows, image, w = rows_of(core, p, s), first_image(core, p, s), p.window
    elements = elements_of(core, w)
    group, outputs = s.n // elements, min(p.m0, p.m_end - s.m)
    inner = (min(s.n + p.n0, p.n_end) - 1) // elements - group + 1
    there = b.tile + fill(core, b.qx) * b.tile_slot
    tall = p.apart > w.oh or p.apart * w.stride_h > w.h
    if p.images > 1 and tall and is_fresh(core, b.qx):  # between images nothing else is written
        for done in range(0, b.tile_slot // FRACTAL, MAX_FILL):
            set_2d(core, there + done * FRACTAL, min(MAX_FILL, b.tile_slot // FRACTAL - done))
    plane, positions = w.oh * w.ow, min(p.rows, w.oh - rows.first) * w.ow
    for i in range(images_of(core, p, s)):
        source = (image + i) * p.map_there + p.part * p.share.inputs + group
        dst = there + i * p.apart * w.stride_h * w.w * BLOCK
        if p.images == 1:
            fetch_rows(core, dst, b.x, source, inner, w, rows)
        else:
            x = b.x + source * w.h * w.w * BLOCK
            move_planes(core, dst, x, inner, w.h * w.w, rows.h * w.w, w.h * w.w)
        source = ((image + i) * p.outputs_there + p.part * p.share.outputs + s.m) * plane + rows.first * w.ow
        dst = there + b.dy_offset + i * p.apart * w.ow * BLOCK
        move_planes(core, dst, b.dy + source * BLOCK, outputs, positions, b.dy_pitch, plane)
    filled(core, b.qx)


@emits
def load_transposed(core: Any, b: FilterBuffers, a: int, dy: int, k: int, outputs: int, depth: int) -> None:
    """Bring dy^T to L0A, `depth` fractals of positions of each group, with few instructions."""
    if outputs <= depth:
        for i in range(outputs):
            place = dy + (i * b.dy_pitch + k * 16) * BLOCK
            load2d(core, a + i * depth * FRACTAL, place, depth, transpose=1)
        return
    for i in range(depth):
        place = dy + (k + i) * 16 * BLOCK
        load2d(core, a + i * FRACTAL, place, outputs, b.dy_pitch // 16, transpose=1, dst_gap=depth - 1)


@emits
def multiply_turn(core: Any, p: FilterPlan, b: FilterBuffers, s: Turn, slot: int, is_first: int) -> None:
    """Add dy^T @ im2col(x) over the positions of one tile to the accumulator in a slot of L0C."""
    rows, elements = rows_of(core, p, s), elements_of(core, p.window)
    outputs, inner = min(p.m0, p.m_end - s.m), min(p.n0, p.n_end - s.n)
    positions = rows.length * p.window.ow
    fractals = (positions + 15) // 16
    pieces = (fractals + p.k0 - 1) // p.k0
    there = b.tile + use(core, b.qx) * b.tile_slot
    for i in range(pieces):
        k = fractals * i // pieces
        depth = fractals * (i + 1) // pieces - k
        turn = fill(core, b.qa)
        load_transposed(core, b, b.a + turn * b.a_slot, there + b.dy_offset, k, outputs, depth)
        patch = Patch(k, depth, s.n % elements, inner)
        unfold(core, b.b + turn * b.b_slot, there, p.window, rows, patch)
        filled(core, b.qa)
        use(core, b.qa)
        exact = min(depth * 16, positions - k * 16)
        mmad(
            core, b.c + slot * b.c_slot, b.a + turn * b.a_slot, b.b + turn * b.b_slot,
            outputs * 16, exact, inner * 16, 0 if is_first and k == 0 else 1,
        )  # fmt: skip
        free(core, b.qa)
    free(core, b.qx)


@emits
def store_sums(core: Any, p: FilterPlan, b: FilterBuffers, s: Turn) -> None:
    """Bring an accumulator from L0C through UB to its place among the sums of its split."""
    outputs, inner = min(p.m0, p.m_end - s.m), min(p.n0, p.n_end - s.n)
    at_once, elements = max(1, UB_FRACTALS // outputs), elements_of(core, p.window)
    c, there = b.c + use(core, b.qc) * b.c_slot, p.share.outputs
    depth = p.share.inputs * elements
    for i in range(0, inner, at_once):
        count = min(at_once, inner - i)
        u = b.u + fill(core, b.qu) * max(UB_FRACTALS, p.m0) * ACCUMULATOR
        l0c_to_ub(core, u, c + i * outputs * ACCUMULATOR, 1, count * outputs)
        if p.taken > 1:
            for j in range(count):
                for o in range(outputs):
                    keep_diagonal(
                        core, p, b, u + (j * outputs + o) * ACCUMULATOR, (s.n + i + j) // elements, s.m + o
                    )
        filled(core, b.qu)
        use(core, b.qu)
        row = (s.split * p.share.count + p.part) * depth + s.n + i
        dst = b.dw + (row * there + s.m) * ACCUMULATOR
        move_planes(core, dst, u, count, outputs * 32, there * 32, outputs * 32)
        free(core, b.qu)
    free(core, b.qc)


@emits
def keep_diagonal(core: Any, p: FilterPlan, b: FilterBuffers, u: int, group: int, output: int) -> None:
    """Clear what a fractal of sums in UB holds of outputs of one group of channels and inputs of another."""
    for row in range(16):
        number = (output * 16 + row) // p.outputs_each
        first = min(16, max(0, number * p.inputs_each - group * 16))
        last = min(16, max(first, (number + 1) * p.inputs_each - group * 16))
        if number >= p.taken:
            last = first
        place = b.mask + row * 64
        vector_dup(core, place, 1, 0.0, FP32, 16)
        if last > first:
            vector_dup(core, place, 1, 1.0, FP32, last)
            if first > 0:
                vector_dup(core, place, 1, 0.0, FP32, first)
    vmul(core, u, u, b.mask, ACCUMULATOR // 4 // LANES, FP32, LANES)


@emits
def clear_padding(core: Any, p: FilterPlan, b: FilterBuffers, split: int) -> None:
    """Store zeros where the last dense convolution has fewer channels than its weights have room for."""
    elements = elements_of(core, p.window)
    if (p.groups == p.share.inputs and p.outputs == p.share.outputs) or p.column > 0:
        return
    u = b.u + fill(core, b.qu) * max(UB_FRACTALS, p.m0) * ACCUMULATOR
    flat_dup(core, u, 0.0, UB_FRACTALS * ACCUMULATOR // 4, FP32)
    filled(core, b.qu)
    use(core, b.qu)
    for k in range(p.share.inputs * elements):
        first = p.outputs if k < p.groups * elements else 0
        row = (split * p.share.count + p.part) * p.share.inputs * elements + k
        for done in range(first, p.share.outputs, UB_FRACTALS):
            count = min(UB_FRACTALS, p.share.outputs - done)
            data_move(core, b.dw + (row * p.share.outputs + done) * ACCUMULATOR, u, 1, count * 32)
    free(core, b.qu)
