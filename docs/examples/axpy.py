"""A first kernel: z = 3 x + y on all cores, double-buffered."""

from dataclasses import dataclass

import numpy as np

from kernels.lang import *  # noqa: F403 - the language's words, as a kernel's author writes them


@dataclass(frozen=True)
class Vector(Shape):
    """n numbers."""

    n: int
    dtype: int = FP32


@dataclass(frozen=True)
class Pieces(Tiling):
    """How many numbers a core takes at once, and how many buffers it has."""

    tile: int
    slots: int = 2

    @classmethod
    def default(cls, shape, platform):
        """Take 32 KiB at a time."""
        return cls(tile=8192)

    def blocks(self, shape, platform):
        """Use every core that finds a piece."""
        return min(int(platform.ai_cores), -(-shape.n // 1024))


def reference(shape, x, y):
    """Return 3 x + y."""
    return ((np.float32(3) * x + y).astype(np.float32),)


def operands(shape):
    """Declare the tensors in device memory."""
    return Operand("x", (shape.n,), FP32), Operand("y", (shape.n,), FP32), output("z", (shape.n,), FP32)


@kernel(Vector, Pieces, operands, reference)
def axpy(core, x, y, z, shape, tiling):
    """z[n] = 3 x[n] + y[n]."""
    size, slots = tiling.tile * 4, tiling.slots
    ux, uy, uz = alloc(core, UB, slots * size), alloc(core, UB, slots * size), alloc(core, UB, slots * size)
    come, go = queue(core, MTE2, V, slots), queue(core, V, MTE3, slots)
    for at in range(share_start(core, shape.n, 8), share_end(core, shape.n, 8), tiling.tile):
        n = min(tiling.tile, share_end(core, shape.n, 8) - at)
        slot = fill(core, come) * size  # MTE2 waits until the vector unit has freed the slot
        data_move(core, ux + slot, x + at * 4, 1, (n + 7) // 8)
        data_move(core, uy + slot, y + at * 4, 1, (n + 7) // 8)
        filled(core, come)
        use(core, come)  # the vector unit waits for x and y, and for a slot of z that is stored
        fill(core, go)
        flat_scale(core, uz + slot, ux + slot, n, 3.0, 0.0, FP32)
        flat_binary(core, ADD, uz + slot, uz + slot, uy + slot, n, FP32)
        free(core, come)
        filled(core, go)
        use(core, go)
        data_move(core, z + at * 4, uz + slot, 1, (n + 7) // 8)
        free(core, go)
    close(core, go)
    close(core, come)
