"""What the same step would take on a chip with other figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from davinci_sim.platforms import Platform, assumed
from experiments.claims.recipes import Case
from experiments.claims.stages import ONE_STREAM
from experiments.claims.steps import Steps, Timed

WHY = "a what-if: no such chip exists"


class WhatIf(NamedTuple):
    """A step on a changed chip."""

    case: Case
    change: str
    timed: Timed
    before: Timed

    @property
    def faster(self) -> float:
        """How many times as fast as on the real chip."""
        return self.before.cycles / self.timed.cycles


def changed(platform: Platform) -> dict[str, Platform]:
    """Return what-ifs by their names: faster memory, a larger unified buffer, a slower cube."""
    return {
        "twice the bandwidth of HBM": platform.with_figures(
            f"{platform.name}_hbm",
            hbm_bytes_per_cycle=assumed(2 * int(platform.hbm_bytes_per_cycle), "B/cycle", WHY),
        ),
        "twice the UB": platform.with_figures(
            f"{platform.name}_ub", ub_bytes=assumed(2 * int(platform.ub_bytes), "B", WHY)
        ),
        "half the cube": platform.with_figures(
            f"{platform.name}_cube", cube_cycles_fp16=assumed(2, "cycles", f"{WHY}; a product takes two")
        ),
    }


def what_ifs(case: Case, steps: Steps) -> Iterator[WhatIf]:
    """Yield a step with everything, on one stream, on each changed chip."""
    before = steps.timed(case, ONE_STREAM)
    for change, platform in changed(steps.platform).items():
        yield WhatIf(case, change, steps.timed(case, ONE_STREAM, platform), before)
