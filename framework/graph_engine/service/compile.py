"""Step 4, compilation: kernels and tilings per node, the memory plan, the list of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from davinci_sim.platforms import Platform
from framework.dtypes import dtype as framework_dtype
from framework.graph_engine.data.graph import (
    AICPU,
    COLLECTIVE,
    CONSTANT,
    HOST,
    MEMCPY,
    RTS,
    VARIABLE,
    VIEW,
    Graph,
    Node,
    Value,
)
from framework.graph_engine.data.memory import ALIGN_BYTES, MemoryPlan, alive_bytes, plan
from framework.graph_engine.data.operators import kernel, operands, shape_of
from framework.graph_engine.data.tasks import (
    COLLECTIVE_TASK,
    COMPARING,
    COPY,
    CPU_TASK,
    GET,
    HOST_TASK,
    KERNEL,
    PUT,
    TaskSpec,
)
from framework.graph_engine.service.adjacent import JOIN, PART
from framework.graph_engine.service.blocks import counts, with_blocks
from framework.graph_engine.service.clean import with_clean_memory
from framework.graph_engine.service.dependencies import accesses
from framework.graph_engine.service.events import at_addresses, waits_of, with_events
from framework.graph_engine.service.in_place import homes_of
from framework.graph_engine.service.lifetimes import lifetimes
from framework.graph_engine.service.streams import with_streams
from framework.graph_engine.service.validate import check_room, validated
from framework.ir.types import TensorType
from kernels.lang.kernel import Operand

BY_ENGINE = {HOST: HOST_TASK, AICPU: CPU_TASK, COLLECTIVE: COLLECTIVE_TASK}
"""The kind of task that a node is where no kernel runs."""


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
        """Print the task list, what is no task because it lies in a block of others, and the memory plan."""
        lines = [line for index, task in enumerate(self.tasks) for line in task.lines(index)]
        views = counts(self.graph)
        if any(views.values()):
            lines.append(f"continuous blocks in place of copies: {JOIN} {views[JOIN]}, {PART} {views[PART]}")
        return "\n".join([f"tasks of {self.graph.name}", *lines, self.memory.text()]) + "\n"


def compile_graph(
    graph: Graph, platform: Platform, reuse: bool = True, streams: bool = True,
    align_bytes: int = ALIGN_BYTES, blocks: bool = True,
) -> CompiledGraph:  # fmt: skip
    """Return the tasks of one step and where every value lies; with `reuse` they share memory in turn.

    With `streams` independent tasks between jumps run side by side where the chip is faster so. With `blocks`
    tensors are made where they are put together, and parts are looked at where they are.

    Raises:
        IllFormedGraph: a node reads what nobody has made, or a kernel takes more of a value than there is.
    """
    graph, kernel_tasks = _kernel_tasks(validated(graph), platform)
    graph, kernel_tasks = with_clean_memory(kernel_tasks, graph, platform)
    if blocks:
        graph = with_blocks(graph, lambda changed: _alive(changed, kernel_tasks))
    homes = homes_of(graph)
    tasks = _of_a_step(graph, kernel_tasks, homes)
    if streams:
        tasks = with_streams(tasks, graph, homes, platform)
    memory = plan(lifetimes(graph, tasks, homes), reuse, align_bytes)
    touched = [at_addresses(accesses(task, graph, homes), memory.offsets) for task in tasks]
    waits = waits_of([task.stream for task in tasks], touched)
    return CompiledGraph(graph, with_events(tasks, waits), homes, memory, align_bytes)


def _alive(graph: Graph, kernel_tasks: Sequence[TaskSpec]) -> int:
    """Return the bytes that are alive at once, one task behind the other."""
    homes = homes_of(graph)
    return alive_bytes(lifetimes(graph, _of_a_step(graph, kernel_tasks, homes), homes))


def _of_a_step(
    graph: Graph, kernel_tasks: Sequence[TaskSpec], homes: Mapping[str, str]
) -> tuple[TaskSpec, ...]:
    """Return all tasks of a step, without those of views and copies of what is there already."""
    views = {node.name for node in graph.nodes if node.engine == VIEW}
    made = (task for task in kernel_tasks if task.node is None or task.node.name not in views)
    whole = (*_gets(graph), *made, *_puts(graph), *_updates(graph))  # results may be of old variables
    return _in_order(task for task in whole if not _is_onto_itself(task, homes))


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
        elif node.engine in (*BY_ENGINE, RTS):
            named = {f"in{i}": name for i, name in enumerate(node.inputs) if name in values}
            named |= {f"out{i}": name for i, name in enumerate(node.outputs) if name in values}
            own = COMPARING if "compare" in node.attrs else node.op
            kind = BY_ENGINE.get(node.engine, own)
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


def shape_text(node: Node, graph: Graph) -> str:
    """Print the shapes of a node's inputs and outputs for tables."""
    ins = ",".join("x".join(map(str, graph.values[n].type.shape)) or "1" for n in node.inputs)
    outs = ",".join("x".join(map(str, graph.values[n].type.shape)) or "1" for n in node.outputs)
    return f"{ins} -> {outs}"
