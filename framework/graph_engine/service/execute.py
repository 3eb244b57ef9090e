"""Step 6, execution: sink loops, in which one call of the host runs many steps on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.feeds import fed
from framework.graph_engine.data.graph import AICPU, ASSERT, HOST, VARIABLE, Graph, Value
from framework.graph_engine.data.tasks import HOST_TASK
from framework.graph_engine.service.load import LoadedGraph, packed, unpacked
from framework.graph_engine.service.ranges import NARROW
from framework.ir.types import TensorType

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class SinkResult:
    """What a sink loop of some steps gives back."""

    outputs: Mapping[str, Array]
    """Output -> array[steps, ...]."""
    steps: int
    host_calls: int
    """How often control came back to the host: at the end, and whenever a step waited for the host."""


def execute(loaded: LoadedGraph, feeds: Mapping[str, Array], retries: int = 0) -> SinkResult:
    """Run one step per row of `feeds[input][steps, ...]` without returning to the host between steps.

    The inputs of all steps are uploaded first; each step takes its own from the queue and puts its results
    into another, which is read at the end. `retries` says how often the host had to begin anew before. A step
    that fails leaves the variables as it has found them.

    Raises:
        DavinciError: an input is missing, their numbers of steps differ, a rank is amid a step here, or what
            a step computes is refused.
        ShapeMismatch: an input is not `[steps, *shape]` of its type.
    """
    with _alone(loaded):
        return _steps(loaded, feeds, retries)


def _steps(loaded: LoadedGraph, feeds: Mapping[str, Array], retries: int) -> SinkResult:
    feeds = fed(loaded.graph.name, _types(loaded, feeds), feeds)
    steps = max(map(len, feeds.values()), default=1)
    _reserve(loaded, steps)
    for name in loaded.graph.inputs:
        value = loaded.graph.values[name]
        rows = np.concatenate([packed(value, row).reshape(-1).view(np.uint8) for row in feeds[name]])
        loaded.chip.write(loaded.queues[name], rows)
    loaded.retries, trips = retries, retries
    for loaded.step in range(steps):
        loaded.kept.clear()
        with _all_or_nothing(loaded):
            loaded.path = loaded.flow.run()
        trips += host_round_trips(loaded) - retries
    outputs = {name: _collected(loaded, loaded.graph.values[name], steps) for name in loaded.graph.outputs}
    return SinkResult(outputs, steps, host_calls=1 + trips)


@contextmanager
def _alone(loaded: LoadedGraph) -> Iterator[None]:
    """Refuse a second run amid another one, as ranks that share what is compiled would begin it."""
    if loaded.is_running:
        raise DavinciError(
            f"{loaded.graph.name} is amid a step on {loaded.chip.platform.name}\n"
            "  rule: its values lie in the memory of one chip, once\n"
            "  next: compile it for each rank by itself, [jit(f, device=Chip(...)) for _ in range(ranks)]"
        )
    loaded.is_running = True
    try:
        yield
    finally:
        loaded.is_running = False


@contextmanager
def _all_or_nothing(loaded: LoadedGraph) -> Iterator[None]:
    """Give variables back what they had if a step fails: some of them may be renewed by then."""
    before = {name: loaded.read(name) for name in _renewed(loaded.graph)}
    try:
        yield
    except DavinciError:
        for name, array in before.items():
            loaded.write(name, array)
        raise


def _renewed(graph: Graph) -> list[str]:
    """Return the variables that have new values by the time at which a step can fail."""
    if not any(node.op == ASSERT or node.engine in (AICPU, HOST) for node in graph.nodes):
        return []
    written = {*graph.updates.values(), *(name for node in graph.nodes for name in node.outputs)}
    return [value.name for value in graph.of_kind(VARIABLE) if value.name in written]


def counts_fit(loaded: LoadedGraph, feeds: Mapping[str, Array]) -> bool:
    """Tell whether the integers that the graph counts by fit its 32 bits in all steps."""
    given = [feeds[name] for name in loaded.graph.counts if name in feeds]
    return all(NARROW.low <= each.min(initial=0) and each.max(initial=0) <= NARROW.high for each in given)


def host_round_trips(loaded: LoadedGraph) -> int:
    """Return how often the newest step waited for the host; that it began anew is counted."""
    if loaded.path is None:
        return 0
    on_host = [number for number, task in enumerate(loaded.tasks) if task.spec.kind == HOST_TASK]
    return int(np.isin(loaded.path, on_host).sum()) + loaded.retries


def _types(loaded: LoadedGraph, feeds: Mapping[str, Array]) -> dict[str, TensorType]:
    """Return the types of the inputs; one that the graph counts by comes wider than it is stored."""
    graph = loaded.graph
    found = {name: graph.values[name].type for name in graph.inputs}
    wide = {name: np.asarray(feeds[name]).dtype for name in graph.counts if name in feeds}
    return found | {
        name: found[name].with_dtype(dtype.name)
        for name, dtype in wide.items()
        if name in found and dtype.kind == "i"
    }


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
