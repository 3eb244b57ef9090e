"""Independent tasks side by side: which of them share the cores, and on which streams they are launched.

The tasks of a step become groups, one after the other. Tasks of a group are independent, each on a stream of
its own, and all streams wait at its end: that is what is timed. What the streams wait for at least is found
from addresses later (see events), so that a device may do better than what is told here, never worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from davinci_sim.chip import Chip, Task
from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import VARIABLE, Graph
from framework.graph_engine.data.operators import kernel
from framework.graph_engine.data.tasks import HOST_TASK, KERNEL, TaskSpec
from framework.graph_engine.service.dependencies import Access, Depends, accesses, dependencies
from kernels.lang.kernel import ALIGN_BYTES, Operand
from kernels.lang.shapes import Shape, Tiling

MOST_STREAMS = 8
"""Tasks of a group. The task scheduler has hundreds of streams; the cores have room for the blocks of few."""
WINDOW = 16
"""So far behind the first task of a group others may stand that join it: what is made early lives longer."""
LARGE_BYTES = 32 << 20
"""Tasks that move more than L2 holds are not put side by side: there is nothing to gain but one start."""
Pays = Callable[[Sequence[TaskSpec], TaskSpec], bool]
"""Tells whether tasks and one more are faster side by side than that one behind them."""


def with_streams(
    tasks: Sequence[TaskSpec], graph: Graph, homes: Mapping[str, str], platform: Platform
) -> tuple[TaskSpec, ...]:
    """Return the tasks of a straight graph in the order of their groups, each with its group and stream."""
    touched = [accesses(task, graph, homes) for task in tasks]
    depends = dependencies(touched)
    updates = frozenset(n for n, mine in enumerate(touched) if _renews_variables(mine, graph))
    trials = Trials(platform, graph, homes)
    return numbered(tasks, groups_of(tasks, depends, updates, trials.pays), depends)


def _renews_variables(mine: Sequence[Access], graph: Graph) -> bool:
    """Tell whether a task makes nothing that needs memory: it may be done early."""
    written = [access.home for access in mine if access.writes]
    return bool(written) and all(graph.values[home].kind == VARIABLE for home in written)


def groups_of(
    tasks: Sequence[TaskSpec], depends: Depends, anywhere: frozenset[int], pays: Pays
) -> list[list[int]]:
    """Return the groups: each begins with the first task that is left, and takes what is ready and pays.

    Who may join stands near in the list, or is one that may be done `anywhere`. Nothing passes a task of the
    host.
    """
    waiting = [len(earlier) for earlier in depends]
    readers: list[list[int]] = [[] for _ in tasks]
    for number, earlier in enumerate(depends):
        for each in earlier:
            readers[each].append(number)
    ready = {number for number, count in enumerate(waiting) if not count}
    walls = [number for number, task in enumerate(tasks) if task.kind == HOST_TASK]
    groups, is_left = list[list[int]](), [True] * len(tasks)
    for first in range(len(tasks)):
        if not is_left[first]:
            continue
        group = [first]
        wall = next((each for each in walls if each >= first), len(tasks))
        near = (n for n in sorted(ready - {first}) if n < wall and (n <= first + WINDOW or n in anywhere))
        for number in near:
            if len(group) < MOST_STREAMS and pays([tasks[each] for each in group], tasks[number]):
                group.append(number)
        groups.append(group)
        for number in group:
            is_left[number] = False
            ready.discard(number)
            for reader in readers[number]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.add(reader)
    return groups


def numbered(
    tasks: Sequence[TaskSpec], groups: Sequence[Sequence[int]], depends: Depends
) -> tuple[TaskSpec, ...]:
    """Return tasks in the order of their groups, with the numbers of group and stream.

    The first of a group is on stream 0; another follows what it depends on, if that stream is free.
    """
    streams: dict[int, int] = {}
    found = []
    for place, group in enumerate(groups):
        free = list(range(1, len(group)))
        for number in group:
            latest = max(depends[number], default=-1)
            wanted = streams.get(latest, 0)
            if number == group[0]:
                streams[number] = 0
            else:
                streams[number] = free.pop(free.index(wanted) if wanted in free else 0)
            found.append(replace(tasks[number], group=place, stream=streams[number]))
    return tuple(found)


class Called(NamedTuple):
    """A kernel as it is called: in which memory its operands lie, and where in it, in their order."""

    kernel: str
    shape: Shape
    tiling: Tiling
    places: tuple[tuple[int, int], ...]


class Trials:
    """Simulates tasks side by side and one after the other, from an empty L2; equal questions only once."""

    def __init__(self, platform: Platform, graph: Graph, homes: Mapping[str, str]) -> None:
        """Take the values that the tasks name."""
        self.platform, self.graph, self.homes = platform, graph, homes

    def pays(self, group: Sequence[TaskSpec], more: TaskSpec) -> bool:
        """Tell whether a kernel beside others takes less than behind them."""
        if not all(each.kind == KERNEL for each in (*group, more)):
            return False
        sizes = sum(map(self._bytes, group)), self._bytes(more)
        if min(sizes) > LARGE_BYTES or sum(sizes) > int(self.platform.gm_bytes) // 2:
            return False
        *called, last = self._called([*group, more])
        beside = cycles(self.platform, ((*called, last),))
        return beside < cycles(self.platform, (tuple(called), (last,)))

    def _bytes(self, task: TaskSpec) -> int:
        return sum(self.graph.values[name].nbytes for name in task.operands.values())

    def _called(self, tasks: Sequence[TaskSpec]) -> list[Called]:
        """Return the tasks with their memories numbered as they come up, so that equal groups are equal."""
        numbers: dict[str, int] = {}
        found = []
        for task in tasks:
            assert task.shape is not None
            assert task.tiling is not None
            places = []
            for name in task.operands.values():
                value = self.graph.values[name]
                home = numbers.setdefault(self.homes.get(name, name), len(numbers))
                places.append((home, value.offset_bytes if value.whole else 0))
            found.append(Called(task.kernel, task.shape, task.tiling, tuple(places)))
        return found


@lru_cache(maxsize=1 << 14)
def cycles(platform: Platform, groups: tuple[tuple[Called, ...], ...]) -> int:
    """Return the time of groups one after the other, the tasks of each side by side."""
    chip, tops = Chip(platform, data=False), dict[int, int]()
    for called in (each for group in groups for each in group):
        for operand, (home, offset) in zip(_operands(called), called.places, strict=True):
            tops[home] = max(tops.get(home, 0), offset + operand.nbytes + operand.padding_bytes)
    bases, top = dict[int, int](), 0
    for home, nbytes in tops.items():
        bases[home] = top
        top += -(-nbytes // ALIGN_BYTES) * ALIGN_BYTES
    made = [[_task(called, bases, platform) for called in group] for group in groups]
    times = chip.times([chip.group(tasks, [()] * len(tasks)) for tasks in made])
    return sum(time.cycles for time in times)


def _operands(called: Called) -> tuple[Operand, ...]:
    return kernel(called.kernel).operands(called.shape)


def _task(called: Called, bases: Mapping[int, int], platform: Platform) -> Task:
    pairs = zip(_operands(called), called.places, strict=True)
    handles = {operand.name: bases[home] + offset for operand, (home, offset) in pairs}
    return kernel(called.kernel).deferred(called.shape, handles, platform, called.tiling)
