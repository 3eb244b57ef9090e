"""Pictures of steps: beside published ones, stage by stage, over the cost of dispatch, and by cause."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from davinci_sim.trace.files import atomic_file
from experiments.claims.ledger import CAUSES
from experiments.claims.stages import saving

if TYPE_CHECKING:
    from experiments.claims.findings import Explained, Findings
    from experiments.claims.stages import Waterfall

INK, REAL, OURS, BEST, LESS, MORE = "#555555", "#bbbbbb", "#4477aa", "#228833", "#66aa55", "#ee6677"
COLOURS = (
    "#228833", "#99cc88", "#ee7733", "#ccbb44", "#66ccee", "#4477aa", "#332288", "#ee6677", "#aa3377",
    "#999999", "#dddddd",
)  # fmt: skip
"""One for each cause."""
MOST_LAYERS = 30
"""Layers that a picture has room for; of more, equal parts are put together."""


def draw(path: Path, found: Findings) -> None:
    """Draw the main picture: steps beside published ones, and what shortens the largest ones."""
    figure = _figure(16, 5.6)
    shown = _largest(found.waterfalls)
    axes = figure.subplots(1, 1 + len(shown), width_ratios=(1.5, *(1.3 for _ in shown)))
    _draw_compared(axes[0], found)
    for each, wall in zip(axes[1:], shown, strict=True):
        _draw_waterfall(each, wall)
    figure.suptitle(f"Training steps on the simulated {found.platform.name}", fontsize=14)
    _save(figure, path)


def draw_waterfalls(path: Path, walls: Sequence[Waterfall]) -> None:
    """Draw a waterfall for each network and batch."""
    columns = min(3, len(walls))
    rows = -(-len(walls) // columns)
    figure = _figure(5.2 * columns, 4.6 * rows)
    for axes, wall in zip(figure.subplots(rows, columns, squeeze=False).flat, walls, strict=False):
        _draw_waterfall(axes, wall)
    _save(figure, path)


def draw_without(path: Path, walls: Sequence[Waterfall]) -> None:
    """Draw how much longer each step takes without one thing."""
    figure = _figure(9, 5)
    axes = figure.subplots()
    width = 0.8 / len(walls)
    for number, wall in enumerate(walls):
        longer = [100 * (bar.ms / wall.whole.ms - 1) for bar in wall.without]
        places = [place + width * (number - (len(walls) - 1) / 2) for place in range(len(longer))]
        axes.bar(places, longer, 0.9 * width, color=COLOURS[number], label=wall.case.title)
    names = [bar.stage.name for bar in walls[0].without]
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("% longer without it")
    axes.set_title("Everything but one")
    axes.grid(visible=True, axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8)
    _save(figure, path)


def draw_dispatch(path: Path, walls: Sequence[Waterfall], host_us: float) -> None:
    """Draw the saving over what the host takes to send a task."""
    figure = _figure(8, 5)
    axes = figure.subplots()
    for wall in walls:
        costs = sorted(wall.one_by_one[0].timed.dispatch)
        style = "-" if wall.case.network == "resnet50" else "--"
        axes.plot(costs, [100 * saving(wall, us) for us in costs], style, marker="o", label=wall.case.title)
    axes.axvline(host_us, color=INK, linewidth=1)
    axes.text(host_us, 2, " assumed", color=INK)
    axes.set(xlabel="microseconds of the host for each task", ylabel="% of the time of a step spared")
    axes.set_ylim(0, 100)
    axes.set_title("The whole optimised graph against single operators")
    axes.grid(visible=True, color="#e6e6e6")
    axes.legend()
    _save(figure, path)


def draw_ledgers(path: Path, explained: Sequence[Explained]) -> None:
    """Draw where the cycles go, a bar for each layer."""
    figure = _figure(7.5 * len(explained), 8)
    for axes, each in zip(figure.subplots(1, len(explained), squeeze=False).flat, explained, strict=True):
        _draw_ledger(axes, each)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3 * len(explained), frameon=False)
    _save(figure, path)


def _draw_compared(axes: Any, found: Findings) -> None:
    names = [f"{each.case.title}\n{each.published.software}" for each in found.compared]
    for place, each in enumerate(found.compared):
        bars = ((each.published.ms, REAL), (each.real.ms, OURS), (each.whole.ms, BEST))
        for side, (ms, colour) in enumerate(bars):
            at, share = place + 0.27 * (side - 1), ms / each.published.ms
            axes.barh(at, share, 0.25, color=colour)
            axes.text(share + 0.01, at, f"{ms:.1f} ms", va="center", fontsize=8)
    axes.axvspan(0.85, 1.15, color="#f2f2f2", zorder=0)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3)
    axes.set_xlabel("time over the published one")
    for name, colour in (("published", REAL), ("fusions of 2020", OURS), (found.best_name, BEST)):
        axes.barh(0, 0, color=colour, label=name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=8, ncols=3, frameon=False)
    axes.set_title("Beside a real 910A; grey: 15 %", fontsize=11)


def _draw_waterfall(axes: Any, wall: Waterfall) -> None:
    """Draw what each stage takes away, or adds, and the step at both ends."""
    before = 0.0
    names = []
    for place, bar in enumerate(wall.one_by_one):
        is_end = place == 0
        low, high = (0.0, bar.ms) if is_end else sorted((before, bar.ms))
        colour = OURS if is_end else LESS if bar.ms <= before else MORE
        axes.bar(place, high - low, 0.8, bottom=low, color=colour)
        text = f"{bar.ms:.1f}" if is_end else change_text(bar.ms - before)
        axes.text(place, high, text, ha="center", va="bottom", fontsize=8)
        before = bar.ms
        names.append(bar.stage.name)
    axes.bar(len(names), before, 0.8, color=BEST)
    axes.text(len(names), before, f"{before:.1f}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(names) + 1), [*names, "step"], rotation=35, ha="right", fontsize=8)
    axes.set_ylabel("ms")
    axes.set_title(f"{wall.case.title}: {wall.saved:.0%} less", fontsize=11)
    axes.margins(y=0.1)


def change_text(ms: float) -> str:
    """Print a difference with its sign; what rounds to nothing has none.

    >>> change_text(-51.53), change_text(-0.01), change_text(0.82)
    ('-51.5', '0.0', '+0.8')
    """
    return f"{ms:+.1f}" if round(ms, 1) else "0.0"


def _draw_ledger(axes: Any, each: Explained) -> None:
    scale = 1e3 / each.timed.clock_hz
    layers = _merged(each)
    left = [0.0] * len(layers)
    for cause, colour in zip(CAUSES, COLOURS, strict=True):
        widths = [charges.get(cause, 0) * scale for charges in layers.values()]
        axes.barh(list(layers), widths, left=left, color=colour, label=cause)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05 * max(left))
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("ms")
    axes.set_title(f"{each.case.title}, one stream: {each.timed.ms:.1f} ms", fontsize=11)


def _merged(each: Explained) -> dict[str, dict[str, int]]:
    """Return the ledger with layers that are alike as one, where there are too many for a picture."""
    found: dict[str, dict[str, int]] = {}
    for layer, charges in each.book.items():
        _, _, part = layer.partition(", ")
        name = f"{part}, all layers" if part and len(each.book) > MOST_LAYERS else layer
        row = found.setdefault(name, {})
        for cause, cycles in charges.items():
            row[cause] = row.get(cause, 0) + cycles
    return found


def _largest(walls: Sequence[Waterfall]) -> list[Waterfall]:
    """Return the waterfall of each network that has the largest batch with a published step."""
    return list({wall.case.network: wall for wall in walls}.values())


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
