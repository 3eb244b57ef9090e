"""Pictures of memory: which block lies where and when, and what fills the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from framework.graph_engine.data.graph import CONSTANT, VARIABLE
from framework.graph_engine.data.memory import Lifetime, alive
from framework.graph_engine.data.tasks import TaskSpec
from framework.graph_engine.pictures.canvas import (
    COLOURS,
    INK,
    MB,
    bars,
    chosen,
    heaviest,
    legend,
    new_figure,
    shades,
    strip,
    tidy,
)
from framework.graph_engine.service.compile import CompiledGraph
from framework.graph_engine.service.load import LoadedGraph

HELD = {VARIABLE: COLOURS[0], CONSTANT: COLOURS[3], "workspace": COLOURS[2]}
FREE = "free"
MAP_ROWS, MAP_CELLS, MOST_TENSORS, STRIP_ROWS = 16, 2048, 16, 4


def bytes_made(compiled: CompiledGraph) -> dict[str, float]:
    """Return the bytes of the workspace by the operators that make them."""
    makers = _makers(compiled.tasks)
    weights = dict[str, float]()
    for block in compiled.memory.dense.blocks:
        maker = makers.get(block.name, "other")
        weights[maker] = weights.get(maker, 0.0) + block.nbytes
    return weights


def draw_compile(compiled: CompiledGraph, known: Mapping[str, str] | None = None) -> Any:
    """Draw the blocks of the workspace over time, and the tasks by operator and stream."""
    plan, tasks = compiled.memory.dense, compiled.tasks
    figure = new_figure(14, 8, f"4 compile  {compiled.graph.name}: {len(tasks)} tasks, {plan.text()}")
    top, middle, bottom = figure.subplots(3, 1, height_ratios=(5, 1, 1))
    makers = _makers(tasks)
    named = [_called(task) for task in tasks]
    colours = chosen({**dict.fromkeys(named, 0.0), **bytes_made(compiled)}, known)
    _draw_blocks(top, plan.blocks, plan.offsets, [colours[makers.get(b.name, "other")] for b in plan.blocks])
    _draw_live(top, plan.blocks)
    top.set_ylim(0, max(1, plan.peak_bytes) / MB)
    strip(middle, named, colours, "tasks in order", STRIP_ROWS)
    streams = [f"s{task.stream}" for task in tasks]
    of_streams = shades([f"s{stream}" for stream in sorted({task.stream for task in tasks})])
    strip(bottom, streams, of_streams, _about_streams(list(of_streams)), STRIP_ROWS)
    legend(bottom, colours)
    return figure


def _about_streams(names: list[str]) -> str:
    return f"their streams, from {names[0]} (light) to {names[-1]} (dark)" if names[1:] else "one stream"


def _called(task: TaskSpec) -> str:
    return task.kind if task.node is None else task.node.op


def _makers(tasks: tuple[TaskSpec, ...]) -> dict[str, str]:
    """Return which operator touches each value first."""
    found: dict[str, str] = {}
    for task in tasks:
        for value in task.operands.values():
            found.setdefault(value, _called(task))
    return found


def _draw_blocks(axes: Any, blocks: tuple[Lifetime, ...], offsets: Any, colours: list[str]) -> None:
    """Draw a rectangle per block: from its first to its last task, at its place."""
    from matplotlib.collections import PolyCollection

    corners = []
    for block in blocks:
        low, high = offsets[block.name] / MB, (offsets[block.name] + block.padded_bytes) / MB
        first, last = block.first, block.last + 1
        corners.append([(first, low), (last, low), (last, high), (first, high)])
    axes.add_collection(PolyCollection(corners, facecolors=colours, edgecolors="white", linewidths=0.3))
    axes.set_xlim(0, max((block.last for block in blocks), default=0) + 1)
    axes.set(xlabel="groups of tasks, in order", ylabel="offset in the workspace, MB")
    axes.set_title("blocks of the workspace, coloured by the operator that makes them", fontsize=11)
    tidy(axes)


def _draw_live(axes: Any, blocks: tuple[Lifetime, ...]) -> None:
    """Draw how much is alive at each group of tasks: the plan cannot lie below the highest point."""
    heights = np.append(alive(blocks), 0) / MB
    axes.step(range(len(heights)), heights, where="post", color=INK, lw=1, label="alive")
    axes.legend(loc="upper right", fontsize=8, frameon=False)


def draw_load(loaded: LoadedGraph) -> Any:
    """Draw what fills the device memory from its first address on, and the tensors that take most."""
    places = loaded.places()
    end = max((place.start + place.nbytes for place in places), default=1)
    total = int(loaded.chip.platform.gm_bytes)
    room = f"{end / MB:,.1f} of {total / MB:,.0f} MB on {loaded.chip.platform.name}"
    gaps = loaded.compiled.align_bytes
    figure = new_figure(
        13, 7, f"5 load  {loaded.graph.name}: {room}, each tensor at a multiple of {gaps:,} bytes"
    )
    top, bottom = figure.subplots(2, 1, height_ratios=(1, 1.4))
    cells = np.full(MAP_CELLS, FREE, dtype=object)
    for place in places:
        first, last = (at * MAP_CELLS // end for at in (place.start, place.start + max(place.nbytes, 1) - 1))
        cells[first : last + 1] = place.kind
    colours = {**HELD, FREE: "#eeeeee"}
    cell_kb = end / MAP_CELLS / 1e3
    strip(top, list(cells), colours, f"addresses, line by line; a cell is {cell_kb:,.1f} kB", MAP_ROWS)
    legend(top, colours)
    sizes = {f"{place.name}  ({place.kind})": place.nbytes / MB for place in places}
    largest = heaviest(sizes, MOST_TENSORS)
    bars(bottom, largest, "what takes most, MB", "{:,.2f}")
    return figure
