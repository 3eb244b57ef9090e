"""The published tables as pictures: simulated curves over measured points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from davinci_sim.trace.files import atomic_file
from experiments.harness import Context
from experiments.instructions.tables import KIB, Comparison, Point, label_text

Axes = Any
Comparisons = Mapping[str, Comparison]
SIMULATED, MEASURED, TOLD = "#4477aa", "#ee6677", "#555555"
MOVES = ("l1_to_l0a", "l1_to_l0b", "ub_to_ub", "gm_to_l1", "gm_to_ub", "ub_to_gm")
INSIDE = {"l1_to_l0a": 280, "l1_to_l0b": 140, "ub_to_ub": 280}
"""Moves inside the core, which are fast at any size: the tops of their linear axes."""
PRODUCTS = ("mmad_stream", "mmad_alone")
VECTORS = ("vector_one_source", "vector_two_sources")
TYPES = {
    "fp16": "#ee6677", "bf16": "#aa3377", "fp32": "#4477aa", "int8": "#997700", "uint8": "#ccbb44",
    "int16": "#228833", "uint16": "#66ccee", "int32": "#ee7733", "uint32": "#332288",
}  # fmt: skip
"""Colours of element types."""
DPI = 130


def draw(context: Context, found: Comparisons) -> None:
    """Write moves.png, mmad.png, vector.png and banks.png."""
    pages: dict[str, tuple[tuple[float, float], Callable[[Any, Comparisons], None]]] = {
        "moves.png": ((13, 7.6), _draw_moves),
        "mmad.png": ((11, 5.2), _draw_products),
        "vector.png": ((12, 13), _draw_vectors),
        "banks.png": ((10, 4.8), _draw_banks),
    }
    from matplotlib.figure import Figure

    for name, (size, write) in pages.items():
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        write(figure, found)
        with atomic_file(context.artifact(name)) as temporary:
            figure.savefig(temporary, format="png")


def _draw_moves(figure: Any, found: Comparisons) -> None:
    figure.suptitle("Moves of a 910B1 core: bandwidth by size of one move", fontsize=15)
    for axes, name in zip(figure.subplots(2, 3).flat, MOVES, strict=True):
        _curve(axes, found[name], float, _rate)
        axes.set_xscale("log", base=2)
        if name in INSIDE:
            axes.set_ylim(0, INSIDE[name])
        else:
            axes.set_yscale("log", base=2)
        _plain_numbers(axes)
        axes.set_xlabel("KiB in one move")
        axes.set_ylabel("bytes / cycle")
    _legend(figure)


def _draw_products(figure: Any, found: Comparisons) -> None:
    figure.suptitle("mmad, fp16 to fp32: cycles by fractal products (16 x 16 x 16)", fontsize=15)
    for axes, name in zip(figure.subplots(1, 2), PRODUCTS, strict=True):
        _curve(axes, found[name], _products(found[name]), lambda _, cycles: cycles)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        _plain_numbers(axes)
        axes.set_xlabel("fractal products in one mmad")
        axes.set_ylabel("cycles to the next start" if name == "mmad_stream" else "cycles to the result")
    _legend(figure)


def _products(comparison: Comparison) -> Callable[[Any], float]:
    """Return what turns n of a product into the number of fractal products."""
    rows = int(comparison.table.options["m"]) // 16
    return lambda label: rows * float(label) / 16


def _rate(label: float | str, cycles: float) -> float:
    """Return bytes per cycle of a move of so many KiB."""
    return float(label) * KIB / cycles


def _curve(
    axes: Axes,
    comparison: Comparison,
    place: Callable[[Any], float],
    height: Callable[[Any, float], float],
) -> None:
    """Draw the simulated curve over the measured points; those that figures were fitted on are hollow."""
    points = comparison.points
    axes.plot(
        [place(p.label) for p in points], [height(p.label, p.simulated) for p in points],
        color=SIMULATED, linewidth=2, zorder=2,
    )  # fmt: skip
    for is_fitted in (True, False):
        mine = [p for p in points if p.is_fitted == is_fitted]
        axes.plot(
            [place(p.label) for p in mine], [height(p.label, p.published) for p in mine], "o", color=MEASURED,
            markerfacecolor="white" if is_fitted else MEASURED, markersize=5, zorder=3,
        )  # fmt: skip
    for p in comparison.exceptions:
        axes.annotate(
            f"exception, {p.error:+.0%}", (place(p.label), height(p.label, p.published)),
            (-4, 34), textcoords="offset points", fontsize=9, color=TOLD,
            arrowprops={"arrowstyle": "-", "color": TOLD, "linewidth": 0.8},
        )  # fmt: skip
    axes.set_title(f"{comparison.table.title}\n{_errors(comparison)}", fontsize=11)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)


def _errors(comparison: Comparison) -> str:
    return f"error: median {comparison.median_error:.1%}, largest {comparison.largest_error:.1%}"


def _plain_numbers(axes: Axes) -> None:
    """Print 1, 2, 4 ... instead of powers."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")


def _legend(figure: Any) -> None:
    """Put one legend under all axes."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=SIMULATED, linewidth=2, label="simulated"),
        Line2D([], [], color=MEASURED, marker="o", linestyle="", label="measured by the vendor, judged"),
        Line2D(
            [], [], color=MEASURED, marker="o", linestyle="", markerfacecolor="white",
            label="measured, a figure was fitted on it",
        ),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def _draw_vectors(figure: Any, found: Comparisons) -> None:
    figure.suptitle("Vector instructions of a 910B1 core: cycles per repeat of 256 bytes", fontsize=15)
    for axes, name in zip(figure.subplots(1, 2), VECTORS, strict=True):
        comparison = found[name]
        names = sorted({_instruction(p) for p in comparison.points}, key=_by_cycles(comparison))
        for y, instruction in enumerate(names):
            mine = [p for p in comparison.points if _instruction(p) == instruction]
            for shift, p in enumerate(mine):
                _dot(axes, p, y + 0.45 - 0.9 * (shift + 1) / (len(mine) + 1))
        axes.set_yticks(range(len(names)), names, fontfamily="monospace")
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xscale("log", base=2)
        axes.set_xticks([0.5, 1, 2, 3, 4, 6, 8, 12, 24] if name == VECTORS[0] else [1, 2, 3, 4, 6, 8])
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("cycles / repeat")
        title = comparison.table.title.removesuffix(", 910B1")
        axes.set_title(f"{title}\n{_errors(comparison)}", fontsize=11)
        axes.grid(visible=True, axis="both", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
    _types_legend(figure, found)


def _instruction(point: Point) -> str:
    return label_text(point.label).partition(" ")[0]


def _type(point: Point) -> str:
    return label_text(point.label).partition(" ")[2].partition(">")[0]


def _by_cycles(comparison: Comparison) -> Callable[[str], tuple[float, str]]:
    """Return the order of the rows: the slowest on top."""

    def key(name: str) -> tuple[float, str]:
        return max(p.published for p in comparison.points if _instruction(p) == name), name

    return key


def _dot(axes: Axes, p: Point, y: float) -> None:
    """Draw a measured point as a ring in the colour of its type and the simulated one as a dot in it."""
    colour = TYPES[_type(p)]
    axes.plot([p.published, p.simulated], [y, y], color=colour, linewidth=1.2, zorder=2)
    axes.plot(p.published, y, "o", color=colour, markerfacecolor="white", markersize=6, zorder=3)
    axes.plot(p.simulated, y, "o", color=colour, markersize=3, zorder=4)
    if p.exception:
        text = f"{label_text(p.label).partition(' ')[2]}: exception, {p.error:+.0%}"
        axes.annotate(text, (p.simulated, y), (8, -3), textcoords="offset points", fontsize=9, color=TOLD)


def _types_legend(figure: Any, found: Comparisons) -> None:
    from matplotlib.lines import Line2D

    used = {_type(p) for name in VECTORS for p in found[name].points}
    handles = [
        Line2D([], [], color=TOLD, marker="o", linestyle="", markerfacecolor="white", label="measured"),
        Line2D([], [], color=TOLD, marker="o", linestyle="", markersize=3, label="simulated"),
        *(
            Line2D([], [], color=colour, marker="s", linestyle="", label=name)
            for name, colour in TYPES.items()
            if name in used
        ),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def _draw_banks(figure: Any, found: Comparisons) -> None:
    comparison = found["ub_banks"]
    axes = figure.subplots()
    points = list(reversed(comparison.points))
    for y, p in enumerate(points):
        colour = "white" if p.is_fitted else "#f6b7be"
        axes.barh(y, p.published, color=colour, edgecolor=MEASURED, height=0.62, zorder=2)
        axes.plot([p.simulated] * 2, [y - 0.38, y + 0.38], color=SIMULATED, linewidth=3, zorder=3)
        note = f"{p.error:+.0%}" if round(p.error, 2) else "0 %"
        axes.text(max(p.published, p.simulated) + 2, y, note, va="center", color=TOLD)
    axes.set_yticks(range(len(points)), [label_text(p.label) for p in points])
    axes.set_xlim(0, 175)
    axes.set_xlabel("cycles of one addition of 4096 fp32 (64 repeats), at 1.8 GHz")
    axes.set_title(f"Bank conflicts of UB in eight layouts\n{_errors(comparison)}", fontsize=13)
    axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    _banks_legend(figure)


def _banks_legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=SIMULATED, linewidth=3, label="simulated"),
        Patch(facecolor="#f6b7be", edgecolor=MEASURED, label="measured by the vendor, judged"),
        Patch(facecolor="white", edgecolor=MEASURED, label="measured, a figure was fitted on it"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
