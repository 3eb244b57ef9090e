"""A trace as a picture: pipes over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.trace import Trace
from davinci_sim.errors import DavinciError
from davinci_sim.trace.files import atomic_file

Records = npt.NDArray[np.void]
Colours = dict[str, str]

WIDTH, HEIGHT, DPI = 16.0, 7.0, 100  # inches, inches, pixels per inch: 1600 x 700
MOST_CORES = 4
MOST_BARS = 500  # in one row; more are drawn as shares of
INTERVALS = 400  # equal parts of the time

# data flow from top to bottom, with what moves where
ROWS = {
    "S": "scalar",
    "MTE2": "GM \N{RIGHTWARDS ARROW} L1, UB",
    "MTE1": "L1 \N{RIGHTWARDS ARROW} L0A, L0B, UB",
    "M": "cube",
    "V": "vector",
    "FIX": "L0C \N{RIGHTWARDS ARROW} out",
    "MTE3": "UB \N{RIGHTWARDS ARROW} GM, L1",
}

# distinguishable side by side; one for each instruction of a trace, the last for all further ones
PALETTE = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733",
    "#009988", "#332288", "#997700", "#88ccee", "#cc6677", "#117733", "#999999",
)  # fmt: skip


def draw_timeline(trace: Trace, path: str | Path, title: str, cores: int = 1) -> None:
    """Draw what each pipe of the first 1 to 4 cores did when, as a PNG of 1600 x 700 pixels.

    One row per pipe and core, one colour per instruction name; white is waiting. Flags and barriers are not
    drawn. A row with more than 500 records shows instead, for each 400th of the time, the share of each
    instruction as a height.
    """
    if not 1 <= cores <= MOST_CORES:
        raise DavinciError(
            f"a timeline shows 1 to {MOST_CORES} cores, not {cores}; write a Chrome trace for all"
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    shown = trace.work[np.isin(trace.work["core"], trace.cores[:cores])]
    colours = _colours(trace, shown)
    rows = _rows(trace, shown)
    dense = False
    for y, (core, pipe) in enumerate(rows):
        mine = shown[(shown["core"] == core) & (shown["pipe"] == trace.pipe_names.index(pipe))]
        dense |= len(mine) > MOST_BARS
        _draw_row(axes, y, mine, trace, colours)
    _label(axes, trace, rows, title)
    axes.set_xlabel("us (where bars are too many, heights are shares of the time)" if dense else "us")
    _legend(axes, colours)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")


def _rows(trace: Trace, shown: Records) -> list[tuple[int, str]]:
    """Return (core, pipe) of every row, from top to bottom."""
    used = {trace.pipe_names[number] for number in np.unique(shown["pipe"])}
    ordered = [pipe for pipe in ROWS if pipe in used] + sorted(used - ROWS.keys())
    return [(core, pipe) for core in np.unique(shown["core"]).tolist() for pipe in ordered]


def _colours(trace: Trace, shown: Records) -> Colours:
    """Return a colour for each instruction, the busiest first; the palette's last is shared."""
    busy = np.bincount(shown["op"], weights=shown["end"] - shown["start"], minlength=len(trace.op_names))
    order = sorted(np.unique(shown["op"]).tolist(), key=lambda op: (-busy[op], op))
    last = len(PALETTE) - 1
    return {trace.op_names[op]: PALETTE[min(place, last)] for place, op in enumerate(order)}


def shares(records: Records, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return which part of each interval between `edges` (in cycles) the records of one pipe take, 0 to 1."""
    if not len(records):
        return np.zeros(len(edges) - 1)
    records = records[np.argsort(records["start"], kind="stable")]  # np.interp wants ascending edges
    spans = np.stack([records["start"], records["end"]], axis=1)
    done = np.cumsum(spans[:, 1] - spans[:, 0])
    busy_until = np.stack([done - (spans[:, 1] - spans[:, 0]), done], axis=1)  # at each start, at each end
    busy: npt.NDArray[np.float64] = np.interp(edges, spans.ravel(), busy_until.ravel())
    return np.diff(busy) / np.diff(edges)


def _draw_row(axes: Any, y: int, records: Records, trace: Trace, colours: Colours) -> None:
    """Draw the work of one pipe: a bar for each record, or shares if there are too many."""
    us = 1e6 / trace.clock_hz
    if len(records) <= MOST_BARS:
        spans = np.stack([records["start"] * us, (records["end"] - records["start"]) * us], axis=1)
        faces = [colours[trace.op_names[op]] for op in records["op"].tolist()]
        axes.broken_barh(spans.tolist(), (y - 0.4, 0.8), facecolors=faces, edgecolor="white", linewidth=0.3)
        return
    edges = np.linspace(0, trace.cycles, INTERVALS + 1)
    top = np.full(INTERVALS, y + 0.4)  # the axis points down
    for op in sorted(
        np.unique(records["op"]).tolist(), key=lambda op: list(colours).index(trace.op_names[op])
    ):
        below, top = top, top - 0.8 * shares(records[records["op"] == op], edges)
        axes.stairs(
            top, edges * us, baseline=below, fill=True, color=colours[trace.op_names[op]], linewidth=0
        )


def _heading(trace: Trace, rows: list[tuple[int, str]], title: str) -> str:
    """Return the title with the total time, how busy cube and vector unit are, and which cores are shown."""
    pipes = trace.pipes()
    parts = [f"{trace.us:.2f} us on {trace.platform_name}"]
    parts += [
        f"{unit} {100 * pipes[pipe]['utilization']:.1f} % busy"
        for pipe, unit in (("M", "cube"), ("V", "vector"))
        if pipe in pipes
    ]
    shown = sorted({core for core, _ in rows})
    if len(shown) < len(trace.cores):
        parts.append(f"core {', '.join(map(str, shown))} of {len(trace.cores)} shown")
    return f"{title}: {', '.join(parts)}"


def _label(axes: Any, trace: Trace, rows: list[tuple[int, str]], title: str) -> None:
    """Write the title, the names of the rows with how busy they are, and the axis of time."""
    axes.set_title(_heading(trace, rows, title), loc="left")
    many = len({core for core, _ in rows}) > 1
    labels = []
    for core, pipe in rows:
        busy = trace.busy_cycles(pipe, core) / trace.cycles
        prefix = f"core {core}  " if many else ""
        labels.append(f"{prefix}{pipe}  {100 * busy:.0f} %" + ("" if many else f"\n{ROWS.get(pipe, '')}"))
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlim(0, trace.us or 1)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    for y in range(1, len(rows)):
        heavy = rows[y][0] != rows[y - 1][0]
        axes.axhline(y - 0.5, color="#888888" if heavy else "#eeeeee", linewidth=1.0 if heavy else 0.6)


def _legend(axes: Any, colours: Colours) -> None:
    """List the instructions beside the picture."""
    from matplotlib.patches import Patch

    named = list(colours.items())[: len(PALETTE) - 1]
    patches = [Patch(color=colour, label=name) for name, colour in named]
    if len(colours) > len(named):
        patches.append(Patch(color=PALETTE[-1], label=f"{len(colours) - len(named)} others"))
    if patches:
        axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
