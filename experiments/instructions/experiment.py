"""Single instructions of a simulated 910B1 take as long as the vendor measured."""

from __future__ import annotations

import json

from rich.table import Table as Sheet

from davinci_sim.platforms import platform
from davinci_sim.trace.files import atomic_file
from experiments.harness import Context
from experiments.instructions import pictures
from experiments.instructions.programs import simulated, texts
from experiments.instructions.tables import (
    Comparison,
    Point,
    Table,
    as_json,
    label_text,
    read_exceptions,
    read_tables,
)

CLAIM = "single instructions of a simulated 910B1 take as long as the vendor's tables say"
CHIP = "ascend910b1"
"""The chip of the tables; --platform changes nothing here."""


def run(context: Context) -> dict[str, float]:
    """Simulate every published point and compare; `quick` draws no pictures."""
    tables, exceptions = read_tables(), read_exceptions()
    comparisons = [compare(table, exceptions) for table in tables.values()]
    context.console.print(_sheet(comparisons))
    for comparison in comparisons:
        for point in comparison.exceptions:
            where = f"{comparison.table.name}, {label_text(point.label)}"
            context.say(f"exception: {where}: {point.error:+.1%}; {point.exception}")
    with atomic_file(context.artifact("points.json")) as temporary:
        temporary.write_text(json.dumps(list(as_json(comparisons)), indent=1) + "\n", encoding="utf-8")
    with atomic_file(context.artifact("programs.txt")) as temporary:
        temporary.write_text(texts(tables.values()), encoding="utf-8")
    if not context.quick:
        pictures.draw(context, {comparison.table.name: comparison for comparison in comparisons})
    return metrics(comparisons)


def compare(table: Table, exceptions: dict[tuple[str, str], str]) -> Comparison:
    """Simulate the points of a table."""
    found = simulated(table, platform(CHIP))
    points = [
        Point(
            label,
            table.cycles(label, value),
            cycles,
            table.is_fitted(position),
            exceptions.get((table.name, label_text(label)), ""),
        )
        for position, ((label, value), cycles) in enumerate(zip(table.points, found, strict=True))
    ]
    return Comparison(table, tuple(points))


def metrics(comparisons: list[Comparison]) -> dict[str, float]:
    """Return the errors of every table, and how many points there are and how many are exceptions."""
    found: dict[str, float] = {}
    for comparison in comparisons:
        found[f"{comparison.table.name}_median_error"] = comparison.median_error
        found[f"{comparison.table.name}_largest_error"] = comparison.largest_error
    found["points"] = float(sum(len(comparison.points) for comparison in comparisons))
    found["exceptions"] = float(sum(len(comparison.exceptions) for comparison in comparisons))
    return found


def _sheet(comparisons: list[Comparison]) -> Sheet:
    """Return the table of tables."""
    sheet = Sheet(title="Instructions of a simulated 910B1 beside the vendor's tables")
    sheet.add_column("table", overflow="fold")
    for name in ("points", "judged", "median error", "largest error", "exceptions"):
        sheet.add_column(name, justify="right")
    sheet.add_column("figures fitted on the other points", overflow="fold")
    for each in comparisons:
        judged = sum(not point.is_fitted for point in each.points)
        sheet.add_row(
            each.table.title, str(len(each.points)), str(judged), f"{each.median_error:.1%}",
            f"{each.largest_error:.1%}", str(len(each.exceptions)), ", ".join(each.table.fitted),
        )  # fmt: skip
    return sheet
