"""Convolution windows: the rows of a feature map that a tile sees, moves of planes, img2col.

A feature map lies as (group, row, column, 16 channels): a position of a 16-bit map is one block of 32 bytes.
A map of at most 4 channels may lie as (row, column, 4 channels): a block has four positions then, and a
fractal four elements of the filter.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, data_move, load3d
from kernels.lang.emits import emits

MAX_BURSTS, MAX_GAP = 4095, 65535
BLOCK_BYTES, FRACTAL_BYTES = 32, 512
SKIP_WIDTH = 24
"""Columns from which on the rows that a filter of one row skips stay in GM; shorter bursts cost too much."""


class Window(NamedTuple):
    """How a filter of kh x kw moves over a map of h x w; the result is oh x ow.

    A plane of the tensor in GM has `plane_rows` rows, of which the map takes every `row_step`-th.
    """

    h: int
    w: int
    oh: int
    ow: int
    kh: int
    kw: int
    stride_h: int
    stride_w: int
    dilation: int
    pad_h: int
    pad_left: int
    pad_right: int
    plane_rows: int
    row_step: int
    per_block: int  # positions of the map in 32 bytes: 1, or 4 of few channels


class Rows(NamedTuple):
    """Rows `first` to `first + length` of the result, and what they see of the map.

    These are `h` rows from `start`; rows above and below the map that the windows reach are padding. The
    first `skip` rows of windows over them are none of the result's.
    """

    first: int
    length: int
    start: int
    h: int
    pad_top: int
    pad_bottom: int
    skip: int


@emits
def rows_seen(core: Any, window: Window, first: int, count: int) -> Any:
    """Return the rows of the map under `count` rows of the result."""
    above = first * window.stride_h - window.pad_h
    below = above + (count - 1) * window.stride_h + (window.kh - 1) * window.dilation + 1
    start, end = max(0, above), min(window.h, below)
    return Rows(first, count, start, end - start, start - above, below - end, above - above)


@emits
def move_planes(
    core: Any, dst: int, src: int, planes: int, burst: int, dst_stride: int, src_stride: int
) -> None:
    """Move one run of `burst` blocks per plane; strides are blocks from plane to plane."""
    dst_gap, src_gap = dst_stride - burst, src_stride - burst
    if dst_gap == 0 and src_gap == 0 and planes * burst <= MAX_GAP:
        data_move(core, dst, src, 1, planes * burst)
        return
    at_once = MAX_BURSTS if dst_gap <= MAX_GAP and src_gap <= MAX_GAP else 1
    for plane in range(0, planes, at_once):
        to, start = dst + plane * dst_stride * BLOCK_BYTES, src + plane * src_stride * BLOCK_BYTES
        if at_once == 1:
            data_move(core, to, start, 1, burst)
        else:
            data_move(core, to, start, min(at_once, planes - plane), burst, src_gap, dst_gap)


class Planes(NamedTuple):
    """Runs of `burst` blocks, one per plane, and the blocks from plane to plane in GM and in UB."""

    count: int  # type: ignore[assignment] # hides a method of tuples that nobody calls
    burst: int
    gm_stride: int
    ub_stride: int


@emits
def cross_planes(core: Any, gm: int, ub: int, planes: Planes, comes: int) -> None:
    """Move one run per plane from UB to GM, or from GM to UB where it `comes`."""
    if comes:
        move_planes(core, ub, gm, planes.count, planes.burst, planes.ub_stride, planes.gm_stride)
    else:
        move_planes(core, gm, ub, planes.count, planes.burst, planes.gm_stride, planes.ub_stride)


@emits
def forward_window(core: Any, shape: Any) -> Any:
    """Return the window of a forward convolution; a filter of one row may skip the rows between its steps."""
    top, left, right = shape.pad + shape.more_top, shape.pad + shape.more_left, shape.pad + shape.more_right
    dense_h = shape.h + top + shape.pad + shape.more_bottom - (shape.kh - 1) * shape.dilation
    dense_w = shape.w + left + right - (shape.kw - 1) * shape.dilation
    oh, ow = (dense_h - 1) // shape.stride + 1, (dense_w - 1) // shape.stride + 1
    h, stride_h, row_step = shape.h, shape.stride, shape.stride // shape.stride
    if shape.kh == 1 and shape.w >= SKIP_WIDTH:  # pad is 0 then: every window must see the image
        h, stride_h, row_step = oh, row_step, stride_h
    return Window(
        h, shape.w, oh, ow, shape.kh, shape.kw, stride_h, shape.stride, shape.dilation, top, left, right,
        shape.h, row_step, 4 if shape.few else 1,
    )  # fmt: skip


@emits
def inner_fractals(core: Any, kh: int, kw: int, per_block: int) -> int:
    """Return how many fractals of the inner axis the elements of a filter fill with a channel group."""
    return int((kh * kw + per_block - 1) // per_block)


@emits
def fetch_rows(core: Any, dst: int, tensor: int, plane: int, planes: int, window: Window, rows: Rows) -> None:
    """Bring the rows that a tile sees of `planes` planes of a tensor in GM, from number `plane` on, to L1."""
    row = window.w // window.per_block
    plane_blocks, seen = window.plane_rows * row, rows.h * row
    src = tensor + (plane * plane_blocks + rows.start * window.row_step * row) * BLOCK_BYTES
    if window.row_step == 1:
        move_planes(core, dst, src, planes, seen, seen, plane_blocks)
    elif rows.h * window.row_step == window.plane_rows:  # the rows of all planes are equally far apart
        move_planes(core, dst, src, planes * rows.h, row, row, window.row_step * row)
    else:
        for i in range(planes):
            there, start = dst + i * seen * BLOCK_BYTES, src + i * plane_blocks * BLOCK_BYTES
            move_planes(core, there, start, rows.h, row, row, window.row_step * row)


class Patch(NamedTuple):
    """Fractals of an img2col matrix: `positions` from `m` on, `elements` of the inner axis from `k` on."""

    m: int
    positions: int
    k: int
    elements: int


@emits
def unfold(
    core: Any, dst: int, src: int, window: Window, rows: Rows, patch: Patch, dtype: int = FP16
) -> None:
    """Write img2col fractals [positions][elements] of a tile in L1 with as few instructions as possible.

    Into L0A the order is that of ZZ (m1, k1), into L0B that of ZN (k1, n1).
    """
    along_m = 1 if patch.elements <= patch.positions else 0
    times, repeat, jump = patch.positions, patch.elements, 1
    if along_m:
        times, repeat, jump = patch.elements, patch.positions, patch.elements
    for i in range(times):
        to = dst + i * FRACTAL_BYTES * (1 if along_m else patch.elements)
        position, k = (patch.m, patch.k + i) if along_m else (patch.m + i, patch.k)
        load3d(
            core, to, src, rows.h, window.w, window.pad_left, window.pad_right, rows.pad_top, rows.pad_bottom,
            window.kh, window.kw, window.stride_h, window.stride_w, window.dilation, window.dilation,
            rows.skip * window.ow + position * 16, k, repeat, jump, along_m, 0,
            1 if window.per_block > 1 else 0, dtype,
        )  # fmt: skip
