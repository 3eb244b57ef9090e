"""Pooling without positions: where nobody reads which element was the largest, none is looked for."""

from __future__ import annotations

from dataclasses import replace

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import AICORE, Graph, Node
from framework.graph_engine.data.operators import refusal

OP, PLAIN = "max_pool_with_argmax", "max_pool_plain"


def plain_pools(graph: Graph, platform: Platform) -> Graph:
    """Return the graph with the plain kernel where the positions of the maxima are not read.

    before  %y, %i = max_pool(%x)
    after   %y = max_pool_plain(%x)
    """
    read = {*graph.outputs, *graph.updates, *(name for node in graph.nodes for name in node.inputs)}
    return graph.with_nodes(tuple(_plain(node, platform, read) for node in graph.nodes))


def _plain(node: Node, platform: Platform, read: set[str]) -> Node:
    """Return a pooling without its positions if nobody reads them; another node as it is."""
    if node.op != OP or node.engine != AICORE or node.outputs[1] in read:
        return node
    (launch,) = node.launches
    made = replace(launch, kernel=PLAIN, operands=launch.operands[:2])
    if refusal(made, platform):
        return node
    return replace(node, outputs=node.outputs[:1], launches=(made,))
