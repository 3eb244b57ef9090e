"""A Func as Graphviz text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from framework.ir.nodes import Func
from framework.ir.picture.graph import Graph, Node, distinct_graphs

SHAPES = {"param": "ellipse", "op": "box", "control": "hexagon", "check": "octagon", "return": "ellipse"}
COLOURS = {"param": "#dce8f5", "op": "#ffffff", "control": "#fbe5cc", "check": "#f8d7da", "return": "#d8eedd"}


def to_dot(func: Func) -> str:
    """Return the Graphviz text of a Func: branches, loops and what it calls are clusters of their own.

    A part that stands at one place lies inside of the cluster around it; what is called at several places
    lies beside them. Dashed lines lead from a binding to its Funcs. `dot -Tsvg` makes a picture of it.
    """
    return "\n".join(_Dot(func).lines())


class _Dot:
    """Numbers the Funcs, and knows which stand at one place only."""

    def __init__(self, func: Func) -> None:
        graphs = distinct_graphs(func)
        self.root = func
        self.graphs = {id(each.func): each for each in graphs}
        self.numbers = {id(each.func): number for number, each in enumerate(graphs)}
        self.places = Counter(
            id(part)
            for each in graphs
            for node in each.nodes
            for _, part in node.parts
            if isinstance(part, Func)
        )

    def lines(self) -> Iterator[str]:
        """Yield the lines of the text."""
        yield "digraph func {"
        yield '  compound=true; fontname="Helvetica"; labeljust=l; color="#888888"'
        yield '  node [fontname="Helvetica", fontsize=11, style=filled, color="#666666"]'
        yield '  edge [fontname="Helvetica", fontsize=10, color="#555555", arrowsize=0.7]'
        yield from self.cluster(self.root, "  ")
        for key, graph in self.graphs.items():
            if self.places[key] > 1:
                yield from self.cluster(graph.func, "  ")
        for graph in self.graphs.values():
            yield from self.calls(graph)
        yield "}"

    def cluster(self, func: Func, indent: str) -> Iterator[str]:
        """Yield the cluster of a Func with the parts that stand in it only."""
        graph, number = self.graphs[id(func)], self.numbers[id(func)]
        yield f"{indent}subgraph cluster_{number} {{"
        yield f'{indent}  label="@{_quoted(func.name)}"'
        for at, node in enumerate(graph.nodes):
            yield f"{indent}  {_name(number, at)} {_node(node)}"
        for start, end in graph.edges:
            yield f"{indent}  {_name(number, start)} -> {_name(number, end)}"
        for node in graph.nodes:
            for _, part in node.parts:
                if isinstance(part, Func) and self.places[id(part)] == 1:
                    yield from self.cluster(part, indent + "  ")
        yield f"{indent}}}"

    def calls(self, graph: Graph) -> Iterator[str]:
        """Yield the dashed lines from the bindings of a Func to their Funcs."""
        number = self.numbers[id(graph.func)]
        for at, node in enumerate(graph.nodes):
            for key, part in node.parts:
                if isinstance(part, Func):
                    inner = self.numbers[id(part)]
                    end = f'lhead=cluster_{inner}, style=dashed, label="{"" if key == "func" else key}"'
                    yield f"  {_name(number, at)} -> {_name(inner, 0)} [{end}]"


def _name(func: int, node: int) -> str:
    return f"n{func}_{node}"


def _node(node: Node) -> str:
    text = "\\n".join(_quoted(each) for each in (node.title, *node.details))
    return f'[label="{text}", shape={SHAPES[node.kind]}, fillcolor="{COLOURS[node.kind]}"]'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
