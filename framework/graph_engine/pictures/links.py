"""Who makes what a node reads, and which part of a step a node belongs to."""

from __future__ import annotations

from typing import NamedTuple

from framework.graph_engine.data.graph import (
    ASSERT,
    FLOW,
    GOTO,
    INPUT,
    LABEL,
    SWITCH,
    Graph,
    Value,
)

FORWARD, BACKWARD, UPDATE = range(3)
PARTS = ("forward", "backward", "update")
JUMPS = (LABEL, GOTO, SWITCH, ASSERT)
"""Nodes that make nothing: they are tied to their neighbours by their order alone."""


class Link(NamedTuple):
    """That a node reads what an earlier one made; without a value, that it follows or is jumped to."""

    start: int
    end: int
    value: Value | None


class Links:
    """The links of a graph by the numbers of its nodes."""

    def __init__(self, graph: Graph) -> None:
        """Find who makes what each node reads: of several, the last before it."""
        self.graph = graph
        self.makers: list[list[int]] = [[] for _ in graph.nodes]
        self.readers: list[list[int]] = [[] for _ in graph.nodes]
        self.links: list[Link] = []
        made = dict[str, int]()
        for at, node in enumerate(graph.nodes):
            for name in dict.fromkeys(node.inputs):
                if name in made:
                    self.links.append(Link(made[name], at, graph.values[name]))
                    self.makers[at].append(made[name])
                    self.readers[made[name]].append(at)
            made.update(dict.fromkeys(node.outputs, at))
        self.parts = self._parts(made)
        self.is_prepared = self._prepared()

    def _parts(self, made: dict[str, int]) -> list[int]:
        """Return the part of each node.

        Backward is what runs behind the first result, the loss; what of that is from no line of the network
        and leads to nothing else renews the variables.
        """
        nodes, outputs = self.graph.nodes, self.graph.outputs
        last = made.get(outputs[0], len(nodes)) if outputs else len(nodes)
        found = [FORWARD if at <= last else BACKWARD for at in range(len(nodes))]
        for at in reversed(range(last + 1, len(nodes))):
            is_own = nodes[at].source is None and nodes[at].op not in FLOW
            if is_own and all(found[reader] == UPDATE for reader in self.readers[at]):
                found[at] = UPDATE
        return found

    def _prepared(self) -> list[bool]:
        """Tell of each node whether it depends on variables and constants alone, as casts of weights do."""
        values, found = self.graph.values, list[bool]()
        for at, node in enumerate(self.graph.nodes):
            is_input = node.op in FLOW or any(values[name].kind == INPUT for name in node.inputs)
            found.append(not is_input and all(found[maker] for maker in self.makers[at]))
        return found

    def read(self, at: int, *kinds: str) -> list[str]:
        """Return the values of some kinds that a node reads."""
        values = self.graph.values
        return [name for name in self.graph.nodes[at].inputs if values[name].kind in kinds]

    def in_order(self) -> list[Link]:
        """Return the links of labels and jumps: to what stands beside them, and to where they go."""
        nodes = self.graph.nodes
        found = [
            Link(at - 1, at, None)
            for at in range(1, len(nodes))
            if nodes[at].op in JUMPS or nodes[at - 1].op in JUMPS
        ]
        places = {node.labels: at for at, node in enumerate(nodes) if node.op == LABEL}
        return found + [
            Link(at, places[label,], None)
            for at, node in enumerate(nodes)
            if node.op in (GOTO, SWITCH)
            for label in node.labels
            if (label,) in places
        ]
