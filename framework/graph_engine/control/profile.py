"""Where the time of a step goes: every task with its simulated time and what bounds it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from davinci_sim.chip import TaskTime
from davinci_sim.chip.flow import Timeline
from davinci_sim.errors import DavinciError
from davinci_sim.trace.stream_trace import write_stream_trace
from framework.graph_engine.data.tasks import CPU_TASK, HOST_TASK, KERNEL
from framework.graph_engine.service.compile import shape_text
from framework.graph_engine.service.execute import host_round_trips
from framework.graph_engine.service.load import BoundTask, LoadedGraph
from framework.graph_engine.service.load import Path as TaskPath

START, MEMORY = "start", "memory"
OTHER_BOUNDS = {CPU_TASK: "aicpu"}
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
    runs: int = 1


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

    def write(self, path: str | Path) -> None:
        """Write the timeline as a Chrome trace, which Perfetto opens."""
        write_stream_trace(self.timeline, path)

    def text(self) -> str:
        """Print a table: how often each task ran, and how long all its runs took."""
        lines = [f"{'runs':>7} {'us':>12}  {'bound':<10} task"]
        lines += [f"{each.runs:>7} {each.us:>12.3f}  {each.bound:<10} {each.name}" for each in self]
        on_host = self.timeline.runs_by_name(HOST_TASK)
        lines += [f"{runs:>7} {'':>12}  {HOST_TASK:<10} {name}" for name, runs in on_host.items()]
        return "\n".join([*lines, f"host_round_trips {self.host_round_trips}"]) + "\n"


def profile(loaded: LoadedGraph, op_by_op: bool = False) -> Profile:
    """Return the time of every task that the newest step ran on the device, as in a step after another one.

    What L2 holds at the beginning is what a step leaves there: a first one, from an empty L2, is not told.
    On a chip without data branches go their first way: a step with a dynamic loss scale is one that is made.
    With `op_by_op` the host sends each task by itself, which takes it the platform's `host_launch_cycles`.

    Raises:
        DavinciError: the way through branches and loops is not known, because nothing has run.
    """
    path = _path(loaded)
    loaded.chip.empty_l2()
    for _ in range(2):
        took = [_time(loaded, loaded.tasks[number]) for number in path]
    host_cycles = int(loaded.chip.platform.host_launch_cycles) if op_by_op else 0
    timeline = loaded.flow.timeline(path, [cycles for cycles, _ in took], host_cycles)
    totals: dict[int, tuple[int, int, str]] = {}
    for number, (cycles, bound) in zip(path.tolist(), took, strict=True):
        total, runs, _ = totals.get(number, (0, 0, ""))
        totals[number] = (total + cycles, runs + 1, bound)
    times = [
        _op_time(loaded, loaded.tasks[number], *each)
        for number, each in totals.items()
        if loaded.tasks[number].spec.kind != HOST_TASK
    ]
    return Profile(times, host_round_trips(loaded), timeline)


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


def _time(loaded: LoadedGraph, bound: BoundTask) -> tuple[int, str]:
    """Return the cycles of a task and what bounds them; L2 is left as the task leaves it."""
    chip = loaded.chip
    if bound.task is not None:
        time = chip.time(bound.task)
        return chip.start_cycles + time.cycles, bound_of(time, chip.start_cycles)
    cycles = bound.item.cycles(chip)
    return cycles, START if cycles < 2 * chip.start_cycles else OTHER_BOUNDS.get(bound.spec.kind, MEMORY)


def _op_time(loaded: LoadedGraph, bound: BoundTask, cycles: int, runs: int, bound_by: str) -> OpTime:
    graph, chip, spec = loaded.graph, loaded.chip, bound.spec
    node = spec.node
    if spec.kind not in (KERNEL, CPU_TASK) or node is None:
        return _scheduled(loaded, bound, cycles, runs, bound_by)
    values = [graph.values[name] for name in (*node.inputs, *node.outputs)]
    dtypes = "/".join(dict.fromkeys(value.type.dtype.name for value in values))
    formats = "/".join(dict.fromkeys(value.format for value in values))
    fused = ("bias_add",) if "bias" in spec.operands else ()
    return OpTime(
        spec.name, node.op, spec.kernel or spec.kind, shape_text(node, graph), dtypes, formats, cycles,
        chip.microseconds(cycles), spec.blocks, bound_by, fused, runs,
    )  # fmt: skip


def _scheduled(loaded: LoadedGraph, bound: BoundTask, cycles: int, runs: int, bound_by: str) -> OpTime:
    """Return the time of a copy, a label or a jump."""
    spec = bound.spec
    values = [loaded.graph.values[name] for name in spec.operands.values()]
    shape, dtype, form = "-", "-", "-"
    if values:
        shape = "x".join(map(str, values[0].type.shape)) or "1"
        dtype, form = values[0].type.dtype.name, values[0].format
    return OpTime(
        spec.name, spec.kind, bound.item.kind, shape, dtype, form, cycles,
        loaded.chip.microseconds(cycles), 0, bound_by, (), runs,
    )  # fmt: skip


def bound_of(time: TaskTime, start_cycles: int) -> str:
    """Say what a task's time is bound by: its start, or the pipe that is busiest."""
    if time.cycles < start_cycles:
        return START
    return PIPE_BOUNDS.get(time.busiest, time.busiest)
