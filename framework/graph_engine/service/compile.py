"""Step 4, compilation: kernels and tilings per node, the memory plan, the list of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from davinci_sim.platforms import Platform
from framework.dtypes import dtype as framework_dtype
from framework.graph_engine.data.graph import (
    AICPU,
    CONSTANT,
    HOST,
    INPUT,
    INTERMEDIATE,
    LABEL,
    MEMCPY,
    RTS,
    VARIABLE,
    VIEW,
    Graph,
    Node,
    Value,
)
from framework.graph_engine.data.memory import ALIGN_BYTES, Lifetime, MemoryPlan, plan
from framework.graph_engine.data.operators import kernel, operands, shape_of
from framework.graph_engine.data.tasks import COMPARING, COPY, CPU_TASK, GET, HOST_TASK, KERNEL, PUT, TaskSpec
from framework.graph_engine.service.dependencies import accesses
from framework.graph_engine.service.events import at_addresses, waits_of, with_events
from framework.graph_engine.service.in_place import homes_of
from framework.graph_engine.service.streams import with_streams
from framework.graph_engine.service.validate import check_room, validated
from framework.ir.types import TensorType
from kernels.lang.kernel import Operand


@dataclass(frozen=True)
class CompiledGraph:
    """Everything that loading needs, as data."""

    graph: Graph
    tasks: tuple[TaskSpec, ...]
    homes: Mapping[str, str]
    """Value -> the value in whose memory it lies (views, parts, updates in place); itself for most."""
    memory: MemoryPlan
    align_bytes: int = ALIGN_BYTES
    """Where tensors begin."""

    @property
    def held_bytes(self) -> int:
        """What variables and constants take."""
        held = (v.nbytes for v in self.graph.values.values() if v.kind in (VARIABLE, CONSTANT))
        return sum(-(-nbytes // self.align_bytes) * self.align_bytes for nbytes in held)

    def text(self) -> str:
        """Print the task list and the memory plan."""
        lines = [line for index, task in enumerate(self.tasks) for line in task.lines(index)]
        return "\n".join([f"tasks of {self.graph.name}", *lines, self.memory.text()]) + "\n"


def compile_graph(
    graph: Graph, platform: Platform, reuse: bool = True, streams: bool = True,
    align_bytes: int = ALIGN_BYTES,
) -> CompiledGraph:  # fmt: skip
    """Return the tasks of one step and where every value lies; with `reuse` they share memory in turn.

    With `streams` independent tasks between jumps run side by side where the chip is faster so.

    Raises:
        IllFormedGraph: a node reads what nobody has made, or a kernel takes more of a value than there is.
    """
    graph, kernel_tasks = _kernel_tasks(validated(graph), platform)
    homes = homes_of(graph)
    made = (task for task in (*kernel_tasks, *_updates(graph)) if not _is_onto_itself(task, homes))
    tasks = _in_order((*_gets(graph), *made, *_puts(graph)))
    if streams:
        tasks = with_streams(tasks, graph, homes, platform)
    memory = plan(_lifetimes(graph, tasks, homes), reuse, align_bytes)
    touched = [at_addresses(accesses(task, graph, homes), memory.offsets) for task in tasks]
    waits = waits_of([task.stream for task in tasks], touched)
    return CompiledGraph(graph, with_events(tasks, waits), homes, memory, align_bytes)


def _in_order(tasks: Iterable[TaskSpec]) -> tuple[TaskSpec, ...]:
    """Return tasks on one stream, each a group of its own."""
    return tuple(replace(task, group=number) for number, task in enumerate(tasks))


def _kernel_tasks(graph: Graph, platform: Platform) -> tuple[Graph, tuple[TaskSpec, ...]]:
    """Return one task per launch, and the graph with the values between launches of one node."""
    values = dict(graph.values)
    tasks: list[TaskSpec] = []
    for node in graph.nodes:
        if node.op == MEMCPY:
            named = {"src": node.inputs[0], "dst": node.outputs[0]}
            tasks.append(TaskSpec(COPY, node.name, node, named))
        elif node.engine in (HOST, AICPU, RTS):
            named = {f"in{i}": name for i, name in enumerate(node.inputs) if name in values}
            named |= {f"out{i}": name for i, name in enumerate(node.outputs) if name in values}
            own = COMPARING if "compare" in node.attrs else node.op
            kind = {HOST: HOST_TASK, AICPU: CPU_TASK}.get(node.engine, own)
            tasks.append(TaskSpec(kind, node.name, node, named))
        elif node.engine != VIEW:
            tasks += _launches(node, values, platform)
    return replace(graph, values=values), tuple(tasks)


def _launches(node: Node, values: dict[str, Value], platform: Platform) -> Iterator[TaskSpec]:
    for index, launch in enumerate(node.launches):
        shape = shape_of(launch)
        declared = kernel(launch.kernel)
        tiling = declared.tiling(shape, platform)
        named = {}
        for operand, reference in zip(operands(launch), launch.operands, strict=True):
            if reference.startswith("tmp"):
                value = f"{node.name}.{reference}"
                made = _between(value, operand)
                values.setdefault(value, _part_of_another(made) if "[" in reference else made)
            elif reference.startswith("scalar:"):
                value = f"scalar.{reference.removeprefix('scalar:')}"
                number = np.full(1, float(reference.removeprefix("scalar:")), np.float32)
                values.setdefault(value, Value(value, TensorType.of(number), CONSTANT, data=number))
            else:
                value = node.value(reference)
            check_room(node, launch.kernel, operand, values[value])
            named[operand.name] = value
        name = node.name if len(node.launches) == 1 else f"{node.name}/{index}"
        yield TaskSpec(
            KERNEL, name, node, named, launch.kernel, shape, tiling, tiling.blocks(shape, platform)
        )


def _between(name: str, operand: Operand) -> Value:
    """Return what one launch of an operator leaves for the next, with the padding of its layout."""
    names = {"fp16": "float16", "fp32": "float32", "int32": "int32"}
    type_ = TensorType(operand.shape, framework_dtype(names[operand.dtype_name]))
    return Value(name, type_, format=operand.layout)


def _part_of_another(value: Value) -> Value:
    """Return a value `whole[2]` as the third of equal parts."""
    whole, _, index = value.name.removesuffix("]").rpartition("[")
    return replace(value, whole=whole, offset_bytes=int(index) * value.nbytes)


def _updates(graph: Graph) -> Iterator[TaskSpec]:
    """Yield the copies of new values to their variables."""
    for value, variable in graph.updates.items():
        yield TaskSpec(COPY, f"update.{variable}", None, {"src": value, "dst": variable})


def _is_onto_itself(task: TaskSpec, homes: Mapping[str, str]) -> bool:
    """Tell whether a task copies a value to where it lies."""
    return task.kind == COPY and homes[task.operands["src"]] == homes[task.operands["dst"]]


def _gets(graph: Graph) -> Iterator[TaskSpec]:
    return (TaskSpec(GET, f"get_next.{name}", None, {"dst": name}) for name in graph.inputs)


def _puts(graph: Graph) -> Iterator[TaskSpec]:
    return (TaskSpec(PUT, f"put_result.{name}", None, {"src": name}) for name in graph.outputs)


def _lifetimes(graph: Graph, tasks: tuple[TaskSpec, ...], homes: Mapping[str, str]) -> list[Lifetime]:
    """Return the blocks of the workspace: what lies neither in a variable nor in a constant."""
    spans: dict[str, tuple[int, int]] = {}
    sizes: dict[str, int] = {}
    for task in tasks:
        for value in task.operands.values():
            home = homes.get(value, value)
            if graph.values[home].kind in (INPUT, INTERMEDIATE):
                first, _ = spans.get(home, (task.group, task.group))
                spans[home] = (first, task.group)
                sizes[home] = max(sizes.get(home, 0), graph.values[value].nbytes, graph.values[home].nbytes)
    turns = _loops(tasks)
    return [Lifetime(name, sizes[name], *_over_turns(span, turns)) for name, span in spans.items()]


def _loops(tasks: tuple[TaskSpec, ...]) -> list[tuple[int, int]]:
    """Return from where to where the stream may run again, inner loops first: jumps back."""
    places, found = dict[Any, int](), []
    for task in tasks:
        for label in () if task.node is None else task.node.attrs.get("labels", ()):
            if task.kind == LABEL:
                places[label] = task.group
            elif label in places:
                found.append((places[label], task.group))
    return sorted(found, key=lambda loop: loop[1] - loop[0])


def _over_turns(span: tuple[int, int], loops: list[tuple[int, int]]) -> tuple[int, int]:
    """Return when a block is alive, if not all that touches it lies in one turn of a loop.

    What comes from before a loop is there for all its turns, and what a turn leaves to the end, too.
    """
    first, last = span
    for begin, end in loops:
        if first < begin <= last <= end:
            last = end
        elif begin <= first <= end < last:
            first = begin
    return first, last


def shape_text(node: Node, graph: Graph) -> str:
    """Print the shapes of a node's inputs and outputs for tables."""
    ins = ",".join("x".join(map(str, graph.values[n].type.shape)) or "1" for n in node.inputs)
    outs = ",".join("x".join(map(str, graph.values[n].type.shape)) or "1" for n in node.outputs)
    return f"{ins} -> {outs}"
