"""An identity of 32 x 32 for the cube, which adds a matrix to a product by multiplying it with this."""

from typing import Any

from davinci_sim.isa import FP16, data_move, load2d, vector_dup
from kernels.lang.buffers import UB, alloc
from kernels.lang.emits import emits
from kernels.lang.queues import fill, filled, free, use
from kernels.pieces.attention import BLOCK, EDGE, FRACTAL

ONE_BYTES = 4 * FRACTAL


@emits
def draw_one(core: Any, to_mte3: int, to_mte1: int, l1: int, l0b: int) -> None:
    """Bring the identity to L0B, by way of UB and L1; the hand-offs are from V to MTE3, and on to MTE1."""
    ub, half = alloc(core, UB, ONE_BYTES), ONE_BYTES - FRACTAL
    fill(core, to_mte3)
    vector_dup(core, ub, ONE_BYTES // 256, 0.0, FP16)
    for row in range(EDGE):  # rows of the first and the last fractal, from left to right
        vector_dup(core, ub + row * BLOCK, 2, 1.0, FP16, row + 1, 1, half // BLOCK)
    for row in range(1, EDGE):
        vector_dup(core, ub + row * BLOCK, 2, 0.0, FP16, row, 1, half // BLOCK)
    filled(core, to_mte3)
    use(core, to_mte3)
    fill(core, to_mte1)
    data_move(core, l1, ub, 1, ONE_BYTES // BLOCK)
    free(core, to_mte3)
    filled(core, to_mte1)
    use(core, to_mte1)
    load2d(core, l0b, l1, ONE_BYTES // FRACTAL)
    free(core, to_mte1)
