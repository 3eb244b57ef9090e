"""The on-chip memories of one core beside the device memory, as the executor wants them."""

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.machine import Memory
from davinci_sim.isa.state import SPACE_COUNT
from davinci_sim.memory.spaces import Space, capacity_bytes
from davinci_sim.platforms import Platform

ON_CHIP = (Space.L1, Space.L0A, Space.L0B, Space.L0C, Space.UB)
POISON = 0xFF
"""What on-chip memory holds before it is written: NaN in every floating-point type."""


def space_bytes(platform: Platform, gm_bytes: int) -> list[int]:
    """Return the capacity of every space, with the device memory's as given."""
    sizes = [0] * SPACE_COUNT
    sizes[Space.GM] = gm_bytes
    for space in ON_CHIP:
        sizes[space] = capacity_bytes(space, platform)
    return sizes


def new_memory(platform: Platform, gm: npt.NDArray[np.uint8]) -> Memory:
    """Return the memories of a fresh core around the device memory `gm`; the core's own are poisoned."""
    sizes = space_bytes(platform, gm.size)
    base, total = [0] * SPACE_COUNT, 0
    for space in ON_CHIP:
        base[space] = total
        total += sizes[space]
    local = np.full(total, POISON, dtype=np.uint8)
    return Memory(
        gm=gm,
        local=local,
        u16=local.view(np.uint16),
        i32=local.view(np.int32),
        f32=local.view(np.float32),
        base=np.array(base, dtype=np.int64),
        size=np.array(sizes, dtype=np.int64),
    )
