"""Comparisons of integers move into the switch that they decide."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from davinci_sim.chip.flow import COMPARISONS
from framework.graph_engine.data.graph import SWITCH, Graph, Node

COMPARED = ("int32", "int64")
"""What the task scheduler compares by itself."""


def fuse_switches(graph: Graph) -> Graph:
    """Let the task scheduler compare counters: the AI CPU takes ten times as long.

    before  %more = greater(%n, 0); label_switch(%more)
    after   label_switch(%n, 0, compare=greater)
    """
    makers = {node.outputs[0]: node for node in graph.nodes if _is_comparison(graph, node)}
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update((*graph.outputs, *graph.updates))
    fused: set[str] = set()
    found: list[Node] = []
    for node in graph.nodes:
        maker = makers.get(node.inputs[0]) if node.op == SWITCH else None
        if maker is not None and readers[node.inputs[0]] == 1:
            fused.add(maker.name)
            found.append(replace(node, inputs=maker.inputs, attrs={**node.attrs, "compare": maker.op}))
        else:
            found.append(node)
    return graph.with_nodes(tuple(node for node in found if node.name not in fused))


def _is_comparison(graph: Graph, node: Node) -> bool:
    """Tell whether a node compares two integers that are no tensors."""
    types = [graph.values[name].type for name in node.inputs] if node.op in COMPARISONS else []
    return bool(types) and all(each.dtype.name in COMPARED and not each.shape for each in types)
