"""A graph while it is rewritten: nodes are found by what they make and who reads it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import Graph, Node, Value


@dataclass(frozen=True)
class Change:
    """Nodes that give way to others, which compute the same; values that are new with them."""

    old: tuple[Node, ...]
    new: tuple[Node, ...]
    values: Mapping[str, Value] = field(default_factory=dict)


def with_operators(change: Change) -> tuple[Node, ...]:
    """Return the new nodes of a change with the operators that they stand for.

    A node stands for the old one of its name; the first one stands for those that have left none, too.
    """
    first, *others = change.new
    if len(change.new) > len(change.old):
        return change.new
    kept = {node.name for node in others}
    left = tuple(op for node in change.old if node.name not in kept for op in node.operators)
    by_name = {node.name: node.fused for node in change.old}
    return (replace(first, fused=left), *(replace(each, fused=by_name.get(each.name, ())) for each in others))


class Draft:
    """The nodes of a graph by name, each with its place in the order of execution."""

    def __init__(self, graph: Graph, platform: Platform) -> None:
        """Look up who makes and who reads every value."""
        self.graph, self.platform = graph, platform
        self.values = dict(graph.values)
        self.kept = {*graph.outputs, *graph.updates}
        self.nodes: dict[str, Node] = {}
        self._order: dict[str, int] = {}
        self._makers: dict[str, str] = {}
        self._readers: dict[str, dict[str, None]] = {}
        for place, node in enumerate(graph.nodes):
            self._enter(node, place)

    def _enter(self, node: Node, place: int) -> None:
        self.nodes[node.name], self._order[node.name] = node, place
        for name in node.outputs:
            self._makers[name] = node.name
        for name in node.inputs:
            self._readers.setdefault(name, {})[node.name] = None

    def _leave(self, node: Node) -> None:
        del self.nodes[node.name]
        for name in node.outputs:
            self._makers.pop(name, None)
        for name in node.inputs:
            self._readers[name].pop(node.name, None)

    def maker(self, value: str) -> Node | None:
        """Return the node that makes a value, if one does."""
        return self.nodes.get(self._makers.get(value, ""))

    def readers(self, value: str) -> list[Node]:
        """Return the nodes that read a value, in order."""
        names = sorted(self._readers.get(value, ()), key=self._order.__getitem__)
        return [self.nodes[name] for name in names]

    def is_private(self, value: str) -> bool:
        """Tell whether nobody but one node sees a value."""
        return value not in self.kept and len(self._readers.get(value, ())) == 1

    def place(self, node: Node) -> int:
        """Return the place of a node in the order that the graph came with; a change has its last one's."""
        return self._order[node.name]

    def closes_a_cycle(self, nodes: Sequence[Node]) -> bool:
        """Tell whether a way leads from these nodes over others back to them: then they cannot be one."""
        inside = {node.name for node in nodes}
        first = min(self._order[name] for name in inside)
        waiting = [self._makers.get(value, "") for node in nodes for value in node.inputs]
        waiting = [name for name in waiting if name not in inside]
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen or self._order.get(name, -1) < first:
                continue
            if name in inside:
                return True
            seen.add(name)
            waiting += [self._makers.get(value, "") for value in self.nodes[name].inputs]
        return False

    def apply(self, change: Change) -> None:
        """Make a change; the new nodes stand where the last of the old ones stood."""
        place = max(self._order[node.name] for node in change.old)
        for node in change.old:
            self._leave(node)
        self.values |= change.values
        made = with_operators(change)
        for node in made:
            self._enter(node, place)
        self._move_behind(made)

    def drop(self, node: Node) -> None:
        """Take out a node whose results nobody reads."""
        self._leave(node)

    def _move_behind(self, moved: Sequence[Node]) -> None:
        """Let readers of what was moved come behind it, too, so that places stay an order of execution."""
        waiting = list(moved)
        while waiting:
            node = waiting.pop()
            for value in node.outputs:
                for name in self._readers.get(value, ()):
                    if self._order[name] < self._order[node.name]:
                        self._order[name] = self._order[node.name]
                        waiting.append(self.nodes[name])

    def sorted(self) -> Iterator[Node]:
        """Yield the nodes in their order, each behind what it reads."""
        missing = Counter(
            node.name for node in self.nodes.values() for value in set(node.inputs) if value in self._makers
        )
        places = {name: number for number, name in enumerate(self.nodes)}
        ready = [(self._order[n], places[n], n) for n in self.nodes if not missing[n]]
        heapq.heapify(ready)
        while ready:
            _, _, name = heapq.heappop(ready)
            yield self.nodes[name]
            for value in self.nodes[name].outputs:
                for reader in self._readers.get(value, ()):
                    missing[reader] -= 1
                    if not missing[reader]:
                        heapq.heappush(ready, (self._order[reader], places[reader], reader))

    def finished(self, notes: Sequence[str] = ()) -> Graph:
        """Return the graph as it is now, with what is to be told about it."""
        made = self.graph.with_nodes(tuple(self.sorted()), self.values)
        return made.with_notes(notes)
