"""Sums and sums of squares of every channel of a convolution's result, taken from the fp32 accumulators.

They are added up in UB while the results pass: 64 lanes per channel group, that is 16 channels of four
positions each, in the order of the positions. At the end of a split of the images the four are added and
stored.
"""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, l0c_to_ub, vadd, vmul
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import ADD, flat_convert, flat_dup
from kernels.lang.queues import MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.convolution import ACCUMULATOR, Buffers, Step, Tensors
from kernels.pieces.convolution_plan import Plan, first_image, tall_rows, tile_fractals
from kernels.pieces.convolution_store import open_results, write_results
from kernels.pieces.fold import fold
from kernels.pieces.window import move_planes

LANES, SUM_BYTES, GROUP_BYTES, MAX_REPEAT = 64, 256, 64, 255


class Statistics(NamedTuple):
    """Sums in GM and in UB, those of a split that are on their way, and room for accumulators and squares."""

    sums: int
    squares: int
    lanes: int  # of each group: 64 of sums, 64 of squares
    out: int
    wide: int
    scratch: int
    q: int


@emits
def open_statistics(core: Any, p: Plan, sums: int, squares: int) -> Any:
    """Hand out room, and clear the sums."""
    lanes, out = (
        alloc(core, UB, p.most_results * 2 * SUM_BYTES),
        alloc(core, UB, p.most_results * 2 * GROUP_BYTES),
    )
    wide = alloc(core, UB, p.m0 * p.n0 * ACCUMULATOR) if p.unit == 1 else out
    scratch = alloc(core, UB, p.m0 * ACCUMULATOR)
    flat_dup(core, lanes, 0.0, p.most_results * 2 * LANES, FP32)
    return Statistics(sums, squares, lanes, out, wide, scratch, queue(core, V, MTE3, 1))


@emits
def no_statistics(core: Any) -> Any:
    """Return what stands for the room of sums where there are none."""
    return Statistics(0, 0, 0, 0, 0, 0, 0)


@emits
def close_statistics(core: Any, z: Statistics) -> None:
    """Wait until the sums are stored."""
    close(core, z.q)


@emits
def measure(core: Any, lanes: int, values: int, positions: int, scratch: int) -> None:
    """Add one channel group of accumulators, values[positions, 16], and their squares to their lanes."""
    whole, rest = positions // 4, positions % 4 * 16
    for done in range(0, whole, MAX_REPEAT):
        place, room = values + done * SUM_BYTES, scratch + done * SUM_BYTES
        vmul(core, room, place, place, min(MAX_REPEAT, whole - done), FP32, LANES)
    fold(core, ADD, lanes, values, whole, LANES, 0, 8)
    fold(core, ADD, lanes + SUM_BYTES, scratch, whole, LANES, 0, 8)
    if rest > 0:
        place, room = values + whole * SUM_BYTES, scratch + whole * SUM_BYTES
        vmul(core, room, place, place, 1, FP32, rest)
        fold(core, ADD, lanes, place, 1, rest, 0, 8)
        fold(core, ADD, lanes + SUM_BYTES, room, 1, rest, 0, 8)


@emits
def store_measured(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step, z: Statistics) -> None:
    """Bring one output tile from L0C through UB to GM, and add it to the sums."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    u = open_results(core, p, b)
    wide = u if p.unit == 2 else z.wide
    l0c_to_ub(core, wide, b.c + use(core, b.qc) * b.c_slot, 1, fractals * columns)
    free(core, b.qc)
    positions = min(tall_rows(core, p, s.tile) * p.window.ow - s.m * 16, fractals * 16)
    for n in range(columns):
        lanes = z.lanes + (s.n - p.n_start + n) * 2 * SUM_BYTES
        measure(core, lanes, wide + n * fractals * 16 * GROUP_BYTES, positions, z.scratch)
    if p.unit == 1:
        flat_convert(core, u, FP16, wide, FP32, fractals * columns * 256)
    write_results(core, p, t, b, s)


@emits
def split_of(core: Any, p: Plan, tile: int, splits: int) -> int:
    """Return the split of the images that a tile is in."""
    return int(((first_image(core, p, tile) + 1) * splits - 1) // p.n)


@emits
def store_statistics(core: Any, p: Plan, z: Statistics, tile: int, splits: int) -> None:
    """Store the sums of the split that ends with a tile, if one does, and begin anew."""
    split = split_of(core, p, tile, splits)
    if tile + 1 < p.last and split_of(core, p, tile + 1, splits) == split:
        return
    fill(core, z.q)
    groups = p.n_end - p.n_start
    for kind in range(2):
        out, lanes = z.out + kind * p.most_results * GROUP_BYTES, z.lanes + kind * SUM_BYTES
        for done in range(0, groups, MAX_REPEAT):
            count, to = min(MAX_REPEAT, groups - done), out + done * GROUP_BYTES
            src = lanes + done * 2 * SUM_BYTES
            vadd(core, to, src, src + GROUP_BYTES, count, FP32, 16, 1, 1, 1, 2, 16, 16)
            for other in range(2, 4):
                vadd(core, to, to, src + other * GROUP_BYTES, count, FP32, 16, 1, 1, 1, 2, 2, 16)
    flat_dup(core, z.lanes, 0.0, p.most_results * 2 * LANES, FP32)
    filled(core, z.q)
    use(core, z.q)
    place = (split * p.results_there + p.result_first + p.n_start) * GROUP_BYTES
    move_planes(core, z.sums + place, z.out, 1, groups * 2, groups * 2, groups * 2)
    squares = z.out + p.most_results * GROUP_BYTES
    move_planes(core, z.squares + place, squares, 1, groups * 2, groups * 2, groups * 2)
    free(core, z.q)
