"""Step 3, optimisation: fusions, then formats, with as few conversions between them as can be found.

Each pass takes a graph and returns one that computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import groupby

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import FLOW, INPUT, INTERMEDIATE, VARIABLE, Graph, Node, Value
from framework.graph_engine.options import Options
from framework.graph_engine.service.few_channels import few_channels
from framework.graph_engine.service.formats import assign_formats
from framework.graph_engine.service.fractals import transpose_fractals
from framework.graph_engine.service.fusion import chosen, fuse
from framework.graph_engine.service.hoist import hoist_conversions
from framework.graph_engine.service.narrow import narrow
from framework.graph_engine.service.switches import fuse_switches
from framework.graph_engine.service.validate import validated


def optimize(graph: Graph, platform: Platform, options: Options | None = None) -> Graph:
    """Fuse what the kernels can do in one, then choose formats and insert the conversions that are left.

    Where the stream jumps, each straight part is optimised by itself: values between parts lie in ND. There
    counters that fit are stored in 32 bits. What each pass leaves is validated.

    Raises:
        IllFormedGraph: nodes read what nobody has made.
    """
    options = options or Options()
    return _passed(validated(graph), _passes(graph.is_straight, platform, options))


Pass = Callable[[Graph], Graph]


def _passes(is_straight: bool, platform: Platform, options: Options) -> dict[str, Pass]:
    """Return the passes that are switched on, in their order, by name."""
    fusions = chosen(options.fusions)
    passes: dict[str, tuple[bool, Pass]] = {
        "few_channels": (options.formats, lambda graph: few_channels(graph, platform)),
        "fuse": (options.fusion, lambda graph: fuse(graph, platform, fusions)),
        "assign_formats": (True, lambda graph: assign_formats(graph, options.formats)),
        "transpose_fractals": (options.formats, transpose_fractals),
    }
    around: dict[str, tuple[bool, Pass]] = {
        "fuse_switches": (options.fusion, fuse_switches),
        "narrow": (options.counters, lambda graph: narrow(graph, platform)),
        "straight parts": (True, lambda graph: _in_parts(graph, platform, options)),
        "hoist_conversions": (True, hoist_conversions),
    }
    return {name: each for name, (on, each) in (passes if is_straight else around).items() if on}


def _passed(graph: Graph, passes: Mapping[str, Pass]) -> Graph:
    for name, each in passes.items():
        graph = validated(each(graph), name)
    return graph


def _in_parts(graph: Graph, platform: Platform, options: Options) -> Graph:
    """Return the graph with every run of nodes between jumps and copies optimised."""
    runs = [tuple(nodes) for _, nodes in groupby(graph.nodes, key=lambda node: node.op in FLOW)]
    users = _users(graph, runs)
    values, renamed = dict(graph.values), dict[str, str]()
    found, notes = list[Node](), list[str]()
    for number, run in enumerate(runs):
        nodes = tuple(_with_names(node, renamed) for node in run)
        if nodes[0].op in FLOW:
            found += nodes
            continue
        made = [name for node in nodes for name in node.outputs]
        outputs = tuple(name for name in made if users.get(name, set()) - {number})
        part = _part(graph, values, nodes, outputs)
        for each in _passes(True, platform, options).values():
            part = each(part)
        renamed |= zip(outputs, part.outputs, strict=True)
        values |= {name: value for name, value in part.values.items() if name not in graph.inputs}
        found += part.nodes
        notes += part.notes
    held = {value.name: value for value in graph.values.values() if value.kind in _HELD}
    ends = tuple(renamed.get(name, name) for name in graph.outputs)
    updates = {renamed.get(value, value): variable for value, variable in graph.updates.items()}
    whole = replace(graph, outputs=ends, updates=updates).with_nodes(tuple(found), {**values, **held})
    return whole.with_notes(notes)


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
