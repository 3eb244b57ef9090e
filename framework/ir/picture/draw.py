"""A Func as a picture: panels side by side, one per Func, with the flow of data from above to below."""

from __future__ import annotations

import io
from pathlib import Path as File
from typing import Any, NamedTuple

from davinci_sim.errors import DavinciError, cannot_write
from framework.files import write_atomically
from framework.ir.nodes import Func
from framework.ir.picture.dot import COLOURS
from framework.ir.picture.graph import Graph, Node, distinct_graphs
from framework.ir.picture.layout import Gaps, Layout, Point, layered
from framework.ir.picture.strokes import DASHES, box, smooth, stroke

MOST_NODES = 400
"""What more nodes than these make is no picture that anybody reads."""

LETTER, SMALL_LETTER, TITLE_LETTER = 0.07, 0.058, 0.095  # inches
LINE, PAD = 0.15, 0.09  # inches: of a line, and the space around text
GAPS = Gaps(nodes=0.22, lines=0.06, layers=0.34)
MARGIN, TITLE, BETWEEN_COLUMNS, BETWEEN_PANELS = 0.22, 0.3, 0.9, 0.35
EDGES = {"param": "#4477aa", "op": "#777777", "control": "#cc7722", "check": "#bb4455", "return": "#228833"}
PANEL, LINES, CALLS, GREY = "#f7f7f5", "#888888", "#cc7722", "#666666"
DPI = 150
SUFFIXES = (".png", ".svg")


class Panel(NamedTuple):
    """The box of one Func: its graph and layout, and where its upper left corner is."""

    graph: Graph
    layout: Layout
    left: float
    top: float

    @property
    def width(self) -> float:
        """Return the width of the box."""
        return max(self.layout.size[0], (len(self.graph.func.name) + 1) * TITLE_LETTER) + 2 * MARGIN

    @property
    def height(self) -> float:
        """Return the height of the box."""
        return self.layout.size[1] + 2 * MARGIN + TITLE

    def place(self, point: Point) -> Point:
        """Return where a point of the layout lies in the picture."""
        return self.left + MARGIN + point[0], self.top + TITLE + MARGIN + point[1]


def draw(func: Func, path: str | File) -> File:
    """Write a picture of a Func to a `.png` or `.svg` file; return its path.

    Each Func has a box: parameters are blue, operators white, control flow orange, the return green. Dashed
    lines lead from branches, loops and calls to the boxes of their Funcs, which stand to the right.
    """
    target = File(path)
    if target.suffix not in SUFFIXES:
        raise DavinciError(f"cannot draw {target}: the name must end in {' or '.join(SUFFIXES)}")
    graphs = distinct_graphs(func)
    count = sum(len(each.nodes) for each in graphs)
    if count > MOST_NODES:
        raise DavinciError(
            f"cannot draw @{func.name}: it has {count} nodes, a picture shows up to {MOST_NODES}\n"
            "  next: draw one of the Funcs that it calls, or give to_dot(func) to Graphviz"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, _drawn(arranged(graphs), target.suffix[1:]))
    except OSError as error:
        raise cannot_write(target, error) from None
    return target


def arranged(graphs: list[Graph]) -> list[Panel]:
    """Return the panels: right of each those of the Funcs in it, a row per binding, beside each other."""
    panels = {
        id(each.func): Panel(each, layered(each, [_size(node) for node in each.nodes], GAPS), 0.0, 0.0)
        for each in graphs
    }
    _place(panels, set(), graphs[0].func, (0.0, 0.0))
    return list(panels.values())


def _place(panels: dict[int, Panel], placed: set[int], func: Func, corner: Point) -> Point:
    """Place the panel of a Func and those of the Funcs in it; return the lower right corner of all."""
    left, top = corner
    placed.add(id(func))
    panel = panels[id(func)] = panels[id(func)]._replace(left=left, top=top)
    right, bottom = left + panel.width, top + panel.height
    row = top
    for node, place in zip(panel.graph.nodes, panel.layout.places, strict=True):
        inside = [part for _, part in node.parts if isinstance(part, Func) and id(part) not in placed]
        x = left + panel.width + BETWEEN_COLUMNS
        y = max(row, panel.place(place)[1] - TITLE) if inside else row
        for part in inside:
            if id(part) not in placed:
                end = _place(panels, placed, part, (x, y))
                x, row = end[0] + BETWEEN_PANELS, max(row, end[1] + BETWEEN_PANELS)
                right, bottom = max(right, end[0]), max(bottom, end[1])
    return right, bottom


