"""Kernels under the roofs of the machine, and how near each comes to its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from davinci_sim.platforms import Platform
from davinci_sim.trace.files import atomic_file

if TYPE_CHECKING:
    from experiments.rooflines.experiment import Row

INK, CUBE, MEMORY = "#555555", "#4477aa", "#ee6677"
INTENSITY = (1.0, 4000.0)
"""Operations per byte."""


def draw(path: Path, rows: Sequence[Row], chip: Platform) -> None:
    """Write the picture as a PNG."""
    from matplotlib.figure import Figure

    best = _best(rows)
    figure = Figure(figsize=(13.5, max(7.0, 1.5 + 0.17 * len(best))), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _draw_roofs(left, [row for row in rows if row.launch.macs and not row.is_int8], chip)
    left.set_box_aspect(1)
    left.set_anchor("N")
    _draw_efficiencies(right, best)
    figure.suptitle(f"Kernels on {chip.name} at the sizes of ResNet-50 and BERT-Large", fontsize=14)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _best(rows: Sequence[Row]) -> list[Row]:
    """Return each kernel's most efficient launch, the best kernel first."""
    best: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.efficiency):
        best[row.launch.kernel.name] = row
    return sorted(best.values(), key=lambda row: -row.efficiency)


def _draw_roofs(axes: Any, rows: Sequence[Row], chip: Platform) -> None:
    """Draw the classic roofline: operations a second against operations per byte."""
    clock, cores = float(chip.clock_hz), int(chip.ai_cores)
    peak = 2 * int(chip.cube_m * chip.cube_k * chip.cube_n) * cores * clock * 1e-12
    for name, rate, style in (
        ("HBM", int(chip.hbm_bytes_per_cycle), "-"),
        ("L2", int(chip.l2_chip_bytes_per_cycle), "--"),
    ):
        knee = peak / (rate * clock * 1e-12)
        axes.plot(
            [INTENSITY[0], knee, INTENSITY[1]], [peak * INTENSITY[0] / knee, peak, peak], style, color=INK,
            linewidth=1.5, label=f"{name}, {rate * clock * 1e-12:.2f} TB/s",
        )  # fmt: skip
    for row in rows:
        reached = 2 * row.launch.macs / row.cycles * clock * 1e-12
        axes.plot(row.roofline.intensity, reached, "o", color=CUBE, markersize=6, markeredgecolor="white")
    axes.set(
        xscale="log", yscale="log", xlim=INTENSITY, xlabel="operations per byte of operands", ylabel="TFLOP/s"
    )
    axes.set_title(f"Products of fp16 on the cube: peak {peak:.0f} TFLOP/s")
    axes.grid(visible=True, which="both", color="#eeeeee", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right")


def _draw_efficiencies(axes: Any, rows: Sequence[Row]) -> None:
    """Draw one bar for each kernel: the bound over the simulated time."""
    names = [row.launch.kernel.name for row in rows]
    colours = [CUBE if row.roofline.bound == "cube" else MEMORY for row in rows]
    axes.barh(names, [100 * row.efficiency for row in rows], color=colours, height=0.7)
    axes.invert_yaxis()
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("% of the roofline, better size; blue: bound by the cube")
    axes.grid(visible=True, axis="x", color="#e0e0e0", linewidth=0.8)
    axes.set_axisbelow(True)
