"""The memory transfer engines: moves between spaces, fractal loads, img2col."""

from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.bits import narrow
from davinci_sim.isa.fields import FP16, Declaration, Flag, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs, Memory, Transfer, at, ceil_div, copy, transpose
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import Region, region, rows
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.spaces import Space

BLOCK_BYTES, FRACTAL_BYTES, ACCUMULATOR_BYTES = 32, 512, 1024
BYTES = ("uint8",)
_GM, _L1, _L0A, _L0B, _UB = (int(s) for s in (Space.GM, Space.L1, Space.L0A, Space.L0B, Space.UB))
MOVES = {
    (_GM, _L1): Pipe.MTE2,
    (_GM, _UB): Pipe.MTE2,
    (_UB, _GM): Pipe.MTE3,
    (_UB, _L1): Pipe.MTE3,
    (_L1, _UB): Pipe.MTE1,
    (_UB, _UB): Pipe.V,
}


@inner
def packet_slots(burst_len: int) -> int:
    """Return the bus slots of one burst: packets of 8, 4, 3, 2 or 1 blocks fill a slot each."""
    rest = burst_len % 8
    slots = burst_len // 8
    if rest > 0:
        slots += 1 if rest <= 4 else 2
    return slots


@inner
def unaligned_bursts(address: int, nburst: int, stride_bytes: int, align_bytes: int) -> int:
    """Count the bursts that do not begin at a multiple of `align_bytes`, a power of two."""
    if (address | stride_bytes) & (align_bytes - 1) == 0:
        return 0
    unaligned, phase = 0, 0
    for burst in range(min(nburst, align_bytes)):  # the pattern repeats after that many bursts at the latest
        unaligned += 1 if (address + burst * stride_bytes) & (align_bytes - 1) else 0
        phase = burst + 1
    return unaligned * nburst // phase


