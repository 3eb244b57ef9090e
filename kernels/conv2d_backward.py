"""The gradient of a convolution to its filter: dw = dy^T @ im2col(x), summed over positions and images.

Positions are the inner axis. Tiles of dy lie in L1 as (o1, position, 16): load2d transposes their fractals
into L0A. load3d unfolds x into L0B and transposes there. An accumulator in L0C holds (k, o1, 16, 16), which
is the order of FRACTAL_Z, over all the images of a split; each split is stored as a part of its own, so that
cores that share the images need not wait for each other.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.memory.dtypes import F16
from davinci_sim.memory.layout import LAYOUTS
from kernels.lang import (
    FP16,
    FP32,
    L0A,
    L0B,
    L0C,
    L1,
    MTE1,
    MTE2,
    MTE3,
    UB,
    M,
    Operand,
    V,
    alloc,
    block_idx,
    close,
    emits,
    fill,
    filled,
    free,
    kernel,
    l0c_to_ub,
    load2d,
    mmad,
    output,
    queue,
    use,
)
from kernels.lang.window import Patch, Window, fetch_rows, forward_window, move_planes, rows_seen, unfold
from kernels.tiling.conv2d_filter import FilterShape, FilterTiling

Array = npt.NDArray[Any]
FRACTAL, BLOCK, ACCUMULATOR = 512, 32, 1024
SLOTS, UB_FRACTALS = 2, 64


class FilterPlan(NamedTuple):
    """The convolution, its tiles, and this core's share of splits, output groups and inner fractals."""

    window: Window
    groups: int
    outputs: int
    depth: int
    images: int
    splits: int
    rows: int
    row_tiles: int
    m0: int
    n0: int
    k0: int
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
    a: int
    a_slot: int
    b: int
    b_slot: int
    c: int
    c_slot: int
    u: int
    qx: int
    qa: int
    qc: int
    qu: int


class Part(NamedTuple):
    """One tile of one accumulator: first image of the split, number of tiles, and what is done now."""

    split: int
    tile: int
    tiles: int
    m: int
    n: int


@emits
def filter_plan(core: Any, shape: Any, tiling: Any) -> Any:
    """Return the plan of this core."""
    window = forward_window(core, shape)
    oh = window.oh
    groups, outputs = (shape.c + 15) // 16, (shape.o + 15) // 16
    depth, rows = groups * shape.kh * shape.kw, min(tiling.rows, oh)
    column = block_idx(core) % tiling.channel_cores
    part = block_idx(core) // tiling.channel_cores % tiling.filter_cores
    split = block_idx(core) // (tiling.channel_cores * tiling.filter_cores)
    return FilterPlan(
        window, groups, outputs, depth, shape.n, shape.splits, rows, (oh + rows - 1) // rows,
        tiling.m0, tiling.n0, tiling.k0,
        shape.splits * split // tiling.split_cores, shape.splits * (split + 1) // tiling.split_cores,
        outputs * column // tiling.channel_cores, outputs * (column + 1) // tiling.channel_cores,
        depth * part // tiling.filter_cores, depth * (part + 1) // tiling.filter_cores,
    )  # fmt: skip


