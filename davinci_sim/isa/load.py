"""Fractal loads into L0A and L0B: plain ones, and convolution windows unfolded on the way (img2col)."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.bus import GM, bus_bytes, is_gm
from davinci_sim.isa.fields import BF16, FP16, INT8, INT16, UINT8, UINT16, Declaration, Flag, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs, Memory, Transfer, at, ceil_div, copy, transpose
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import READ, WRITTEN, Region, grid, rows
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.spaces import Space

FRACTAL_BYTES, FRACTAL_BLOCKS, PIXEL_BYTES = 512, 16, 32
FEW_BYTES, FEW_ELEMENTS = 8, 4
"""A position of a map of 4 channels, and the elements of the filter that fill a row of a fractal then."""
_L1, _L0A, _L0B = (int(s) for s in (Space.L1, Space.L0A, Space.L0B))
LOADS = {
    (_L1, _L0A): Pipe.MTE1,
    (_L1, _L0B): Pipe.MTE1,
    (GM, _L0A): Pipe.MTE2,
    (GM, _L0B): Pipe.MTE2,
}
ANY_TYPE = ("fp16", "int8", "uint8", "int16", "uint16", "bf16", "fp32", "int32", "int4")


@inner
def _load2d_transfer(i: Any, costs: Costs) -> Transfer:
    """Return the fractals in GM of a load from it."""
    if not is_gm(i.src):
        return Transfer(0, 0, 0, 0, 0, 0)
    address, stride = (i.src & ADDRESS_MASK) + i.start * FRACTAL_BYTES, i.src_stride * FRACTAL_BYTES
    size = bus_bytes(address, i.repeat, FRACTAL_BLOCKS, stride, costs)
    return Transfer(address, FRACTAL_BYTES, i.repeat, stride, size, 0)


@instruction(LOADS, ANY_TYPE, default_dtype="fp16")
class load2d(Declaration):
    """Move `repeat` fractals of 512 bytes from L1 or GM to L0A or L0B.

    They lie `src_stride` fractals from start to start in src, the first is fractal `start`; `dst_gap`
    fractals stay between those written. With `transpose` each fractal, of 16 x 16 numbers of 16 bits, is
    transposed on its way from L1.

    Model: from L1, bytes over the path's width behind a head; from GM, as data_move.
    Source: cube cost model of TIK, the vendor's tensor iterator kernel (gen-1): one cycle per fractal into
    L0A, two into L0B, ten between instructions; operands, ways and transposition of 16-bit types from L1:
    Ascend C LoadData 2D reference.
    """

    dst = Out(Space.L0A, Space.L0B, align=512)
    src = In(Space.L1, Space.GM, align=32)
    repeat = Size(255, low=1)
    src_stride = Size(65535, default=1)
    transpose = Flag()
    dst_gap = Size(65535, default=0)
    start = Size(65535, default=0)
    refuse: ClassVar[dict[str, str]] = {
        f"transpose and not {sum(1 << code for code in (FP16, BF16, INT16, UINT16))} >> dtype & 1": (
            "transpose = 1 takes numbers of 16 bits: fp16, bf16, int16, uint16"
        ),
        f"transpose and src >> SPACE_SHIFT == {GM}": (
            "transpose = 1 works from L1; a load from GM keeps fractals"
        ),
    }

    def cycles(i: Any, costs: Costs) -> int:
        """Count the fractals at the rate of the path."""
        if is_gm(i.src):
            size = _load2d_transfer(i, costs).bus_bytes
            return costs.gm_read_head_cycles + ceil_div(size, costs.gm_to_l0_bytes_per_cycle)
        into_a = i.dst >> SPACE_SHIFT == _L0A
        rate = costs.load2d_l0a_bytes_per_cycle if into_a else costs.load2d_l0b_bytes_per_cycle
        head = costs.load2d_l0a_head_cycles if into_a else costs.load2d_l0b_head_cycles
        return ceil_div(i.repeat * FRACTAL_BYTES, rate) + head

    transfer = _load2d_transfer

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the fractals written and read."""
        first = i.src + i.start * FRACTAL_BYTES
        return (
            rows(WRITTEN, i.dst, FRACTAL_BYTES, i.repeat, (1 + i.dst_gap) * FRACTAL_BYTES),
            rows(READ, first, FRACTAL_BYTES, i.repeat, i.src_stride * FRACTAL_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy each fractal, transposed or not."""
        for repeat in range(i.repeat):
            skipped = (i.start + repeat * i.src_stride) * FRACTAL_BYTES
            d = at(memory, i.dst) + repeat * (1 + i.dst_gap) * FRACTAL_BYTES
            if is_gm(i.src):
                copy(memory.local, d, memory.gm, (i.src & ADDRESS_MASK) + skipped, FRACTAL_BYTES)
            elif i.transpose:
                transpose(memory.u16, d // 2, 16, memory.u16, (at(memory, i.src) + skipped) // 2)
            else:
                copy(memory.u16, d // 2, memory.u16, (at(memory, i.src) + skipped) // 2, FRACTAL_BYTES // 2)


@inner
def _outputs(size: int, pads: int, kernel: int, dilation: int, stride: int) -> int:
    """Return how many windows fit one axis of the padded feature map."""
    return (size + pads - (kernel - 1) * dilation - 1) // stride + 1


@inner
def _out_h(i: Any) -> int:
    """Return the rows of the output."""
    return _outputs(i.fm_h, i.pad_top + i.pad_bottom, i.filter_h, i.dilation_h, i.stride_h)


@inner
def _out_w(i: Any) -> int:
    """Return the columns of the output."""
    return _outputs(i.fm_w, i.pad_left + i.pad_right, i.filter_w, i.dilation_w, i.stride_w)


@inner
def _window_fractal(i: Any, memory: Memory, position: int, k: int, tile: npt.NDArray[np.uint16]) -> None:
    """Fill tile[256]: 16 output positions from `position`, kernel element and channel group `k`."""
    kernel = i.filter_h * i.filter_w
    c1, kh, kw = k // kernel, k % kernel // i.filter_w, k % i.filter_w
    out_h, out_w = _out_h(i), _out_w(i)
    padding = np.uint16(i.pad_value & 0xFFFF)
    if i.dtype in (INT8, UINT8):
        padding = np.uint16((i.pad_value & 255) * 257)
    source = at(memory, i.src) // 2
    oh, ow = position // out_w, position % out_w
    for row in range(16):
        h = oh * i.stride_h - i.pad_top + kh * i.dilation_h
        w = ow * i.stride_w - i.pad_left + kw * i.dilation_w
        if oh < out_h and 0 <= h < i.fm_h and 0 <= w < i.fm_w:
            first = np.uint64(source + ((c1 * i.fm_h + h) * i.fm_w + w) * 16)
            for c in range(np.uint64(16)):
                tile[np.uint64(row * 16) + c] = memory.u16[first + c]
        else:
            for c in range(np.uint64(16)):
                tile[np.uint64(row * 16) + c] = padding if oh < out_h else np.uint16(0)
        ow += 1
        if ow == out_w:
            oh, ow = oh + 1, 0


@inner
def _few_channels_fractal(
    i: Any, memory: Memory, position: int, k: int, tile: npt.NDArray[np.uint16]
) -> None:
    """Fill tile[256]: 16 output positions from `position`, four kernel elements of 4 channels from 4 `k`."""
    out_h, out_w = _out_h(i), _out_w(i)
    source = at(memory, i.src) // 2
    oh, ow = position // out_w, position % out_w
    for row in range(16):
        for part in range(FEW_ELEMENTS):
            element = k * FEW_ELEMENTS + part
            kh, kw = element // i.filter_w, element % i.filter_w
            h = oh * i.stride_h - i.pad_top + kh * i.dilation_h
            w = ow * i.stride_w - i.pad_left + kw * i.dilation_w
            is_there = oh < out_h and kh < i.filter_h
            inside = is_there and 0 <= h < i.fm_h and 0 <= w < i.fm_w
            for c in range(4):
                value = np.uint16(i.pad_value & 0xFFFF) if is_there else np.uint16(0)
                if inside:
                    value = memory.u16[source + (h * i.fm_w + w) * 4 + c]
                tile[row * 16 + part * 4 + c] = value
        ow += 1
        if ow == out_w:
            oh, ow = oh + 1, 0


@inner
def _axis(
    size: int, first: int, outputs: int, stride: int, elements: int, dilation: int
) -> tuple[int, int, int]:
    """Return (start, count, step) of the places on one axis that windows see, those in the padding left out.

    `outputs` windows `stride` apart see `elements` places each, `dilation` apart; the first place is `first`.
    Where both are more than one, the places between are counted, too.
    """
    count, step = outputs, stride
    if outputs == 1:
        count, step = elements, dilation
    elif elements > 1:
        count, step = (outputs - 1) * stride + (elements - 1) * dilation + 1, 1
    before = ceil_div(-first, step) if first < 0 else 0
    behind = min(count - 1, (size - 1 - first) // step)
    return first + before * step, max(0, behind - before + 1), step


@inner
def _seen(i: Any, oh: int, rows_out: int, ow: int, columns_out: int) -> Region:
    """Return what a rectangle of output positions reads of the feature map."""
    kernel, pixel = i.filter_h * i.filter_w, FEW_BYTES if i.c_size else PIXEL_BYTES
    start, last = int(i.k_start), i.k_start if i.along_m else i.k_start + i.repeat - 1
    if i.c_size:  # of 4 channels there is one group, and behind its last element there is nothing
        start, last = start * FEW_ELEMENTS, min(kernel - 1, last * FEW_ELEMENTS + FEW_ELEMENTS - 1)
    if start > last:
        return grid(READ, i.src, 0, 0, 0, 0, 0)
    group, groups = start // kernel, last // kernel - start // kernel + 1
    kh, kh_end = start % kernel // i.filter_w, last % kernel // i.filter_w
    kw, kw_end = start % i.filter_w, last % i.filter_w
    if groups > 1:
        kh, kh_end = 0, i.filter_h - 1
    if groups > 1 or kh != kh_end:
        kw, kw_end = 0, i.filter_w - 1
    top = oh * i.stride_h - i.pad_top + kh * i.dilation_h
    left = ow * i.stride_w - i.pad_left + kw * i.dilation_w
    h, n_h, h_step = _axis(i.fm_h, top, rows_out, i.stride_h, kh_end - kh + 1, i.dilation_h)
    w, n_w, w_step = _axis(i.fm_w, left, columns_out, i.stride_w, kw_end - kw + 1, i.dilation_w)
    row, plane = i.fm_w * pixel, i.fm_h * i.fm_w * pixel
    place = i.src + group * plane + h * row + w * pixel
    if n_w == 0 or n_h == 0 or rows_out <= 0:
        return grid(READ, i.src, 0, 0, 0, 0, 0)
    if n_w > 1 and w_step > 1 and groups == 1:
        return grid(READ, place, pixel, n_w, w_step * pixel, n_h, h_step * row)
    return grid(READ, place, ((n_w - 1) * w_step + 1) * pixel, n_h, h_step * row, groups, plane)


@instruction(Pipe.MTE1, ("fp16", "int8", "uint8"), default_dtype="fp16")
class load3d(Declaration):
    """Unfold convolution windows (img2col) from a feature map in L1 to fractals in L0A or L0B.

    The feature map is (c1, fm_h, fm_w, c0), where c0 numbers take 32 bytes. A fractal holds 16 output
    positions (row-major over the output) of one kernel element and channel group k = (c1 * filter_h + kh) *
    filter_w + kw. The first one is (`position`, `k_start`); `along_m` = 1 repeats along positions, 0 along k;
    fractals are written `jump` fractals apart. Into L0B each fractal, of fp16, is transposed. The padding
    holds `pad_value` (its bits), positions past the end are zero. With `c_size` = 1 the map is (fm_h, fm_w,
    4) of 8 bytes a position, and a fractal holds four kernel elements: 4 k, ... of them, row-major over the
    filter; behind the last one it is zero.

    Model: stride_w cycles per fractal behind a head, into L0B at least those of its path, and at least 25
    between instructions along k. That c_size = 1 takes as long per fractal is assumed: no cost of it is
    published. Its form for bytes (8 channels) is left out.
    Source: cube cost model of TIK, the vendor's tensor iterator kernel (gen-1); operands, limits, padding
    value and cSize (910 and 310P: "the feature map is aligned to 4 channels"): Ascend C LoadData 3D
    reference, version 1. That its four elements follow each other row-major over the filter is what
    FRACTAL_Z_C04 asks for.
    """

    dst = Out(Space.L0A, Space.L0B, align=512)
    src = In(Space.L1, align=32)
    fm_h = Size(32767, low=1)
    fm_w = Size(32767, low=1)
    pad_left = Size(255)
    pad_right = Size(255)
    pad_top = Size(255)
    pad_bottom = Size(255)
    filter_h = Size(255, low=1)
    filter_w = Size(255, low=1)
    stride_h = Size(63, low=1)
    stride_w = Size(63, low=1)
    dilation_h = Size(255, low=1)
    dilation_w = Size(255, low=1)
    position = Size((1 << 31) - 1)
    k_start = Size((1 << 31) - 1)
    repeat = Size(255, low=1)
    jump = Size(127, low=1)
    along_m = Flag(default=None)
    pad_value = Size(65535, default=0)
    c_size = Flag()
    refuse: ClassVar[dict[str, str]] = {
        f"c_size and dtype != {FP16}": "c_size = 1 takes 4 channels of fp16",
        f"dtype != {FP16} and dst >> SPACE_SHIFT == {_L0B}": (
            "dst of bytes must live in L0A; into L0B fractals are transposed, which takes numbers of 16 bits"
        ),
        "filter_h * dilation_h - dilation_h >= fm_h + pad_top + pad_bottom": (
            "a window must fit the feature map: (filter_h - 1) * dilation_h < fm_h + pad_top + pad_bottom"
        ),
        "filter_w * dilation_w - dilation_w >= fm_w + pad_left + pad_right": (
            "a window must fit the feature map: (filter_w - 1) * dilation_w < fm_w + pad_left + pad_right"
        ),
    }

    def cycles(i: Any, costs: Costs) -> int:
        """Count stride_w cycles per fractal, or those of the path into L0B."""
        each = int(i.stride_w) * costs.load3d_cycles_per_fractal_per_stride
        if i.dst >> SPACE_SHIFT == _L0B:
            each = max(each, ceil_div(FRACTAL_BYTES, costs.load2d_l0b_bytes_per_cycle))
        cycles = int(i.repeat) * each + costs.load3d_head_cycles
        return cycles if i.along_m else max(cycles, costs.load3d_min_cycles)

    def accesses(i: Any) -> tuple[Region, ...]:
        """Return the fractals written and what is read of the rows of the feature map.

        The positions are a first row, whole rows and a last row of the output, a region each. These are exact
        along positions; along k they are exact for one kernel element or a dense window, else the box around
        it.
        """
        out_h, out_w = _out_h(i), _out_w(i)
        end = min(i.position + (16 * i.repeat if i.along_m else 16), out_h * out_w)
        first, last = i.position // out_w, (end - 1) // out_w
        column = i.position % out_w
        head = 1 if end > i.position else 0
        until = (end - 1) % out_w + 1 if first == last else out_w
        return (
            rows(WRITTEN, i.dst, FRACTAL_BYTES, i.repeat, i.jump * FRACTAL_BYTES),
            _seen(i, first, head, column, until - column),
            _seen(i, first + 1, last - first - 1, 0, out_w),
            _seen(i, last, 1 if last > first else 0, 0, (end - 1) % out_w + 1),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Write the fractals in order."""
        tile = np.empty(256, dtype=np.uint16)
        for repeat in range(i.repeat):
            position = i.position + (16 * repeat if i.along_m else 0)
            k = i.k_start + (0 if i.along_m else repeat)
            if i.c_size:
                _few_channels_fractal(i, memory, position, k, tile)
            else:
                _window_fractal(i, memory, position, k, tile)
            destination = at(memory, i.dst) // 2 + repeat * i.jump * 256
            if i.dst >> SPACE_SHIFT == _L0B:
                transpose(memory.u16, destination, 16, tile, 0)
            else:
                copy(memory.u16, destination, tile, 0, 256)
