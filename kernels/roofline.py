"""The least time that a launch can take: what the cube must multiply and what must cross to device memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from davinci_sim.core.columns import column
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape

if TYPE_CHECKING:
    from davinci_sim.chip import Task

BLOCK_BYTES = 32
_EIGHT_BIT = ("int8", "uint8")


@dataclass(frozen=True)
class Roofline:
    """Lower bounds of a launch that uses all cores of a platform, in whole cycles (rounded down).

    Model: the cube does one fractal product a cycle and core; every byte of an operand crosses once, over the
    cores' own paths (reading and writing side by side) and over L2. L2 is empty at first: what is read comes
    from device memory; what is written goes there as far as L2 and the cores' write buffers cannot keep it.
    Heads, flags and the start of the task cost nothing here, so that nothing can be faster. The ceiling of
    the vector unit is that of an emitted program: its instructions, without conflicts, on all cores alike.
    Another program for the same problem may need fewer, so that it binds no problem.
    """

    macs: int
    read_bytes: int
    written_bytes: int
    cube_cycles: int
    path_cycles: int
    l2_cycles: int
    hbm_cycles: int
    vector_cycles: int = 0

    @property
    def memory_cycles(self) -> int:
        """The longest of: over the cores' own paths, over L2, over device memory."""
        return max(self.path_cycles, self.l2_cycles, self.hbm_cycles)

    @property
    def ceilings(self) -> dict[str, int]:
        """Cycles by what binds: "cube", "vector" (0 where no program is given), "paths", "l2", "hbm"."""
        return {
            "cube": self.cube_cycles, "vector": self.vector_cycles, "paths": self.path_cycles,
            "l2": self.l2_cycles, "hbm": self.hbm_cycles,
        }  # fmt: skip

    @property
    def highest(self) -> str:
        """Name the ceiling that takes longest, that of the vector unit included."""
        return max(self.ceilings, key=lambda name: self.ceilings[name])

    @property
    def bound(self) -> str:
        """Name what binds: "cube" or "memory"."""
        return "cube" if self.cube_cycles > self.memory_cycles else "memory"

    @property
    def bound_cycles(self) -> int:
        """No launch takes fewer cycles."""
        return max(self.cube_cycles, self.memory_cycles)

    @property
    def intensity(self) -> float:
        """Return operations per byte, a multiplication with its addition counted as two."""
        moved = self.read_bytes + self.written_bytes
        return 2 * self.macs / moved if moved else 0.0


def roofline(kernel: Kernel, shape: Shape, platform: Platform, task: Task | None = None) -> Roofline:
    """Return the lower bounds of a kernel on a shape.

    Of each operand what is needed counts once (a strided convolution need not read every row). Where the
    emitted `task` is given and moves less, what it moves counts.
    """
    operands = kernel.operands(shape)
    cores = int(platform.ai_cores)
    read = sum(operand.least_bytes for operand in operands if not operand.is_output)
    written = sum(operand.least_bytes for operand in operands if operand.is_output)
    if task is not None:
        read, written = (min(pair) for pair in zip((read, written), gm_bytes(task), strict=True))
    kept = int(platform.l2_bytes) + cores * _behind(platform, task)
    macs = int(kernel.macs(shape)) if kernel.macs is not None else 0
    depth = platform.cube_k_int8 if operands[0].dtype_name in _EIGHT_BIT else platform.cube_k
    products = int(platform.cube_m * depth * platform.cube_n) * cores
    vector = 0 if task is None else _vector_cycles(task, platform) // cores
    return Roofline(macs, read, written, macs // products, *_memory(read, written, platform, kept), vector)


def _vector_cycles(task: Task, platform: Platform) -> int:
    """Return what the vector units of all cores together take for a task, without conflicts."""
    from davinci_sim.core.costs import costs_of, without_losses
    from davinci_sim.core.dispatch import count_cycles
    from davinci_sim.core.order import BARRIER, SET, WAIT

    ours = task.words[(task.words[:, 0] >> 8) & 255 == int(Pipe.V)]
    is_work = ~np.isin(ours[:, 0] & 255, (SET, WAIT, BARRIER))
    return int(count_cycles(ours[is_work], without_losses(costs_of(platform))).sum())


def _behind(platform: Platform, task: Task | None) -> int:
    """Return the bytes that a core may still have to write back when its launch has ended.

    Its write buffers hold what one transfer into it and one out of it drive out of L2: lines that they touch,
    at most as much as L1 and UB hold. A program is asked for its longest transfers.
    """
    most = int(platform.l1_bytes) + int(platform.ub_bytes)
    if task is None or _loads_fractals(task) or _row_bytes(task, "scatter_rows") > 0:
        return most
    reads, writes, moves = _gm_moves(task)
    run = column(moves, "burst_len") * BLOCK_BYTES + 2 * int(platform.l2_line_bytes)
    touched = column(moves, "nburst") * run
    return min(most, int(touched[reads].max(initial=0)) + int(touched[writes].max(initial=0)))


def _loads_fractals(task: Task) -> bool:
    """Tell whether a program has instructions besides data_move that read device memory."""
    loads = task.words[(task.words[:, 0] & 255) == INSTRUCTIONS["load2d"].opcode]
    return bool((column(loads, "src") >> SPACE_SHIFT == int(Space.GM)).any())


def _memory(read: int, written: int, platform: Platform, kept: int) -> tuple[int, int, int]:
    """Return the cycles of reading and writing over all paths, of both over L2, of both over device memory.

    Of what is written `kept` bytes need not reach device memory while the launch lasts.
    """
    cores = int(platform.ai_cores)
    paths = max(
        read // int(platform.l2_read_bytes_per_cycle * cores),
        written // int(platform.l2_write_bytes_per_cycle * cores),
    )
    return (
        paths,
        (read + written) // int(platform.l2_chip_bytes_per_cycle),
        (read + max(0, written - kept)) // int(platform.hbm_bytes_per_cycle),
    )


def gm_bytes(task: Task) -> tuple[int, int]:
    """Return the bytes that a launch reads from and writes to device memory, in whole blocks of 32 bytes."""
    reads, writes, moves = _gm_moves(task)
    size = column(moves, "nburst") * column(moves, "burst_len") * BLOCK_BYTES
    gathered, scattered = _row_bytes(task, "gather_rows"), _row_bytes(task, "scatter_rows")
    return int(size[reads].sum()) + gathered, int(size[writes].sum()) + scattered


def _row_bytes(task: Task, name: str) -> int:
    """Return the bytes of the rows that the instructions of a name move by number."""
    moves = task.words[(task.words[:, 0] & 255) == INSTRUCTIONS[name].opcode]
    return int((column(moves, "count") * column(moves, "burst_len")).sum()) * BLOCK_BYTES


def _gm_moves(task: Task) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Return which of the moves of a launch read device memory, which write it, and their records."""
    moves = task.words[(task.words[:, 0] & 255) == INSTRUCTIONS["data_move"].opcode]
    reads = column(moves, "src") >> SPACE_SHIFT == int(Space.GM)
    writes = column(moves, "dst") >> SPACE_SHIFT == int(Space.GM)
    return reads, writes, moves
