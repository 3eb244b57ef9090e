"""LeNet-5 learns handwritten digits on a simulated Ascend 910A; every operator's time is accounted for."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from davinci_sim.trace.files import atomic_file
from davinci_sim.trace.perfetto import write_chrome_trace
from davinci_sim.trace.timeline import draw_timeline
from experiments.demo.comparison import Row, as_json, compare, note, totals
from experiments.harness import Context
from experiments.operators.records import read_published
from experiments.training import Plan, train

CLAIM = "LeNet-5 learns digits, every number computed by tiled kernels on a simulated Ascend 910A"
SINK_STEPS = 11
"""Steps for one call of the host: four calls an epoch of 44 batches."""
SHOWN = "conv2d"
"""The operator whose pipes the timeline shows; its first one in the step."""


def run(context: Context) -> dict[str, float]:
    """Train, compare a step with the published profile, draw one operator; `quick` trains one epoch."""
    epochs = 1 if context.quick else None
    plan = Plan(
        "lenet5", "digits", context.platform, epochs=epochs, seed=context.seed, sink_steps=SINK_STEPS,
        engine=context.engine,
    )  # fmt: skip
    training = train(plan, context.progress_console)
    loaded = training.model.runner.session.loaded  # type: ignore[union-attr]
    rows = compare(loaded, read_published("lenet5"))
    sums = totals(rows)
    context.console.print(_table(rows, sums))
    _draw(context, loaded)
    _write(context, training.session_summary(), rows, sums)
    return {"accuracy": training.accuracy, "steps": float(training.steps), **sums}


def _table(rows: list[Row], sums: dict[str, float]) -> Table:
    """Return the table of operators, ours beside the published ones."""
    table = Table(title="One training step, batch 32: simulated beside a real 910A (MindSpore, 2020)")
    for name in ("operator", "shapes"):
        table.add_column(name, overflow="fold")
    for name in ("simulated us", "published us", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("bound by")
    table.add_column("note", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row))
    table.add_section()
    ours, theirs = f"{sums['simulated_us']:.1f}", f"{sums['published_us']:.1f}"
    table.add_row("all", "", ours, theirs, "", "", _about(sums))
    ratio = f"{sums['paired_total_ratio']:.2f}"
    ours, theirs = f"{sums['paired_simulated_us']:.1f}", f"{sums['paired_published_us']:.1f}"
    pairs = f"{sums['paired_operators']:.0f} operators that do the same on both sides"
    table.add_row("paired", "", ours, theirs, ratio, "", pairs)
    return table


def _about(sums: dict[str, float]) -> str:
    return f"published: {sums['published_untiled_matmul_us']:.0f} us are untiled fp32 MatMuls"


def _cells(row: Row) -> list[str]:
    ours, published = row.ours, row.published
    shapes = ours.shapes if ours else " , ".join(map(str, published.inputs)) if published else ""
    return [
        ours.name if ours else f"({published.op})" if published else "",
        shapes,
        f"{ours.us:.2f}" if ours else "-",
        f"{published.us:.2f}" if published else "-",
        f"{row.ratio:.2f}" if row.ratio is not None else "",
        ours.bound if ours else "",
        _note(row),
    ]


def _note(row: Row) -> str:
    if row.published is not None and note(row.published):
        return note(row.published)
    if row.ours is None:
        return "ours needs none"
    return f"with {'+'.join(row.ours.fused[1:])}" if row.ours.fused else ""


def _draw(context: Context, loaded: Any) -> None:
    """Draw and export the pipes of one operator."""
    task = next(t.task for t in loaded.tasks if t.task is not None and t.task.name == SHOWN)
    trace = loaded.chip.trace(task)
    title = "First convolution of LeNet-5, batch 32"
    draw_timeline(trace, context.artifact("timeline.png"), title, cores=1)
    write_chrome_trace(trace, context.artifact("trace.json"), task.programs)


def _write(context: Context, training: dict[str, Any], rows: list[Row], sums: dict[str, float]) -> None:
    """Write the table and the training as data."""
    content = {"training": training, "totals": sums, "operators": as_json(rows)}
    with atomic_file(context.artifact("operators.json")) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
