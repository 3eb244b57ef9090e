"""What commands print: one JSON object, or tables for people; everything else goes to standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from davinci_sim.errors import cannot_write, unknown

if TYPE_CHECKING:
    from rich.console import Console

Show = Callable[["Console"], None]
ENGINES = ("fast", "reference")
PIPED_WIDTH = 140  # columns, where there is no terminal to ask

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output and nothing else."
)
platform_option = click.option(
    "--platform",
    default="ascend910a",
    show_default=True,
    metavar="CHIP",
    help="A chip's name, or a file of your own: my_chip.toml, or my_chip.py, which is code and is run. "
    "See `davinci platform`.",
)


def _known_engine(_: click.Context, __: click.Parameter, value: str) -> str:
    """Refuse an engine that there is not, before any work."""
    if value not in ENGINES:
        raise unknown("engine", value, ENGINES)
    return value


engine_option = click.option(
    "--engine",
    default="fast",
    show_default=True,
    metavar="|".join(ENGINES),
    callback=_known_engine,
    help="What tells the time: compiled code, or the SimPy model, which is the definition and takes far "
    "longer. Both give every instruction the same cycles.",
)
seed_option = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of all random numbers."
)


def examples(*commands: str) -> str:
    """Return the end of a help text that shows commands to copy."""
    return "\b\n" + "\n".join(("Examples:", *(f"  {command}" for command in commands)))


def console(stderr: bool = False) -> Console:
    """Return a Rich console on standard output or standard error."""
    from experiments.cli.screen import Screen

    stream = sys.stderr if stderr else sys.stdout
    return Screen(stderr=stderr, width=None if stream.isatty() else PIPED_WIDTH, highlight=False)


def report(as_json: bool, result: Mapping[str, Any], show: Show) -> None:
    """Print a result: as JSON, or by `show` on a console.

    Raises:
        CannotWrite: standard output takes no more, as on a full disk.
    """
    text = json.dumps(plain(result), allow_nan=False) if as_json else ""
    try:
        if as_json:
            click.echo(text)
        else:
            show(console())
    except BrokenPipeError:  # no mistake; without its number, for which click would leave with code 1
        raise BrokenPipeError("the reader of standard output has left") from None
    except OSError as error:
        raise cannot_write("standard output", error) from None


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: numbers without infinities, which become null.

    >>> plain({"a": (1, float("inf")), "b": "x"})
    {'a': [1, None], 'b': 'x'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def note(text: str) -> None:
    """Tell the user something beside the result, on standard error."""
    click.echo(text, err=True)
