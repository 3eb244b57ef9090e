"""Pictures of graphs: their nodes or layers, who runs them, what the optimisation made, and sums beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any, NamedTuple

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
    INK,
    MB,
    OTHER,
    bars,
    colours_of,
    heaviest,
    new_figure,
)
from framework.graph_engine.pictures.diagram import diagram
from framework.graph_engine.pictures.network import CONVERSION, FORMATS, draw_network, sketch

ENGINES = {
    AICORE: "#44546a", VIEW: "#aaaaaa", RTS: "#8d6e63", COLLECTIVE: "#00695c", AICPU: "#e65100",
    HOST: "#b71c1c",
}  # fmt: skip
"""A colour for each place, which no operator has; what leaves the AI cores is warm."""
MOST_OPERATORS, MOST_FUSED, MOST_REASONS, REASON_WIDTH, LONGEST_NAME = 20, 12, 8, 60, 28
FIGURE_WIDTH, PANEL_WIDTH, TITLE_HEIGHT = 14.5, 3.9, 0.4  # inches
LINE_HEIGHT, MOST_LINE_HEIGHT, FEWEST_LINES = 0.15, 0.22, 2  # inches, and lines of a panel


def draw_prepare(graph: Graph, colours: Mapping[str, str] | None = None) -> Any:
    """Draw the graph; beside it how many values of each kind there are, what they take, and the operators."""
    title = f"1 prepare  {graph.name}: {len(graph.nodes)} nodes, {len(graph.values)} values"
    counts = dict(Counter(value.kind for value in graph.values.values()).most_common())
    nbytes = {kind: sum(value.nbytes for value in graph.of_kind(kind)) / MB for kind in counts}
    known = _colours(graph, colours)
    panels = [
        Panel("values", counts, "{:,.0f}"),
        Panel("MB, each by itself", nbytes, "{:,.2f}"),
        _by_operator(graph, known),
    ]
    return _with_graph(title, graph, known, panels)


def draw_split(graph: Graph, colours: Mapping[str, str] | None = None) -> Any:
    """Draw the graph with who runs each node; beside it how many do, and why some leave the AI cores."""
    title = f"2 split  {graph.name}: who runs {len(graph.nodes)} nodes"
    counts = Counter(node.engine for node in graph.nodes)
    present = {engine: colour for engine, colour in ENGINES.items() if counts[engine]}
    known = _colours(graph, colours)
    panels = [
        Panel("nodes by engine", {name: counts[name] for name in present}, "{:,.0f}", list(present.values())),
        Panel(_reasons(graph), {}, ""),
        _by_operator(graph, known),
    ]
    return _with_graph(title, graph, known, panels)


def draw_optimize(before: Graph, after: Graph, colours: Mapping[str, str] | None = None) -> Any:
    """Draw the graph that is left; beside it what became of the operators, fused nodes, and the formats."""
    title = f"3 optimize  {after.name}: {len(before.nodes)} nodes become {len(after.nodes)}"
    fused = Counter("+".join(dict.fromkeys(node.fused)) for node in after.nodes if node.fused)
    conversions = Counter(
        f"{after.values[node.inputs[0]].format} -> {after.values[node.outputs[0]].format}"
        for node in after.nodes
        if node.op == TRANS_DATA
    )
    nbytes: Counter[str] = Counter()
    for value in after.values.values():
        nbytes[value.format] += value.nbytes
    formats = {name: count / MB for name, count in nbytes.most_common()}
    known = _colours(after, colours)
    panels = [
        _by_operator(after, known, _operators(before.nodes)),
        Panel("fused nodes", heaviest(fused, MOST_FUSED), "{:,.0f}"),
        Panel("MB by format", formats, "{:,.2f}", [FORMATS.get(name, INK) for name in formats]),
        Panel("conversions left", heaviest(conversions, MOST_OPERATORS), "{:,.0f}", CONVERSION),
    ]
    return _with_graph(title, after, known, panels)


class Panel(NamedTuple):
    """Bars beside a graph, each with its number; without numbers the title is all that there is."""

    title: str
    numbers: Mapping[str, float]
    form: str
    colours: Any = BEFORE
    before: Mapping[str, float] | None = None
    """What there was before, as grey bars behind."""

    def draw(self, axes: Any, left: float) -> None:
        """Draw the bars; a panel of words begins at a part of the figure's width."""
        if not self.form:
            words = axes.annotate(
                self.title, (left, 1), xycoords=("figure fraction", "axes fraction"), va="top", fontsize=7.5
            )
            words.set_in_layout(False)
            axes.set_axis_off()
            return
        named = {_short(name): number for name, number in self.numbers.items()}
        if self.before is not None:
            axes.barh(range(len(named)), [self.before.get(name, 0) for name in self.numbers], color=BEFORE)
        bars(axes, named, self.title, self.form, self.colours)


def _by_operator(graph: Graph, colours: Mapping[str, str], before: Counter[str] | None = None) -> Panel:
    """Return how many nodes of each operator there are, in the colours of the operators, or were before."""
    counts = _operators(graph.nodes)
    shown = heaviest(counts if before is None else counts | before, MOST_OPERATORS)
    if before is None:
        numbers = shown
    else:
        numbers = {name: counts[name] for name in shown if name in counts or name in before}
    filled = [colours.get(name, OTHER) for name in numbers]
    title = "nodes by operator" if before is None else "operators, grey before"
    return Panel(title, numbers, "{:,.0f}", filled, before)


def _with_graph(title: str, graph: Graph, colours: Mapping[str, str], panels: Sequence[Panel]) -> Any:
    """Return a figure with the picture of a graph, and panels below each other at its right side."""
    found = sketch(diagram(graph), ENGINES, colours)
    width, height = found.size
    scale = min(1.0, (FIGURE_WIDTH - PANEL_WIDTH) / width)
    lines = [max(len(panel.numbers), panel.title.count("\n"), FEWEST_LINES) + 3 for panel in panels]
    tall = max(height * scale, sum(lines) * LINE_HEIGHT) + TITLE_HEIGHT
    wide = width * scale + PANEL_WIDTH
    figure = new_figure(wide, tall, title)
    part = width * scale / wide
    axes = figure.add_axes((0, 1 - (TITLE_HEIGHT + height * scale) / tall, part, height * scale / tall))
    axes.set_in_layout(False)
    draw_network(axes, found, scale)
    room = 1 - (TITLE_HEIGHT + sum(lines) * MOST_LINE_HEIGHT) / tall
    figure.get_layout_engine().set(rect=(part, max(0.0, room), 1 - part, 1 - max(0.0, room)))
    places = figure.subplots(len(panels), 1, height_ratios=lines)
    for panel, place in zip(panels, places, strict=True):
        panel.draw(place, part)
    return figure


def _colours(graph: Graph, colours: Mapping[str, str] | None) -> Mapping[str, str]:
    return colours_of(_operators(graph.nodes)) if colours is None else colours


def _reasons(graph: Graph) -> str:
    """Return the most frequent reasons for which nodes leave the AI cores."""
    found = Counter(f"{node.op} on {node.engine}: {node.reason}" for node in graph.nodes if node.reason)
    if not found:
        return "every operator runs on the AI cores"
    lines = [f"{count} x {reason}" for reason, count in found.most_common(MOST_REASONS)]
    return "\n".join(fill(line, REASON_WIDTH, max_lines=2, subsequent_indent="    ") for line in lines)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _operators(nodes: Iterable[Node]) -> Counter[str]:
    return Counter(node.op for node in nodes)
