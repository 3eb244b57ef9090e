"""The table of times: `python -m experiments.mutation.times [--write docs/checks.md]`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from davinci_sim.chip import Chip
from davinci_sim.chip.task import Task
from davinci_sim.trace.files import atomic_file
from experiments.mutation.table import between_marks
from kernels import find
from kernels.check import check_task, device_memory
from kernels.run import place, random_inputs

REPEATS = 3
THREADS = 2
IMAGE = {"n": 4, "c": 64, "h": 56, "w": 56}
WINDOW = {"kh": 3, "kw": 3, "stride": 1, "pad": 1}
LAUNCHES: tuple[tuple[str, dict[str, int]], ...] = (
    ("matmul", {"m": 1024, "k": 1024, "n": 1024}),
    ("conv2d", {**IMAGE, "o": 64, **WINDOW}),
    ("conv2d_backward_filter", {"n": 4, "c": 64, "h": 28, "w": 28, "o": 64, **WINDOW}),
    ("max_pool", {**IMAGE, "n": 8, "kh": 2, "kw": 2, "stride": 2}),
    ("softmax_cross_entropy", {"m": 512, "n": 1000}),
    ("relu", {"n": 8_000_000}),
    ("add", {"n": 4_000_000, "dtype": 1}),
    ("nchw_to_nc1hwc0", {**IMAGE, "n": 8, "c": 60}),
    ("apply_momentum", {"n": 1_000_000}),
    ("reduce_sum", {"m": 2000, "n": 1000}),
    ("reduce_max", {"m": 2000, "n": 1000, "axis": 0}),
)


@dataclass(frozen=True)
class Times:
    """Seconds for one launch: a run with data, the checkers, and the checkers with the runs they ask for."""

    launch: str
    records: int
    run_s: float
    check_s: float
    whole_s: float

    def row(self) -> str:
        """Return the row of the table."""
        ratios = f"{self.check_s / self.run_s:.1f} | {self.whole_s / self.run_s:.1f}"
        return f"| {self.launch} | {self.records:,} | {1e3 * self.run_s:.1f} | {ratios} |"


def fastest(work: Callable[[], object]) -> float:
    """Return the least seconds of some runs, after one that compiles and fills caches."""
    work()
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def measure(name: str, keys: dict[str, int]) -> Times:
    """Time one launch on the Ascend 910A."""
    kernel = find(name)
    shape, chip = kernel.shape_type(**keys), Chip("ascend910a", threads=THREADS)
    inputs = random_inputs(kernel, shape, 0)
    task: Task = place(kernel, shape, inputs, chip).task
    gm = device_memory(kernel, shape, task, inputs)
    title = f"{name} {', '.join(f'{key}={value}' for key, value in keys.items())}"
    return Times(
        title, task.instructions, fastest(lambda: chip.run(task)),
        fastest(lambda: check_task(task, chip.platform)),
        fastest(lambda: check_task(task, chip.platform, gm)),
    )  # fmt: skip


@click.command()
@click.option("--write", type=click.Path(path_type=Path, exists=True), help="Page whose table is replaced.")
def main(write: Path | None) -> None:
    """Time the checkers against a run with data and print a table in Markdown."""
    lines = ["| launch | records | run, ms | checkers | with the runs that they ask for |", f"|{'---|' * 5}"]
    made = "\n".join([*lines, *(measure(name, keys).row() for name, keys in LAUNCHES)]) + "\n"
    sys.stdout.write(made)
    if write is not None:
        with atomic_file(write) as page:
            page.write_text(between_marks(write.read_text(), made, "times"))


if __name__ == "__main__":
    main()
