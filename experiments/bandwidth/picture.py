"""Bandwidth against size: simulated curves and operators over the published points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from davinci_sim.trace.files import atomic_file
from experiments.bandwidth.operators import MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.bandwidth.experiment import Row

STYLES: dict[str, tuple[str, Any, float]] = {
    "cold": ("#4477aa", "-", 2.4),
    "produced": ("#66ccee", "--", 1.6),
    "used": ("#999999", ":", 1.8),
}
"""Colour, line and width of the curve of each state of L2."""
TOLD = {"cold": "L2 empty", "produced": "input just written", "used": "L2 full of other data"}
FAMILIES = {
    "relu": ("ReLU", "#ee6677", "o"),
    "cast": ("Cast, fp32 to fp16", "#aa3377", "D"),
    "mul": ("Mul", "#228833", "s"),
    "div": ("RealDiv by a number", "#ccbb44", "v"),
    "add": ("BiasAdd, AddN", "#ee7733", "^"),
    "relu_grad": ("ReluGrad, two inputs", "#332288", "P"),
}
"""Name, colour and marker of each kernel's points."""
INK = "#555555"


def draw(path: Path, rows: Sequence[Row], curves: Any, l2_bytes: int, judged: str) -> None:
    """Write the picture as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 6.8), dpi=130, layout="constrained")
    axes = figure.subplots()
    for state, points in curves.items():
        colour, style, width = STYLES[state]
        axes.plot(
            [size / MB for size, _ in points], [gbps for _, gbps in points], style, color=colour,
            linewidth=width, zorder=2,
        )  # fmt: skip
    for row in rows:
        _draw_row(axes, row, judged)
    axes.axvline(l2_bytes / MB, color=INK, linewidth=1, linestyle=(0, (6, 3)), zorder=1)
    axes.annotate(
        "L2, 32 MiB", (l2_bytes / MB, 1), (5, -14), xycoords=("data", "axes fraction"),
        textcoords="offset points", color=INK,
    )  # fmt: skip
    _label(axes)
    _legends(figure, axes, judged)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_row(axes: Any, row: Row, judged: str) -> None:
    """Draw a published point, and a line to the bandwidth that the same operator has here."""
    each = row.operator
    _, colour, marker = FAMILIES[each.launch.kernel.name]
    x, there, here = each.moved_bytes / MB, each.gbps(each.us), each.gbps(row.us[judged])
    axes.plot([x, x], [there, here], color=colour, linewidth=1, alpha=0.7, zorder=3)
    axes.plot(x, there, marker, color=colour, markersize=8, markeredgecolor="white", zorder=5)
    axes.plot(x, here, "_", color=colour, markersize=11, markeredgewidth=2, zorder=4)


def _label(axes: Any) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks([2**exponent for exponent in range(10)])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(0.85, 620)
    axes.set_ylim(0, 2600)
    axes.set_xlabel("MB moved: inputs and result")
    axes.set_ylabel("GB/s")
    axes.set_title("Element-wise operators on an Ascend 910A: bandwidth against size", fontsize=15, pad=12)
    axes.grid(visible=True, color="#e0e0e0", linewidth=0.8)
    axes.set_axisbelow(True)


def _legends(figure: Any, axes: Any, judged: str) -> None:
    """Say what is measured on the left, what is simulated below."""
    from matplotlib.lines import Line2D

    points = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=8, label=name)
        for name, colour, marker in FAMILIES.values()
    ]
    legend = axes.legend(handles=points, loc="upper left", title="measured (MindSpore 0.7)", framealpha=0.95)
    legend.get_title().set_fontweight("bold")
    lines = [
        Line2D([], [], color=colour, linestyle=style, linewidth=width, label=f"simulated ReLU, {TOLD[state]}")
        for state, (colour, style, width) in STYLES.items()
    ]
    dash = Line2D([], [], color=INK, marker="_", linestyle="", markersize=11, markeredgewidth=2)
    dash.set_label(f"the same operator simulated, {TOLD[judged]}")
    figure.legend(handles=[*lines, dash], loc="outside lower center", ncols=2, frameon=False)
