"""Where the time of a step goes: every task with its simulated time and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass

from davinci_sim.chip import TaskTime
from framework.graph_engine.service.compile import HOST_TASK, KERNEL, shape_text
from framework.graph_engine.service.load import BoundTask, LoadedGraph

START, MEMORY = "start", "memory"
PIPE_BOUNDS = {
    "M": "cube", "V": "vector", "MTE1": "L1 to L0", "MTE2": "GM read", "MTE3": "GM write",
}  # fmt: skip


@dataclass(frozen=True)
class OpTime:
    """One task of a step."""

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


def profile(loaded: LoadedGraph) -> list[OpTime]:
    """Return the time of every task that runs on the device, in order, in a step that follows another.

    What L2 holds at the beginning is what a step leaves there: a first one, from an empty L2, is not told.
    """
    loaded.chip.empty_l2()
    for _ in range(2):
        times = [_op_time(loaded, task) for task in loaded.tasks if task.spec.kind != HOST_TASK]
    return times


def _op_time(loaded: LoadedGraph, bound: BoundTask) -> OpTime:
    graph, chip, spec = loaded.graph, loaded.chip, bound.spec
    if spec.kind == KERNEL and bound.task is not None and spec.node is not None:
        time = chip.time(bound.task)
        cycles = chip.start_cycles + time.cycles
        values = [graph.values[name] for name in (*spec.node.inputs, *spec.node.outputs)]
        dtypes = "/".join(dict.fromkeys(value.type.dtype.name for value in values))
        formats = "/".join(dict.fromkeys(value.format for value in values))
        fused = ("bias_add",) if "bias" in spec.operands else ()
        return OpTime(
            spec.name, spec.node.op, spec.kernel, shape_text(spec.node, graph), dtypes, formats, cycles,
            chip.microseconds(cycles), spec.blocks, bound_of(time, chip.start_cycles),
            fused,
        )  # fmt: skip
    value = graph.values[next(iter(spec.operands.values()))]
    cycles = chip.copy_cycles(value.nbytes)
    shape = "x".join(map(str, value.type.shape)) or "1"
    bound_by = START if cycles < 2 * chip.start_cycles else MEMORY
    return OpTime(
        spec.name, spec.kind, "memcpy", shape, value.type.dtype.name, value.format, cycles,
        chip.microseconds(cycles), 0, bound_by,
    )  # fmt: skip


def bound_of(time: TaskTime, start_cycles: int) -> str:
    """Say what a task's time is bound by: its start, or the pipe that is busiest."""
    if time.cycles < start_cycles:
        return START
    return PIPE_BOUNDS.get(time.busiest, time.busiest)
