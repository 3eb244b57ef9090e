"""Conversions: inserted where the formats of a value and of who reads it differ, as few times as can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import (
    AICORE,
    CONSTANT,
    HOST,
    INTERMEDIATE,
    TRANS_DATA,
    Graph,
    Node,
    Value,
    free_name,
)
from framework.graph_engine.data.operators import conversion
from framework.graph_engine.data.storage import PLAIN
from framework.graph_engine.service.adjacent import as_stored
from framework.graph_engine.service.flow_blocks import NOTHING, Blocks, Need
from framework.graph_engine.service.format_choice import Choice
from framework.graph_engine.service.wishes import Wishes


class _Wanted(NamedTuple):
    """A value as it came to be somewhere, in another format."""

    name: str
    need: Need
    target: str


@dataclass
class _Copies:
    """Values in other formats: who reads them, and under which names."""

    values: dict[str, Value]
    blocks: Blocks
    platform: Platform
    readers: dict[_Wanted, list[int]] = field(default_factory=dict)
    names: dict[_Wanted, str] = field(default_factory=dict)

    def name(self, name: str, target: str, position: int) -> str:
        """Return the name by which a node at a position reads a value in a format."""
        value = self.values[name]
        if value.format == target:
            return name
        need = NOTHING if value.kind == CONSTANT else self.blocks.need(name, position)
        wanted = _Wanted(name, need, target)
        if wanted not in self.names:
            self.names[wanted] = copy = free_name(f"{name}.{target}", self.values)
            kind = CONSTANT if value.kind == CONSTANT else INTERMEDIATE
            self.values[copy] = replace(value, name=copy, format=target, kind=kind)
        self.readers.setdefault(wanted, []).append(position)
        return self.names[wanted]

    def nodes(self) -> dict[int, list[Node]]:
        """Return the conversions, by the position in front of which they stand; constants need none."""
        found: dict[int, list[Node]] = {}
        for wanted, positions in self.readers.items():
            source, copy = self.values[wanted.name], self.values[self.names[wanted]]
            if copy.kind != CONSTANT:
                found.setdefault(self._place(wanted, positions), []).append(
                    _conversion(source, copy, self.platform)
                )
        return found

    def _place(self, wanted: _Wanted, positions: list[int]) -> int:
        readers = {position: self.blocks.at(position) for position in positions}
        block = self.blocks.place(wanted.need.origin, readers.values())
        return min((at for at, each in readers.items() if each == block), default=self.blocks.end(block))


def converted(wishes: Wishes, blocks: Blocks, choice: Choice, platform: Platform) -> Graph:
    """Return the graph with formats on its values, and conversions in front of who needs them.

    A value is converted once for all that read it in a format as it came to be in one place. What a loop does
    not change is converted before the loop, what only a branch reads in the branch.

    before  label L0; %y: NZ = matmul(%x: NZ, %w: ND) ... label_goto L0
    after   %w.NZ: NZ = trans_data(%w); label L0; %y: NZ = matmul(%x: NZ, %w.NZ) ... label_goto L0
    """
    graph = wishes.graph

    def form(party: str) -> str:
        return choice.get(party, party)

    values = {name: replace(value, format=form(wishes.home(name))) for name, value in graph.values.items()}
    copies = _Copies(dict(values), blocks, platform)
    nodes = []
    for position, node in enumerate(graph.nodes):
        inputs = tuple(
            copies.name(name, form(wishes.of(node, name)), position) if name in values else name
            for name in node.inputs
        )
        stored = as_stored(replace(node, inputs=inputs), copies.values)
        nodes.append(_fitted(stored, copies.values))
    end = len(nodes)
    outputs = tuple(copies.name(name, PLAIN, end) for name in graph.outputs)
    updates = {copies.name(name, values[of].format, end): of for name, of in graph.updates.items()}
    whole = tuple(_with(nodes, copies.nodes()))
    return replace(graph, outputs=outputs, updates=updates).with_nodes(whole, copies.values)


def _with(nodes: list[Node], others: Mapping[int, list[Node]]) -> Iterator[Node]:
    for position, node in enumerate(nodes):
        yield from others.get(position, ())
        yield node
    yield from others.get(len(nodes), ())


def _conversion(source: Value, target: Value, platform: Platform) -> Node:
    """Return the node that converts: a kernel where there is one, else the host may lay the value out."""
    name = f"{TRANS_DATA}.{target.name}"
    formats = {"src_format": source.format, "dst_format": target.format}
    launch = conversion(source.type, source.format, target.format, platform)
    if launch is None:
        reason = f"no kernel converts {source.type} from {source.format} to {target.format}"
        return Node(name, TRANS_DATA, (source.name,), (target.name,), formats, HOST, reason)
    return Node(name, TRANS_DATA, (source.name,), (target.name,), formats, AICORE, launches=(launch,))


def _fitted(node: Node, values: Mapping[str, Value]) -> Node:
    """Return a node whose flat launches have as many elements as their tensors in their format."""
    launches = tuple(
        replace(each, axes={**each.axes, "n": _elements(node, each.operands, values)}) if each.flat else each
        for each in node.launches
    )
    return replace(node, launches=launches)


def _elements(node: Node, references: tuple[str, ...], values: Mapping[str, Value]) -> int:
    return max(values[node.value(each)].elements for each in references if each.startswith(("in", "out")))
