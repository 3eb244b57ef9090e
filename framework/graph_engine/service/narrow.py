"""Counters of loops lie in 32 bits where they provably fit: the cores compute with them, not the AI CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from davinci_sim.chip.flow import COMPARISONS
from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import (
    CONSTANT,
    MEMCPY,
    PICK,
    PUSH,
    SWITCH,
    VARIABLE,
    Graph,
    Node,
    Value,
)
from framework.graph_engine.service.ranges import NARROW, RULES, is_followed, ranges
from framework.graph_engine.service.split import place

ENDS = ".int32"
"""What the names of constants in 32 bits end in."""


def narrow(graph: Graph, platform: Platform) -> Graph:
    """Store integers in 32 bits that are never beyond, together with all that they meet.

    before  %i: int64; %next = add(%i, 1) [aicpu]
    after   %i: int32; %next = add(%i, 1) [aicore]

    That the integers given fit is assumed; they are the `counts` of the graph, looked at before each run.
    """
    names = _chosen(graph)
    if not names:
        return graph
    counts = tuple(
        name for name in graph.inputs if is_followed(graph, name) and not graph.values[name].type.shape
    )
    values = {name: _narrowed(value) if name in names else value for name, value in graph.values.items()}
    inside = [bool(names & {*node.inputs, *node.outputs}) for node in graph.nodes]
    nodes = [
        _with_constants(graph, node, values) if is_inside else node
        for node, is_inside in zip(graph.nodes, inside, strict=True)
    ]
    found = replace(graph.with_nodes(tuple(nodes), values), counts=counts)
    placed = (
        place(found, node, platform) if is_inside else node
        for node, is_inside in zip(nodes, inside, strict=True)
    )
    return found.with_nodes(tuple(placed))


def _chosen(graph: Graph) -> set[str]:
    """Return the values to store in 32 bits: with each of them all that it meets fits."""
    known = ranges(graph)
    held = {*graph.outputs, *graph.updates, *(value.name for value in graph.of_kind(VARIABLE))}
    names = {
        name
        for name, value in graph.values.items()
        if name in known and name not in held and value.kind != CONSTANT and known[name].is_within(NARROW)
    }
    fits = {name for name, interval in known.items() if interval.is_within(NARROW)}
    spread = True
    while spread:
        spread = False
        for node in graph.nodes:
            met = set(_integers(graph, node))
            if met & names and not _may_be_narrow(graph, node, names, fits):
                names -= met
                spread = True
    return names


def _integers(graph: Graph, node: Node) -> Iterator[str]:
    """Yield the operands of a node that are integers of 64 bits."""
    return (name for name in (*node.inputs, *node.outputs) if is_followed(graph, name))


def _may_be_narrow(graph: Graph, node: Node, names: set[str], fits: set[str]) -> bool:
    """Tell whether a node computes the same with all of its integers in 32 bits."""
    is_to_float = node.op == "cast" and graph.values[node.outputs[0]].type.dtype.name == "float32"
    compares = node.op in COMPARISONS or (node.op == SWITCH and "compare" in node.attrs)
    if not (node.op in (*RULES, MEMCPY, PUSH, PICK) or is_to_float or compares):
        return False
    return all(
        name in names or (graph.values[name].kind == CONSTANT and name in fits)
        for name in _integers(graph, node)
    )


def _narrowed(value: Value) -> Value:
    data = None if value.data is None else value.data.astype(np.int32)
    return replace(value, type=value.type.with_dtype("int32"), data=data)


def _with_constants(graph: Graph, node: Node, values: dict[str, Value]) -> Node:
    """Return a node that takes its constants in 32 bits; they are entered among the values."""
    renamed = {}
    for name in node.inputs:
        value = graph.values[name]
        if value.kind == CONSTANT and is_followed(graph, name):
            renamed[name] = f"{name}{ENDS}"
            values[renamed[name]] = replace(_narrowed(value), name=renamed[name])
    return replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
