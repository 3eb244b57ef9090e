"""Wishes: which formats nodes ask of their values, and what has to choose the same one.

A group is a free choice: all tensors of a flat kernel, a variable, an input, what copies write. Copies and
rooms of loops take any format, too; what is written over a variable lies as the variable does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from framework.graph_engine.data.graph import INPUT, MEMCPY, PICK, PUSH, VARIABLE, Graph, Node, Value
from framework.graph_engine.data.operators import ANY, AS_IT_LIES, formats
from framework.graph_engine.data.storage import PLAIN
from framework.graph_engine.service.adjacent import formats_of

FREE = (VARIABLE, INPUT)
"""Values whose format is chosen by itself, beside those that copies write."""


@dataclass(frozen=True)
class Wishes:
    """What every node asks of its values, and which group each free choice belongs to."""

    graph: Graph
    wanted: Mapping[str, Mapping[str, str]]
    """Node -> value -> format, ANY, or AS_IT_LIES."""
    group: Mapping[str, str]
    """Input, variable, what copies write, or a flat node, as it is called here -> its group."""

    @cached_property
    def producer(self) -> Mapping[str, Node]:
        """The node that makes a value, the last one of several."""
        return {output: node for node in self.graph.nodes for output in node.outputs}

    def home(self, name: str) -> str:
        """Return the party in whose format a value comes to be: its group, or a format."""
        if name in self.group:
            return self.group[name]
        return self.of(self.producer[name], name) if name in self.producer else PLAIN

    def of(self, node: Node, name: str) -> str:
        """Return the party in whose format a node takes or gives a value."""
        wanted = self.wanted[node.name][name]
        if wanted == AS_IT_LIES:
            return self.home(name)
        return self.choice_of(node) if wanted == ANY else wanted

    def choice_of(self, node: Node) -> str:
        """Return the group of a flat node."""
        return self.group[_called(node)]

    def free(self) -> Iterator[tuple[str, Value]]:
        """Yield groups with the values whose format they choose, as those of a kernel or by themselves."""
        rooms = self.graph.rooms
        for node in self.graph.nodes:
            for name, wanted in self.wanted[node.name].items():
                if wanted == ANY and name not in rooms:
                    yield self.choice_of(node), self.graph.values[name]
        for name, value in self.graph.values.items():
            if name in self.group and name not in rooms:
                yield self.group[name], value


def wishes_of(graph: Graph) -> Wishes:
    """Return what the nodes of a graph ask."""
    wanted = {node.name: _wanted(graph, node) for node in graph.nodes}
    flat = [_called(node) for node in graph.nodes if ANY in wanted[node.name].values()]
    free = [value.name for value in graph.values.values() if value.kind in FREE]
    written = [name for node in graph.nodes if node.op == MEMCPY for name in node.outputs]
    names = dict.fromkeys([*flat, *free, *written, *sorted(graph.rooms)])
    return Wishes(graph, wanted, _joined(names, _pairs(graph)))


def _called(node: Node) -> str:
    """Return a name for a node that no value has."""
    return f"node {node.name}"


def _wanted(graph: Graph, node: Node) -> Mapping[str, str]:
    """Return the formats that a node asks for; joins and parts go by any in which parts lie in a row."""
    if formats_of(graph, node):
        return dict.fromkeys((*node.inputs, *node.outputs), ANY)
    return formats(graph, node)


def _pairs(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield what has to lie in one format: nodes and values."""
    rooms = graph.rooms
    producer = {output: _called(node) for node in graph.nodes for output in node.outputs}
    for value, variable in graph.updates.items():  # an update in place
        yield producer.get(value, ""), variable
    for node in graph.nodes:
        source, target = node.inputs[:1], node.outputs[:1]
        if node.op in (MEMCPY, PUSH):
            yield _called(node), target[0]
        if node.op == MEMCPY and graph.values[target[0]].kind == VARIABLE:  # in place, where it can be
            yield producer.get(source[0], ""), target[0]
        if node.op == PICK:
            yield _called(node), source[0]
        if node.op in (MEMCPY, PUSH, PICK) and {*source, *target} <= rooms:
            yield source[0], target[0]


def _joined(names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a group for each name, one for both names of a pair that has a choice."""
    above = {name: name for name in names}

    def top(name: str) -> str:
        while above[name] != name:
            above[name] = name = above[above[name]]
        return name

    for first, second in pairs:
        if first in above and second in above:
            above[top(first)] = top(second)
    return {name: top(name) for name in above}
