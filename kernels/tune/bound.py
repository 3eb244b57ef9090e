"""Least times of a kernel with a tiling, without simulating it.

Model: both bounds hold by the construction of the machine. A unit runs its instructions one after the
other, and each holds it at least as long as alone on the chip; the scalar unit hands out one instruction
after the other; the cube of a core does one fractal product a cycle. What is shared, waited for or drained
comes on top.
"""

import numpy as np

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles
from davinci_sim.core.program import Program
from davinci_sim.isa.pipes import QUEUED_PIPES
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.roofline import roofline

MOST_PIPES = 16


def cube_bound(kernel: Kernel, shape: Shape, platform: Platform, tiling: Tiling) -> int:
    """Return the cycles that the cubes need of those cores that take part: from the shape alone."""
    cores = int(platform.ai_cores)
    return roofline(kernel, shape, platform).cube_cycles * cores // tiling.blocks(shape, platform)


def core_bound(kernel: Kernel, shape: Shape, platform: Platform, tiling: Tiling) -> int:
    """Return the cycles that the first and the last core need for their instructions.

    Raises:
        BadTiling: the tiling does not fit the chip.
    """
    last = tiling.blocks(shape, platform) - 1
    return max(
        block * int(platform.block_start_cycles)
        + busiest_unit(kernel.program(shape, platform, tiling, block), platform)
        for block in {0, last}
    )


def busiest_unit(program: Program, platform: Platform) -> int:
    """Return the cycles of the unit of a core that has most to do, the scalar unit included."""
    cycles = count_cycles(program.words, costs_of(platform))
    pipes = (program.words[:, 0] >> 8) & 255
    busy = np.bincount(pipes, weights=cycles, minlength=MOST_PIPES).astype(np.int64)
    queued = [int(pipe) for pipe in QUEUED_PIPES]
    scalar = len(program) * int(platform.dispatch_cycles) + int(np.delete(busy, queued).sum())
    return max(scalar, int(busy[queued].max()))
