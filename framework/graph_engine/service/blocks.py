"""Continuous blocks: tensors are made where they are put together, and looked at where they are taken apart.

before  %c = concat(%a, %b); %d = index(%x, 4:8)     two tasks, which copy
after   the same, with %a and %b in the memory of %c, and %d in that of %x: both are views

Only tensors that lie one behind the other can do without the copy: the axis is the outermost one that is
stored. Parts begin at whole blocks of 32 bytes, since a kernel may fill the last block of what it writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace

from framework.graph_engine.data.graph import (
    AICORE,
    AICPU,
    CONSTANT,
    FLOW,
    HOST,
    INPUT,
    INTERMEDIATE,
    MEMCPY,
    VARIABLE,
    VIEW,
    Graph,
    Node,
)
from framework.graph_engine.service.adjacent import JOIN, PART

UNIT_BYTES = 32
"""Parts are so many bytes, or a multiple."""
Alive = Callable[[Graph], int]
"""Returns the bytes that are alive at once in a graph."""


def with_blocks(graph: Graph, alive: Alive) -> Graph:
    """Return the graph with as many joins and parts as views as there can be without more bytes alive.

    A block is there for all of its parts, also for those that come late or that nobody reads any more: where
    that is too dear, the copy stays. Neighbours are tried together, and halved where that does not do.
    """
    candidates = [node.name for node in graph.nodes if _first_byte(graph, node) is not None]
    if not candidates:
        return graph
    found, most = graph, alive(graph)
    kept: set[str] = set()
    waiting = [candidates]
    while waiting:
        group = waiting.pop()
        tried = in_blocks(graph, kept.union(group))
        if alive(tried) <= most:
            found = tried
            kept.update(group)
        elif len(group) > 1:
            half = len(group) // 2
            waiting += [group[half:], group[:half]]
    return found


def in_blocks(graph: Graph, chosen: Set[str]) -> Graph:
    """Return the graph with the chosen nodes as views, where nothing can tell the difference."""
    blocks = _Blocks(graph)
    views = {node.name for node in graph.nodes if node.name in chosen and blocks.takes_apart(node)}
    views |= {node.name for node in graph.nodes if node.name in chosen and blocks.joins(node)}
    nodes = tuple(replace(node, engine=VIEW) if node.name in views else node for node in graph.nodes)
    values = dict(graph.values)
    for name, place in blocks.places():
        values[name] = replace(values[name], whole=place.whole, offset_bytes=place.offset_bytes)
    return replace(graph, nodes=nodes, values=values)


def counts(graph: Graph) -> dict[str, int]:
    """Return how many joins and parts are views."""
    views = [node.op for node in graph.nodes if node.engine == VIEW]
    return {op: views.count(op) for op in (JOIN, PART)}


def _first_byte(graph: Graph, node: Node) -> int | None:
    """Return where in the whole a part lies, 0 for a join; None if they do not lie one behind the other."""
    kernels = [launch.kernel for launch in node.launches]
    if node.op == JOIN and node.engine == AICORE:
        return 0 if node.launches[0].axes["m"] == 1 else None
    if node.op == JOIN and node.engine in (AICPU, HOST):  # more tensors than a kernel takes, or other types
        value, axis = graph.values[node.outputs[0]], node.attrs["axis"]
        return 0 if math.prod(value.type.shape[:axis]) == 1 else None
    if node.op != PART or kernels != ["slice_axis"]:
        return None
    axes = node.launches[0].axes
    first = axes["start"] * axes["d"] * graph.values[node.outputs[0]].type.dtype.itemsize_bytes
    return first if axes["m"] == axes["step"] == 1 and first % UNIT_BYTES == 0 else None


@dataclass(frozen=True)
class Place:
    """Where a value lies: in another one, or in itself."""

    whole: str
    offset_bytes: int = 0


class _Blocks:
    """Which values lie in others: views and parts in what they look at, what is joined in the whole."""

    def __init__(self, graph: Graph) -> None:
        """Look at every node once."""
        self.graph = graph
        self.seen: dict[str, Place] = {}
        """View or part -> what it looks at;"""
        self.inside: dict[str, Place] = {}
        """what is joined -> the whole."""
        self.makers: dict[str, list[int]] = {}
        self.positions = {node.name: at for at, node in enumerate(graph.nodes)}
        self.copied = {name for node in graph.nodes if node.op == MEMCPY for name in node.inputs}
        self.breaks = [0]
        for at, node in enumerate(graph.nodes):
            self.breaks.append(self.breaks[-1] + (node.op in FLOW))
            if node.engine == VIEW:
                self.seen[node.outputs[0]] = self._looked_at(node.inputs[0])
            for name in node.outputs:
                self.makers.setdefault(name, []).append(at)
        self.renewing = {self._looked_at(name).whole for name in graph.updates}

    def _looked_at(self, name: str) -> Place:
        return self.seen.get(name, Place(name))

    def takes_apart(self, node: Node) -> bool:
        """Look at a part where it lies, if that is possible."""
        if node.op != PART:
            return False
        first, whole = _first_byte(self.graph, node), self._looked_at(node.inputs[0])
        is_copied = node.outputs[0] in self.renewing  # to a variable, when others may be renewed already
        if first is None or is_copied or not self._lasts(whole.whole, node):
            return False
        self._look(node.outputs[0], replace(whole, offset_bytes=whole.offset_bytes + first))
        return True

    def _look(self, name: str, place: Place) -> None:
        """Let a value, and what looks at it, lie in another one."""
        self.seen[name] = place
        for other, known in self.seen.items():
            if known.whole == name:
                self.seen[other] = replace(place, offset_bytes=place.offset_bytes + known.offset_bytes)

    def _lasts(self, name: str, node: Node) -> bool:
        """Tell whether a value stays as it is when a node has taken a part of it."""
        kind = self.graph.values[name].kind
        if kind in (INPUT, CONSTANT):
            return True
        if kind == VARIABLE:
            return self.graph.is_straight  # its new value is written at the end, or behind its last reader
        return self._is_made_before(name, node)

    def _is_made_before(self, name: str, node: Node) -> bool:
        """Tell whether an operator makes a value, once and with no jump between there and a node."""
        makers = self.makers.get(name, [])
        if len(makers) != 1 or self.graph.nodes[makers[0]].op in FLOW:
            return False
        return self.breaks[makers[0]] == self.breaks[self.positions[node.name]]

    def joins(self, node: Node) -> bool:
        """Let what is put together be made where the result lies, if that is possible."""
        if node.op != JOIN or _first_byte(self.graph, node) is None:
            return False
        parts = self._parts(node)
        if parts is None:
            return False
        self.inside |= parts
        return True

    def _parts(self, node: Node) -> dict[str, Place] | None:
        """Return where in the result of a join its inputs can be made; None if one of them cannot."""
        found: dict[str, Place] = {}
        offset = 0
        for name in node.inputs:
            part = self._looked_at(name)
            if offset % UNIT_BYTES or part.whole in found or part.offset_bytes:
                return None
            if not self._can_move(part.whole, name, node):
                return None
            found[part.whole] = Place(node.outputs[0], offset)
            offset += self.graph.values[name].nbytes
        return found

    def _can_move(self, name: str, seen_as: str, node: Node) -> bool:
        """Tell whether a value can be made inside of what a node joins.

        Nothing else wants it elsewhere: another join, a variable that it renews, a copy that it is made for.
        """
        value = self.graph.values[name]
        is_wanted = name in self.inside or name in self.renewing or name in self.copied
        is_free = value.kind == INTERMEDIATE and not value.whole and not is_wanted
        is_all = value.nbytes == self.graph.values[seen_as].nbytes
        return is_free and is_all and self._is_made_before(name, node)

    def places(self) -> Iterator[tuple[str, Place]]:
        """Yield where values lie that lie in others; plain views of what lies in itself are not told."""
        for name in (*self.inside, *self.seen):
            place = self._resolved(name)
            is_plain = not place.offset_bytes and self._is_all_of(name, place.whole)
            if not is_plain or self._looked_at(name).whole in self.inside:
                yield name, place

    def _is_all_of(self, name: str, whole: str) -> bool:
        return self.graph.values[name].nbytes == self.graph.values[whole].nbytes

    def _resolved(self, name: str) -> Place:
        """Return the outermost value that a value lies in, and where."""
        place = self._looked_at(name)
        while place.whole in self.inside:
            outer = self.inside[place.whole]
            place = replace(outer, offset_bytes=outer.offset_bytes + place.offset_bytes)
        return place
