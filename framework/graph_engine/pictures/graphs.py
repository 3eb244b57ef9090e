"""Pictures of graphs: what values and operators there are, who runs them, what the optimisation made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from framework.graph_engine.data.graph import (
    AICORE,
    AICPU,
    COLLECTIVE,
    HOST,
    RTS,
    TRANS_DATA,
    VIEW,
    Graph,
    Node,
)
from framework.graph_engine.pictures.canvas import (
    BEFORE,
    COLOURS,
    MB,
    bars,
    heaviest,
    legend,
    new_figure,
    strip,
)

ENGINES = {
    AICORE: "#4477aa", VIEW: "#aaaaaa", RTS: "#ccbb44", COLLECTIVE: "#228833", AICPU: "#ee7733",
    HOST: "#ee6677",
}  # fmt: skip
"""A colour for each place; what leaves the AI cores is warm."""
STRIP_ROWS, MOST_OPERATORS, MOST_REASONS, REASON_WIDTH = 8, 20, 8, 100


def draw_prepare(graph: Graph) -> Any:
    """Draw how many values of each kind there are, what they take, and how many operators of each name."""
    title = f"1 prepare  {graph.name}: {len(graph.nodes)} nodes, {len(graph.values)} values"
    figure = new_figure(13, 6, title)
    left, middle, right = figure.subplots(1, 3)
    counts = Counter(value.kind for value in graph.values.values())
    nbytes = {
        kind: sum(value.nbytes for value in graph.of_kind(kind)) / MB for kind, _ in counts.most_common()
    }
    bars(left, dict(counts.most_common()), "values", "{:,.0f}")
    bars(middle, nbytes, "what they take, each by itself, MB", "{:,.2f}")
    bars(right, heaviest(_operators(graph.nodes), MOST_OPERATORS), "nodes by operator", "{:,.0f}")
    return figure


def draw_split(graph: Graph) -> Any:
    """Draw who runs each node, in order, and why some are not for the AI cores."""
    figure = new_figure(13, 6, f"2 split  {graph.name}: who runs {len(graph.nodes)} nodes")
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.6))
    top, left, right = (figure.add_subplot(grid[place]) for place in ((0, slice(None)), (1, 0), (1, 1)))
    strip(top, [node.engine for node in graph.nodes], ENGINES, "nodes in order, line by line", STRIP_ROWS)
    counts = Counter(node.engine for node in graph.nodes)
    present = {engine: colour for engine, colour in ENGINES.items() if counts[engine]}
    legend(top, present)
    bars(left, {name: counts[name] for name in present}, "nodes", "{:,.0f}", list(present.values()))
    right.text(0.02, 0.95, _reasons(graph), transform=right.transAxes, va="top", fontsize=8)
    right.set_axis_off()
    return figure


def _reasons(graph: Graph) -> str:
    """Return the most frequent reasons for which nodes leave the AI cores."""
    found = Counter(f"{node.op} on {node.engine}: {node.reason}" for node in graph.nodes if node.reason)
    if not found:
        return "every operator runs on the AI cores"
    lines = [f"{count} x {reason}"[:REASON_WIDTH] for reason, count in found.most_common(MOST_REASONS)]
    return "\n".join(lines)


def draw_optimize(before: Graph, after: Graph) -> Any:
    """Draw how many nodes of each operator are left, what was fused, and in which formats values lie."""
    title = f"3 optimize  {after.name}: {len(before.nodes)} nodes become {len(after.nodes)}"
    figure = new_figure(15, 7, title)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 1.4, 0.9))
    _draw_change(left, _operators(before.nodes), _operators(after.nodes))
    fused = Counter("+".join(dict.fromkeys(node.fused)) for node in after.nodes if node.fused)
    bars(middle, heaviest(fused, MOST_OPERATORS), "nodes that stand for several", "{:,.0f}")
    conversions = Counter(
        f"{after.values[node.inputs[0]].format} -> {after.values[node.outputs[0]].format}"
        for node in after.nodes
        if node.op == TRANS_DATA
    )
    nbytes: Counter[str] = Counter()
    for value in after.values.values():
        nbytes[value.format] += value.nbytes
    formats = {name: count / MB for name, count in nbytes.items()}
    both = right.get_subplotspec().subgridspec(2, 1)
    right.set_axis_off()
    upper, lower = figure.add_subplot(both[0]), figure.add_subplot(both[1])
    bars(upper, heaviest(formats, MOST_OPERATORS), "values by format, MB", "{:,.2f}", COLOURS[2])
    bars(lower, heaviest(conversions, MOST_OPERATORS), "conversions left", "{:,.0f}", COLOURS[1])
    return figure


def _draw_change(axes: Any, before: Counter[str], after: Counter[str]) -> None:
    """Draw two bars for each operator: how many nodes there were, and how many are left."""
    names = list(heaviest(before | after, MOST_OPERATORS))
    names = [name for name in names if name in before or name in after]
    places = range(len(names))
    for counts, colour, label, shift in ((before, BEFORE, "before", -0.2), (after, COLOURS[0], "after", 0.2)):
        heights = [counts[name] for name in names]
        axes.barh([place + shift for place in places], heights, 0.4, color=colour, label=label)
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_title("nodes by operator", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _operators(nodes: Iterable[Node]) -> Counter[str]:
    return Counter(node.op for node in nodes)
