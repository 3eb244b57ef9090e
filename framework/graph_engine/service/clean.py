"""Atomic clean: what a kernel adds to in device memory is zeroed before, by a task of its own.

The kit's kernels need none: where they add in memory, each core clears what only it adds to, so that the
order of additions, and with it every bit, is known. A kernel of the user may let many cores add to the same
numbers, and then somebody has to clear them before the first one comes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from davinci_sim.core.checks.layout import instruction_tables
from davinci_sim.core.program import Program
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import Graph, Value
from framework.graph_engine.data.operators import kernel
from framework.graph_engine.data.tasks import KERNEL, TaskSpec
from kernels.lang.shapes import Shape, Tiling

Addresses = np.ndarray[Any, np.dtype[np.int64]]
CLEARING, WORD_BYTES = "fill_value", 4


def with_clean_memory(
    tasks: tuple[TaskSpec, ...], graph: Graph, platform: Platform
) -> tuple[Graph, tuple[TaskSpec, ...]]:
    """Return tasks with those that zero what others add to, and the graph, where such nodes go by no element.

    before  kernel sums x=%x y=%y                                        adds to what lies there
    after   kernel atomic_clean.y fill_value y=%y; kernel sums x=%x y=%y
    """
    found = list[TaskSpec]()
    adding: set[str] = set()
    for task in tasks:
        for operand in _added_to(task, platform):
            name = task.operands[operand]
            found.append(_clearing(task, graph.values[name], platform))
            adding.update(() if task.node is None else (task.node.name,))
        found.append(task)
    if not adding:
        return graph, tasks
    nodes = tuple(
        replace(node, launches=tuple(replace(each, flat=False) for each in node.launches))
        if node.name in adding
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes), tuple(found)


def _clearing(task: TaskSpec, value: Value, platform: Platform) -> TaskSpec:
    """Return the task that zeroes a value, whatever its type: zero has no bits."""
    declared = kernel(CLEARING)
    shape = declared.shape_type.of(CLEARING, {"n": -(-value.nbytes // WORD_BYTES), "value": 0}, "fp32")
    tiling = declared.tiling(shape, platform)
    blocks = tiling.blocks(shape, platform)
    named = {"y": value.name}
    return TaskSpec(KERNEL, f"atomic_clean.{value.name}", task.node, named, CLEARING, shape, tiling, blocks)


def _added_to(task: TaskSpec, platform: Platform) -> tuple[str, ...]:
    """Return the operands that a task's kernel adds to in device memory and does not clear itself."""
    if task.kind != KERNEL or task.shape is None or task.tiling is None:
        return ()
    if kernel(task.kernel).is_of_the_kit:
        return ()
    return _found(task.kernel, task.shape, task.tiling, platform)


@lru_cache(maxsize=256)
def _found(name: str, shape: Shape, tiling: Tiling, platform: Platform) -> tuple[str, ...]:
    """Look through the instructions of all blocks for those that add in device memory."""
    declared = kernel(name)
    programs = (declared.program(shape, platform, tiling, b) for b in range(tiling.blocks(shape, platform)))
    starts = np.concatenate([_atomic_targets(program) for program in programs])
    handles = declared.handles(shape)
    return tuple(
        each.name
        for each in declared.operands(shape)
        if np.any((starts >= handles[each.name]) & (starts < handles[each.name] + each.nbytes))
    )


def _atomic_targets(program: Program) -> Addresses:
    """Return where in device memory a program adds."""
    words_of, _, atomic = instruction_tables()
    opcodes = program.words[:, 0] & 255
    word, shift, mask = atomic[opcodes].T
    records = np.arange(len(opcodes))
    adds = (program.words[records, word] >> shift) & mask != 0
    targets = program.words[records, words_of[opcodes, 0]][adds]
    found: Addresses = targets[targets >> SPACE_SHIFT == int(Space.GM)]
    return found
