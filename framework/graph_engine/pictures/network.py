"""Draws a graph: boxes in the colours of engines and operators, edges in those of formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from framework.graph_engine.data.graph import TRANS_DATA
from framework.graph_engine.pictures.canvas import INK, OTHER
from framework.graph_engine.pictures.diagram import JUMP, Box, Diagram, Edge
from framework.graph_engine.pictures.links import BACKWARD, FORWARD, PARTS
from framework.ir.picture.layout import Gaps, Layout, Point, Size, in_layers
from framework.ir.picture.strokes import DASHES, SOLID, box, smooth, stroke

FORMATS = {
    "ND": "#c4c4c4", "NZ": "#5b8fc7", "NC1HWC0": "#3a9d5d", "FRACTAL_Z": "#a05fb5", "NC1HWC0_C04": "#8cc63f",
    "FRACTAL_Z_C04": "#d48ad0", JUMP: "#cc7722",
}  # fmt: skip
"""A colour for each format in which values lie; what has none is dark."""
TITLE, LETTER, LINE, STRIPE, BAR = 0.078, 0.058, 0.145, 0.09, 0.055  # inches
WIDE = 2.9  # inches: of boxes of several nodes
GAPS = {False: Gaps(nodes=0.16, lines=0.07, layers=0.2), True: Gaps(nodes=0.3, lines=0.1, layers=0.15)}
HEAD, MARGIN = 0.62, 0.12
CONVERSION = "#fde2b8"


class Sketch(NamedTuple):
    """A diagram with its layout, and the colours of engines and operators."""

    diagram: Diagram
    sizes: list[Size]
    layout: Layout
    engines: Mapping[str, str]
    operators: Mapping[str, str]

    @property
    def size(self) -> Size:
        """The inches that it takes, with its headings."""
        return self.layout.size[0] + 2 * MARGIN, self.layout.size[1] + HEAD + MARGIN


def sketch(diagram: Diagram, engines: Mapping[str, str], operators: Mapping[str, str]) -> Sketch:
    """Return where everything lies."""
    sizes = [_size(each, diagram.is_collapsed) for each in diagram.boxes]
    parts = [each.part for each in diagram.boxes]
    layout = in_layers(
        [(edge.start, edge.end) for edge in diagram.edges],
        [each.row for each in diagram.boxes],
        sizes,
        GAPS[diagram.is_collapsed],
        parts if diagram.is_collapsed else [min(part, BACKWARD) for part in parts],
        diagram.is_collapsed,
    )
    return Sketch(diagram, sizes, layout, engines, operators)


def _size(each: Box, is_collapsed: bool) -> Size:
    width = WIDE
    if not is_collapsed:
        width = max(len(each.title) * TITLE, *(len(line) * LETTER for line in each.details), 0.5) + 0.2
    return width + STRIPE, LINE * (1.25 + len(each.details)) + BAR


def draw_network(axes: Any, found: Sketch, scale: float) -> None:
    """Draw a sketch on axes that are its size times the scale."""
    width, height = found.size
    axes.set_xlim(-MARGIN, width - MARGIN)
    axes.set_ylim(height - HEAD, -HEAD)
    axes.set_axis_off()
    for edge, route in zip(found.diagram.edges, found.layout.routes, strict=True):
        _draw_edge(axes, found, edge, route)
    for each, place, size in zip(found.diagram.boxes, found.layout.places, found.sizes, strict=True):
        _draw_box(axes, found, each, (place[0] - size[0] / 2, place[1] - size[1] / 2, *size), scale)
    _draw_headings(axes, found, scale)


def _draw_edge(axes: Any, found: Sketch, edge: Edge, route: list[Point]) -> None:
    """Draw an edge through its bends: between the sides that face each other."""
    colour = FORMATS.get(edge.format, INK)
    width = min(0.7 + 0.1 * edge.values, 2.0)
    style = DASHES if edge.format == JUMP else SOLID
    (x, y), (to_x, to_y) = route[0], route[-1]
    if y == to_y:
        right = 1 if to_x > x else -1
        x += right * found.sizes[edge.start][0] / 2
        to_x -= right * found.sizes[edge.end][0] / 2
        stroke(axes, [(x, y), (x, y), (to_x, y), (to_x, y)], colour, style, width)
        mark = ">" if right > 0 else "<"
    else:
        down = 1 if to_y > y else -1
        to_y -= down * found.sizes[edge.end][1] / 2
        points = [(x, y + down * found.sizes[edge.start][1] / 2), *route[1:-1], (to_x, to_y)]
        stroke(axes, smooth(points), colour, style, width)
        mark = "v" if down > 0 else "^"
    axes.plot(to_x, to_y, marker=mark, markersize=3, color=colour, zorder=1.6)


def _draw_box(
    axes: Any, found: Sketch, each: Box, area: tuple[float, float, float, float], scale: float
) -> None:
    """Draw a box: the engines at its left, the operators below, the texts in it."""
    left, top, width, height = area
    conversions = each.operators[TRANS_DATA]
    is_conversion = conversions == len(each.nodes)
    box(axes, area, CONVERSION if is_conversion else "white", "#999999", 0.04)
    if conversions and not is_conversion:
        text = f"{conversions} conversion{'s'[: conversions != 1]}"
        style = {"boxstyle": "square,pad=0.15", "facecolor": CONVERSION, "edgecolor": "none"}
        right = (left + width - 0.06, top + LINE * 0.72)
        axes.text(*right, text, fontsize=6.8 * scale, va="center", ha="right", bbox=style, zorder=3)
    engines = {name: count for name, count in each.engines.items() if name}
    for part, (low, high) in _shares(engines):
        _fill(axes, (left, top + low * height, STRIPE, (high - low) * height), found.engines[part])
    inside, bottom = width - STRIPE, top + height - BAR
    for part, (low, high) in _shares(each.operators):
        colour = found.operators.get(part, OTHER)
        _fill(axes, (left + STRIPE + low * inside, bottom, (high - low) * inside, BAR), colour)
    x = left + STRIPE + 0.07
    weight = "bold" if found.diagram.is_collapsed else "normal"
    axes.text(x, top + LINE * 0.72, each.title, fontsize=8.5 * scale, va="center", weight=weight, zorder=3)
    for at, line in enumerate(each.details, 1):
        y = top + LINE * (0.75 + at)
        axes.text(x, y, line, fontsize=6.8 * scale, va="center", color=INK, zorder=3)


def _shares(counts: Mapping[str, int]) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield from where to where each name reaches on a line of length 1, the most frequent first."""
    whole, at = sum(counts.values()), 0
    for name, count in Counter(counts).most_common():
        yield name, (at / whole, (at + count) / whole)
        at += count


def _fill(axes: Any, area: tuple[float, float, float, float], colour: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(area[:2], area[2], area[3], facecolor=colour, edgecolor="none", zorder=2.5))


def _draw_headings(axes: Any, found: Sketch, scale: float) -> None:
    """Write the parts above their boxes, and what the colours of edges and stripes mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    boxes = list(zip(found.diagram.boxes, found.layout.places, strict=True))
    parts = sorted({each.part for each, _ in boxes})
    for part in parts if parts != [FORWARD] and found.diagram.is_collapsed else ():
        xs = [x for each, (x, _) in boxes if each.part == part]
        axes.text(sum(xs) / len(xs), -0.13, PARTS[part], fontsize=10 * scale, ha="center", color=INK)
    formats = sorted({edge.format for edge in found.diagram.edges}, key=[*FORMATS, ""].index)
    handles: list[Any] = [Line2D([], [], color=FORMATS.get(name, INK), label=name) for name in formats]
    engines = {name for each, _ in boxes for name in each.engines if name}
    handles += [Patch(color=found.engines[name], label=name) for name in found.engines if name in engines]
    axes.legend(
        handles=handles, loc="upper left", ncols=len(handles), fontsize=8, frameon=False, borderaxespad=0,
        handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip
