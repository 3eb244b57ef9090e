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
        "davinci platform my_chip.toml",
        "davinci platform ascend910a --json | jq .figures.hbm_bytes_per_cycle",
    ),
)
@click.argument("name", required=False)
@json_option
def platform(name: str | None, as_json: bool) -> None:
    """List the chips, or show one: every number with its unit, how it is known and where it is from.

    NAME is a chip, or a file of your own that inherits from one and changes figures: TOML, or Python, which
    is code and is run. Figures that a file changes are marked, with what they were.
    """
    from davinci_sim import platforms

    if name is None:
        chips = [platforms.platform(known) for known in platforms.platform_names()]
        listing = {"platforms": [_summary(chip) for chip in chips]}
        report(as_json, listing, lambda console: _show_names(console, chips))
        return
    chip = platforms.platform(name)
    result = {
        "name": chip.name,
        "description": chip.description,
        "base": chip.base.name if chip.base else None,
        "overrides": {key: _change(chip.figures[key], before) for key, before in chip.overrides.items()},
        "figures": {key: _plain(figure) for key, figure in chip.figures.items()},
        "instructions": {key: sorted(types) for key, types in chip.instructions.items()},
    }
    report(as_json, result, lambda console: _show(console, chip))


def _plain(figure: Figure) -> dict[str, Any]:
    return {part: getattr(figure, part) for part in ("value", "unit", "provenance", "source")}


def _change(figure: Figure, before: Figure | None) -> dict[str, Any]:
    return {"value": figure.value, "unit": figure.unit, "base_value": before.value if before else None}


def _summary(chip: Platform) -> dict[str, Any]:
    """Return what tells the chips apart: cores, clock, peak, L2 and memory bandwidth."""
    return {
        "name": chip.name,
        "description": chip.description,
        "cores": chip.ai_cores,
        "clock_hz": chip.clock_hz,
        "peak_fp16_flops": chip.peak_flops("fp16"),
        "l2_bytes": chip.l2_bytes,
        "memory_bytes_per_s": chip.hbm_bytes_per_cycle * chip.clock_hz,
    }


def _show_names(console: Console, chips: list[Platform]) -> None:
    from rich.table import Table

    table = Table("platform", box=None)
    for title in ("cores", "GHz", "fp16 TFLOPS", "L2 MiB", "memory GB/s"):
        table.add_column(title, justify="right")
    table.add_column("description")
    for found in map(_summary, chips):
        table.add_row(
            found["name"],
            str(found["cores"]),
            f"{found['clock_hz'] / 1e9:.2f}",
            f"{found['peak_fp16_flops'] / 1e12:.1f}",
            f"{found['l2_bytes'] / 2**20:g}",
            f"{found['memory_bytes_per_s'] / 1e9:.0f}",
            found["description"],
        )
    console.print(table)


def _show(console: Console, chip: Platform) -> None:
    from rich.table import Table

    console.print(f"[bold]{chip.name}[/bold]  {chip.description}", soft_wrap=True)
    if chip.base:
        console.print(f"base: {chip.base.name}; changed or added, and marked *: {', '.join(chip.overrides)}")
    for title, keys in _grouped(chip).items():
        table = Table("figure", "value", "unit", "known by", "source", title=title, title_justify="left")
        for key in keys:
            figure = chip.figures[key]
            mark, value = _marked(chip, key)
            table.add_row(mark, value, figure.unit, figure.provenance, figure.source)
        console.print(table)
    console.print(_vector_table(chip))


def _marked(chip: Platform, key: str) -> tuple[str, str]:
    """Return a figure's key and value, with a mark and the base's value where it was changed."""
    value = _number(chip.figures[key])
    if key not in chip.overrides:
        return key, value
    before = chip.overrides[key]
    return f"* {key}", f"{value} (was {_number(before) if before else 'nothing'})"


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
        cells = [_cell(chip, f"{VECTOR}{name}.{dtype}", f"{VECTOR}{name}") for dtype in dtypes]
        table.add_row(name, *cells)
    return table


def _cell(chip: Platform, key: str, fallback: str) -> str:
    key = key if key in chip.figures else fallback
    if key not in chip.figures:
        return ""
    mark, value = _marked(chip, key)
    return f"* {value}" if mark.startswith("*") else value


def _number(figure: Figure) -> str:
    return f"{figure.value:g}" if isinstance(figure.value, float) else str(figure.value)
