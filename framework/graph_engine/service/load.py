"""Step 5, loading: weights and constants to device memory, tasks bound to addresses, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from davinci_sim.chip import Chip, Task
from davinci_sim.chip.flow import Flow, StreamTask
from framework.feeds import check_state
from framework.graph_engine.data import storage
from framework.graph_engine.data.graph import CONSTANT, VARIABLE, Graph, Value
from framework.graph_engine.data.memory import ALIGN_BYTES
from framework.graph_engine.data.operators import kernel
from framework.graph_engine.data.tasks import KERNEL, TaskSpec
from framework.graph_engine.service.bind import bound
from framework.graph_engine.service.compile import CompiledGraph
from framework.graph_engine.service.room import check_space
from kernels.compiled import ensure

Array = np.ndarray[Any, Any]
Path = np.ndarray[Any, np.dtype[np.int32]]
WORKSPACE = "workspace"


@dataclass(frozen=True)
class BoundTask:
    """A task with addresses; `task` is None where no kernel runs (copies, jumps, AI CPU, host)."""

    spec: TaskSpec
    item: StreamTask
    task: Task | None = None


class Place(NamedTuple):
    """A range of device memory, and whose it is."""

    start: int
    nbytes: int
    kind: str
    name: str


@dataclass
class LoadedGraph:
    """A compiled graph on a chip, ready to run."""

    compiled: CompiledGraph
    chip: Chip
    handles: Mapping[str, int]
    tasks: tuple[BoundTask, ...] = ()
    queues: dict[str, int] = field(default_factory=dict)
    """Input or output -> where its values of all steps of a sink loop lie."""
    queue_steps: int = 0
    step: int = 0
    """Which one of a sink loop runs."""
    path: Path | None = None
    """The tasks of the newest step in the order in which they ran; None before the first one."""
    retries: int = 0
    """How often the host had to begin the newest run anew, because a loop had too many turns for its room."""
    workspace: int = 0
    """Where the workspace begins."""
    is_running: bool = False
    """Whether somebody is amid a step: another rank would write over its values."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What parts of the host leave to others and has no place in device memory."""

    @cached_property
    def flow(self) -> Flow:
        """The tasks as the scheduler runs them."""
        return Flow(self.chip, [task.item for task in self.tasks])

    @property
    def graph(self) -> Graph:
        """The graph that was compiled."""
        return self.compiled.graph

    def places(self) -> list[Place]:
        """Return what fills the device memory, by address: variables, constants and the workspace."""
        held = (value for value in self.graph.values.values() if value.kind in (VARIABLE, CONSTANT))
        found = [Place(self.handles[each.name], each.nbytes, each.kind, each.name) for each in held]
        if self.compiled.memory.peak_bytes:
            found.append(Place(self.workspace, self.compiled.memory.peak_bytes, WORKSPACE, WORKSPACE))
        return sorted(found)

    def text(self) -> str:
        """Print a line per range of device memory, and where each value of the workspace lies."""
        lines = [
            f"{each.start:>14,} {each.nbytes:>14,}  {each.kind:<9} %{each.name}" for each in self.places()
        ]
        for name, offset in sorted(self.compiled.memory.offsets.items(), key=lambda each: each[1]):
            value = self.graph.values[name]
            lines.append(f"{self.workspace + offset:>14,} {value.nbytes:>14,}  in it     {value}")
        head = [f"{self.graph.name} on {self.chip.platform.name}: {len(self.tasks)} tasks bound"]
        if (apart := self.compiled.align_bytes) > ALIGN_BYTES:
            head.append(
                f"each begins at a multiple of {apart:,} bytes, where layers that are alike meet L2 alike: a "
                "chip without data holds no gaps"
            )
        head.append(f"{'address':>14} {'bytes':>14}")
        return "\n".join([*head, *lines]) + "\n"

    def write(self, name: str, array: Array) -> None:
        """Upload an array in the format that its value has on the device."""
        self.chip.write(self.handles[name], packed(self.graph.values[name], array))

    def read(self, name: str) -> Array:
        """Download a value as an array of its logical shape."""
        return unpacked(self.chip, self.graph.values[name], self.handles[name])


def load(compiled: CompiledGraph, chip: Chip, state: Mapping[str, Array]) -> LoadedGraph:
    """Place a compiled graph on a chip and upload its variables and constants, if it holds data.

    Raises:
        OutOfSpace: the device memory cannot hold it; the message names what needs most.
        DavinciError: the state lacks a variable, or has one of another type.
    """
    check_space(compiled, chip)
    if chip.has_data:
        variables = {value.name: value.type for value in compiled.graph.of_kind(VARIABLE)}
        check_state(compiled.graph.name, variables, state)
    handles: dict[str, int] = {}
    graph = compiled.graph
    for value in graph.values.values():
        if value.kind in (VARIABLE, CONSTANT):
            handles[value.name] = chip.allocate(value.nbytes, value.name, compiled.align_bytes)
    workspace = chip.allocate(compiled.memory.peak_bytes, WORKSPACE, compiled.align_bytes)
    begin = {**handles, **{name: workspace + at for name, at in compiled.memory.offsets.items()}}
    for name, home in compiled.homes.items():
        if home in begin:
            handles[name] = begin[home] + graph.values[name].offset_bytes
    ensure(spec.kernel for spec in compiled.tasks if spec.kind == KERNEL)
    loaded = LoadedGraph(compiled, chip, handles, workspace=workspace)
    loaded.tasks = tuple(_bound(spec, loaded) for spec in compiled.tasks)
    for value in graph.values.values() if chip.has_data else ():
        if value.kind == CONSTANT and value.data is not None:
            loaded.write(value.name, value.data)
        elif value.kind == VARIABLE:
            loaded.write(value.name, np.asarray(state[value.name]))
    return loaded


def align_bytes(chip: Chip) -> int:
    """Return where tensors begin: on a chip without data at the period of L2's sets.

    Then layers that are alike are simulated once, which changes times by less than 0.02 %; a chip with data
    would hold the gaps.
    """
    return ALIGN_BYTES if chip.has_data else chip.l2_period_bytes


def packed(value: Value, array: Array) -> Array:
    """Return an array in the order of the device."""
    return storage.packed(value.type, value.format, array)


def unpacked(chip: Chip, value: Value, handle: int) -> Array:
    """Return a value of the device as an array of its logical shape."""
    shape = storage.stored_shape(value.type, value.format)
    return storage.unpacked(value.type, value.format, chip.read(handle, shape, storage.element(value.type)))


def _bound(spec: TaskSpec, loaded: LoadedGraph) -> BoundTask:
    mine = {operand: loaded.handles[value] for operand, value in spec.operands.items()}
    task = None
    if spec.kind == KERNEL and spec.shape is not None:
        declared = kernel(spec.kernel)
        emit = declared.task if loaded.chip.has_data else declared.deferred
        task = emit(spec.shape, mine, loaded.chip.platform, spec.tiling)
    return BoundTask(spec, bound(spec, mine, loaded, task), task)