@inner
def bus_bytes(address: int, nburst: int, burst_len: int, stride_bytes: int, costs: Costs) -> int:
    """Return the bytes of bus time that bursts from or to GM take, slow ones counted longer."""
    slot = packet_slots(burst_len) * costs.gm_packet_slot_bytes
    slow = unaligned_bursts(address, nburst, stride_bytes, costs.gm_fast_align_bytes)
    return int((nburst - slow) * slot + slow * slot * 100 // costs.gm_unaligned_percent)


@inner
def _is_gm(handle: int) -> bool:
    """Tell whether a handle lies in device memory."""
    return handle >> SPACE_SHIFT == _GM


@inner
def _transfer(i: Any, costs: Costs) -> Transfer:
    """Return the runs in GM of a move from or to it."""
    run = i.burst_len * BLOCK_BYTES
    address, stride, is_write = 0, run, 0
    if _is_gm(i.src):
        address, stride = i.src & ADDRESS_MASK, run + i.src_gap * BLOCK_BYTES
    elif _is_gm(i.dst):
        address, stride, is_write = i.dst & ADDRESS_MASK, run + i.dst_gap * BLOCK_BYTES, 1
    else:
        return Transfer(0, 0, 0, 0, 0, 0)
    return Transfer(
        address, run, i.nburst, stride, bus_bytes(address, i.nburst, i.burst_len, stride, costs), is_write
    )


@instruction(MOVES, BYTES)
class data_move(Declaration):
    """Move `nburst` runs of `burst_len` blocks of 32 bytes; gaps between runs are in blocks, too.

    The pipe follows from the spaces: GM to L1 or UB is MTE2, UB to GM or L1 is MTE3, L1 to UB is MTE1,
    UB to UB is the vector unit. Addresses in GM are byte-aligned, others 32-byte aligned.

    Model: a move inside the core takes its bytes over the width of the path. A transfer from or to GM takes
    at least a head and its bytes over the core's path, and no less than its share of L2 and HBM takes (the
    chip's part of the model); each burst is cut into packets of 8, 4, 3, 2 or 1 blocks that each fill an
    8-block slot, and a burst that begins beside a 512-byte boundary gets 70 % of the bandwidth.
    Source: path widths from the vendor's platform configuration (memory rates); packets, slots and head
    from the tiling cycle model in the vendor's operator library for the first generation; alignment from
    the Ascend C guide.
    """

    dst = Out(Space.GM, Space.L1, Space.UB)
    src = In(Space.GM, Space.L1, Space.UB)
    nburst = Size(4095, low=1)
    burst_len = Size(65535, low=1)
    src_gap = Size(65535, default=0)
    dst_gap = Size(65535, default=0)

    def cycles(i: Any, costs: Costs) -> int:
        """Count a move inside the core, or the least time of one from or to GM."""
        if _is_gm(i.src):
            rate = costs.gm_to_ub_bytes_per_cycle if i.dst >> SPACE_SHIFT == _UB else costs.gm_to_l1_bytes_per_cycle
            return costs.gm_read_head_cycles + ceil_div(_transfer(i, costs).bus_bytes, rate)
        if _is_gm(i.dst):
            size = _transfer(i, costs).bus_bytes
            return costs.gm_write_head_cycles + ceil_div(size, costs.ub_to_gm_bytes_per_cycle)
        rate = costs.ub_to_ub_bytes_per_cycle
        if i.src >> SPACE_SHIFT == _L1:
            rate = costs.l1_to_ub_bytes_per_cycle
        elif i.dst >> SPACE_SHIFT == _L1:
            rate = costs.ub_to_l1_bytes_per_cycle
        return ceil_div(i.nburst * i.burst_len * BLOCK_BYTES, rate)

    transfer = _transfer

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the runs written and read."""
        run = i.burst_len * BLOCK_BYTES
        return (
            rows(1, i.dst, run, i.nburst, run + i.dst_gap * BLOCK_BYTES),
            rows(0, i.src, run, i.nburst, run + i.src_gap * BLOCK_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy the runs in order."""
        run = i.burst_len * BLOCK_BYTES
        source = memory.gm if _is_gm(i.src) else memory.local
        target = memory.gm if _is_gm(i.dst) else memory.local
        start = (i.src & ADDRESS_MASK) if _is_gm(i.src) else at(memory, i.src)
        end = (i.dst & ADDRESS_MASK) if _is_gm(i.dst) else at(memory, i.dst)
        for burst in range(i.nburst):
            s = start + burst * (run + i.src_gap * BLOCK_BYTES)
            d = end + burst * (run + i.dst_gap * BLOCK_BYTES)
            copy(target, d, source, s, run)


@instruction(Pipe.V, ("fp32", "int32"), default_dtype="fp32")
class l0c_to_ub(Declaration):
    """Move accumulator fractals of 16 x 16 four-byte numbers from L0C to UB, as fp16 when `to_fp16` is 1.

    Runs of `burst_len` fractals; `src_gap` counts fractals, `dst_gap` blocks of 32 bytes.

    Model: passes through the vector unit at the width of the path, counted in accumulator bytes.
    Source: platform configuration (l0_c_to_ub rate); vector unit as the way: architecture page of the
    coupled cores; conversion on the way: data_move's conversion modes in the vendor's tensor iterator kernel.
    """

    dst = Out(Space.UB)
    src = In(Space.L0C, align=1024)
    nburst = Size(4095, low=1)
    burst_len = Size(65535, low=1)
    src_gap = Size(65535, default=0)
    dst_gap = Size(65535, default=0)
    to_fp16 = Flag()

    def cycles(i: Any, costs: Costs) -> int:
        """Count the accumulator bytes over the path's width."""
        return ceil_div(i.nburst * i.burst_len * ACCUMULATOR_BYTES, costs.l0c_to_ub_bytes_per_cycle)

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the runs written and read."""
        run = i.burst_len * ACCUMULATOR_BYTES
        out = run // 2 if i.to_fp16 else run
        return (
            rows(1, i.dst, out, i.nburst, out + i.dst_gap * BLOCK_BYTES),
            rows(0, i.src, run, i.nburst, run + i.src_gap * ACCUMULATOR_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy or convert the runs in order."""
        numbers = i.burst_len * ACCUMULATOR_BYTES // 4
        for burst in range(i.nburst):
            s = at(memory, i.src) // 4 + burst * (i.burst_len + i.src_gap) * ACCUMULATOR_BYTES // 4
            if i.to_fp16:
                d = at(memory, i.dst) // 2 + burst * (numbers + i.dst_gap * BLOCK_BYTES // 2)
                to, first = np.uint64(d), np.uint64(s)
                for index in range(np.uint64(numbers)):
                    memory.u16[to + index] = narrow(memory.f32[first + index])
            else:
                d = at(memory, i.dst) // 4 + burst * (numbers + i.dst_gap * BLOCK_BYTES // 4)
                copy(memory.i32, d, memory.i32, s, numbers)


@instruction(Pipe.V, ("fp32", "int32"), default_dtype="fp32")
class broadcast_ub_to_l0c(Declaration):
    """Fill `burst_len` accumulator fractals with 16 rows that all equal one row of 16 numbers in UB.

    `nburst` rows of 64 bytes follow each other in UB; `dst_gap` fractals lie between the runs in L0C.

    Model: the accumulator bytes over the width of the path between L0C and UB; through the vector unit.
    Source: broadcast_ub_to_cc in the vendor's intrinsic list of the first generation; the rate is assumed
    to be that of the opposite direction.
    """

    dst = Out(Space.L0C, align=1024)
    src = In(Space.UB)
    nburst = Size(4095, low=1)
    burst_len = Size(65535, low=1)
    dst_gap = Size(65535, default=0)

    def cycles(i: Any, costs: Costs) -> int:
        """Count the accumulator bytes over the path's width."""
        return ceil_div(i.nburst * i.burst_len * ACCUMULATOR_BYTES, costs.l0c_to_ub_bytes_per_cycle)

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the fractals written and the rows read."""
        run = i.burst_len * ACCUMULATOR_BYTES
        return (
            rows(1, i.dst, run, i.nburst, run + i.dst_gap * ACCUMULATOR_BYTES),
            region(0, i.src, i.nburst * 64),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Repeat each row."""
        for burst in range(i.nburst):
            s = at(memory, i.src) // 4 + burst * 16
            d = at(memory, i.dst) // 4 + burst * (i.burst_len + i.dst_gap) * 256
            for row in range(i.burst_len * 16):
                for lane in range(np.uint64(16)):
                    memory.i32[np.uint64(d + row * 16) + lane] = memory.i32[np.uint64(s) + lane]


@instruction(Pipe.MTE1, ("fp16", "int8"), default_dtype="fp16")
class load2d(Declaration):
    """Move `repeat` fractals of 512 bytes from L1 to L0A or L0B, `src_stride` fractals from start to start.

    With `transpose` each fp16 fractal is transposed on the way; the fractals end up contiguous.

    Model: bytes over the path's width behind a head.
    Source: cube cost model of the vendor's tensor iterator kernel (gen-1): one cycle per fractal into L0A,
    two into L0B, ten between instructions; transposition for 16-bit types: Ascend C LoadData reference.
    """

    dst = Out(Space.L0A, Space.L0B, align=512)
    src = In(Space.L1, align=32)
    repeat = Size(255, low=1)
    src_stride = Size(65535, default=1)
    transpose = Flag()

    def cycles(i: Any, costs: Costs) -> int:
        """Count the fractals at the rate of the path."""
        into_a = i.dst >> SPACE_SHIFT == _L0A
        rate = costs.load2d_l0a_bytes_per_cycle if into_a else costs.load2d_l0b_bytes_per_cycle
        head = costs.load2d_l0a_head_cycles if into_a else costs.load2d_l0b_head_cycles
        return ceil_div(i.repeat * FRACTAL_BYTES, rate) + head

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the fractals written and read."""
        return (
            region(1, i.dst, i.repeat * FRACTAL_BYTES),
            rows(0, i.src, FRACTAL_BYTES, i.repeat, i.src_stride * FRACTAL_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy each fractal, transposed or not."""
        for repeat in range(i.repeat):
            s = at(memory, i.src) // 2 + repeat * i.src_stride * 256
            d = at(memory, i.dst) // 2 + repeat * 256
            if i.transpose and i.dtype == FP16:
                transpose(memory.u16, d, 16, memory.u16, s)
            else:
                copy(memory.u16, d, memory.u16, s, 256)


@inner
def _outputs(size: int, pads: int, kernel: int, dilation: int, stride: int) -> int:
    """Return how many windows fit one axis of the padded feature map."""
    return (size + pads - (kernel - 1) * dilation - 1) // stride + 1


@inner
def _window_fractal(i: Any, memory: Memory, position: int, k: int, tile: npt.NDArray[np.uint16]) -> None:
    """Fill tile[256]: 16 output positions from `position`, kernel element and channel group `k`."""
    kernel = i.filter_h * i.filter_w
    c1, kh, kw = k // kernel, k % kernel // i.filter_w, k % i.filter_w
    out_h = _outputs(i.fm_h, i.pad_top + i.pad_bottom, i.filter_h, i.dilation_h, i.stride_h)
    out_w = _outputs(i.fm_w, i.pad_left + i.pad_right, i.filter_w, i.dilation_w, i.stride_w)
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
                tile[np.uint64(row * 16) + c] = 0
        ow += 1
        if ow == out_w:
            oh, ow = oh + 1, 0


@instruction(Pipe.MTE1, ("fp16",))
class load3d(Declaration):
    """Unfold convolution windows (img2col) from a feature map in L1 to fractals in L0A or L0B.

    The feature map is (c1, fm_h, fm_w, 16) fp16. A fractal holds 16 output positions (row-major over the
    output) of one kernel element and channel group k = (c1 * filter_h + kh) * filter_w + kw. The first one is
    (`position`, `k_start`); `along_m` = 1 repeats along positions, 0 along k; fractals are written
    `jump` fractals apart. Into L0B each fractal is transposed. Padding and positions past the end are zero.

    Model: stride_w cycles per fractal behind a head.
    Source: cube cost model of the vendor's tensor iterator kernel (gen-1); limits: Ascend C LoadData 3D.
    """

    dst = Out(Space.L0A, Space.L0B, align=512)
    src = In(Space.L1, align=32)
    fm_h = Size(65535, low=1)
    fm_w = Size(65535, low=1)
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
    jump = Size(255, low=1)
    along_m = Flag(default=None)

    def cycles(i: Any, costs: Costs) -> int:
        """Count stride_w cycles per fractal."""
        slots = int(i.repeat * i.stride_w)
        return slots * costs.load3d_cycles_per_fractal_per_stride + costs.load3d_head_cycles

    def accesses(i: Any) -> tuple[Region, Region]:
        """Return the fractals written and, of the feature map, the channel groups read."""
        kernel = i.filter_h * i.filter_w
        last = i.k_start if i.along_m else i.k_start + i.repeat - 1
        plane = i.fm_h * i.fm_w * BLOCK_BYTES
        first_group = i.k_start // kernel
        return (
            Region(1, i.dst, FRACTAL_BYTES, i.repeat, i.jump * FRACTAL_BYTES, 1, 0),
            region(0, i.src + first_group * plane, (last // kernel - first_group + 1) * plane),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Write the fractals in order."""
        tile = np.empty(256, dtype=np.uint16)
        for repeat in range(i.repeat):
            position = i.position + (16 * repeat if i.along_m else 0)
            _window_fractal(i, memory, position, i.k_start + (0 if i.along_m else repeat), tile)
            destination = at(memory, i.dst) // 2 + repeat * i.jump * 256
            if i.dst >> SPACE_SHIFT == _L0B:
                transpose(memory.u16, destination, 16, tile, 0)
            else:
                copy(memory.u16, destination, tile, 0, 256)
