"""The law of graphs, which preparation and every pass is held to: who makes what, who reads it, its type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from davinci_sim.errors import DavinciError
from framework.graph_engine.data.graph import FLOW, INTERMEDIATE, VARIABLE, Graph, Node, Value
from framework.ir.registry import OPERATORS, operator
from kernels.lang.kernel import Operand

MOST_SHOWN = 8
"""Nodes of a cycle that a message names."""


class IllFormedGraph(DavinciError):
    """A graph in which a node reads what nobody has made, or whose types do not follow from each other."""


def validated(graph: Graph, made_by: str = "") -> Graph:
    """Return the graph unchanged if every node can run in its place; `made_by` is the pass that made it.

    Raises:
        IllFormedGraph: nodes form a cycle, read what nobody makes, or make what is there already.
    """
    try:
        _check_names(graph)
        _check_makers(graph)
        _check_order(graph)
        _check_ends(graph)
    except IllFormedGraph as error:
        where = f"after the pass {made_by}" if made_by else ""
        raise IllFormedGraph(f"graph {graph.name}{' ' if where else ''}{where}: {error}") from None
    return graph


def typed(graph: Graph) -> Graph:
    """Return the graph unchanged if the table of operators gives its nodes the types that they have.

    Raises:
        IllFormedGraph: an operator refuses its inputs, or its outputs are of other types.
        UnknownName: there is no such operator.
    """
    for node in graph.nodes:
        if node.op not in FLOW:
            _check_types(graph, node)
    return graph


def check_room(node: Node, kernel: str, operand: Operand, value: Value) -> None:
    """Refuse a launch whose kernel reads or writes more bytes than its value has."""
    if operand.nbytes > value.nbytes:
        raise IllFormedGraph(
            f"{node.name}: kernel {kernel} takes {operand.nbytes:,} bytes as {operand.name}, "
            f"{value} has {value.nbytes:,}\n"
            "  rule: an operand lies within its value, in its format\n"
            "  next: look at the lowering of the operator, or at the pass that made the node"
        )


def _check_names(graph: Graph) -> None:
    """Refuse names that stand for nothing; what parts of the host keep is in no table."""
    seen: set[str] = set()
    for node in graph.nodes:
        if node.name in seen:
            raise IllFormedGraph(f"two nodes are called {node.name}\n  rule: every node has its own name")
        seen.add(node.name)
        for name in (*node.inputs, *node.outputs):
            if name not in graph.values and not name.startswith("host."):
                raise IllFormedGraph(
                    f"{node.name} names %{name}, which is no value of the graph\n"
                    "  next: enter it into values, with its type"
                )


def _check_makers(graph: Graph) -> None:
    """Refuse what is made twice, if every node runs once, and what lies over inputs and constants."""
    is_straight, makers = graph.is_straight, dict[str, Node]()
    for node in graph.nodes:
        for name in node.outputs:
            value = graph.values.get(name)
            if value is not None and value.kind not in (INTERMEDIATE, VARIABLE):
                raise IllFormedGraph(f"{node.name} makes %{name}, the {value.kind}\n  rule: nobody makes it")
            if is_straight and name in makers:
                raise IllFormedGraph(
                    f"{makers[name].name} and {node.name} make %{name}\n  rule: every value has one maker"
                )
            makers[name] = node


def _check_order(graph: Graph) -> None:
    """Refuse nodes that read what comes later, or never; a room that nothing was put into is empty."""
    made = {value.name for value in graph.values.values() if value.kind != INTERMEDIATE} | graph.rooms
    for node in graph.nodes:
        for name in node.inputs:
            if name not in made:
                raise IllFormedGraph(_too_early(graph, node, name))
        made.update(node.outputs)


def _too_early(graph: Graph, node: Node, name: str) -> str:
    """Say why a node cannot read a value: a cycle, a wrong order, or nobody who makes it."""
    makers = {output: each for each in graph.nodes for output in each.outputs}
    if name not in makers:
        return (
            f"{node.name} reads %{name}, which nobody makes\n"
            "  next: add the node that makes it, or let it be an input, a variable or a constant"
        )
    cycle = _cycle(makers, node) if graph.is_straight else []
    if not cycle:
        return (
            f"{node.name} reads %{name}, which {makers[name].name} makes later\n"
            "  rule: nodes stand in the order in which they run"
        )
    names = [each.name for each in cycle]
    rest = [f"... {len(names) - MOST_SHOWN} more"] if len(names) > MOST_SHOWN else []
    return (
        f"its nodes form a cycle\n  {' -> '.join([*names[:MOST_SHOWN], *rest, names[0]])}\n"
        "  rule: no node waits for itself\n  next: let one of them read another value"
    )


def _cycle(makers: dict[str, Node], start: Node) -> list[Node]:
    """Return the nodes of a way from a node along what it reads back to a node of the way; none: empty."""
    way: dict[str, Node] = {start.name: start}
    left: list[Iterator[Node]] = [_sources(makers, start)]
    done: set[str] = set()
    while left:
        source = next(left[-1], None)
        if source is None:
            left.pop()
            done.add(way.popitem()[0])
        elif source.name in way:
            nodes = list(way.values())
            return nodes[nodes.index(source) :][::-1]
        elif source.name not in done:
            way[source.name] = source
            left.append(_sources(makers, source))
    return []


def _sources(makers: dict[str, Node], node: Node) -> Iterator[Node]:
    """Yield the nodes that make what a node reads."""
    return (makers[name] for name in node.inputs if name in makers)


def _check_ends(graph: Graph) -> None:
    """Refuse results that nobody makes, and new contents of what is no variable, or of another type."""
    made = {value.name for value in graph.values.values() if value.kind != INTERMEDIATE}
    made.update(name for node in graph.nodes for name in node.outputs)
    for name in (*graph.outputs, *graph.updates):
        if name not in made:
            raise IllFormedGraph(f"it returns %{name}, which nobody makes")
    for name, variable in graph.updates.items():
        target = graph.values.get(variable)
        if target is None or target.kind != VARIABLE or target.type != graph.values[name].type:
            raise IllFormedGraph(
                f"%{name} renews %{variable}, which is {_told(target)}\n"
                f"  rule: what is renewed is a variable, {graph.values[name].type} like its new content"
            )


def _told(value: Any) -> str:
    return "no value of the graph" if value is None else f"the {value.kind} {value}"


def _check_types(graph: Graph, node: Node) -> None:
    ins = [graph.values[name].type for name in node.inputs]
    outs = tuple(graph.values[name].type for name in node.outputs)
    try:
        given = operator(node.op).infer_types(ins, node.attrs)
    except DavinciError as error:
        if node.op not in OPERATORS:
            raise
        raise IllFormedGraph(f"graph {graph.name}: {node.name} cannot run\n  {error}") from None
    if given != outs:
        raise IllFormedGraph(
            f"graph {graph.name}: {node.name} gives {_join(given)}, its outputs say {_join(outs)}\n"
            f"  rule: {node.op} of {_join(tuple(ins))} decides"
        )


def _join(types: tuple[Any, ...]) -> str:
    return f"({', '.join(map(str, types))})"
