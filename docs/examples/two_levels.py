"""One schedule written twice: with flags by hand, and with queues. Both emit the same instructions."""

from dataclasses import dataclass

import numpy as np

from kernels.lang import *  # noqa: F403 - the language's words, as a kernel's author writes them

BLOCK = 128  # fp16 numbers of one repeat of the vector unit


@dataclass(frozen=True)
class Vector(Shape):
    """n numbers."""

    n: int
    dtype: int = FP16


@dataclass(frozen=True)
class Pieces(Tiling):
    """How many numbers a core takes at once, in two buffers."""

    tile: int

    @classmethod
    def default(cls, shape, platform):
        """Take 16 KiB at a time."""
        return cls(tile=8192)

    def blocks(self, shape, platform):
        """Use every core that finds a piece."""
        return min(int(platform.ai_cores), -(-shape.n // self.tile))


def reference(shape, x):
    """Return 2 x."""
    return ((x * np.float16(2)).astype(np.float16),)


def operands(shape):
    """Declare the tensors in device memory."""
    return Operand("x", (shape.n,), FP16), output("y", (shape.n,), FP16)


@kernel(Vector, Pieces, operands, reference)
def double_by_queues(core, x, y, shape, tiling):
    """y[n] = 2 x[n]; the hand-offs have names, slots and no numbers."""
    size = tiling.tile * 2
    ub_x = alloc(core, UB, 2 * size, slots=2)
    ub_y = alloc(core, UB, 2 * size, slots=2)
    come, go = queue(core, MTE2, V, 2), queue(core, V, MTE3, 2)
    end = share_end(core, shape.n, BLOCK)
    for at in range(share_start(core, shape.n, BLOCK), end, tiling.tile):
        n = min(tiling.tile, end - at)
        taken = ub_x + fill(core, come) * size
        data_move(core, taken, x + at * 2, 1, (n + 15) // 16)
        filled(core, come)
        use(core, come)
        made = ub_y + fill(core, go) * size
        flat_scale(core, made, taken, n, 2.0, 0.0, FP16)
        free(core, come)
        filled(core, go)
        use(core, go)
        data_move(core, y + at * 2, made, 1, (n + 15) // 16)
        free(core, go)
    close(core, go)
    close(core, come)


@kernel(Vector, Pieces, operands, reference, barriers=False)
def double_by_flags(core, x, y, shape, tiling):
    """y[n] = 2 x[n]; flag `slot` of a pair of pipes says that a buffer is filled, or free again."""
    size = tiling.tile * 2
    ub_x = alloc(core, UB, 2 * size, slots=2)
    ub_y = alloc(core, UB, 2 * size, slots=2)
    for slot in range(2):  # all buffers are free at first
        set_flag(core, V, MTE2, slot)
    for slot in range(2):
        set_flag(core, MTE3, V, slot)
    end, turn = share_end(core, shape.n, BLOCK), 0
    for at in range(share_start(core, shape.n, BLOCK), end, tiling.tile):
        n, slot = min(tiling.tile, end - at), turn % 2
        wait_flag(core, V, MTE2, slot)  # MTE2: until the vector unit has read ub_x
        data_move(core, ub_x + slot * size, x + at * 2, 1, (n + 15) // 16)
        set_flag(core, MTE2, V, slot)
        wait_flag(core, MTE2, V, slot)  # V: until x has come
        wait_flag(core, MTE3, V, slot)  # V: until ub_y is stored
        repeat, rest = n // BLOCK, n % BLOCK
        if repeat > 0:
            vmuls(core, ub_y + slot * size, ub_x + slot * size, repeat, 2.0, FP16, BLOCK)
        if rest > 0:
            done = slot * size + repeat * BLOCK * 2
            vmuls(core, ub_y + done, ub_x + done, 1, 2.0, FP16, rest)
        set_flag(core, V, MTE2, slot)
        set_flag(core, V, MTE3, slot)
        wait_flag(core, V, MTE3, slot)  # MTE3: until y is computed
        data_move(core, y + at * 2, ub_y + slot * size, 1, (n + 15) // 16)
        set_flag(core, MTE3, V, slot)
        turn += 1
    for step in range(2):  # take the flags back, so that they balance
        wait_flag(core, MTE3, V, (turn + step) % 2)
    for step in range(2):
        wait_flag(core, V, MTE2, (turn + step) % 2)
