"""The authoring language: what a kernel file imports."""

from davinci_sim.isa import *  # noqa: F403 - the instruction set is the vocabulary of kernels
from kernels.lang.buffers import GM, L0A, L0B, L0C, L1, UB, alloc, block_dim, block_idx, share_end, share_start
from kernels.lang.emits import emits
from kernels.lang.flat import (
    flat_binary,
    flat_convert,
    flat_dup,
    flat_scale,
    flat_unary,
    size_of,
)
from kernels.lang.kernel import KERNELS, Kernel, Operand, kernel, output
from kernels.lang.queues import (
    MTE1,
    MTE2,
    MTE3,
    M,
    S,
    V,
    barrier,
    close,
    fill,
    filled,
    free,
    queue,
    use,
)
from kernels.lang.shapes import Shape, Tiling
