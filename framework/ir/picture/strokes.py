"""What pictures of graphs are drawn with: rounded boxes, and smooth lines through the bends of an edge."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from framework.ir.picture.layout import Point

DASHES = (0, (4, 2))
SOLID = "solid"
Style = str | tuple[int, tuple[int, ...]]
Area = tuple[float, float, float, float]
"""The left, the top, the width and the height."""


def box(axes: Any, area: Area, fill: str, edge: str, rounding: float, zorder: float = 2) -> None:
    """Draw a box with round corners."""
    from matplotlib.patches import FancyBboxPatch

    x, y, width, height = area
    style = f"round,pad=0,rounding_size={rounding}"
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle=style, facecolor=fill, edgecolor=edge, linewidth=0.8,
            zorder=zorder,
        )
    )  # fmt: skip


def smooth(points: Sequence[Point]) -> list[Point]:
    """Return a chain of cubic curves through points, upright at both ends.

    >>> smooth([(0.0, 0.0), (1.0, 5.0)])
    [(0.0, 0.0), (0.0, 2.0), (1.0, 3.0), (1.0, 5.0)]
    """
    slopes = [(0.0, points[1][1] - points[0][1])]
    slopes += [((c[0] - a[0]) / 2, (c[1] - a[1]) / 2) for a, c in zip(points, points[2:], strict=False)]
    slopes.append((0.0, points[-1][1] - points[-2][1]))
    curve = [points[0]]
    for (start, leaving), (end, arriving) in pairwise(zip(points, slopes, strict=True)):
        curve += [
            (start[0] + leaving[0] / 2.5, start[1] + leaving[1] / 2.5),
            (end[0] - arriving[0] / 2.5, end[1] - arriving[1] / 2.5),
            end,
        ]
    return curve


def stroke(axes: Any, curve: Sequence[Point], colour: str, style: Style = SOLID, width: float = 0.9) -> None:
    """Draw a chain of cubic curves."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    codes = [Path.MOVETO, *[Path.CURVE4] * (len(curve) - 1)]
    axes.add_patch(
        PathPatch(
            Path(curve, codes), fill=False, edgecolor=colour, linewidth=width, linestyle=style, zorder=1.5
        )
    )  # fmt: skip
