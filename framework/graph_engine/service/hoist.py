"""Conversions of what a loop does not change are made before the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from framework.graph_engine.data.graph import LABEL, TRANS_DATA, Graph, Node


def hoist_conversions(graph: Graph) -> Graph:
    """Convert a value that is the same in all turns of a loop once, before its label.

    before  label L0; %w.NZ = trans_data(%w); %y = matmul(%x, %w.NZ) ... label_goto L0
    after   %w.NZ = trans_data(%w); label L0; %y = matmul(%x, %w.NZ) ... label_goto L0
    """
    nodes = graph.nodes
    before: dict[int, dict[str, Node]] = {}
    moved: set[int] = set()
    loops = list(_loops(nodes))
    for number, node in enumerate(nodes):
        if node.op == TRANS_DATA:
            around = [
                begin for begin, end in loops if begin < number < end and not _writes(nodes[begin:end], node)
            ]
            if around:
                moved.add(number)
                before.setdefault(min(around), {})[node.outputs[0]] = node
    found: list[Node] = []
    for number, node in enumerate(nodes):
        found += before.get(number, {}).values()
        if number not in moved:
            found.append(node)
    return graph.with_nodes(tuple(found))


def _writes(nodes: Sequence[Node], conversion: Node) -> bool:
    """Tell whether some of these nodes write what a conversion reads."""
    return any(conversion.inputs[0] in node.outputs for node in nodes)


def _loops(nodes: Sequence[Node]) -> Iterator[tuple[int, int]]:
    """Yield where each loop begins and ends: a label, and a jump back to it."""
    places: dict[int, int] = {}
    for number, node in enumerate(nodes):
        labels: Any = node.attrs.get("labels", ())
        for label in labels:
            if node.op == LABEL:
                places[label] = number
            elif label in places:
                yield places[label], number
