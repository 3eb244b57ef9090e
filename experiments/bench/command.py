"""`python -m experiments.bench`: how quick the kit is; appends machine, commit and numbers to a file.

A missed bound is shown and fails nothing: machines are shared and noisy.
"""

from __future__ import annotations

import json
import os
import platform as machine
import subprocess
import time
from pathlib import Path

import click

from experiments.bench import (  # noqa: F401 - they register their benchmarks
    autodiff,
    compiling,
    data,
    engines,
    kernels,
    loops,
    remembering,
    starts,
    whole_steps,
)
from experiments.bench.registry import BENCHMARKS, ROOT
from experiments.cli.output import examples

RESULTS = Path("results") / "bench.jsonl"


def commit() -> str | None:
    """Return the commit of the source, None outside of a repository or before its first one."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def append(path: Path, numbers: dict[str, float]) -> None:
    """Add one line to the file of results."""
    from davinci_sim.errors import cannot_write
    from experiments.harness import versions

    line = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": machine.system()},
        "versions": versions(),
        "numbers": {name: {"value": value, "unit": BENCHMARKS[name].unit} for name, value in numbers.items()},
    }
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise cannot_write(path, error) from None


def _processor() -> str:
    """Return the processor's name where Linux tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), machine.machine()
    )


@click.command(epilog=examples("python -m experiments.bench", "python -m experiments.bench --only emission"))
@click.option("--only", multiple=True, metavar="NAME", help="Run this benchmark; may be given several times.")
@click.option(
    "--out", default=RESULTS, type=click.Path(path_type=Path), show_default=True, help="File to append to."
)
def bench(only: tuple[str, ...], out: Path) -> None:
    """Run the benchmarks: print a table, and append the numbers to a JSON lines file."""
    from rich.table import Table

    from davinci_sim.errors import unknown
    from experiments.cli.output import console, note
    from experiments.files import writable_file

    for name in only:
        if name not in BENCHMARKS:
            raise unknown("benchmark", name, BENCHMARKS)
    writable_file(out)
    numbers: dict[str, float] = {}
    table = Table("benchmark", "value", "unit", "bound", "what")
    for name in only or BENCHMARKS:
        each = BENCHMARKS[name]
        note(f"{name} ...")
        numbers[name] = each.run()
        what = (each.run.__doc__ or "").strip()
        table.add_row(name, f"{numbers[name]:,.4g}", each.unit, each.verdict(numbers[name]), what)
    console().print(table)
    append(out, numbers)
