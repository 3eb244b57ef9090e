"""`davinci kernel tune`: search the tilings of one kernel and keep the best."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.output import examples, json_option, report
from experiments.cli.problem import Problem, problem_of, problem_options

if TYPE_CHECKING:
    from rich.console import Console

    from kernels.tune import Tuned


jobs_option = click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(1, 64), help="Searches at a time."
)
folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to keep it (default: $DAVINCI_TUNINGS, or davinci-kit/tunings among your data).",
)


@click.command(
    "tune",
    short_help="Search for the best tiling of one kernel; keep it.",
    epilog=examples(
        "davinci kernel tune matmul --shape m=1024,k=1024,n=1024",
        "davinci kernel tune my_kernels/gelu.py:gelu --shape n=100000 --jobs 2 --platform ascend310p3",
    ),
)
@problem_options
@jobs_option
@folder_option
@json_option
def tune_kernel(
    name: str, shape: str, dtype: str | None, platform: str, jobs: int, folder: Path | None, as_json: bool
) -> None:
    """Search the tilings of kernel NAME, or NAME in a file of yours given as file.py:NAME, for one shape.

    The default tiling is a candidate, so that the result is never worse. Candidates whose least time (of the
    cube, or of the instructions of a core) is above the best so far are discarded; the compiled engine
    decides between the others. Of equal ones the first wins, whatever --jobs is.

    `kernel run` and compiled networks use the result from then on. It stands in a text file per chip, and is
    used while the kernel and the chip's figures are those that it was found for. A search that was
    interrupted goes on where it was.
    """
    from experiments.files import writable_folder
    from kernels.tune import keep
    from kernels.tune.store import folder_or_own

    problem, start = problem_of(name, shape, dtype, platform), time.perf_counter()
    chosen = writable_folder(folder_or_own(folder))
    found, simulated = searched(problem, chosen, jobs)
    path = keep(found, chosen)
    result = _as_json(found) | {
        "simulated": simulated, "file": str(path), "wall_s": time.perf_counter() - start
    }  # fmt: skip
    report(as_json, result, lambda console: _show(console, problem, result))


def searched(problem: Problem, folder: Path, jobs: int) -> tuple[Tuned, int]:
    """Return what a search finds, and how many tilings it simulated; it keeps a journal in a folder."""
    from kernels.tune import tune
    from kernels.tune.store import journal_of

    journal = journal_of(folder, problem.chip.name)
    known = len(journal.known)
    with _progress(problem) as told:
        found = tune(problem.kernel, problem.shape, problem.chip, jobs, journal, told)
    simulated = len(journal.known) - known
    journal.forget()
    return found, simulated


def _as_json(found: Tuned) -> dict[str, Any]:
    """Return what was found as plain data."""
    from dataclasses import asdict

    return {**asdict(found), "speedup": found.speedup}


@contextmanager
def _progress(problem: Problem) -> Iterator[Callable[[int, int, int], None]]:
    """Show a bar on standard error while the block runs; yield what tells it how far the search is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from experiments.cli.output import console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        bar = progress.add_task(f"tilings of {problem.kernel.name}", total=None)

        def told(settled: int, candidates: int, cycles: int) -> None:
            progress.update(
                bar, completed=settled, total=candidates,
                description=f"tilings of {problem.kernel.name}: best {cycles} cycles",
            )  # fmt: skip

        yield told


def _show(console: Console, problem: Problem, result: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    def text(tiling: dict[str, int]) -> str:
        return ",".join(f"{name}={value}" for name, value in tiling.items())

    table = Table(show_header=False, box=None, pad_edge=False)
    for title, value in (
        ("kernel", problem.title),
        ("default", f"{text(result['default'])}: {result['default_cycles']} cycles"),
        (
            "best",
            f"{text(result['tiling'])}: {result['cycles']} cycles, {result['speedup']:.3f} times as fast",
        ),
        ("searched", f"{result['candidates']} tilings, {result['simulated']} of them simulated"),
        ("kept in", result["file"]),
    ):
        table.add_row(title, escape(value))
    console.print(table)
