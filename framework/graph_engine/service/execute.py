"""Step 6, execution: sink loops, in which one call of the host runs many steps on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from davinci_sim.errors import ShapeMismatch
from framework.graph_engine.data.graph import TRANS_DATA, Value
from framework.graph_engine.service.compile import COPY, GET, HOST_TASK, KERNEL, PUT
from framework.graph_engine.service.load import BoundTask, LoadedGraph, packed, unpacked
from framework.ir.registry import OPERATORS

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SinkResult:
    """What a sink loop of some steps gives back."""

    outputs: Mapping[str, Array]
    """Output -> array[steps, ...]."""
    steps: int
    host_calls: int
    """How often control came back to the host: once, and once per step for every node without a kernel."""


def execute(loaded: LoadedGraph, feeds: Mapping[str, Array]) -> SinkResult:
    """Run one step per row of `feeds[input][steps, ...]` without returning to the host between steps.

    The inputs of all steps are uploaded first; each step takes its own from the queue and puts its results
    into another, which is read at the end.

    Raises:
        ShapeMismatch: an input is missing, or is not `[steps, *shape]`.
    """
    steps = _steps(loaded, feeds)
    _reserve(loaded, steps)
    for name in loaded.graph.inputs:
        value = loaded.graph.values[name]
        rows = np.concatenate([packed(value, row).reshape(-1).view(np.uint8) for row in feeds[name]])
        loaded.chip.write(loaded.queues[name], rows)
    for step in range(steps):
        for task in loaded.tasks:
            _run(loaded, task, step)
    outputs = {name: _collected(loaded, loaded.graph.values[name], steps) for name in loaded.graph.outputs}
    host_tasks = sum(task.spec.kind == HOST_TASK for task in loaded.tasks)
    return SinkResult(outputs, steps, host_calls=1 + steps * host_tasks)


def _run(loaded: LoadedGraph, task: BoundTask, step: int) -> None:
    kind = task.spec.kind
    if kind == KERNEL and task.task is not None:
        loaded.chip.run(task.task)
    elif kind == HOST_TASK:
        _run_on_host(loaded, task)
    elif kind == COPY:
        size = loaded.graph.values[task.spec.operands["src"]].nbytes
        loaded.chip.copy(task.handles["dst"], task.handles["src"], size)
    elif kind in (GET, PUT):
        name = task.spec.operands["dst" if kind == GET else "src"]
        size = loaded.graph.values[name].nbytes
        slot = loaded.queues[name] + step * size
        ends = (task.handles["dst"], slot) if kind == GET else (slot, task.handles["src"])
        loaded.chip.copy(*ends, size)


def _run_on_host(loaded: LoadedGraph, task: BoundTask) -> None:
    """Compute a node in NumPy: download its inputs, upload its outputs; both ways undo and apply formats."""
    node = task.spec.node
    if node is None:
        return
    arrays = [loaded.read(name) for name in node.inputs]
    results = arrays if node.op == TRANS_DATA else OPERATORS[node.op].run(arrays, node.attrs)
    for name, array in zip(node.outputs, results, strict=True):
        loaded.write(name, array)


def _steps(loaded: LoadedGraph, feeds: Mapping[str, Array]) -> int:
    counts = set()
    for name in loaded.graph.inputs:
        shape = loaded.graph.values[name].type.shape
        given = feeds[name].shape if name in feeds else "nothing"
        if name not in feeds or feeds[name].shape[1:] != shape:
            raise ShapeMismatch(
                f"input {name} of {loaded.graph.name}: given {given}\n"
                f"  rule: the graph was compiled for (steps, *{shape})\n"
                "  next: compile for the other shape, or feed whole batches"
            )
        counts.add(len(feeds[name]))
    if len(counts) > 1:
        raise ShapeMismatch(
            f"inputs of {loaded.graph.name} have {sorted(counts)} steps\n  rule: all have the same number"
        )
    return counts.pop() if counts else 1


def _reserve(loaded: LoadedGraph, steps: int) -> None:
    """Make the queues long enough."""
    if steps <= loaded.queue_steps:
        return
    for name in (*loaded.graph.inputs, *loaded.graph.outputs):
        nbytes = steps * loaded.graph.values[name].nbytes
        loaded.queues[name] = loaded.chip.allocate(nbytes, f"queue of {name}")
    loaded.queue_steps = steps


def _collected(loaded: LoadedGraph, value: Value, steps: int) -> Array:
    start = loaded.queues[value.name]
    return np.stack([unpacked(loaded.chip, value, start + step * value.nbytes) for step in range(steps)])
