"""`davinci kernel profile`: where the time of one kernel goes, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.metrics import PROFILE, Explained
from experiments.cli.output import examples, json_option, report
from experiments.cli.problem import Problem, problem_of, problem_options, show_bounds, tiling_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from davinci_sim.trace.ledger import Ledger
    from kernels.profile import Advice, Profile, WhatIf

FILE = click.Path(path_type=Path)
MOST_LINES, MOST_STEPS, MOST_FLAGS, TEXT_WIDTH, LEAST_SHOWN = 12, 8, 6, 64, 0.001


@click.command(
    "profile",
    cls=Explained,
    metrics=PROFILE,
    causes=True,
    short_help="Show where the time of one kernel goes, with advice.",
    epilog=examples(
        "davinci kernel profile matmul --shape m=1024,k=1024,n=1024",
        "davinci kernel profile add --shape n=1000000 --dtype fp32 --html add.html --csv add",
        "davinci kernel profile my_kernels.py:scale --shape n=5000 --json",
    ),
)
@problem_options
@tiling_option
@click.option(
    "--advice/--no-advice", default=True, show_default=True,
    help="Simulate without each of the machine's limits and with other tilings, and say what helps.",
)  # fmt: skip
@click.option("--trace", type=FILE, metavar="FILE", help="Write a trace for ui.perfetto.dev.")
@click.option("--html", type=FILE, metavar="FILE.html", help="Write one self-contained page for a browser.")
@click.option("--csv", type=FILE, metavar="DIR", help="Write op_summary.csv, core*_instr_exe.csv, ...")
@json_option
def profile_kernel(  # noqa: PLR0913, PLR0917 - one parameter per option
    name: str, shape: str, dtype: str | None, platform: str, tiling: str, advice: bool, trace: Path | None,
    html: Path | None, csv: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Simulate kernel NAME (or file.py:NAME) without data and charge every cycle of every pipe to one cause.

    What no launch can beat is printed first, in closed form, before anything is simulated.
    """
    from experiments.files import writable_file

    problem = problem_of(name, shape, dtype, platform)
    for path in filter(None, (trace, html, csv)):
        writable_file(path)
    if not as_json:
        show_bounds(problem)
    from kernels.profile import advise, what_ifs, write_html

    found = profiled(problem.tiled(tiling))
    limits = what_ifs(found) if advice else ()
    given = advise(found, limits) if advice else ()
    _write_views(found, trace, csv)
    if html is not None:
        write_html(found, given, html)
    result = {
        **found.as_json(),
        "what_if": [each.as_json() for each in limits],
        "advice": [each.as_json() for each in given],
    }
    report(as_json, result, lambda screen: _show(screen, found, limits, given))


def profiled(problem: Problem) -> Profile:
    """Return the profile of a problem, compiled on all cores of the host if need be."""
    from kernels.compiled import ensure
    from kernels.profile import profile

    ensure([problem.kernel.name])
    return profile(problem.kernel, problem.shape, problem.chip, problem.tiling)


def _write_views(found: Profile, trace: Path | None, csv: Path | None) -> None:
    """Write the files that were asked for."""
    from davinci_sim.trace import write_chrome_trace
    from kernels.profile import write_csv

    if trace is not None:
        write_chrome_trace(found.trace, trace, found.task.programs)
    if csv is not None:
        write_csv(found, csv)


def _show(screen: Console, found: Profile, limits: Sequence[WhatIf], given: Sequence[Advice]) -> None:
    """Print everything for people."""
    book = found.ledger
    cores = len(found.trace.cores)
    screen.print(
        f"tiling {found.tiling} on {cores} cores, {found.task.instructions} instructions", markup=False
    )
    screen.print(f"time {found.us:.3f} us = {found.cycles} cycles; {_roofline_text(found)}", markup=False)
    screen.print(f"at work: {_use_text(found)}\n", markup=False)
    screen.print(_causes_table(f"share of the time, mean of {cores} cores", _shares(book, book.mean)))
    critical = book.table[book.critical_core]
    screen.print(
        _causes_table(f"the same of core {book.critical_core}, which ends last", _shares(book, critical))
    )
    screen.print(_lines_table(found))
    screen.print(_path_table(found))
    if found.ledger.flags:
        screen.print(_flags_table(found))
    if limits:
        screen.print(_limits_table(limits))
    for each in given:
        screen.print(f"- {each.text}", markup=False, soft_wrap=True)


def _roofline_text(found: Profile) -> str:
    """Return which part of the time each ceiling takes, the highest first."""
    ceilings = sorted(found.roofline.ceilings.items(), key=lambda each: -each[1])
    shown = [f"{name} {100 * cycles / max(1, found.cycles):.1f} %" for name, cycles in ceilings if cycles]
    return f"ceilings {', '.join(shown)}; {found.roofline.intensity:.1f} operations per byte"


