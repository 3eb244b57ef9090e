"""The least time that a launch can take: what the cube must multiply and what must cross to device memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from davinci_sim.chip import Task
from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape

_EIGHT_BIT = ("int8", "uint8")


@dataclass(frozen=True)
class Roofline:
    """Lower bounds of a launch that uses all cores of a platform, in whole cycles (rounded down).

    Model: the cube does one fractal product a cycle and core; every byte of an operand crosses once, over the
    cores' own paths (reading and writing side by side) and over L2. L2 is empty at first: what is read comes
    from device memory; what is written goes there as far as L2 and the cores' write buffers cannot keep it.
    Vector work, heads, flags and the start of the task cost nothing here, so that nothing can be faster.
    """

    macs: int
    read_bytes: int
    written_bytes: int
    cube_cycles: int
    memory_cycles: int

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

    Each operand counts once. Where the emitted `task` is given and moves less (a strided convolution need not
    read every row), what it moves counts.
    """
    operands = kernel.operands(shape)
    read = sum(operand.nbytes for operand in operands if not operand.is_output)
    written = sum(operand.nbytes for operand in operands if operand.is_output)
    if task is not None:
        read, written = (min(pair) for pair in zip((read, written), gm_bytes(task), strict=True))
    macs = int(kernel.macs(shape)) if kernel.macs is not None else 0
    depth = platform.cube_k_int8 if operands[0].dtype_name in _EIGHT_BIT else platform.cube_k
    cores = int(platform.ai_cores)
    products = int(platform.cube_m * depth * platform.cube_n) * cores
    return Roofline(macs, read, written, macs // products, _memory_cycles(read, written, platform, cores))


def _memory_cycles(read: int, written: int, platform: Platform, cores: int) -> int:
    """Return the longest of: reading and writing over all paths, both over L2, both over device memory.

    A core's write buffer holds what one transfer into it and one out of it drive out of L2, at most as much
    as its L1 and UB hold.
    """
    kept = int(platform.l2_bytes) + cores * (int(platform.l1_bytes) + int(platform.ub_bytes))
    return max(
        read // int(platform.l2_read_bytes_per_cycle * cores),
        written // int(platform.l2_write_bytes_per_cycle * cores),
        (read + written) // int(platform.l2_chip_bytes_per_cycle),
        (read + max(0, written - kept)) // int(platform.hbm_bytes_per_cycle),
    )


def gm_bytes(task: Task) -> tuple[int, int]:
    """Return the bytes that a launch reads from and writes to device memory, in whole blocks of 32 bytes."""
    declared = INSTRUCTIONS["data_move"]
    moves = task.words[(task.words[:, 0] & 255) == declared.opcode]
    payload = np.ascontiguousarray(moves[:, 1:]).view(np.uint8)

    def column(name: str) -> npt.NDArray[np.int64]:
        place = next(at for at, field in enumerate(declared.fields) if field.name == name)
        start, width = declared.offsets[place], declared.fields[place].width_bytes
        raw = np.ascontiguousarray(payload[:, start : start + width])
        return raw.view(f"<u{width}").reshape(-1).astype(np.int64)

    size = column("nburst") * column("burst_len") * 32  # a block has 32 bytes
    reads = column("src") >> SPACE_SHIFT == int(Space.GM)
    writes = column("dst") >> SPACE_SHIFT == int(Space.GM)
    return int(size[reads].sum()), int(size[writes].sum())
