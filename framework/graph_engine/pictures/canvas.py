"""What the pictures share: figures, colours, bars with their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

INK, OTHER, BEFORE = "#555555", "#cccccc", "#bbbbbb"
COLOURS = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733", "#009988", "#997700",
    "#332288",
)  # fmt: skip
"""For names in the order of their weight; all others are grey."""
MB = 1e6
MOST_TICKS = 5  # beyond, those of large numbers overlap
DARK = 110  # of 255: below it black letters are hard to read


def new_figure(width: float, height: float, title: str) -> Any:
    """Return an empty figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=13)
    return figure


def colours_of(weights: Mapping[str, float]) -> dict[str, str]:
    """Return a colour for each name, those of most weight first.

    >>> colours_of({"add": 1.0, "conv2d": 5.0})
    {'conv2d': '#4477aa', 'add': '#ee6677'}
    """
    order = sorted(weights, key=lambda name: (-weights[name], name))
    return {name: COLOURS[place] if place < len(COLOURS) else OTHER for place, name in enumerate(order)}


def chosen(weights: Mapping[str, float], known: Mapping[str, str] | None) -> dict[str, str]:
    """Return a colour for each name: the known one, if colours are known, else by weight.

    >>> chosen({"add": 1.0, "conv2d": 5.0}, {"add": "#4477aa"})
    {'add': '#4477aa', 'conv2d': '#cccccc'}
    """
    return colours_of(weights) if known is None else {name: known.get(name, OTHER) for name in weights}


def shades(names: Sequence[str]) -> dict[str, str]:
    """Return a grey for each name, from light to dark, which no operator has.

    >>> shades(["s0", "s1"])
    {'s0': '#e6e6e6', 's1': '#262626'}
    """
    steps = max(1, len(names) - 1)
    levels = (round(0xE6 - (0xE6 - 0x26) * place / steps) for place in range(len(names)))
    return {name: f"#{level:02x}{level:02x}{level:02x}" for name, level in zip(names, levels, strict=True)}


def ink_on(colour: str) -> str:
    """Return what can be read on a colour.

    >>> ink_on("#332288"), ink_on("#ccbb44")
    ('white', 'black')
    """
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "white" if 299 * red + 587 * green + 114 * blue < DARK * 1000 else "black"


def heaviest(weights: Mapping[str, float], most: int) -> dict[str, float]:
    """Return the names of most weight, and what all others weigh together.

    >>> heaviest({"a": 1, "b": 5, "c": 2}, 1)
    {'b': 5, '2 others': 3}
    """
    order = sorted(weights, key=lambda name: (-weights[name], name))
    found = {name: weights[name] for name in order[:most]}
    rest = order[most:]
    return found | ({f"{len(rest)} others": sum(weights[name] for name in rest)} if rest else {})


def bars(axes: Any, numbers: Mapping[str, float], title: str, form: str, colours: Any = COLOURS[0]) -> None:
    """Draw horizontal bars from the top, each with its number."""
    places = range(len(numbers))
    axes.barh(places, list(numbers.values()), color=colours)
    axes.set_yticks(places, list(numbers))
    axes.invert_yaxis()
    axes.set_title(title, fontsize=11)
    for place, number in zip(places, numbers.values(), strict=True):
        axes.annotate(
            form.format(number), (number, place), (3, 0), textcoords="offset points", va="center", fontsize=8,
            color=INK,
        )  # fmt: skip
    axes.margins(x=0.25)
    axes.locator_params(axis="x", nbins=MOST_TICKS)
    tidy(axes)


def legend(axes: Any, colours: Mapping[str, str], columns: int = 6) -> None:
    """Draw which colour stands for what, below an axis; grey ones are one entry."""
    from matplotlib.patches import Patch

    named = {name: colour for name, colour in colours.items() if colour != OTHER}
    if len(named) < len(colours):
        named["others"] = OTHER
    patches = [Patch(color=colour, label=name) for name, colour in named.items()]
    axes.legend(
        handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=columns, fontsize=8,
        frameon=False,
    )  # fmt: skip


def strip(axes: Any, names: Sequence[str], colours: Mapping[str, str], title: str, rows: int) -> None:
    """Draw a sequence as coloured cells, line by line, as text is read."""
    import numpy as np
    from matplotlib.colors import to_rgb

    width = max(1, -(-len(names) // rows))
    cells = np.ones((-(-max(1, len(names)) // width), width, 3))
    for place, name in enumerate(names):
        cells[place // width, place % width] = to_rgb(colours[name])
    axes.imshow(cells, aspect="auto", interpolation="nearest")
    axes.set_title(title, fontsize=11)
    axes.set_axis_off()


def tidy(axes: Any) -> None:
    """Leave out the lines that say nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
