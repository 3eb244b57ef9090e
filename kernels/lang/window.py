"""Convolution windows: the rows of a feature map that a tile sees, moves of planes, img2col.

A feature map lies as (group, row, column, 16 channels): one position of a 16-bit map is one block of 32 bytes.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import data_move, load3d
from kernels.lang.emits import emits

MAX_BURSTS, MAX_GAP = 4095, 65535
BLOCK_BYTES, FRACTAL_BYTES = 32, 512


class Window(NamedTuple):
    """How a filter of kh x kw moves over a map of h x w; the result is oh x ow."""

    h: int
    w: int
    oh: int
    ow: int
    kh: int
    kw: int
    stride: int
    dilation: int
    pad_h: int
    pad_w: int


class Rows(NamedTuple):
    """Rows `first` to `first + count` of the result, and what they see of the map.

    These are `h` rows from `start`; rows above and below the map that the windows reach are padding.
    """

    first: int
    count: int
    start: int
    h: int
    pad_top: int
    pad_bottom: int


@emits
def rows_seen(core: Any, window: Any, first: int, count: int) -> Any:
    """Return the rows of the map under `count` rows of the result."""
    above = first * window.stride - window.pad_h
    below = above + (count - 1) * window.stride + (window.kh - 1) * window.dilation + 1
    start, end = max(0, above), min(window.h, below)
    return Rows(first, count, start, end - start, start - above, below - end)


@emits
def move_planes(core: Any, dst: int, src: int, planes: int, burst: int, dst_stride: int, src_stride: int) -> None:
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


class Patch(NamedTuple):
    """Fractals of an img2col matrix: `positions` from position fractal `m`, `elements` of the inner axis from `k`."""

    m: int
    positions: int
    k: int
    elements: int


@emits
def unfold(core: Any, dst: int, src: int, window: Any, rows: Any, patch: Any) -> None:
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
            core, to, src, rows.h, window.w, window.pad_w, window.pad_w, rows.pad_top, rows.pad_bottom,
            window.kh, window.kw, window.stride, window.stride, window.dilation, window.dilation,
            position * 16, k, repeat, jump, along_m,
        )  # fmt: skip
