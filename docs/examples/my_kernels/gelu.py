"""A user's kernel and its gradient: gelu(x) = x * sigmoid(1.702 x)."""

from dataclasses import dataclass

import numpy as np
from sigmoid import sigmoid  # the file beside this one

from kernels.lang import *  # noqa: F403 - the language's words, as a kernel's author writes them

SLOPE = 1.702
LINE = 128  # numbers of 512 bytes, from where transfers are fastest


@dataclass(frozen=True)
class Vector(Shape):
    """n numbers of fp32."""

    n: int


@dataclass(frozen=True)
class Pieces(Tiling):
    """How many numbers a core takes at once, and how many buffers each hand-off has."""

    LENGTHS = ("tile",)  # may be made smaller freely: a search tries that, and a small chip needs it
    tile: int
    slots: int = 2

    @classmethod
    def default(cls, shape, platform):
        """Take 16 KiB at a time."""
        return cls(tile=4096)

    def blocks(self, shape, platform):
        """Use every core that finds a KiB."""
        return min(int(platform.ai_cores), -(-shape.n // 256))


def gelu_reference(shape, x):
    """Return gelu in fp32."""
    with np.errstate(over="ignore"):
        return ((x / (1 + np.exp(np.float32(-SLOPE) * x))).astype(np.float32),)


def gelu_grad_reference(shape, x, dy):
    """Return dy times the slope of gelu at x."""
    with np.errstate(over="ignore"):
        s = 1 / (1 + np.exp(np.float32(-SLOPE) * x))
    return ((dy * s * (1 + np.float32(SLOPE) * x * (1 - s))).astype(np.float32),)


def gelu_operands(shape):
    """Declare the tensors in device memory."""
    return Operand("x", (shape.n,), FP32), output("y", (shape.n,), FP32)


def gelu_grad_operands(shape):
    """Declare x, the cotangent of y, and the cotangent of x."""
    n = (shape.n,)
    return Operand("x", n, FP32), Operand("dy", n, FP32), output("dx", n, FP32)


@kernel(Vector, Pieces, gelu_operands, gelu_reference)
def gelu(core, x, y, shape, tiling):
    """y[n] = x[n] * sigmoid(1.702 x[n])."""
    tile = max(LINE, tiling.tile // LINE * LINE)
    ub_x = alloc(core, UB, tiling.slots * tile * 4, tiling.slots)
    ub_y = alloc(core, UB, tiling.slots * tile * 4, tiling.slots)
    come, go = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, tiling.slots)
    end = share_end(core, shape.n, LINE)
    for at in range(share_start(core, shape.n, LINE), end, tile):
        n = min(tile, end - at)
        taken = ub_x + fill(core, come) * tile * 4
        data_move(core, taken, x + at * 4, 1, (n + 7) // 8)
        filled(core, come)
        use(core, come)
        made = ub_y + fill(core, go) * tile * 4
        sigmoid(core, made, taken, SLOPE, n)
        flat_binary(core, MUL, made, made, taken, n, FP32)
        free(core, come)
        filled(core, go)
        use(core, go)
        data_move(core, y + at * 4, made, 1, (n + 7) // 8)
        free(core, go)
    close(core, go)
    close(core, come)


@kernel(Vector, Pieces, gelu_grad_operands, gelu_grad_reference)
def gelu_grad(core, x, dy, dx, shape, tiling):
    """dx[n] = dy[n] * s * (1 + 1.702 x[n] * (1 - s)), where s = sigmoid(1.702 x[n])."""
    tile = max(LINE, tiling.tile // LINE * LINE)
    size = tile * 4
    ub_x = alloc(core, UB, tiling.slots * size, tiling.slots)
    ub_dy = alloc(core, UB, tiling.slots * size, tiling.slots)
    ub_s = alloc(core, UB, size)
    ub_dx = alloc(core, UB, tiling.slots * size, tiling.slots)
    come, go = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, tiling.slots)
    end = share_end(core, shape.n, LINE)
    for at in range(share_start(core, shape.n, LINE), end, tile):
        n = min(tile, end - at)
        slot = fill(core, come)
        data_move(core, ub_x + slot * size, x + at * 4, 1, (n + 7) // 8)
        data_move(core, ub_dy + slot * size, dy + at * 4, 1, (n + 7) // 8)
        filled(core, come)
        use(core, come)
        made = ub_dx + fill(core, go) * size
        sigmoid(core, ub_s, ub_x + slot * size, SLOPE, n)
        flat_scale(core, made, ub_s, n, -SLOPE, SLOPE, FP32)  # 1.702 (1 - s)
        flat_binary(core, MUL, made, made, ub_x + slot * size, n, FP32)
        flat_scale(core, made, made, n, 1.0, 1.0, FP32)
        flat_binary(core, MUL, made, made, ub_s, n, FP32)
        flat_binary(core, MUL, made, made, ub_dy + slot * size, n, FP32)
        free(core, come)
        filled(core, go)
        use(core, go)
        data_move(core, dx + at * 4, made, 1, (n + 7) // 8)
        free(core, go)
    close(core, go)
    close(core, come)
