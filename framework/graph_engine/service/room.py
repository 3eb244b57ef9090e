"""Whether a graph fits a chip's memory: by a bound before it is optimised, to the byte when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from davinci_sim.chip import Chip
from davinci_sim.errors import OutOfSpace
from framework.graph_engine.data.graph import CONSTANT, VARIABLE, Graph, Node
from framework.graph_engine.data.memory import alive
from framework.graph_engine.data.tasks import KERNEL
from framework.graph_engine.service.compile import CompiledGraph
from framework.graph_engine.service.least import alive_together, held

MOST_SHOWN = 5
"""Tensors of a list that a message names."""
LESS_BATCH = "use a smaller batch"


def available_bytes(chip: Chip) -> int:
    """Return what is left of a chip's memory."""
    return int(chip.platform.gm_bytes) - chip.allocated_bytes


def fits(compiled: CompiledGraph, chip: Chip) -> bool:
    """Tell whether the device memory has room for a graph."""
    return compiled.held_bytes + compiled.memory.peak_bytes <= available_bytes(chip)


def check_space(compiled: CompiledGraph, chip: Chip) -> None:
    """Refuse a graph that needs more memory than there is.

    Raises:
        OutOfSpace: the message names what is held all the time, and what is alive where that is most.
    """
    if fits(compiled, chip):
        return
    graph, memory, kept = compiled.graph, compiled.memory, compiled.held_bytes
    heights = alive(memory.blocks)
    peak = int(heights.argmax()) if len(heights) else 0
    most = f"{int(heights.max(initial=0)):,} alive at {_task_at(compiled, peak)}"
    in_memory = {v.name: v.nbytes for v in graph.values.values() if v.kind in (VARIABLE, CONSTANT)}
    at_once = {block.name: block.nbytes for block in memory.blocks if block.first <= peak <= block.last}
    step = _next_step(graph, available_bytes(chip), kept, memory.live_bytes)
    if not memory.reuse and kept + memory.live_bytes <= available_bytes(chip):
        step = "let values share memory: Options(reuse=True)"
    raise OutOfSpace(
        f"graph {graph.name} needs {kept + memory.peak_bytes:,} bytes of device memory, "
        f"{available_bytes(chip):,} are available\n"
        f"{_list(graph, f'variables and constants: {kept:,} bytes', in_memory)}"
        f"{_list(graph, f'workspace: {memory.peak_bytes:,} bytes, {most}', at_once)}"
        f"  next: {step}"
    )


def check_least(graph: Graph, chip: Chip) -> None:
    """Refuse a graph before it is optimised, if no optimisation can make it fit.

    Raises:
        OutOfSpace: the message names the variables, and what has to be alive at once in any case.
    """
    kept, together, available = held(graph), alive_together(graph), available_bytes(chip)
    if kept.total + together.total <= available:
        return
    raise OutOfSpace(
        f"graph {graph.name} needs {kept.total + together.total:,} bytes of device memory at the least, "
        f"{available:,} are available\n"
        f"{_list(graph, f'{kept.what}: {kept.total:,} bytes', kept.nbytes)}"
        f"{_list(graph, f'{together.what}: {together.total:,} bytes', together.nbytes)}"
        f"  next: {_next_step(graph, available, kept.total, together.total)}"
    )


def _task_at(compiled: CompiledGraph, group: int) -> str:
    """Return the name of a group's first kernel, or first task."""
    tasks = [task for task in compiled.tasks if task.group == group]
    kernels = (task for task in tasks if task.kind == KERNEL)
    return next((task.name for task in (*kernels, *tasks)), "the end")


def _list(graph: Graph, title: str, nbytes: Mapping[str, int]) -> str:
    """Return lines of the largest tensors below a title, with who makes each of them."""
    largest = sorted(nbytes.items(), key=lambda each: -each[1])
    makers = {name: node for node in reversed(graph.nodes) for name in node.outputs}
    lines = [f"  {title}"]
    for name, size in largest[:MOST_SHOWN]:
        lines.append(f"    {size:>16,}  {graph.values[name]}{_made_by(makers.get(name))}")
    if len(largest) > MOST_SHOWN:
        rest = sum(size for _, size in largest[MOST_SHOWN:])
        lines.append(f"    {rest:>16,}  {len(largest) - MOST_SHOWN} more")
    return "\n".join(lines) + "\n"


def _made_by(node: Node | None) -> str:
    if node is None:
        return ""
    return f" by {node.name}" + (f", {node.source}" if node.source else "")


def _next_step(graph: Graph, available: int, kept: int, together: int) -> str:
    """Say what needs less memory."""
    if kept > available:
        return "no batch is small enough: take a smaller network, or an optimizer that keeps less"
    if graph.updates and together > kept:
        return f"{LESS_BATCH}, or recompute() of the Cells whose values are kept for the gradient"
    return LESS_BATCH
