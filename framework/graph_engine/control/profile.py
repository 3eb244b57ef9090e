"""Where the time of a step goes: every task with its simulated time and what bounds it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path as File
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip import Chip, TaskTime
from davinci_sim.chip.flow import SPAN_DTYPE, Timeline
from davinci_sim.chip.group import Group, GroupTime
from davinci_sim.errors import DavinciError
from davinci_sim.trace.stream_trace import write_stream_trace
from framework.graph_engine.data.tasks import COLLECTIVE_TASK, CPU_TASK, HOST_TASK, KERNEL, order_within
from framework.graph_engine.service.compile import shape_text
from framework.graph_engine.service.load import BoundTask, LoadedGraph
from framework.graph_engine.service.load import Path as TaskPath

Cycles = npt.NDArray[np.float64]
START, MEMORY, CORES = "start", "memory", "cores"
WORKING = 0.5
"""Of its time, what the pipes of a task work together at least; else none works for as long: it waits."""
OTHER_BOUNDS = {CPU_TASK: "aicpu", COLLECTIVE_TASK: "link"}
PIPE_BOUNDS = {
    "M": "cube", "V": "vector", "MTE1": "L1 to L0", "MTE2": "GM read", "MTE3": "GM write",
}  # fmt: skip


@dataclass(frozen=True)
class OpTime:
    """One task of a step: the time of all its runs together."""

    name: str
    op: str
    kernel: str
    shapes: str
    dtype: str
    formats: str
    cycles: int
    us: float
    blocks: int
    bound: str
    fused: tuple[str, ...] = ()
    """The operators that its node stands for, if they are more than one."""
    runs: int = 1
    instructions: int = 0
    """Those of one run."""
    own_us: float = 0.0
    """Its part of the step: tasks that run side by side share that time evenly, so that all sum to it."""


class Profile(list[OpTime]):
    """The tasks of a step that ran on the device, each once, in the order in which they first ran.

    Attributes:
        host_round_trips: how often the step waited for the host.
        timeline: when each task started and ended, labels and jumps among them, repetitions too.
    """

    def __init__(self, times: Iterable[OpTime], host_round_trips: int, timeline: Timeline) -> None:
        """Hold the times and what belongs to all of them."""
        super().__init__(times)
        self.host_round_trips, self.timeline = host_round_trips, timeline

    @property
    def us(self) -> float:
        """The time from the start of the step to its end."""
        return self.timeline.cycles / self.timeline.clock_hz * 1e6

    def write(self, path: str | File) -> None:
        """Write the timeline as a Chrome trace, which Perfetto opens."""
        write_stream_trace(self.timeline, path)

    def text(self) -> str:
        """Print a table: how often each task ran, and how long all its runs took, from starts to ends."""
        lines = [f"{'runs':>7} {'us':>12}  {'bound':<10} task"]
        lines += [f"{each.runs:>7} {each.us:>12.3f}  {each.bound:<10} {each.name}" for each in self]
        on_host = self.timeline.runs_by_name(HOST_TASK)
        lines += [f"{runs:>7} {'':>12}  {HOST_TASK:<10} {name}" for name, runs in on_host.items()]
        return "\n".join([*lines, f"host_round_trips {self.host_round_trips}"]) + "\n"

    def whole_text(self) -> str:
        """Print the step, its tasks, and when each of them started and ended."""
        step = f"{len(self)} tasks, {self.us / 1e3:,.3f} ms a step, {self.timeline.cycles:,} cycles"
        head = f"{'start':>12} {'end, cycles':>12}  stream, what, task"
        return f"{step}\n\n{self.text()}\n{head}\n{self.timeline.text()}"


def profile(loaded: LoadedGraph, op_by_op: bool = False) -> Profile:
    """Return the time of every task that the newest step ran on the device, as in a step after another one.

    What L2 holds at the beginning is what a step leaves there: a first one, from an empty L2, is not told.
    On a chip without data branches go their first way: a step with a dynamic loss scale is one that is made.
    With `op_by_op` the host sends each task by itself, which takes it the platform's `host_launch_cycles`.
    Tasks that run side by side take the time from their starts to their ends, so that all of them together
    take more than the step.

    Raises:
        DavinciError: the way through branches and loops is not known, because nothing has run.
    """
    path = _path(loaded)
    loaded.chip.empty_l2()
    for _ in range(2):
        took = _times(loaded, path)
    timeline = _timeline(loaded, path, took, op_by_op)
    totals: dict[int, _Took] = {}
    for number, each in zip(path.tolist(), took, strict=True):
        known = totals.get(number)
        totals[number] = each if known is None else each.beside(known)
    own = np.bincount(timeline.spans["task"], _own_cycles(timeline), len(loaded.tasks)).tolist()
    us = 1e6 / timeline.clock_hz
    times = [
        replace(_op_time(loaded, loaded.tasks[number], each), own_us=own[number] * us)
        for number, each in totals.items()
        if loaded.tasks[number].spec.kind != HOST_TASK
    ]
    return Profile(times, timeline.runs(HOST_TASK) + loaded.retries, timeline)


def _own_cycles(timeline: Timeline) -> Cycles:
    """Return for each span its part of the time: where n run side by side, one nth of it."""
    starts, ends = timeline.spans["start"], timeline.spans["end"]
    points = np.unique(np.concatenate([starts, ends]))
    changes = np.bincount(np.searchsorted(points, starts), minlength=len(points))
    changes -= np.bincount(np.searchsorted(points, ends), minlength=len(points))
    side_by_side = np.maximum(np.cumsum(changes), 1)
    passed = np.concatenate([[0.0], np.cumsum(np.diff(points) / side_by_side[:-1])])
    found: Cycles = passed[np.searchsorted(points, ends)] - passed[np.searchsorted(points, starts)]
    return found


def _path(loaded: LoadedGraph) -> TaskPath:
    """Return the tasks of the newest step, or of a step that has not run, in order."""
    if loaded.path is not None:
        return loaded.path
    if loaded.graph.is_straight:
        return loaded.flow.straight()
    path = None if loaded.chip.has_data else loaded.flow.first_ways()
    if path is None:
        raise DavinciError(
            f"{loaded.graph.name} has branches or loops, and has not run\n"
            "  rule: what they take depends on the data\n  next: call it first"
        )
    return path


class _Took(NamedTuple):
    """What runs of a task take together, and what bounds the newest one."""

    cycles: int
    bound: str
    instructions: int = 0
    runs: int = 1
    start: int = 0
    """When the newest one started, in cycles of its group."""

    def beside(self, earlier: _Took) -> _Took:
        """Return this run together with earlier ones."""
        return self._replace(cycles=self.cycles + earlier.cycles, runs=self.runs + earlier.runs)


def _times(loaded: LoadedGraph, path: TaskPath) -> list[_Took]:
    """Return what the tasks of a path take; L2 is left as they leave it.

    What runs beside the cores leaves L2 as it is, so that the groups of kernels follow each other there. A
    collective waits for no kernel of its group, and no kernel there for it.
    """
    chip, tasks = loaded.chip, [loaded.tasks[number] for number in path]
    groups = [tuple(group) for _, group in groupby(tasks, key=lambda each: each.spec.group)]
    kernels = [tuple(each for each in group if each.task is not None) for group in groups]
    times = iter(chip.times([_on_chip(chip, group) for group in kernels if group]))
    found = (took for group in kernels if group for took in _on_cores(chip, group, next(times)))
    return [
        next(found) if each.task is not None else took
        for group in groups
        for each, took in zip(group, _elsewhere_in(chip, group), strict=True)
    ]


def _on_chip(chip: Chip, group: Sequence[BoundTask]) -> Group:
    """Return kernels that run side by side, each behind what it waits for."""
    return chip.group(
        [each.task for each in group if each.task is not None], order_within([each.spec for each in group])
    )


def _on_cores(chip: Chip, group: Sequence[BoundTask], times: GroupTime) -> Iterator[_Took]:
    """Yield what kernels that run side by side take, their starts included."""
    ai_cores = int(chip.platform.ai_cores)
    is_full = sum(each.spec.blocks for each in group) > ai_cores and len(group) > 1
    for each, (begin, end), time in zip(group, times.spans, times.times, strict=True):
        bound = bound_of(time, chip.start_cycles)
        works = sum(time.busy_cycles.values()) / max(1, min(each.spec.blocks, ai_cores))
        if is_full and bound != START and works < WORKING * time.cycles:
            bound = CORES
        start = begin - chip.start_cycles
        yield _Took(end - start, bound, instructions=time.instructions, start=start)


def _elsewhere_in(chip: Chip, group: Sequence[BoundTask]) -> Iterator[_Took]:
    """Yield what the tasks of a group take that are no kernels; collectives follow each other."""
    on_links = 0
    for each in group:
        if each.task is not None:
            yield _Took(0, START)
            continue
        took = _elsewhere(chip, each)
        if each.spec.kind == COLLECTIVE_TASK:
            took = took._replace(start=on_links)
            on_links += took.cycles
        yield took


def _elsewhere(chip: Chip, bound: BoundTask) -> _Took:
    cycles = bound.item.cycles(chip)
    is_short = cycles < 2 * chip.start_cycles
    return _Took(cycles, START if is_short else OTHER_BOUNDS.get(bound.spec.kind, MEMORY))


def _timeline(loaded: LoadedGraph, path: TaskPath, took: Sequence[_Took], op_by_op: bool) -> Timeline:
    """Return when tasks start and end: groups follow each other, as tasks of one stream do."""
    specs = [loaded.tasks[number].spec for number in path]
    if not any(spec.stream for spec in specs):
        host_cycles = int(loaded.chip.platform.host_launch_cycles) if op_by_op else 0
        return loaded.flow.timeline(path, [each.cycles for each in took], host_cycles)
    spans = np.zeros(len(path), dtype=SPAN_DTYPE)
    spans["task"], spans["stream"] = path, [spec.stream for spec in specs]
    at = first = 0
    for _, group in groupby(specs, key=lambda spec: spec.group):
        rows = range(first, first + len(list(group)))
        for row in rows:
            spans["start"][row] = at + took[row].start
            spans["end"][row] = at + took[row].start + took[row].cycles
        at, first = int(spans["end"][rows.start : rows.stop].max()), rows.stop
    return Timeline(loaded.flow.tasks, spans, float(loaded.chip.platform.clock_hz))


def _op_time(loaded: LoadedGraph, bound: BoundTask, took: _Took) -> OpTime:
    graph, chip, spec = loaded.graph, loaded.chip, bound.spec
    node = spec.node
    if spec.kind not in (KERNEL, *OTHER_BOUNDS) or node is None:
        return _scheduled(loaded, bound, took)
    values = [graph.values[name] for name in (*node.inputs, *node.outputs)]
    dtypes = "/".join(dict.fromkeys(value.type.dtype.name for value in values))
    formats = "/".join(dict.fromkeys(value.format for value in values))
    return OpTime(
        spec.name, node.op, spec.kernel or spec.kind, shape_text(node, graph), dtypes, formats, took.cycles,
        chip.microseconds(took.cycles), spec.blocks, took.bound, node.fused, took.runs, took.instructions,
    )  # fmt: skip


def _scheduled(loaded: LoadedGraph, bound: BoundTask, took: _Took) -> OpTime:
    """Return the time of a copy, a label or a jump."""
    spec = bound.spec
    values = [loaded.graph.values[name] for name in spec.operands.values()]
    shape, dtype, form = "-", "-", "-"
    if values:
        shape = "x".join(map(str, values[0].type.shape)) or "1"
        dtype, form = values[0].type.dtype.name, values[0].format
    return OpTime(
        spec.name, spec.kind, bound.item.kind, shape, dtype, form, took.cycles,
        loaded.chip.microseconds(took.cycles), 0, took.bound, (), took.runs,
    )  # fmt: skip


def bound_of(time: TaskTime, start_cycles: int) -> str:
    """Say what a task's time is bound by: its start, or the pipe that is busiest."""
    if time.cycles < start_cycles:
        return START
    return PIPE_BOUNDS.get(time.busiest, time.busiest)
