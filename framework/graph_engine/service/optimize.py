"""Step 3, optimisation: fusions, then formats, with as few conversions between them as can be found.

Each pass takes a graph and returns one that computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import AICORE, FLOW, INPUT, INTERMEDIATE, VARIABLE, Graph, Node, Value
from framework.graph_engine.options import Options
from framework.graph_engine.service.formats import assign_formats
from framework.graph_engine.service.hoist import hoist_conversions
from framework.graph_engine.service.narrow import narrow
from framework.graph_engine.service.split import place
from framework.graph_engine.service.switches import fuse_switches

BIASED = {"matmul": (-1, 1), "conv2d": (1,)}
"""Operators whose kernels add a bias on the way out, and the axes on which."""


def optimize(graph: Graph, platform: Platform, options: Options | None = None) -> Graph:
    """Fuse what the kernels can do in one, then choose formats and insert the conversions that are left.

    Where the stream jumps, each straight part is optimised by itself: values between parts lie in ND. There
    counters that fit are stored in 32 bits.
    """
    options = options or Options()
    if not graph.is_straight:
        whole = fuse_switches(graph) if options.fusion else graph
        whole = narrow(whole, platform) if options.counters else whole
        return hoist_conversions(_in_parts(whole, platform, options))
    if options.fusion:
        graph = fuse_bias(graph, platform)
    return assign_formats(graph, options.formats)


def _in_parts(graph: Graph, platform: Platform, options: Options) -> Graph:
    """Return the graph with every run of nodes between jumps and copies optimised."""
    runs = [tuple(nodes) for _, nodes in groupby(graph.nodes, key=lambda node: node.op in FLOW)]
    users = _users(graph, runs)
    values, renamed = dict(graph.values), dict[str, str]()
    found: list[Node] = []
    for number, run in enumerate(runs):
        nodes = tuple(_with_names(node, renamed) for node in run)
        if nodes[0].op in FLOW:
            found += nodes
            continue
        made = [name for node in nodes for name in node.outputs]
        outputs = tuple(name for name in made if users.get(name, set()) - {number})
        part = optimize(_part(graph, values, nodes, outputs), platform, options)
        renamed |= zip(outputs, part.outputs, strict=True)
        values |= {name: value for name, value in part.values.items() if name not in graph.inputs}
        found += part.nodes
    held = {value.name: value for value in graph.values.values() if value.kind in _HELD}
    ends = tuple(renamed.get(name, name) for name in graph.outputs)
    updates = {renamed.get(value, value): variable for value, variable in graph.updates.items()}
    return replace(graph, outputs=ends, updates=updates).with_nodes(tuple(found), {**values, **held})


def _users(graph: Graph, runs: list[tuple[Node, ...]]) -> dict[str, set[int]]:
    """Return the runs that read each value; -1 stands for who reads the results."""
    users: dict[str, set[int]] = {name: {-1} for name in (*graph.outputs, *graph.updates)}
    for number, nodes in enumerate(runs):
        for node in nodes:
            for name in node.inputs:
                users.setdefault(name, set()).add(number)
    return users


def _with_names(node: Node, renamed: dict[str, str]) -> Node:
    return replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))


_HELD = (INPUT, VARIABLE)
"""Kinds of values that lie where the host has put them; a part takes them as they are."""


def _part(graph: Graph, table: dict[str, Value], nodes: tuple[Node, ...], outputs: tuple[str, ...]) -> Graph:
    """Return the graph of some neighbouring nodes; what they take of others lies in ND."""
    used = {name for node in nodes for name in (*node.inputs, *node.outputs)}
    values = {
        name: replace(table[name], kind=INTERMEDIATE) if table[name].kind in _HELD else table[name]
        for name in used
    }
    return replace(graph, values=values, nodes=nodes, inputs=(), outputs=outputs, updates={})


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
