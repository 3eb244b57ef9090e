"""Emission states of platforms: what a kernel's function takes for a core."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from davinci_sim.core.local import space_bytes
from davinci_sim.isa import state as st
from davinci_sim.platforms import Platform
from kernels.lang.lacking import lacking_bits


class _States:
    """Keep one emission state per set of sizes, so that emitting many blocks allocates nothing."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, ...], st.CoreState] = {}

    def get(self, platform: Platform, capacity: int) -> st.CoreState:
        """Return a state with room for `capacity` records and the platform's spaces and events."""
        key = _limits(platform)
        core = self.kept.get(key)
        if core is None or len(core.words) < capacity:
            core = self.kept[key] = new_state(platform, capacity)
        return core


@lru_cache(maxsize=64)
def _limits(platform: Platform) -> tuple[int, ...]:
    """Return what an emission state knows of a platform: sizes of spaces, event ids, what it lacks."""
    return (*space_bytes(platform, 0), int(platform.event_ids_per_pipe_pair), lacking_bits(platform))


def new_state(platform: Platform, capacity: int) -> st.CoreState:
    """Return a state of its own for a platform."""
    *sizes, events, lacking = _limits(platform)
    return st.new_core_state(capacity, sizes, events, lacking)


def records_of(core: st.CoreState) -> npt.NDArray[np.int64]:
    """Return the records that a core has emitted so far, as far as there is room."""
    return core.words[: int(core.state[st.COUNT])].copy()


STATES = _States()
"""The states of this process."""
