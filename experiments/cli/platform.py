"""`davinci platform`: the chips and their numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from experiments.cli.output import examples, json_option, report

if TYPE_CHECKING:
    from rich.console import Console

    from davinci_sim.platforms import Figure, Platform

VECTOR = "vector_cycles."
GROUPS = (  # title, pattern of the keys; the first that matches takes a figure
    ("Device memory and L2", r"^(gm|l2|hbm)_"),
    ("Cube", r"^(cube|mmad)_"),
    ("Moves inside a core", r"^load|^(l1|ub|l0c)_to_"),
    ("Alignment", r"_align_bytes$"),
    ("Buffers of a core", r"^(l0a|l0b|l0c|l1|ub|block|fractal)_"),
    ("Vector unit", r"^vector_"),
    ("Chip and control", r""),
)


@click.command(
    short_help="List the chips, or show one with units and sources.",
    epilog=examples(
        "davinci platform",
        "davinci platform ascend910a",
        "davinci platform ascend910a --json | jq .figures.hbm_bytes_per_cycle",
    ),
)
@click.argument("name", required=False)
@json_option
def platform(name: str | None, as_json: bool) -> None:
    """List the chips, or show one: every number with its unit, how it is known and where it is from."""
    from davinci_sim import platforms

    if name is None:
        chips = [platforms.platform(known) for known in platforms.platform_names()]
        listing = [{"name": chip.name, "description": chip.description} for chip in chips]
        report(as_json, {"platforms": listing}, lambda console: _show_names(console, chips))
        return
    chip = platforms.platform(name)
    result = {"name": chip.name, "description": chip.description, "figures": _figures(chip)}
    report(as_json, result, lambda console: _show(console, chip))


def _figures(chip: Platform) -> dict[str, dict[str, Any]]:
    fields = ("value", "unit", "provenance", "source")
    return {key: {field: getattr(figure, field) for field in fields} for key, figure in chip.figures.items()}


def _show_names(console: Console, chips: list[Platform]) -> None:
    from rich.table import Table

    table = Table("platform", "description", box=None)
    for chip in chips:
        table.add_row(chip.name, chip.description)
    console.print(table)


def _show(console: Console, chip: Platform) -> None:
    from rich.table import Table

    console.print(f"[bold]{chip.name}[/bold]  {chip.description}")
    for title, keys in _grouped(chip).items():
        table = Table("figure", "value", "unit", "known by", "source", title=title, title_justify="left")
        for key in keys:
            figure = chip.figures[key]
            table.add_row(key, _number(figure), figure.unit, figure.provenance, figure.source)
        console.print(table)
    console.print(_vector_table(chip))


def _grouped(chip: Platform) -> dict[str, list[str]]:
    """Return the keys of all figures but the cycles of vector instructions, by group."""
    groups: dict[str, list[str]] = {}
    for key in chip.figures:
        if not key.startswith(VECTOR):
            title = next(title for title, pattern in GROUPS if re.search(pattern, key))
            groups.setdefault(title, []).append(key)
    return {title: groups[title] for title in [GROUPS[-1][0], *dict(GROUPS)] if title in groups}


def _vector_table(chip: Platform) -> Any:
    """Return a table of the cycles of one 256-byte repeat, instructions by types."""
    from rich.table import Table

    parts = [key.removeprefix(VECTOR).split(".") for key in chip.figures if key.startswith(VECTOR)]
    names = list(dict.fromkeys(part[0] for part in parts))
    dtypes = list(dict.fromkeys(part[1] for part in parts if len(part) > 1))
    title = "Vector cycles per 256-byte repeat (sources: --json)"
    table = Table("instruction", *dtypes, title=title, title_justify="left")
    for name in names:
        default = chip.figures.get(f"{VECTOR}{name}")
        cells = [chip.figures.get(f"{VECTOR}{name}.{dtype}", default) for dtype in dtypes]
        table.add_row(name, *("" if cell is None else _number(cell) for cell in cells))
    return table


def _number(figure: Figure) -> str:
    return f"{figure.value:g}" if isinstance(figure.value, float) else str(figure.value)
