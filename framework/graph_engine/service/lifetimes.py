"""From when to when the blocks of the workspace are alive: by the groups of the tasks that touch them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from framework.graph_engine.data.graph import INPUT, INTERMEDIATE, LABEL, Graph
from framework.graph_engine.data.memory import Lifetime
from framework.graph_engine.data.tasks import TaskSpec


def lifetimes(graph: Graph, tasks: Sequence[TaskSpec], homes: Mapping[str, str]) -> list[Lifetime]:
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


def _loops(tasks: Sequence[TaskSpec]) -> list[tuple[int, int]]:
    """Return from where to where the stream may run again, inner loops first: jumps back."""
    places, found = dict[Any, int](), []
    for task in tasks:
        for label in () if task.node is None else task.node.labels:
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
