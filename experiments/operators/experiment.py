"""Every published operator of a real 910A that the kit has kernels for takes about as long when simulated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.progress import track
from rich.table import Table

from davinci_sim.chip import Chip
from davinci_sim.trace.files import atomic_file
from experiments.harness import Context
from experiments.operators.cover import Covered, cover
from experiments.operators.judge import Row, is_fitted, is_poor, metrics
from experiments.operators.records import read_published
from experiments.operators.timing import STATES, Bench

CLAIM = "simulated operators take about as long as those of a real 910A, and rank like them"
CHIP = "ascend910a"
"""The chip of the profiles; --platform changes nothing here."""
JUDGED = "cold"
"""The state of L2 that the claim is about; the times from the others are told beside it."""


def run(context: Context) -> dict[str, float]:
    """Time every published operator from each state of L2; `quick`: from the judged one, and no picture."""
    bench = Bench(Chip(CHIP))
    states = (JUDGED,) if context.quick else STATES
    found = [cover(record) for record in read_published()]
    rows = [
        _timed(each, bench, states)
        for each in track(found, "operators", console=context.progress_console, transient=True)
    ]
    context.console.print(_table(rows))
    with atomic_file(context.artifact("operators.json")) as temporary:
        temporary.write_text(json.dumps(list(map(_as_json, rows)), indent=1) + "\n", encoding="utf-8")
    if not context.quick:
        from experiments.operators import picture

        picture.draw(context.artifact("operators.png"), rows, JUDGED)
    return metrics(rows, JUDGED)


def _timed(each: Covered, bench: Bench, states: Sequence[str]) -> Row:
    us = {state: bench.us(each.launches, state) for state in states} if each.launches else {}
    return Row(each, us, bool(us) and is_poor(each, bench.chip.platform))


def _table(rows: Sequence[Row]) -> Table:
    """Return the rows by class, the longest first."""
    table = Table(title="Published operators of a real 910A beside the simulated ones, microseconds")
    table.add_column("operator")
    table.add_column("tensors", overflow="fold")
    for name in ("published", "simulated", "ratio"):
        table.add_column(name, justify="right")
    table.add_column("how", overflow="fold")
    last = ""
    for row in sorted(rows, key=lambda row: (row.covered.kind, -row.covered.record.us)):
        if row.covered.kind != last:
            last = row.covered.kind
            table.add_section()
            table.add_row(f"[bold]{last}")
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    record = row.covered.record
    if not row.us:
        return [record.op, str(record), f"{record.us:.2f}", "", "", row.covered.reason]
    note = "left out: a poor kernel. Ours: " if row.is_poor else ""
    note = "left out: fitted on it. " if is_fitted(record) else note
    return [
        record.op, str(record), f"{record.us:.2f}", f"{row.us[JUDGED]:.2f}", f"{row.ratio(JUDGED):.2f}",
        f"{note}{row.covered}",
    ]  # fmt: skip


def _as_json(row: Row) -> dict[str, Any]:
    record = row.covered.record
    return {
        "id": record.id,
        "network": record.network,
        "op": record.op,
        "tensors": str(record),
        "class": row.covered.kind,
        "published_us": record.us,
        "simulated_us": dict(row.us),
        "launches": [str(launch) for launch in row.covered.launches],
        "is_poor": row.is_poor,
        "is_fitted": is_fitted(record),
        "reason": row.covered.reason,
    }
