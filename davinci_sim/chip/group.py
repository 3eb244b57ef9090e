"""Groups of tasks between two points at which all of them wait, and what they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.launch import Launch
from davinci_sim.chip.task import Task
from davinci_sim.core.trace import SYNC, Trace
from davinci_sim.isa.jit import uncounted_jit

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Tasks that share an otherwise idle chip; task n starts when those numbered `after[n]` have ended.

    `start_cycles` later its first block stands in line for a core. A task alone has nothing to wait for.
    """

    tasks: tuple[Task, ...]
    after: tuple[tuple[int, ...], ...] = ((),)
    start_cycles: int = 0

    def launches(self, block_cycles: int) -> list[Launch]:
        """Return what the engines run; the tasks are emitted here if they were not before."""
        return [
            Launch(task.programs, self.start_cycles, block_cycles, after)
            for task, after in zip(self.tasks, self.after, strict=True)
        ]


@dataclass(frozen=True)
class TaskTime:
    """What a task takes on the cores: `cycles` from its first instruction, and how busy its pipes are."""

    cycles: int
    busy_cycles: Mapping[str, int]
    instructions: int = 0
    """How many records all its blocks have together."""

    @property
    def busiest(self) -> str:
        """The pipe that works longest."""
        return max(self.busy_cycles, key=lambda pipe: self.busy_cycles[pipe], default="")


@dataclass(frozen=True)
class GroupTime:
    """When each task of a group starts and ends, in cycles of the group, and what it takes."""

    spans: tuple[tuple[int, int], ...]
    times: tuple[TaskTime, ...]

    @property
    def cycles(self) -> int:
        """The end of the last task."""
        return max((end for _, end in self.spans), default=0)


@uncounted_jit
def _sum_up(
    columns: tuple[Numbers, Numbers, Numbers], task: npt.NDArray[np.int32], op: npt.NDArray[np.int16],
    pipe: npt.NDArray[np.int8], is_work: npt.NDArray[np.bool_], busy: Numbers, last: Numbers,
) -> None:  # fmt: skip
    """Add to busy[task, pipe] what a record works; keep in last[task] when the last result is there."""
    start, end, ready = columns
    for r in range(start.shape[0]):
        last[task[r]] = max(last[task[r]], ready[r])
        if is_work[op[r]]:
            busy[task[r], pipe[r]] += end[r] - start[r]


def time_of(trace: Trace) -> GroupTime:
    """Return what is worth remembering of a trace."""
    rows, is_work = trace.records, np.array([name not in SYNC for name in trace.op_names])
    busy = np.zeros((len(trace.spans), len(trace.pipe_names)), dtype=np.int64)
    last = np.array([start for start, _ in trace.spans], dtype=np.int64)
    counts = np.bincount(rows["task"], minlength=len(trace.spans)).tolist()
    columns = rows["start"], rows["end"], rows["ready"]
    if len(rows):
        _sum_up(columns, rows["task"], rows["op"], rows["pipe"], is_work, busy, last)
    times = (
        TaskTime(int(last[task]) - start, _named(busy[task], trace.pipe_names), counts[task])
        for task, (start, _) in enumerate(trace.spans)
    )
    return GroupTime(trace.spans, tuple(times))


def _named(busy: Numbers, names: Sequence[str]) -> dict[str, int]:
    """Return the cycles of the pipes that work, by name."""
    return {name: cycles for name, cycles in zip(names, busy.tolist(), strict=True) if cycles}
