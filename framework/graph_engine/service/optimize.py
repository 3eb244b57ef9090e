"""Step 3, optimisation: fusions, then formats, with as few conversions between them as can be found.

Each pass takes a graph and returns one that computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import AICORE, Graph, Node
from framework.graph_engine.service.formats import assign_formats
from framework.graph_engine.service.split import place

BIASED = {"matmul": (-1, 1), "conv2d": (1,)}
"""Operators whose kernels add a bias on the way out, and the axes on which."""


def optimize(graph: Graph, platform: Platform, fusion: bool = True) -> Graph:
    """Fuse what the kernels can do in one, then choose formats and insert the conversions that are left."""
    if fusion:
        graph = fuse_bias(graph, platform)
    return assign_formats(graph)


def fuse_bias(graph: Graph, platform: Platform) -> Graph:
    """Let the cube start from the bias instead of zero.

    before  %y = matmul(%a, %b); %z = bias_add(%y, %bias)
    after   %z = matmul(%a, %b, %bias)
    """
    producers = {output: node for node in graph.nodes for output in node.outputs}
    fused: dict[str, Node] = {}
    for node in graph.nodes:
        product = producers.get(node.inputs[0]) if node.op == "bias_add" else None
        if product is not None and _can_take_bias(graph, product, node):
            joined = replace(product, inputs=(*product.inputs, node.inputs[1]), outputs=node.outputs)
            fused[product.name], fused[node.name] = node, place(graph, joined, platform)
    nodes = (each for node in graph.nodes for each in _replaced(node, fused))
    return graph.with_nodes(tuple(nodes))


def _can_take_bias(graph: Graph, product: Node, bias_add: Node) -> bool:
    value = product.outputs[0]
    axis, rank = bias_add.attrs["axis"], len(graph.values[value].type.shape)
    axes = {a % rank for a in BIASED.get(product.op, ())}
    only_reader = graph.consumers(value) == [bias_add] and value not in (*graph.outputs, *graph.updates)
    is_float = graph.values[bias_add.inputs[1]].type.dtype.name == "float32"
    return product.engine == AICORE and axis % rank in axes and only_reader and is_float


def _replaced(node: Node, fused: dict[str, Node]) -> Iterator[Node]:
    """Yield what stands for a node: the fused one at the place of the bias, nothing at the product's."""
    if node.name not in fused:
        yield node
    elif node.op == "bias_add":
        yield fused[node.name]