def _use_text(found: Profile) -> str:
    """Return how much of the time the parts of the chip work, and the pipe that works longest."""
    pipe, book = found.limiting_pipe, found.ledger
    longest = book.work_cycles(pipe, book.critical_core) / max(1, found.cycles)
    shown = [f"{part} {100 * share:.1f} %" for part, share in found.use.items()]
    return f"{', '.join(shown)}; longest of the pipes {pipe}, {100 * longest:.1f} %"


def _shares(book: Ledger, columns: Any) -> dict[str, list[float]]:
    """Return {cause: [share of each pipe]} of [pipe, cause] cycles, without causes that nobody has."""
    from davinci_sim.trace.ledger import NAMES

    shares = columns / max(1, book.cycles)
    return {name: shares[:, at].tolist() for at, name in enumerate(NAMES) if shares[:, at].any()}


def _causes_table(title: str, shares: Mapping[str, Sequence[float]]) -> Any:
    """Return a table with a row per cause and a column per pipe, in percent."""
    from rich.table import Table

    from davinci_sim.trace.ledger import PIPE_NAMES

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("cause")
    for pipe in PIPE_NAMES:
        table.add_column(pipe, justify="right")
    for cause, row in shares.items():
        table.add_row(cause, *(f"{100 * share:.1f}" if share else "" for share in row))
    sums = (sum(row) for row in zip(*shares.values(), strict=True))
    table.add_row("sum", *(f"{100 * total:.1f}" for total in sums), end_section=True)
    return table


def _lines_table(found: Profile) -> Any:
    """Return the lines where most time goes."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="source lines, cycles a core", title_justify="left", box=None, pad_edge=False)
    for column in ("line", "busy", "waiting", "mostly"):
        table.add_column(column, no_wrap=True, justify="right" if column in {"busy", "waiting"} else "left")
    table.add_column("text", no_wrap=True, overflow="ellipsis", max_width=TEXT_WIDTH)
    cores = max(1, len(found.trace.cores))
    for heat in found.lines[:MOST_LINES]:
        cells = (f"{heat.busy_cycles // cores}", f"{heat.waiting_cycles // cores}", " ".join(heat.chief))
        table.add_row(heat.source, *cells, escape(heat.text))
    return table


def _path_table(found: Profile) -> Any:
    """Return the longest steps of the critical path."""
    from rich.table import Table

    title = f"critical path of core {found.ledger.critical_core}, back from its last result"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("pipe", "what", "cycles", "of the time", "line"):
        table.add_column(column, justify="right" if column in {"cycles", "of the time"} else "left")
    for step in found.ledger.path[:MOST_STEPS]:
        share = f"{100 * step.cycles / max(1, found.cycles):.1f} %"
        table.add_row(step.pipe, step.cause, str(step.cycles), share, step.source)
    return table


def _flags_table(found: Profile) -> Any:
    """Return the flags that pipes wait for longest."""
    from rich.table import Table

    table = Table(title="flags waited for, cycles a core", title_justify="left", box=None, pad_edge=False)
    for column in ("who waits for whom", "where", "set at", "cycles"):
        table.add_column(column, justify="right" if column == "cycles" else "left")
    for row in _flag_rows(found):
        table.add_row(*row)
    return table


def _limits_table(limits: Sequence[WhatIf]) -> Any:
    """Return what the launch would take without limits of the machine, those without an effect left out."""
    from rich.table import Table

    table = Table(title="on a machine with ...", title_justify="left", box=None, pad_edge=False)
    for column in ("what if", "cycles", "saved", "meaning"):
        table.add_column(column, justify="right" if column in {"cycles", "saved"} else "left")
    for each in limits:
        if abs(each.saved) >= LEAST_SHOWN:
            table.add_row(each.name, str(each.cycles), f"{100 * each.saved:.1f} %", each.meaning)
    return table


def _flag_rows(found: Profile) -> Iterator[tuple[str, str, str, str]]:
    """Yield who waits for whom, where and how long, the event ids of a pair of lines together."""
    totals: dict[tuple[str, str, str], int] = {}
    for wait in found.ledger.as_json()["flags"]:
        kind = "a free buffer" if wait["cause"] == "buffer_full" else "data"
        key = (f"{wait['dst']} for {kind} of {wait['src']}", wait["wait"], wait["set"])
        totals[key] = totals.get(key, 0) + wait["cycles"]
    cores = max(1, len(found.trace.cores))
    for key in sorted(totals, key=lambda key: -totals[key])[:MOST_FLAGS]:
        yield *key, str(totals[key] // cores)
