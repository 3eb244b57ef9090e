"""`davinci kernel retune`: search again where a kept tiling no longer holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from experiments.cli.output import examples, json_option, platform_option, report
from experiments.cli.tune import folder_option, jobs_option, searched

if TYPE_CHECKING:
    from rich.console import Console

    from davinci_sim.platforms import Platform
    from kernels.lang.kernel import Kernel

HOLDS, FOUND, NO_BETTER, GONE = "holds", "found", "no better", "gone"


@dataclass(frozen=True)
class Entry:
    """A kernel and a shape, and what became of them."""

    kernel: str
    shape: str
    outcome: str
    speedup: float = 1.0


@click.command(
    "retune",
    short_help="Search again where a kept tiling no longer holds.",
    epilog=examples("davinci kernel retune", "davinci kernel retune --networks --folder kernels/tunings"),
)
@platform_option
@click.option(
    "--gain",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="PERCENT",
    help="Keep what is faster than the default tiling by more than this.",
)
@click.option("--networks", is_flag=True, help="All kernels of the kit, too, at the sizes of networks.")
@jobs_option
@folder_option
@json_option
def retune_kernels(
    platform: str, networks: bool, gain: float, jobs: int, folder: Path | None, as_json: bool
) -> None:
    """Search again for every kept tiling whose kernel or chip has changed since, and keep what is better.

    Entries that hold stay as they are, so that a run that was interrupted goes on where it was. An entry is
    dropped where the gain over the default tiling is too small, or where the kernel or shape is no more.
    """
    from davinci_sim.platforms import platform as platform_of
    from experiments.files import writable_folder
    from kernels.tune.store import folder_or_own

    chip = platform_of(platform)
    chosen = writable_folder(folder_or_own(folder))
    entries = [_renewed(chosen, chip, each, gain, jobs) for each in _problems(chosen, chip, networks)]
    result = {"platform": chip.name, "folder": str(chosen), "entries": [vars(each) for each in entries]}
    report(as_json, result, lambda console: _show(console, entries))


def _problems(folder: Path, chip: Platform, networks: bool) -> Iterator[tuple[str, str]]:
    """Yield kernels and shapes: those of the file and, if asked for, those of networks."""
    import kernels
    from kernels.tune.store import stored

    known = stored(folder, chip.name)
    yield from known
    if networks:
        for kernel in kernels.load().values():
            yield from (
                (kernel.name, text) for text in _in_networks(kernel) if (kernel.name, text) not in known
            )


def _in_networks(kernel: Kernel) -> list[str]:
    """Return a kernel's shapes in networks; none for one that the networks do not have."""
    from davinci_sim.errors import BadShape
    from kernels.samples import network_shapes

    try:
        return [str(shape) for shape in network_shapes(kernel)]
    except BadShape:
        return []


def _renewed(folder: Path, chip: Platform, asked: tuple[str, str], gain: float, jobs: int) -> Entry:
    """Search for one kernel and shape unless its entry holds."""
    import kernels
    from davinci_sim.errors import DavinciError
    from experiments.cli.problem import Problem
    from kernels.tune import keep
    from kernels.tune.store import drop, kept_in, shape_from

    name, text = asked
    try:
        kernel = kernels.find(name)
        problem = Problem(kernel, shape_from(kernel, text), chip)
        if kept_in(folder, kernel, problem.shape, chip) is not None:
            return Entry(name, text, HOLDS)
        found, _ = searched(problem, folder, jobs)
    except DavinciError:  # an unknown kernel, a shape or type that is refused
        drop(folder, chip.name, name, text)
        return Entry(name, text, GONE)
    if found.speedup <= 1 + gain / 100:
        drop(folder, chip.name, name, text)
        return Entry(name, text, NO_BETTER)
    keep(found, folder)
    return Entry(name, text, FOUND, found.speedup)


def _show(console: Console, entries: list[Entry]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("kernel", "shape", "tiling", "times as fast"):
        table.add_column(title)
    for each in entries:
        gain = f"{each.speedup:.3f}" if each.outcome == FOUND else ""
        table.add_row(*map(escape, (each.kernel, each.shape, each.outcome, gain)))
    console.print(table)
