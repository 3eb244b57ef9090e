"""Simulated against published times, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from davinci_sim.trace.files import atomic_file

if TYPE_CHECKING:
    from experiments.operators.judge import Row

STYLES = {
    "matmul": ("#4477aa", "o"),
    "convolution": ("#228833", "s"),
    "convolution backward": ("#66aa55", "D"),
    "element-wise": ("#ee6677", "^"),
    "optimizer": ("#aa3377", "v"),
    "reduction": ("#ccbb44", "P"),
    "normalisation": ("#ee7733", "p"),
    "layout": ("#66ccee", "X"),
    "pooling": ("#332288", "h"),
    "loss": ("#999999", "*"),
}
"""Colour and marker of each class."""
INK = "#555555"
SPAN = (0.8, 4000.0)
"""Microseconds on both axes."""


def draw(path: Path, rows: Sequence[Row], state: str) -> None:
    """Write the picture as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 8.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    _draw_guides(axes)
    for kind, (colour, marker) in STYLES.items():
        _draw_class(
            axes, [row for row in rows if row.us and row.covered.kind == kind], state, colour, marker, kind
        )
    axes.set_xlabel("published, microseconds")
    axes.set_ylabel("simulated, microseconds")
    axes.set_title("Operators on an Ascend 910A: simulated against published", fontsize=14, pad=10)
    axes.legend(loc="upper left", framealpha=0.95, title="filled: judged; hollow: left out by a rule")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_guides(axes: Any) -> None:
    """Draw the diagonal, and 25 % beside it."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.plot(SPAN, SPAN, color=INK, linewidth=1.2, zorder=1)
    axes.fill_between(SPAN, [0.75 * x for x in SPAN], [1.25 * x for x in SPAN], color="#eeeeee", zorder=0)
    axes.set_xlim(*SPAN)
    axes.set_ylim(*SPAN)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(visible=True, color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)


def _draw_class(axes: Any, rows: Sequence[Row], state: str, colour: str, marker: str, kind: str) -> None:
    for is_out in (False, True):
        chosen = [row for row in rows if row.counts != is_out]
        axes.plot(
            [row.covered.record.us for row in chosen], [row.us[state] for row in chosen], marker,
            color=colour, markersize=7, alpha=0.85, markeredgecolor=colour if is_out else "white",
            markerfacecolor="none" if is_out else colour, zorder=3,
            label=None if is_out or not rows else kind,
        )  # fmt: skip
