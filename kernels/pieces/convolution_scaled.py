"""How the int32 sums of an int8 convolution leave L0C: as fp32 times their channel's scale, as fp16."""

from typing import Any, NamedTuple

from davinci_sim.isa import FP16, FP32, INT32, data_move, l0c_to_ub, vmul
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.flat import flat_convert
from kernels.lang.queues import MTE2, V, close, free, queue, use
from kernels.pieces.convolution import ACCUMULATOR, Buffers, Step, Tensors
from kernels.pieces.convolution_plan import Plan, tile_fractals
from kernels.pieces.convolution_store import BiasRoom, load_bias, open_results, write_results

LANES, LANES_BYTES, GROUP_BYTES, MAX_REPEAT = 64, 256, 64, 255


class Scales(NamedTuple):
    """Scales of this core in UB: as they came, padded, as 64 lanes per channel group; and room for sums."""

    there: int
    padded: int
    lanes: int
    wide: int
    loaded: int


@emits
def open_scales(core: Any, p: Plan) -> Any:
    """Hand out room and open the queue."""
    there, padded = (
        alloc(core, UB, p.most_results * GROUP_BYTES),
        alloc(core, UB, p.most_results * GROUP_BYTES),
    )
    lanes, wide = alloc(core, UB, p.most_results * LANES_BYTES), alloc(core, UB, p.m0 * p.n0 * ACCUMULATOR)
    return Scales(there, padded, lanes, wide, queue(core, MTE2, V, 1))


@emits
def close_scales(core: Any, z: Scales) -> None:
    """Wait until no scale is loaded."""
    close(core, z.loaded)


@emits
def load_scales(core: Any, p: Plan, z: Scales, scale: int, o: int) -> None:
    """Bring the scales of this core's channels to UB, four times each group of 16."""
    load_bias(core, p, BiasRoom(z.there, z.padded, z.loaded, 0), scale, o)
    if p.n_end > p.n_start:
        for copy in range(4):
            data_move(core, z.lanes + copy * GROUP_BYTES, z.padded, p.n_end - p.n_start, 2, 0, 6)


@emits
def store_scaled(core: Any, p: Plan, t: Tensors, b: Buffers, s: Step, z: Scales) -> None:
    """Bring one output tile from L0C through UB to GM, scaled by channel."""
    columns, fractals = min(p.n0, p.n_end - s.n), min(p.m0, tile_fractals(core, p, s.tile) - s.m)
    l0c_to_ub(core, z.wide, b.c + use(core, b.qc) * b.c_slot, 1, fractals * columns, dtype=INT32)
    free(core, b.qc)
    flat_convert(core, z.wide, FP32, z.wide, INT32, fractals * columns * 256)
    for n in range(columns):
        lanes = z.lanes + (s.n - p.n_start + n) * LANES_BYTES
        for done in range(0, fractals * 4, MAX_REPEAT):
            values = z.wide + n * fractals * ACCUMULATOR + done * LANES_BYTES
            repeat = min(MAX_REPEAT, fractals * 4 - done)
            vmul(core, values, values, lanes, repeat, FP32, LANES, 1, 1, 1, 8, 8, 0)
    flat_convert(core, open_results(core, p, b), FP16, z.wide, FP32, fractals * columns * 256)
    write_results(core, p, t, b, s)
