"""Where the nodes of a graph lie: in layers from above to below, with few crossings and straight lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from framework.ir.picture.graph import Graph

ROUNDS, PULLS = 12, 80
"""Sweeps over the layers, down and up, that order the nodes, and that pull them towards their neighbours."""

MANY = 8
"""Edges to one node that share their bends if they are more."""

Point = tuple[float, float]
Size = tuple[float, float]
Edge = tuple[int, int]


class Layout(NamedTuple):
    """The centres of the nodes, the points that each edge goes through, and the size of all; y goes down."""

    places: list[Point]
    routes: list[list[Point]]
    size: Size


class Gaps(NamedTuple):
    """The least distances between nodes beside each other, lines beside each other, and layers."""

    nodes: float
    lines: float
    layers: float


def layered(graph: Graph, sizes: Sequence[Size], gaps: Gaps) -> Layout:
    """Place the nodes of a graph; the widths and heights of the nodes are given."""
    return in_layers(graph.edges, _ranks(graph), sizes, gaps)


def in_layers(
    edges: Sequence[Edge],
    ranks: Sequence[int],
    sizes: Sequence[Size],
    gaps: Gaps,
    columns: Sequence[int] = (),
    are_straight: bool = False,
) -> Layout:
    """Place nodes whose layers are given; edges may lead down, up, or to the side within a layer.

    Nodes of a lower column lie left of those of a higher one in their layer; the nodes of straight columns
    lie below each other as well, with all bends right of them. Edges from one node share their bends as far
    as they go together, as do many to one node.
    """
    net = _Net(edges, ranks, columns)
    layers = _ordered(net)
    widths = [*(width for width, _ in sizes), *[gaps.lines] * (len(net.ranks) - len(sizes))]
    xs = (_below_each_other if are_straight else _across)(net, layers, widths, gaps)
    heights = [max((sizes[at][1] for at in layer if at < len(sizes)), default=0.0) for layer in layers]
    ys, y = [], 0.0
    for height in heights:
        ys.append(y + height / 2)
        y += height + gaps.layers
    left = min(x - width / 2 for x, width in zip(xs, widths, strict=True))
    right = max(x + width / 2 for x, width in zip(xs, widths, strict=True))
    points = [(x - left, ys[rank]) for x, rank in zip(xs, net.ranks, strict=True)]
    routes = [[points[at] for at in chain] for chain in net.chains]
    return Layout(points[: len(sizes)], routes, (right - left, y - gaps.layers))


def _ranks(graph: Graph) -> list[int]:
    """Return the layer of each node: below all that it uses, or just above its first use."""
    ranks = [0] * len(graph.nodes)
    uses: list[list[int]] = [[] for _ in graph.nodes]
    has_input = [False] * len(graph.nodes)
    for start, end in sorted(graph.edges, key=lambda edge: edge[1]):
        ranks[end] = max(ranks[end], ranks[start] + 1)
        uses[start].append(end)
        has_input[end] = True
    last = len(graph.nodes) - 1
    ranks[last] = max(ranks[last], max(ranks[:last], default=-1) + 1)
    for at, used in enumerate(uses):
        if used and not has_input[at]:
            ranks[at] = min(ranks[end] for end in used) - 1
    return ranks


class _Net:
    """The graph with a bend in every layer that an edge goes through."""

    def __init__(self, edges: Sequence[Edge], ranks: Sequence[int], columns: Sequence[int]) -> None:
        self.ranks = list(ranks)
        self.columns = list(columns) or [0] * len(ranks)
        self.nodes = len(ranks)
        self.bends: dict[tuple[Edge, int], int] = {}
        self.ends = Counter(end for _, end in edges)
        self.chains = [self._chain(start, end) for start, end in edges]
        above: list[dict[int, None]] = [{} for _ in self.ranks]
        below: list[dict[int, None]] = [{} for _ in self.ranks]
        for chain in self.chains:
            for one, other in pairwise(chain):
                if self.ranks[one] != self.ranks[other]:
                    upper, lower = sorted((one, other), key=lambda at: self.ranks[at])
                    below[upper][lower] = above[lower][upper] = None
        self.above, self.below = ([list(each) for each in found] for found in (above, below))

    def _chain(self, start: int, end: int) -> list[int]:
        """Return the nodes of an edge, with those of its bends that other edges from its start have, too."""
        first, last = self.ranks[start], self.ranks[end]
        step = 1 if first < last else -1
        shared = (-1, end) if self.ends[end] > MANY else (start, -1)
        bends = [self._bend(shared, rank, start) for rank in range(first + step, last, step)]
        return [start, *bends, end]

    def _bend(self, shared: Edge, rank: int, start: int) -> int:
        if (shared, rank) not in self.bends:
            self.bends[shared, rank] = len(self.ranks)
            self.ranks.append(rank)
            self.columns.append(self.columns[start])
        return self.bends[shared, rank]

    def is_bend(self, at: int) -> bool:
        """Tell whether a place is a bend of an edge."""
        return at >= self.nodes


def _ordered(net: _Net) -> list[list[int]]:
    """Return the layers, each in an order that crosses few lines."""
    layers: list[list[int]] = [[] for _ in range(max(net.ranks) + 1)]
    for at, rank in enumerate(net.ranks):
        layers[rank].append(at)
    for layer in layers:
        layer.sort(key=lambda at: net.columns[at])
    best, fewest = [list(layer) for layer in layers], _crossings(net, layers)
    for count in range(ROUNDS):
        down = count % 2 == 0
        beside = net.above if down else net.below
        for rank in range(len(layers)) if down else reversed(range(len(layers))):
            position = {at: place for layer in layers for place, at in enumerate(layer)}
            wanted = {at: _mean([position[to] for to in beside[at]], position[at]) for at in layers[rank]}
            layers[rank].sort(key=lambda at: (net.columns[at], wanted[at]))
        crossings = _crossings(net, layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _crossings(net: _Net, layers: list[list[int]]) -> int:
    """Return how many pairs of lines cross between layers."""
    position = {at: place for layer in layers for place, at in enumerate(layer)}
    count = 0
    for layer in layers:
        lines = [(position[at], position[lower]) for at in layer for lower in net.below[at]]
        count += sum(
            (a - c) * (b - d) < 0 for index, (a, b) in enumerate(lines) for c, d in lines[index + 1 :]
        )
    return count


def _below_each_other(net: _Net, layers: list[list[int]], widths: list[float], gaps: Gaps) -> list[float]:
    """Return the x of every node: one for a column, and right of it as many places for bends as it needs."""
    xs, left = [0.0] * len(net.ranks), 0.0
    for column in sorted(set(net.columns)):
        rows = [[at for at in layer if net.columns[at] == column] for layer in layers]
        nodes = [at for row in rows for at in row if not net.is_bend(at)]
        width = max((widths[at] for at in nodes), default=0.0)
        xs = [left + width / 2 if net.columns[at] == column else x for at, x in enumerate(xs)]
        bends = [[at for at in row if net.is_bend(at)] for row in rows]
        right = left + width + gaps.nodes / 2
        for row in bends:
            for place, at in enumerate(row, 1):
                xs[at] = right + place * gaps.lines
        left = right + gaps.nodes / 2 + gaps.lines * max(map(len, bends))
    return xs


def _across(net: _Net, layers: list[list[int]], widths: list[float], gaps: Gaps) -> list[float]:
    """Return the x of every node: near those that it is tied to, in the order of its layer, not too close."""
    xs = [0.0] * len(net.ranks)
    for layer in layers:
        for at, x in zip(
            layer, spread([0.0] * len(layer), [widths[at] for at in layer], gaps.nodes), strict=True
        ):
            xs[at] = x
    for count in range(PULLS):
        for layer in layers if count % 2 == 0 else reversed(layers):
            wanted = [_pulled(net, at, xs) for at in layer]
            found = spread(wanted, [widths[at] for at in layer], gaps.nodes)
            for at, x in zip(layer, found, strict=True):
                xs[at] = x
    return xs


def _pulled(net: _Net, at: int, xs: list[float]) -> float:
    """Return the x that the neighbours of a node pull it to; bends pull stronger, for straight lines."""
    weights = [
        (16.0 if net.is_bend(at) and net.is_bend(each) else 1.0, xs[each])
        for each in net.above[at] + net.below[at]
    ]
    total = sum(weight for weight, _ in weights)
    return sum(weight * x for weight, x in weights) / total if weights else xs[at]


def spread(wanted: Sequence[float], widths: Sequence[float], gap: float) -> list[float]:
    """Return centres in the order given, a gap apart at least, that differ least from those wanted.

    >>> spread([0.0, 0.0, 9.0], [2.0, 2.0, 2.0], 1.0)
    [-1.5, 1.5, 9.0]
    """
    offsets, at = [], 0.0
    for index, width in enumerate(widths):
        at += 0.0 if index == 0 else (widths[index - 1] + width) / 2 + gap
        offsets.append(at)
    blocks: list[tuple[float, int]] = []  # means of neighbours that touch, and how many they are
    for goal, offset in zip(wanted, offsets, strict=True):
        mean, count = goal - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, count = (mean * count + before * many) / (count + many), count + many
        blocks.append((mean, count))
    shifts = [mean for mean, count in blocks for _ in range(count)]
    return [shift + offset for shift, offset in zip(shifts, offsets, strict=True)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
