"""`davinci kernel compare`: the difference of two launches, cause by cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from experiments.cli.metrics import COMPARE, Explained
from experiments.cli.output import examples, json_option, report
from experiments.cli.problem import Problem, problem_of
from experiments.cli.profile import profiled

if TYPE_CHECKING:
    from rich.console import Console

    from kernels.profile import Comparison, Profile

BAR = 30
"""Characters of the longest bar."""
TWICE = " Given twice: of the one and of the other."


@click.command(
    "compare",
    cls=Explained,
    metrics=COMPARE,
    short_help="Explain the difference of two tilings, chips, shapes or kernels.",
    epilog=examples(
        "davinci kernel compare add --shape n=1000000 --tiling tile=1024 --tiling tile=8192",
        "davinci kernel compare add --shape n=100000 --platform ascend910a --platform ascend310",
        "davinci kernel compare add mul --shape n=100000 --json",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME [NAME]")
@click.option("--shape", multiple=True, metavar="KEY=N,...", help="Axes of the problem." + TWICE)
@click.option("--dtype", multiple=True, metavar="TYPE", help="Element type." + TWICE)
@click.option("--tiling", multiple=True, metavar="KEY=N,...", help="Tile sizes that differ." + TWICE)
@click.option(
    "--platform", multiple=True, metavar="CHIP", help="A chip, ascend910a if none is given." + TWICE
)
@click.option("--pipe", metavar="PIPE", help="The column to explain (default: what limits the slower one).")
@json_option
def compare_kernels(
    names: tuple[str, ...], shape: tuple[str, ...], dtype: tuple[str, ...], tiling: tuple[str, ...],
    platform: tuple[str, ...], pipe: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Simulate two launches and say what the second takes longer, cause by cause.

    A term is the cycles that a cause takes of one pipe, on the core that ends last, of the second launch less
    those of the first. The terms of a pipe sum to the difference of the two times, exactly. A single --tiling
    is compared with the default one. The causes are those of `davinci kernel profile --help`.
    """
    problems = _problems(names, shape, dtype, tiling, platform)
    from kernels.profile import compare

    difference = compare(*(profiled(problem) for problem in problems))
    chosen = pipe or difference.pipe
    terms = difference.terms(chosen)
    result = {**difference.as_json(), "pipe": chosen}
    report(as_json, result, lambda screen: _show(screen, difference, chosen, terms))


def _problems(*options: tuple[str, ...]) -> list[Problem]:
    """Return the two problems that the options describe, each given once for both or twice."""
    for given in options:
        if len(given) > 2:
            raise click.UsageError(f"two launches are compared; {' and '.join(given)} are {len(given)}")
    names, shapes, dtypes, tilings, platforms = options
    if len(tilings) == 1 and all(len(given) < 2 for given in (names, shapes, dtypes, platforms)):
        tilings = ("", *tilings)
    if not any(len(given) == 2 for given in (names, shapes, dtypes, tilings, platforms)):
        raise click.UsageError(
            "there is nothing to compare; give two names, or --tiling, or one of --shape, --dtype and "
            "--platform twice"
        )
    return [
        problem_of(
            _of(names, at, ""), _of(shapes, at, ""), _of(dtypes, at, "") or None,
            _of(platforms, at, "ascend910a"), _of(tilings, at, ""),
        )
        for at in (0, 1)
    ]  # fmt: skip


def _of(given: tuple[str, ...], at: int, default: str) -> str:
    """Return what was given for the first or the second launch."""
    return given[min(at, len(given) - 1)] if given else default


def _show(screen: Console, difference: Comparison, pipe: str, terms: dict[str, int]) -> None:
    """Print the two launches and between them a bar for each term, the greatest first."""
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False, title_justify="left")
    table.add_column("what")
    table.add_column("cycles", justify="right")
    table.add_column("bar")
    longest = max((abs(cycles) for cycles in terms.values()), default=1)
    for cause in sorted(terms, key=lambda cause: -abs(terms[cause])):
        bar = "#" * max(1, round(BAR * abs(terms[cause]) / longest))
        table.add_row(f"  {cause}", f"{terms[cause]:+d}", bar)
    screen.print(f"{_name(difference.one)}: {_time(difference.one)}", markup=False, soft_wrap=True)
    screen.print(f"{pipe} of the core that ends last:")
    screen.print(table)
    screen.print(f"  sum {difference.cycles:+d} cycles")
    screen.print(f"{_name(difference.other)}: {_time(difference.other)}", markup=False, soft_wrap=True)


def _name(found: Profile) -> str:
    return f"{found.kernel.name} {found.shape}, {found.tiling}, on {found.platform.name}"


def _time(found: Profile) -> str:
    return f"{found.cycles} cycles, {found.us:.3f} us"