def _size(node: Node) -> tuple[float, float]:
    width = max(len(node.title) * LETTER, *(len(line) * SMALL_LETTER for line in node.details), 0)
    return width + 2 * PAD, (1 + len(node.details)) * LINE + 1.4 * PAD


def _drawn(panels: list[Panel], kind: str) -> bytes:
    """Return the bytes of the picture, the same for the same Func."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    top = min(each.top for each in panels)
    width = max(each.left + each.width for each in panels)
    height = max(each.top + each.height for each in panels) - top
    figure = Figure(figsize=(width + 0.2, height + 0.2), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.1, width + 0.1)
    axes.set_ylim(top + height + 0.1, top - 0.1)
    axes.set_axis_off()
    by_func = {id(each.graph.func): each for each in panels}
    for panel in panels:
        _draw_panel(axes, panel)
    for panel in panels:
        _draw_calls(axes, panel, by_func)
    held = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "func"}):
        figure.savefig(held, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return held.getvalue()


def _draw_panel(axes: Any, panel: Panel) -> None:
    box(axes, (panel.left, panel.top, panel.width, panel.height), PANEL, "#bbbbbb", 0.12, zorder=1)
    axes.text(
        panel.left + MARGIN, panel.top + TITLE * 0.72, f"@{panel.graph.func.name}", fontsize=10, weight="bold"
    )
    sizes = [_size(node) for node in panel.graph.nodes]
    for (start, end), route in zip(panel.graph.edges, panel.layout.routes, strict=True):
        points = [panel.place(point) for point in route]
        points[0] = (points[0][0], points[0][1] + sizes[start][1] / 2)
        points[-1] = (points[-1][0], points[-1][1] - sizes[end][1] / 2)
        stroke(axes, smooth(points), LINES)
        x, y = points[-1]
        axes.plot(x, y - 0.03, marker="v", markersize=3, color=LINES, zorder=2)
    for node, place, (width, height) in zip(panel.graph.nodes, panel.layout.places, sizes, strict=True):
        x, y = panel.place(place)
        area = (x - width / 2, y - height / 2, width, height)
        rounding = height / 2 if node.kind in ("param", "return") else 0.05
        box(axes, area, COLOURS[node.kind], EDGES[node.kind], rounding)
        up = y - LINE * len(node.details) / 2
        axes.text(x, up, node.title, fontsize=8, ha="center", va="center", zorder=3)
        for at, line in enumerate(node.details, 1):
            axes.text(x, up + at * LINE, line, fontsize=6.5, ha="center", va="center", color=GREY, zorder=3)


def _draw_calls(axes: Any, panel: Panel, by_func: dict[int, Panel]) -> None:
    """Draw a dashed line from each binding to the panels of its Funcs."""
    edge = panel.left + panel.width
    for node, place in zip(panel.graph.nodes, panel.layout.places, strict=True):
        x, y = panel.place(place)
        inside = [(key, part) for key, part in node.parts if isinstance(part, Func)]
        if inside:
            _straight(axes, [(x + _size(node)[0] / 2, y), (edge, y)])
        for at, (key, part) in enumerate(inside):
            _draw_call(axes, (edge, y), by_func[id(part)], "" if key == "func" else key, at > 0)


def _draw_call(axes: Any, start: Point, inner: Panel, key: str, over: bool) -> None:
    """Draw a dashed line into the left side of a panel, or over those before it into its upper side."""
    left, right = (inner.left, inner.top + TITLE * 0.6), (inner.left + MARGIN, inner.top)
    bend = (start[0] + BETWEEN_COLUMNS * 0.8, inner.top - BETWEEN_PANELS * 0.4) if over else left
    middle = (start[0] + bend[0]) / 2
    stroke(axes, [start, (middle, start[1]), (middle, bend[1]), bend], CALLS, DASHES)
    if over:
        _straight(axes, [bend, (right[0], bend[1]), right])
        axes.plot(*right, marker="v", markersize=4, color=CALLS)
        axes.text(right[0] + 0.08, bend[1] + 0.02, key, fontsize=7, va="center", color=CALLS)
    else:
        axes.plot(*left, marker=">", markersize=4, color=CALLS)
        below = start[1] < left[1] - LINE  # on the side from which the line does not come
        y, va = (left[1] + 0.05, "top") if below else (left[1] - 0.05, "bottom")
        axes.text(left[0] - 0.08, y, key, fontsize=7, ha="right", va=va, color=CALLS)


def _straight(axes: Any, points: list[Point]) -> None:
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=CALLS, linewidth=0.9, linestyle=DASHES, zorder=1.5)
