"""Independent tasks side by side: which of them share the cores, and on which streams they are launched.

The tasks of a step become groups, one after the other. In a group a task waits for what it depends on, and
all streams wait at its end: that is what is timed. What the streams have to wait for at the least is found
from addresses later (see events), so that a device may do better than what is told here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from davinci_sim.chip import Chip, Task
from davinci_sim.chip.collectives import collective_cycles
from davinci_sim.platforms import Platform
from framework.graph_engine.data.decisions import decided
from framework.graph_engine.data.graph import VARIABLE, Graph
from framework.graph_engine.data.operators import kernel
from framework.graph_engine.data.tasks import COLLECTIVE_TASK, KERNEL, TaskSpec
from framework.graph_engine.service.dependencies import LINKS, Access, Depends, accesses, dependencies
from kernels.lang.kernel import ALIGN_BYTES, Operand
from kernels.lang.shapes import Shape, Tiling

MOST_TASKS = 8
"""Tasks of a group, and thereby streams. The task scheduler has hundreds, the cores room for few."""
WINDOW = 16
"""So far behind the first task of a group others may stand that join it: what is made early lives longer."""
LARGE_BYTES = 32 << 20
"""Tasks that move more than L2 holds are not put side by side: there is nothing to gain but one start."""
OWN_SOURCE = ("graph_engine/service/streams.py",)
"""What answers depend on of the framework: they are simulated here, and handed down as shapes and tilings."""
Pays = Callable[[Sequence[int], int], bool]
"""Tells whether tasks, by number, and one more are faster side by side than that one behind them."""


def with_streams(
    tasks: Sequence[TaskSpec], graph: Graph, homes: Mapping[str, str], platform: Platform
) -> tuple[TaskSpec, ...]:
    """Return tasks in the order of their groups, each with its group and stream."""
    tasks = links_first(tasks, graph, homes)
    touched = [accesses(task, graph, homes) for task in tasks]
    depends = dependencies(touched)
    early = frozenset(n for n, mine in enumerate(touched) if _may_be_early(tasks[n], mine, graph))
    trials = Trials(platform, graph, homes, tasks, depends)
    links = frozenset(n for n, task in enumerate(tasks) if task.kind == COLLECTIVE_TASK)
    groups = groups_of(depends, early, trials.pays, links)
    for remembering in (_chip, _task):  # which take room, and were for trials that follow each other
        remembering.cache_clear()
    return numbered(tasks, groups, depends)


def links_first(tasks: Sequence[TaskSpec], graph: Graph, homes: Mapping[str, str]) -> tuple[TaskSpec, ...]:
    """Return tasks with each collective directly behind the last one that it needs.

    They are made in this order, on all ranks: in that of the program the first could be the last to be ready,
    as those of gradients are.
    """
    if not any(task.kind == COLLECTIVE_TASK for task in tasks):
        return tuple(tasks)
    touched = [[access for access in accesses(task, graph, homes) if access.home != LINKS] for task in tasks]
    depends = dependencies(touched)

    def place(number: int) -> tuple[int, bool, int]:
        is_link = tasks[number].kind == COLLECTIVE_TASK
        return (max(depends[number], default=-1) if is_link else number, is_link, number)

    return tuple(tasks[number] for number in sorted(range(len(tasks)), key=place))


def _may_be_early(task: TaskSpec, mine: Sequence[Access], graph: Graph) -> bool:
    """Tell whether a task is worth to be done early: a collective, or one that makes what needs no memory.

    Such a task renews variables. A collective needs as much memory as it frees, and its links are idle.
    """
    if task.kind == COLLECTIVE_TASK:
        return True
    written = [access.home for access in mine if access.writes]
    return bool(written) and all(
        home in graph.values and graph.values[home].kind == VARIABLE for home in written
    )


def groups_of(
    depends: Depends, anywhere: frozenset[int], pays: Pays, soon: frozenset[int] = frozenset()
) -> list[list[int]]:
    """Return the groups: each begins with the first task that is left, and takes what may join and pays.

    What it depends on has to be in earlier groups or in this one. It stands near in the list, or is one that
    may be done `anywhere`. Those to be done `soon` are asked before others.
    """
    readers: list[list[int]] = [[] for _ in depends]
    for number, earlier in enumerate(depends):
        for each in earlier:
            readers[each].append(number)
    waiting = [len(earlier) for earlier in depends]
    ready = {number for number, count in enumerate(waiting) if not count}
    groups, is_left = list[list[int]](), [True] * len(depends)
    for first in range(len(depends)):
        if not is_left[first]:
            continue
        group = list[int]()
        near = (n for n in ready if n <= first + WINDOW or n in anywhere)
        candidates = [(False, first), *((n not in soon, n) for n in near if n != first)]
        heapify(candidates)
        while candidates and len(group) < MOST_TASKS:
            _, number = heappop(candidates)
            if group and not pays(group, number):
                continue
            group.append(number)
            is_left[number] = False
            ready.discard(number)
            for reader in readers[number]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.add(reader)
                    if reader <= first + WINDOW or reader in anywhere:
                        heappush(candidates, (reader not in soon, reader))
        groups.append(group)
    return groups


def numbered(
    tasks: Sequence[TaskSpec], groups: Sequence[Sequence[int]], depends: Depends
) -> tuple[TaskSpec, ...]:
    """Return tasks in the order of their groups, with the numbers of group and stream.

    The first of a group is on stream 0; another goes behind what it depends on, if nothing else of the group
    stands there already.
    """
    streams: dict[int, int] = {}
    found = []
    for place, group in enumerate(groups):
        last: dict[int, int] = {}  # stream -> the newest task of the group on it
        for number in group:
            fresh = next(stream for stream in count() if stream not in last)
            newest_first = sorted(depends[number], reverse=True) if last else []
            behind = (streams[each] for each in newest_first if last.get(streams[each], each) == each)
            streams[number] = next(behind, fresh)
            last[streams[number]] = number
            found.append(replace(tasks[number], group=place, stream=streams[number]))
    return tuple(found)


class Called(NamedTuple):
    """A kernel as it is called: in which memory its operands lie, and where in it, in their order."""

    kernel: str
    shape: Shape
    tiling: Tiling
    places: tuple[tuple[int, int], ...]


Order = tuple[tuple[int, ...], ...]
"""For each task of a group, by place, those that it waits for."""


class Together(NamedTuple):
    """A group as it is called."""

    called: tuple[Called, ...]
    order: Order


class Trials:
    """Asks whether tasks are faster side by side; equal questions only once, those of other processes too."""

    def __init__(
        self,
        platform: Platform,
        graph: Graph,
        homes: Mapping[str, str],
        tasks: Sequence[TaskSpec],
        depends: Depends,
    ) -> None:
        """Take the tasks and the values that they name."""
        self.platform, self.graph, self.homes = platform, graph, homes
        self.tasks, self.depends = tasks, depends

    def pays(self, group: Sequence[int], more: int) -> bool:
        """Tell whether a kernel among others takes less than behind them."""
        tasks = [self.tasks[number] for number in (*group, more)]
        if any(task.kind == COLLECTIVE_TASK for task in tasks):
            return self._pays_beside_links(group, more)
        if not all(task.kind == KERNEL for task in tasks) or not self._has_company(group, more):
            return False
        *sizes, own = map(self._bytes, tasks)
        if min(sum(sizes), own) > LARGE_BYTES or sum(sizes) + own > int(self.platform.gm_bytes) // 2:
            return False
        return _is_faster(self.platform, Together(self._called(tasks), self._order([*group, more])))

    def _pays_beside_links(self, group: Sequence[int], more: int) -> bool:
        """Tell whether to put collectives beside kernels, of which none waits for one, nor one for them.

        They follow each other on the links. One more joins while the kernels take longer than they do; while
        they take longer, so does a kernel that would have to follow the others anyway. Else it has to pay
        among the kernels.
        """
        kinds = {number: self.tasks[number].kind for number in (*group, more)}
        links = [number for number, kind in kinds.items() if kind == COLLECTIVE_TASK]
        kernels = [number for number, kind in kinds.items() if kind == KERNEL]
        waits = any(a in self.depends[b] or b in self.depends[a] for a in links for b in kernels)
        if waits or not kernels or len(links) + len(kernels) < len(kinds):
            return False
        if more in links:
            return self._link_cycles(links[:-1]) < self._kernel_cycles(kernels)
        *others, _ = kernels
        if not others:
            return True
        is_short = self._kernel_cycles(others) < self._link_cycles(links)
        return (is_short and not self._has_company(others, more)) or self.pays(others, more)

    def _link_cycles(self, links: Sequence[int]) -> int:
        """Return what collectives take, one behind the other."""
        nodes = [node for node in (self.tasks[number].node for number in links) if node is not None]
        return sum(
            int(self.platform.task_start_cycles)
            + collective_cycles(self.platform, node.op, self.graph.moved_bytes(node), node.ranks)
            for node in nodes
        )

    def _kernel_cycles(self, kernels: Sequence[int]) -> int:
        """Return what kernels take as they are put side by side."""
        called = self._called([self.tasks[number] for number in kernels])
        return _cycles(self.platform, Together(called, self._order(kernels)))

    def _has_company(self, group: Sequence[int], more: int) -> bool:
        """Tell whether a group holds something that a task does not have to wait for."""
        waits_for = {more}
        for number in sorted(group, reverse=True):
            if any(number in self.depends[later] for later in waits_for):
                waits_for.add(number)
        return len(waits_for) <= len(group)

    def _order(self, numbers: Sequence[int]) -> Order:
        """Return what each task of a group waits for, by place in the group."""
        place = {number: at for at, number in enumerate(numbers)}
        return tuple(
            tuple(sorted(place[each] for each in self.depends[number] if each in place)) for number in numbers
        )

    def _bytes(self, task: TaskSpec) -> int:
        return sum(self.graph.values[name].nbytes for name in task.operands.values())

    def _called(self, tasks: Sequence[TaskSpec]) -> tuple[Called, ...]:
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
        return tuple(found)


@lru_cache(maxsize=1 << 14)
def _is_faster(platform: Platform, together: Together) -> bool:
    """Tell whether a group takes less than its last task behind the others."""
    asked = f"beside {platform.name} {platform.digest} {together}"
    called = {each.kernel for each in together.called}
    return bool(decided(asked, called, lambda: [int(_found(platform, together))], parts=OWN_SOURCE)[0])


@lru_cache(maxsize=1 << 14)
def _cycles(platform: Platform, together: Together) -> int:
    """Return what a group takes from an empty L2."""

    def found() -> list[int]:
        chip = _chip(platform)
        chip.empty_l2()
        return [chip.time_of_group(_tasks(platform, together.called), together.order).cycles]

    asked = f"time of {platform.name} {platform.digest} {together}"
    return int(decided(asked, {each.kernel for each in together.called}, found, parts=OWN_SOURCE)[0])


def _found(platform: Platform, together: Together) -> bool:
    """Simulate a group both ways, from an empty L2, as far as that is needed.

    What waits for a task that ends last starts beside the group when it would behind it. And what a group
    takes no longer with than without, but for the start of a task, is not faster behind it.
    """
    chip, after = _chip(platform), together.order
    *tasks, more = _tasks(platform, together.called)
    chip.empty_l2()
    without = chip.time_of_group(tasks, after[:-1])
    if any(without.spans[each][1] == without.cycles for each in after[-1]):
        return False
    chip.empty_l2()
    beside = chip.time_of_group([*tasks, more], after).cycles
    if beside <= without.cycles + chip.start_cycles:
        return True
    chip.empty_l2()
    behind = sum(time.cycles for time in chip.times([chip.group(tasks, after[:-1]), chip.group([more])]))
    return beside < behind


@lru_cache(maxsize=1)
def _chip(platform: Platform) -> Chip:
    """Return the chip of the trials: what they tell is kept on disk, not the times that it was told from."""
    return Chip(platform, data=False, keep_times=False)


def _tasks(platform: Platform, called: Sequence[Called]) -> list[Task]:
    """Return tasks whose memories lie behind each other."""
    tops = dict[int, int]()
    for each in called:
        for operand, (home, offset) in zip(_operands(each), each.places, strict=True):
            tops[home] = max(tops.get(home, 0), offset + operand.nbytes + operand.padding_bytes)
    bases, top = dict[int, int](), 0
    for home, nbytes in tops.items():
        bases[home] = top
        top += -(-nbytes // ALIGN_BYTES) * ALIGN_BYTES
    return [
        _task(platform, each, tuple(bases[home] + offset for home, offset in each.places)) for each in called
    ]


def _operands(called: Called) -> tuple[Operand, ...]:
    return kernel(called.kernel).operands(called.shape)


@lru_cache(maxsize=MOST_TASKS)
def _task(platform: Platform, called: Called, addresses: tuple[int, ...]) -> Task:
    """Return a task that keeps its programs: trials that follow each other have most tasks in common."""
    names = (operand.name for operand in _operands(called))
    handles = dict(zip(names, addresses, strict=True))
    made = kernel(called.kernel).deferred(called.shape, handles, platform, called.tiling)
    return replace(made, emit=cache(made.emit))
