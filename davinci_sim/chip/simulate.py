"""Run launches on a chip, with the engine of your choice; both give the same trace."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.l2 import L2, new_l2
from davinci_sim.chip.launch import Launch, check_order
from davinci_sim.core.program import Program
from davinci_sim.core.trace import Trace
from davinci_sim.errors import unknown
from davinci_sim.platforms import Platform

ENGINES = ("fast", "reference")
"""fast: compiled, all cores in one loop. reference: SimPy, the definition; it moves data as time passes."""


def simulate_launches(
    launches: Sequence[Launch], platform: Platform, engine: str = "fast", cache: L2 | None = None,
    gm: npt.NDArray[np.uint8] | None = None,
) -> Trace:  # fmt: skip
    """Run launches from cycle 0 and return when every record started, ended and delivered.

    `cache` is the content of L2, left as the launches leave it; without it L2 is empty. With `gm[bytes]`
    (reference engine only) the data moves, too, when the simulated results arrive.

    Raises:
        Deadlock: pipes wait for flags that nobody sets.
        IllegalInstruction: a flag is set twice or never waited for, or an operand leaves its memory.
        UnknownName: there is no such engine.
    """
    check_order(launches)
    cache = new_l2(platform) if cache is None else cache
    if engine == "reference":
        from davinci_sim.chip import reference

        return reference.simulate(launches, platform, cache, gm)
    if engine != "fast":
        raise unknown("engine", engine, ENGINES)
    from davinci_sim.chip.engine.simulate import simulate as simulate_fast

    return simulate_fast(launches, platform, cache)


def simulate(
    programs: Sequence[Program], platform: Platform, gm: npt.NDArray[np.uint8] | None = None,
    *, engine: str = "fast", cache: L2 | None = None,
) -> Trace:  # fmt: skip
    """Run one program per core from cycle 0; see `simulate_launches`. Data moves with the reference only."""
    engine = "reference" if gm is not None else engine
    return simulate_launches([Launch(tuple(programs))], platform, engine, cache, gm)
