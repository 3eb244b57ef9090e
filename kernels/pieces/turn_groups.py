"""Many small matrices that follow each other, each transposed: sixteen at once, a lane for each.

Their numbers become blocks of one half word of each matrix, which moves put in the order of the transpose.
"""

from typing import Any

from davinci_sim.isa import data_move
from kernels.lang.buffers import UB, alloc, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.queues import MTE2, MTE3, V, close, fill, filled, free, queue, use
from kernels.pieces.transpose import BLOCK, transpose_16bit
from kernels.pieces.turn import turn_items

TOGETHER = 16


@emits
def fetch_groups(core: Any, q: int, ub: int, x: int, first: int, end: int, blocks: int) -> None:
    """Bring up to sixteen matrices of so many blocks to the next buffer, if there are any."""
    if first < end:
        to = ub + fill(core, q) * TOGETHER * blocks * BLOCK
        data_move(core, to, x + first * blocks * BLOCK, 1, min(TOGETHER, end - first) * blocks)
        filled(core, q)


@emits
def turn_groups(
    core: Any, x: int, y: int, groups: int, rows: int, columns: int, size: int, slots: int
) -> None:
    """Set y[groups, columns, rows] = x[groups, rows, columns] of `size` bytes; a matrix is whole blocks."""
    blocks, halves = rows * columns * size // BLOCK, size // 2
    room = TOGETHER * blocks * BLOCK
    ub_in, ub_out = alloc(core, UB, slots * room, slots), alloc(core, UB, slots * room, slots)
    q_in, q_out = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    start, end = share_start(core, groups, 1), share_end(core, groups, 1)
    for ahead in range(slots - 1):
        fetch_groups(core, q_in, ub_in, x, start + ahead * TOGETHER, end, blocks)
    for first in range(start, end, TOGETHER):
        fetch_groups(core, q_in, ub_in, x, first + (slots - 1) * TOGETHER, end, blocks)
        taken = ub_in + use(core, q_in) * room
        made = ub_out + fill(core, q_out) * room
        transpose_16bit(core, made, 1, 16, taken, blocks, 1, blocks)
        turn_items(core, taken, rows * halves * BLOCK, made, columns * halves * BLOCK, rows, columns, halves)
        transpose_16bit(core, made, blocks, 1, taken, 1, 16, blocks)
        free(core, q_in)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, y + first * blocks * BLOCK, made, 1, min(TOGETHER, end - first) * blocks)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
