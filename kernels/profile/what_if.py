"""What a launch would take on a machine without one of its limits: the same programs, simulated again.

That is the most that can be saved there, by the kernel or by another machine. What two limits together cost
is not the sum of what each costs alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from davinci_sim.platforms import Platform, assumed
from kernels.profile.profile import Profile, alone

PLENTY = 1_000_000
_LIMITS: dict[str, tuple[str, Mapping[str, int]]] = {
    "no transfer heads": (
        "bytes flow from the first cycle of a transfer on",
        dict.fromkeys(
            (
                "gm_read_head_cycles", "gm_to_l1_head_cycles", "gm_to_ub_head_cycles", "gm_write_head_cycles",
            ),
            0,
        ),
    ),
    "device memory without end": (
        "device memory is as wide as all paths together", {"hbm_bytes_per_cycle": PLENTY}
    ),
    "L2 without end": ("L2 is as wide as all paths together", {"l2_chip_bytes_per_cycle": PLENTY}),
    "no slow addresses": ("every address is as fast as multiples of 512", {"gm_unaligned_percent": 100}),
    "no bank conflicts": (
        "operands in UB and L0C never conflict", {"ub_bank_groups": 0, "mmad_l0c_conflict": 0}
    ),
    "results at once": (
        "a result is there when its unit is done",
        {"vector_drain_cycles": 0, "mmad_drain_cycles": 0, "mte1_drain_cycles": 0},
    ),
    "long queues": ("a queue holds 4096 instructions", {"queue_depth": 4096}),
    "blocks at once": ("all blocks of a launch start together", {"block_start_cycles": 0}),
}  # fmt: skip


@dataclass(frozen=True)
class WhatIf:
    """A limit taken away.

    Attributes:
        name: the machine, in a few words.
        meaning: what is different there.
        cycles: what the launch takes there.
        saved: the part of the time that it saves, 0 to 1; below 0 where it takes longer.
    """

    name: str
    meaning: str
    cycles: int
    saved: float

    def as_json(self) -> dict[str, Any]:
        """Return keys `name`, `meaning`, `cycles`, `saved`."""
        return {"name": self.name, "meaning": self.meaning, "cycles": self.cycles, "saved": self.saved}


def what_ifs(found: Profile) -> tuple[WhatIf, ...]:
    """Return what the programs of a launch take without each of the machine's limits, the fastest first."""
    tried = []
    for name, (meaning, figures) in _LIMITS.items():
        cycles = alone(found.task, without(found.platform, name, figures)).cycles
        tried.append(WhatIf(name, meaning, cycles, 1 - cycles / max(1, found.cycles)))
    return tuple(sorted(tried, key=lambda each: each.cycles))


def without(platform: Platform, name: str, figures: Mapping[str, int]) -> Platform:
    """Return a platform with other figures, for a what-if."""
    units = {key: platform.figures[key].unit for key in figures}
    changed = {key: assumed(value, units[key], f"what if: {name}") for key, value in figures.items()}
    return platform.with_figures(f"{platform.name}, {name}", **changed)
