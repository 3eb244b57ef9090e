"""`python -m experiments.bench`: how quick the kit is; appends machine, commit and numbers to a file.

A benchmark is a function that returns one number; `@benchmark` states its unit and, where somebody asked for
one, its bound. A missed bound is shown and fails nothing.
"""

from __future__ import annotations

import json
import os
import platform as machine
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from experiments.cli.output import examples

ROOT = Path(__file__).parents[1]
RESULTS = Path("results") / "bench.jsonl"
REPEATS = 5
Work = Callable[[], float]


@dataclass(frozen=True)
class Benchmark:
    """A number that tells how quick something is; `at_most` is the bound that was asked for."""

    name: str
    unit: str
    run: Work
    at_most: float | None = None

    def verdict(self, value: float) -> str:
        """Say whether the bound is met."""
        if self.at_most is None:
            return ""
        return f"{'met' if value <= self.at_most else 'MISSED'} (at most {self.at_most:g})"


BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(unit: str, at_most: float | None = None) -> Callable[[Work], Work]:
    """Register a function as the benchmark of its name."""

    def register(function: Work) -> Work:
        BENCHMARKS[function.__name__] = Benchmark(function.__name__, unit, function, at_most)
        return function

    return register


def median_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median time of a call; a first call warms up and does not count."""
    work()
    return statistics.median(_seconds(work) for _ in range(repeats))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _python(*arguments: str, **environment: str) -> Callable[[], object]:
    """Return a call of a fresh interpreter, started where the packages are."""
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, check=True
    )


@benchmark("s", at_most=1.0)
def import_framework_warm() -> float:
    """Time a process that imports framework."""
    return median_seconds(_python("-c", "import framework"))


@benchmark("s")
def import_framework_cold() -> float:
    """Time the same when no byte code is there yet, neither ours nor NumPy's."""
    with tempfile.TemporaryDirectory() as empty:
        return _seconds(_python("-c", "import framework", PYTHONPYCACHEPREFIX=empty))


@benchmark("s", at_most=0.2)
def davinci_help_warm() -> float:
    """Time `davinci --help`."""
    return median_seconds(_python("-m", "experiments.cli.main", "--help"))


@benchmark("s")
def davinci_help_cold() -> float:
    """Time the same when no byte code is there yet."""
    with tempfile.TemporaryDirectory() as empty:
        return _seconds(_python("-m", "experiments.cli.main", "--help", PYTHONPYCACHEPREFIX=empty))


def _task(name: str, dtype: str | None = None, **axes: int) -> Any:
    """Return a placed kernel with random data on a chip of its own."""
    import kernels
    from davinci_sim.chip import Chip
    from kernels.run import place, random_inputs

    kernel = kernels.find(name)
    shape = kernel.shape_type.of(name, axes, dtype)
    return place(kernel, shape, random_inputs(kernel, shape, 0), Chip("ascend910a"))


@benchmark("records/s")
def emission() -> float:
    """Emit all blocks of a matmul, records only."""
    from davinci_sim.core.local import space_bytes
    from davinci_sim.isa import state as st

    placed = _task("matmul", m=1024, k=1024, n=1024)
    chip = placed.chip.platform
    tiling = placed.kernel.tiling_type.default(placed.shape, chip)
    capacity = max(map(len, placed.task.programs))
    core = st.new_core_state(capacity, space_bytes(chip, 0), int(chip.event_ids_per_pipe_pair))
    numbers = (*placed.task.operands.values(), placed.shape.pack(), tiling.pack())

    def emit() -> None:
        for block in range(placed.task.block_dim):
            st.begin_block(core, block, placed.task.block_dim)
            placed.kernel.emit(core, *numbers)

    return float(placed.task.instructions) / median_seconds(emit)


@benchmark("records/s")
def launch_preparation() -> float:
    """Make a whole task of a matmul: emit, put into a legal order, note the source lines."""
    placed = _task("matmul", m=1024, k=1024, n=1024)
    chip = placed.chip.platform
    work = median_seconds(lambda: placed.kernel.task(placed.shape, placed.task.operands, chip))
    return float(placed.task.instructions) / work


@benchmark("instructions/s")
def simpy_reference() -> float:
    """Simulate the time of a matmul on 32 cores, without data."""
    placed = _task("matmul", m=1024, k=1024, n=1024)
    return float(placed.task.instructions) / median_seconds(lambda: placed.chip.trace(placed.task), 3)


@benchmark("GFLOP/s")
def matmul_data() -> float:
    """Compute the data of a matmul with the executor's threads."""
    placed = _task("matmul", m=512, k=512, n=512)
    work = 2 * placed.kernel.macs(placed.shape)
    return 1e-9 * float(work) / median_seconds(lambda: placed.chip.run(placed.task))


@benchmark("x NumPy's time")
def vector_add_data() -> float:
    """Compute the data of an fp32 addition of 4 million numbers, as a multiple of NumPy's time."""
    import numpy as np

    count = 1 << 22
    placed = _task("add", "fp32", n=count)
    a, b = np.ones(count, np.float32), np.ones(count, np.float32)
    c = np.empty_like(a)
    return median_seconds(lambda: placed.chip.run(placed.task)) / median_seconds(lambda: np.add(a, b, out=c))


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


if __name__ == "__main__":
    from experiments.cli.main import exit_code

    sys.exit(exit_code(lambda: bench.main(standalone_mode=False)))