@emits
def open_filter_pipeline(core: Any, p: Any, x: int, dy: int, dw: int) -> Any:
    """Hand out the buffers and open the queues."""
    window, elements = p.window, p.window.kh * p.window.kw
    seen = min(window.h, (p.rows - 1) * window.stride_h + (window.kh - 1) * window.dilation + 1)
    inner = min(p.groups, (p.n0 + elements - 2) // elements + 1)
    dy_offset = inner * seen * window.w * BLOCK
    tile_slot = dy_offset + p.m0 * p.rows * window.ow * BLOCK + FRACTAL  # the last fractal is read as a whole
    tile = alloc(core, L1, SLOTS * tile_slot, SLOTS)
    a_slot, b_slot, c_slot = p.m0 * p.k0 * FRACTAL, p.k0 * p.n0 * FRACTAL, p.m0 * p.n0 * ACCUMULATOR
    a, b, c = (
        alloc(core, L0A, SLOTS * a_slot, SLOTS),
        alloc(core, L0B, SLOTS * b_slot, SLOTS),
        alloc(core, L0C, SLOTS * c_slot, SLOTS),
    )
    u = alloc(core, UB, SLOTS * max(UB_FRACTALS, p.m0) * ACCUMULATOR, SLOTS)
    qx, qa = queue(core, MTE2, MTE1, SLOTS), queue(core, MTE1, M, SLOTS)
    qc, qu = queue(core, M, V, SLOTS), queue(core, V, MTE3, SLOTS)
    return FilterBuffers(
        x, dy, dw, tile, tile_slot, dy_offset, a, a_slot, b, b_slot, c, c_slot, u, qx, qa, qc, qu
    )


@emits
def close_filter_pipeline(core: Any, b: Any) -> None:
    """Wait until everything is stored."""
    close(core, b.qu)
    close(core, b.qc)
    close(core, b.qa)
    close(core, b.qx)


@emits
def part_at(core: Any, p: Any, split: int, step: int) -> Any:
    """Return step `step` of a split: tiles of the images within accumulators, inner fractals first."""
    first, last = p.images * split // p.splits, p.images * (split + 1) // p.splits
    tiles = (last - first) * p.row_tiles
    columns = (p.n_end - p.n_start + p.n0 - 1) // p.n0
    block = step // tiles
    return Part(
        split, first * p.row_tiles + step % tiles, tiles,
        p.m_start + block // columns * p.m0, p.n_start + block % columns * p.n0,
    )  # fmt: skip


@emits
def steps_of(core: Any, p: Any, split: int) -> int:
    """Return how many steps a split has."""
    tiles = (p.images * (split + 1) // p.splits - p.images * split // p.splits) * p.row_tiles
    blocks = (p.m_end - p.m_start + p.m0 - 1) // p.m0 * ((p.n_end - p.n_start + p.n0 - 1) // p.n0)
    return int(tiles * blocks)


@emits
def part_rows(core: Any, p: Any, s: Any) -> Any:
    """Return the rows of dy in a tile and what they see of x."""
    first = s.tile % p.row_tiles * p.rows
    return rows_seen(core, p.window, first, min(p.rows, p.window.oh - first))


@emits
def fetch_part(core: Any, p: Any, b: Any, s: Any) -> None:
    """Bring the rows of x that the inner fractals of a step touch, and its rows of dy, to L1."""
    rows, image, elements = part_rows(core, p, s), s.tile // p.row_tiles, p.window.kh * p.window.kw
    group = s.n // elements
    inner = (min(s.n + p.n0, p.n_end) - 1) // elements - group + 1
    there = b.tile + fill(core, b.qx) * b.tile_slot
    fetch_rows(core, there, b.x, image * p.groups + group, inner, p.window, rows)
    plane, positions = p.window.oh * p.window.ow, rows.length * p.window.ow
    src = b.dy + ((image * p.outputs + s.m) * plane + rows.first * p.window.ow) * BLOCK
    move_planes(core, there + b.dy_offset, src, min(p.m0, p.m_end - s.m), positions, positions, plane)
    filled(core, b.qx)


@emits
def multiply_part(core: Any, p: Any, b: Any, s: Any, slot: int, is_first: int) -> None:
    """Add dy^T @ im2col(x) over the positions of one tile to the accumulator in a slot of L0C."""
    rows, elements = part_rows(core, p, s), p.window.kh * p.window.kw
    outputs, inner = min(p.m0, p.m_end - s.m), min(p.n0, p.n_end - s.n)
    positions = rows.length * p.window.ow
    fractals = (positions + 15) // 16
    there = b.tile + use(core, b.qx) * b.tile_slot
    for k in range(0, fractals, p.k0):
        depth = min(p.k0, fractals - k)
        turn = fill(core, b.qa)
        for i in range(outputs):
            place = there + b.dy_offset + (i * positions + k * 16) * BLOCK
            load2d(core, b.a + turn * b.a_slot + i * depth * FRACTAL, place, depth, transpose=1)
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
def store_part(core: Any, p: Any, b: Any, s: Any) -> None:
    """Bring an accumulator from L0C through UB to its place in the part of its split."""
    outputs, inner = min(p.m0, p.m_end - s.m), min(p.n0, p.n_end - s.n)
    at_once = max(1, UB_FRACTALS // outputs)
    c = b.c + use(core, b.qc) * b.c_slot
    for i in range(0, inner, at_once):
        count = min(at_once, inner - i)
        u = b.u + fill(core, b.qu) * max(UB_FRACTALS, p.m0) * ACCUMULATOR
        l0c_to_ub(core, u, c + i * outputs * ACCUMULATOR, 1, count * outputs)
        filled(core, b.qu)
        use(core, b.qu)
        dst = b.dw + ((s.split * p.depth + s.n + i) * p.outputs + s.m) * ACCUMULATOR
        move_planes(core, dst, u, count, outputs * 32, p.outputs * 32, outputs * 32)
        free(core, b.qu)
    free(core, b.qc)


def conv2d_backward_filter_reference(shape: Any, x: Array, dy: Array) -> tuple[Array]:
    """Return dw_parts[splits, c1*kh*kw, o1, 16, 16] float32: FRACTAL_Z of the sum over a split's images."""
    s, p, d = shape.stride, shape.pad, shape.dilation
    padded = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (p, p), (p, p)))
    wide = dy.astype(np.float32)
    parts = []
    for split in range(shape.splits):
        images = slice(shape.n * split // shape.splits, shape.n * (split + 1) // shape.splits)
        dw = np.zeros((shape.o, shape.c, shape.kh, shape.kw), np.float32)
        for i in range(shape.kh):
            for j in range(shape.kw):
                seen = padded[images, :, i * d :: s, j * d :: s][:, :, : shape.oh, : shape.ow]
                dw[:, :, i, j] = np.einsum("nohw,nchw->oc", wide[images], seen, optimize=True)
        parts.append(LAYOUTS["FRACTAL_Z"].pack(dw))
    return (np.stack(parts),)


def _operands(shape: FilterShape) -> tuple[Operand, ...]:
    packed = LAYOUTS["FRACTAL_Z"].device_shape((shape.o, shape.c, shape.kh, shape.kw), F16)
    return (
        Operand("x", (shape.n, shape.c, shape.h, shape.w), FP16, "NC1HWC0"),
        Operand("dy", (shape.n, shape.o, shape.oh, shape.ow), FP16, "NC1HWC0"),
        output("dw_parts", (shape.splits, *packed), FP32),
    )


def _macs(shape: FilterShape) -> int:
    return shape.macs


@kernel(FilterShape, FilterTiling, _operands, conv2d_backward_filter_reference, macs=_macs)
def conv2d_backward_filter(core: Any, x: int, dy: int, dw_parts: int, shape: Any, tiling: Any) -> None:
    """dw_parts[s, (c1 kh kw), o1, 16, 16] = sum over split s, oh, ow of dy[n, o, oh, ow] * x[n, c, ...]."""
    p = filter_plan(core, shape, tiling)
    b = open_filter_pipeline(core, p, x, dy, dw_parts)
    for split in range(p.first_split, p.last_split):
        steps = steps_of(core, p, split)
        slot = 0
        if steps > 0:
            fetch_part(core, p, b, part_at(core, p, split, 0))
        for step in range(steps):
            part = part_at(core, p, split, step)
            if step + 1 < steps:
                fetch_part(core, p, b, part_at(core, p, split, step + 1))
            is_first = step % part.tiles == 0
            if is_first:
                slot = fill(core, b.qc)
            multiply_part(core, p, b, part, slot, is_first)
            if (step + 1) % part.tiles == 0:
                filled(core, b.qc)
                store_part(core, p, b, part)
    close_filter_pipeline(core, b)
