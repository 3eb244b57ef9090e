"""The authoring language: the one import of a kernel file.

Instructions come from the instruction set, everything else from the modules of this package.
"""

from davinci_sim import isa
from davinci_sim.isa import *  # noqa: F403 - the instruction set is the vocabulary of kernels
from kernels.lang.buffers import (
    FAST_BYTES,
    GM,
    L0A,
    L0B,
    L0C,
    L1,
    UB,
    alloc,
    block_dim,
    block_idx,
    share_end,
    share_start,
)
from kernels.lang.emits import (
    emits,
)
from kernels.lang.flat import (
    ADD,
    DIV,
    MAX,
    MIN,
    MUL,
    SUB,
    flat_binary,
    flat_convert,
    flat_dup,
    flat_scale,
    flat_unary,
    size_of,
)
from kernels.lang.kernel import (
    KERNELS,
    Kernel,
    Operand,
    kernel,
    output,
)
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
from kernels.lang.shapes import (
    Shape,
    Tiling,
)

__all__ = [
    "ADD",
    "DIV",
    "FAST_BYTES",
    "GM",
    "KERNELS",
    "L0A",
    "L0B",
    "L0C",
    "L1",
    "MAX",
    "MIN",
    "MTE1",
    "MTE2",
    "MTE3",
    "MUL",
    "SUB",
    "UB",
    "Kernel",
    "M",
    "Operand",
    "S",
    "Shape",
    "Tiling",
    "V",
    "alloc",
    "barrier",
    "block_dim",
    "block_idx",
    "close",
    "emits",
    "fill",
    "filled",
    "flat_binary",
    "flat_convert",
    "flat_dup",
    "flat_scale",
    "flat_unary",
    "free",
    "kernel",
    "output",
    "queue",
    "share_end",
    "share_start",
    "size_of",
    "use",
]
__all__ += isa.__all__
