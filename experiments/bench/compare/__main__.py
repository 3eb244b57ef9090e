"""`python -m experiments.bench.compare`: a table of what the kit, JAX and PyTorch take, and the ratios."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping

from experiments.bench.compare.timing import Found
from experiments.bench.registry import python

TOOLS = {"kit": "kit", "jax": "with_jax", "torch": "with_torch"}
Measured = Mapping[str, Mapping[str, Found]]


def measured(tool: str, module: str) -> dict[str, Found] | None:
    """Return what a tool takes, in a process of its own with one thread; None where it is not installed."""
    if tool != "kit" and importlib.util.find_spec(tool) is None:
        return None
    run = python("-m", f"experiments.bench.compare.{module}", OMP_NUM_THREADS="1", JAX_PLATFORMS="cpu")
    found: dict[str, Found] = json.loads(run().splitlines()[-1])
    return found


def shown(value: float | str | None) -> str:
    """Return a cell of the table: a time, or why there is none."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.3g} s"


def ratio(value: float | str | None, own: float | str | None) -> str:
    """Return how many times as long as the kit another tool takes."""
    if isinstance(value, str) or isinstance(own, str) or value is None or own is None:
        return "-"
    return f"{value / own:.3g}"


def rows(results: Measured) -> list[list[str]]:
    """Return the rows of the table: work, stage, the time of each tool, the ratios to the kit."""
    others = [tool for tool in results if tool != "kit"]
    table = []
    for work, stages in results["kit"].items():
        for stage, own in stages.items():
            times = [results[tool].get(work, {}).get(stage) for tool in others]
            ratios = [ratio(each, own) for each in times]
            table.append([work, stage, shown(own), *map(shown, times), *ratios])
    return table


def main() -> None:
    """Measure every tool that is installed, and print the table."""
    from rich.table import Table

    from experiments.cli.output import console, note

    results: dict[str, dict[str, Found]] = {}
    for tool, module in TOOLS.items():
        note(f"{tool} ...")
        found = measured(tool, module)
        if found is None:
            note(f"{tool} is not installed and is not compared; pip install -e .[compare]")
        else:
            results[tool] = found
    others = [tool for tool in results if tool != "kit"]
    table = Table("work", "stage", *results, *(f"{tool} / kit" for tool in others))
    for row in rows(results):
        table.add_row(*row)
    console().print(table)


if __name__ == "__main__":
    main()
