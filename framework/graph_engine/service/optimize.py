"""Step 3, optimisation: fusions, then formats, with as few conversions between them as can be found.

Each pass takes a graph and returns one that computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import groupby

from davinci_sim.platforms import Platform
from framework.graph_engine.data.graph import FLOW, Graph, Node
from framework.graph_engine.options import Options
from framework.graph_engine.service.few_channels import few_channels
from framework.graph_engine.service.formats import assign_formats
from framework.graph_engine.service.fractals import transpose_fractals
from framework.graph_engine.service.fusion import chosen, fuse
from framework.graph_engine.service.narrow import narrow
from framework.graph_engine.service.plain_pools import plain_pools
from framework.graph_engine.service.split import weighed_anew
from framework.graph_engine.service.switches import fuse_switches
from framework.graph_engine.service.validate import validated


def optimize(graph: Graph, platform: Platform, options: Options | None = None) -> Graph:
    """Fuse what the kernels can do in one, then choose formats and insert the conversions that are left.

    Where the stream jumps, each straight part is fused by itself, and counters that fit are stored in 32
    bits; formats are chosen for all parts together. What each pass leaves is validated.

    Raises:
        IllFormedGraph: nodes read what nobody has made.
    """
    options = options or Options()
    return _passed(validated(graph), _passes(graph.is_straight, platform, options))


Pass = Callable[[Graph], Graph]


def _passes(is_straight: bool, platform: Platform, options: Options) -> dict[str, Pass]:
    """Return the passes that are switched on, in their order, by name."""
    fusions = chosen(options.fusions)
    in_parts: dict[str, tuple[bool, Pass]] = {
        "plain_pools": (True, lambda graph: plain_pools(graph, platform)),
        "few_channels": (options.formats, lambda graph: few_channels(graph, platform)),
        "fuse": (options.fusion, lambda graph: fuse(graph, platform, fusions)),
    }
    first: dict[str, tuple[bool, Pass]] = {
        "fuse_switches": (options.fusion, fuse_switches),
        "narrow": (options.counters, lambda graph: narrow(graph, platform)),
    }
    last: dict[str, tuple[bool, Pass]] = {
        "assign_formats": (
            True,
            lambda graph: weighed_anew(assign_formats(graph, platform, options.formats), platform),
        ),
        "transpose_fractals": (options.formats, lambda graph: transpose_fractals(graph, platform)),
    }
    if not is_straight:
        own = _on(in_parts)
        in_parts = first | {"straight parts": (True, lambda graph: _in_parts(graph, own.values()))}
    return _on(in_parts | last)


def _on(passes: Mapping[str, tuple[bool, Pass]]) -> dict[str, Pass]:
    return {name: each for name, (on, each) in passes.items() if on}


def _passed(graph: Graph, passes: Mapping[str, Pass]) -> Graph:
    for name, each in passes.items():
        graph = validated(each(graph), name)
    return graph


def _in_parts(graph: Graph, passes: Iterable[Pass]) -> Graph:
    """Return the graph with passes made of every run of nodes between jumps and copies."""
    runs = [tuple(nodes) for _, nodes in groupby(graph.nodes, key=lambda node: node.op in FLOW)]
    users = _users(graph, runs)
    values, found, notes = dict(graph.values), list[Node](), list[str]()
    for number, nodes in enumerate(runs):
        if nodes[0].op in FLOW:
            found += nodes
            continue
        made = [name for node in nodes for name in node.outputs]
        outputs = tuple(name for name in made if users.get(name, set()) - {number})
        part = _part(graph, nodes, outputs)
        for each in passes:
            part = each(part)
        values |= part.values
        found += part.nodes
        notes += part.notes
    return graph.with_nodes(tuple(found), values).with_notes(notes)


def _users(graph: Graph, runs: list[tuple[Node, ...]]) -> dict[str, set[int]]:
    """Return the runs that read each value; -1 stands for who reads the results."""
    users: dict[str, set[int]] = {name: {-1} for name in (*graph.outputs, *graph.updates)}
    for number, nodes in enumerate(runs):
        for node in nodes:
            for name in node.inputs:
                users.setdefault(name, set()).add(number)
    return users


def _part(graph: Graph, nodes: tuple[Node, ...], outputs: tuple[str, ...]) -> Graph:
    """Return the graph of some neighbouring nodes."""
    used = {name for node in nodes for name in (*node.inputs, *node.outputs)}
    values = {name: graph.values[name] for name in used}
    return replace(graph, values=values, nodes=nodes, inputs=(), outputs=outputs, updates={})
