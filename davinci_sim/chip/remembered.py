"""Times of tasks that were simulated before, by everything that they depend on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.l2 import L2, content_of, l2_with
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.chip.task import Task
from davinci_sim.core.trace import Trace
from davinci_sim.platforms import Platform

Content = npt.NDArray[np.int32]

MOST_CONTENTS = 2048
"""Contents of L2 that are kept, a quarter of a megabyte each for 32 MB; beyond, all is forgotten."""


@dataclass(frozen=True)
class TaskTime:
    """What a task takes on the cores: `cycles` from its first instruction, and how busy its pipes are."""

    cycles: int
    busy_cycles: Mapping[str, int]

    @property
    def busiest(self) -> str:
        """The pipe that works longest."""
        return max(self.busy_cycles, key=lambda pipe: self.busy_cycles[pipe], default="")


class Clockwork:
    """Simulate tasks one after the other on an otherwise idle chip, and remember their times.

    A time depends on the task, on where its tensors lie and on what L2 holds, and the task leaves L2 in a
    certain state; so both are remembered by all three, and remembering never changes a result.
    """

    def __init__(self, platform: Platform, cache: L2, engine: str, remember: bool) -> None:
        """Start with the content of L2 as given."""
        self.platform, self.engine, self.remember = platform, engine, remember
        self._contents: dict[bytes, Content] = {}  # digest -> content of L2
        self._times: dict[tuple[object, ...], tuple[TaskTime, bytes]] = {}
        self._state = b""
        self.cache = cache

    def time(self, task: Task) -> TaskTime:
        """Return the time of a task, and leave L2 as it does."""
        key = (task.key, tuple(sorted(task.operands.items())), self._state)
        if not self.remember or key not in self._times:
            time = time_of(self.trace(task))
            self._times[key] = (time, self._state)
        time, self._state = self._times[key]
        return time

    def trace(self, task: Task) -> Trace:
        """Simulate a task, whatever is remembered, and leave L2 as it does."""
        cache = self.cache
        launch = Launch(task.programs, block_cycles=int(self.platform.block_start_cycles))
        trace = simulate_launches([launch], self.platform, self.engine, cache)
        self.cache = cache
        return trace

    @property
    def cache(self) -> L2:
        """A copy of what L2 holds now; who changes it puts it back."""
        return l2_with(self._contents[self._state], self.platform)

    @cache.setter
    def cache(self, cache: L2) -> None:
        if not self.remember or len(self._contents) >= MOST_CONTENTS:
            self._contents, self._times = {}, {}
        content = content_of(cache)
        self._state = hashlib.blake2b(content.tobytes(), digest_size=16).digest()
        self._contents.setdefault(self._state, content)


def time_of(trace: Trace) -> TaskTime:
    """Return what is worth remembering of a trace."""
    busy = {pipe: int(numbers["busy_cycles"]) for pipe, numbers in trace.pipes().items()}
    return TaskTime(trace.cycles, busy)
