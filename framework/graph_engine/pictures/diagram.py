"""What the picture of a graph shows: a box per node, or per layer where there are many, and edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from framework.graph_engine.data.graph import INPUT, VARIABLE, Graph, Node
from framework.graph_engine.pictures.layers import Path, layers
from framework.graph_engine.pictures.links import FORWARD, Link, Links

MOST_NODES = 120
"""Nodes of a graph that are drawn one by one; of more, layers are drawn."""
MOST_ROWS = 36
"""Layers below each other."""
LONGEST, LONGEST_LINE, FEW_ROWS = 34, 50, 24
UNKNOWN = "all layers"
JUMP = "jump"
"""What stands in place of the format where no value is."""


class Box(NamedTuple):
    """One or several nodes: their part of the step, and the row in which they stand."""

    title: str
    details: tuple[str, ...]
    nodes: tuple[Node, ...]
    part: int
    row: int

    @property
    def operators(self) -> Counter[str]:
        """How many nodes of each operator there are."""
        return Counter(node.op for node in self.nodes)

    @property
    def engines(self) -> Counter[str]:
        """How many nodes run on each engine."""
        return Counter(node.engine for node in self.nodes)


class Edge(NamedTuple):
    """That one box reads what another makes: the format of the largest value, and of how many."""

    start: int
    end: int
    format: str
    values: int


class Diagram(NamedTuple):
    """Boxes in rows, and the edges between them by their numbers."""

    boxes: list[Box]
    edges: list[Edge]
    is_collapsed: bool


def diagram(graph: Graph) -> Diagram:
    """Return a box per node of a small graph; of a large one, boxes per layer and part of the step."""
    links = Links(graph)
    return _each(links) if len(graph.nodes) <= MOST_NODES else _collapsed(links)


def _each(links: Links) -> Diagram:
    rows = _rows(links)
    boxes = [
        Box(_named(node), _about(links, at), (node,), links.parts[at], rows[at])
        for at, node in enumerate(links.graph.nodes)
    ]
    return Diagram(boxes, _edges([*links.links, *links.in_order()], range(len(boxes))), False)


def _rows(links: Links) -> list[int]:
    """Return the row of each node: forward they go down, behind the loss up again.

    What prepares weights stands just before its first use.
    """
    order = [link for link in links.in_order() if link.start < link.end]
    depths = [0] * len(links.parts)
    uses: list[list[int]] = [[] for _ in depths]
    for link in sorted([*links.links, *order], key=lambda link: link.end):
        if (links.parts[link.start] == FORWARD) == (links.parts[link.end] == FORWARD):
            depths[link.end] = max(depths[link.end], depths[link.start] + 1)
            uses[link.start].append(link.end)
    for at in reversed(range(len(depths))):
        if links.is_prepared[at] and uses[at]:
            depths[at] = min(depths[use] for use in uses[at]) - 1
    ahead = [depth for depth, part in zip(depths, links.parts, strict=True) if part == FORWARD]
    back = [depth for depth, part in zip(depths, links.parts, strict=True) if part != FORWARD]
    height = max(*ahead, *back, 0, 0)
    shift = height - max(ahead, default=0)
    found = [
        shift + depth if part == FORWARD else height - depth
        for depth, part in zip(depths, links.parts, strict=True)
    ]
    return [row - min(found) for row in found]


def _named(node: Node) -> str:
    return _cut("+".join(dict.fromkeys(node.operators)))


def _about(links: Links, at: int) -> tuple[str, ...]:
    """Return what a node makes, and which variables and inputs it reads."""
    node, values = links.graph.nodes[at], links.graph.values
    made = [values[name] for name in node.outputs[:1]]
    lines = [
        f"{'x'.join(map(str, value.type.shape)) or '1'} {value.type.dtype.name}"
        f"{'' if value.format == 'ND' else ' ' + value.format}"
        for value in made
    ]
    read = links.read(at, INPUT, VARIABLE)
    if read:
        lines.append(f"reads {', '.join(read)}")
    return tuple(map(_cut, lines))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _edges(links: Iterable[Link], boxes: Sequence[int]) -> list[Edge]:
    """Return an edge for all links between two boxes; within one there is none."""
    between: dict[tuple[int, int], list[Link]] = {}
    for link in links:
        start, end = boxes[link.start], boxes[link.end]
        if start != end:
            between.setdefault((start, end), []).append(link)
    return [Edge(*ends, _format(group), len(group)) for ends, group in between.items()]


def _format(links: Sequence[Link]) -> str:
    values = [link.value for link in links if link.value is not None]
    return max(values, key=lambda value: value.nbytes).format if values else JUMP


def _collapsed(links: Links) -> Diagram:
    """Return a box per layer and part, in a row per layer, in the order in which layers begin."""
    paths = layers(links, MOST_ROWS)
    keys = [(path, part) for path, part in zip(paths, links.parts, strict=True)]
    order = sorted(range(len(keys)), key=lambda at: (keys[at][1], at))
    rows = {
        path: row for row, path in enumerate(dict.fromkeys([*(paths[at] for at in order if paths[at]), ()]))
    }
    found = {
        key: place for place, key in enumerate(sorted(set(keys), key=lambda key: (key[1], rows[key[0]])))
    }
    places = [found[key] for key in keys]
    members: list[list[Node]] = [[] for _ in found]
    for at, node in enumerate(links.graph.nodes):
        members[places[at]].append(node)
    parts = zip(*filter(None, rows), strict=False)
    common = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, parts))
    most = 2 if len(rows) <= FEW_ROWS else 1
    boxes = [
        Box(_cut(_layer(path, common)), _kinds(nodes, most), tuple(nodes), part, rows[path])
        for (path, part), nodes in zip(found, members, strict=True)
    ]
    return Diagram(boxes, _edges(links.links, places), True)


def _layer(path: Path, common: int) -> str:
    return ".".join(path[common:] or path) or UNKNOWN


def _kinds(nodes: Sequence[Node], most: int) -> tuple[str, ...]:
    """Return how many nodes there are and what most of them do, in a few lines."""
    counts = Counter(node.op for node in nodes).most_common()
    lines = [f"{len(nodes)} node{'s'[: len(nodes) != 1]}: "]
    for at, (name, count) in enumerate(counts):
        item = f"{count} {name}{', ' if at + 1 < len(counts) else ''}"
        if len(lines[-1]) + len(item) > LONGEST_LINE:
            if len(lines) == most:
                lines[-1] = f"{lines[-1].rstrip()} …"
                break
            lines.append("")
        lines[-1] += item
    return tuple(lines)
