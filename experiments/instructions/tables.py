"""The published tables: points in the units in which they were printed, and what they are in cycles."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).parent / "published.json"
KIB, GIB = 1024, 2**30
Label = float | str
"""What a point is measured at: a size in KiB, n of a product, or the name of an instruction or a layout."""


@dataclass(frozen=True)
class Table:
    """One published table.

    Attributes:
        name: its key in published.json.
        title: what is measured, for people.
        kind: how it is simulated: "move", "mmad", "vector" or "banks".
        source: document and table.
        unit: of the values in `points`.
        points: (at what, value).
        fitted: the figures of the platform that were fitted on it; empty where none was.
        fitted_points: on which points; every second one, from the second on, where nothing is said.
        options: what else the simulation needs.
    """

    name: str
    title: str
    kind: str
    source: str
    unit: str
    points: tuple[tuple[Label, float], ...]
    fitted: tuple[str, ...]
    fitted_points: tuple[Label, ...]
    options: Mapping[str, Any]

    def cycles(self, label: Label, value: float) -> float:
        """Return a published value as cycles of one instruction (of one repeat in a table of slopes)."""
        options = self.options
        if self.unit == "GiB/s":
            return float(label) * KIB / (value * GIB) * float(options["clock_hz"])
        if self.unit == "FLOP/cycle":
            return 2 * int(options["m"]) * int(options["k"]) * float(label) / value
        if self.unit == "ticks of 1000":
            return value / 1000 * float(options["clock_hz"]) / float(options["tick_hz"])
        return value / 1024 if self.unit == "cycles of 1024 moves" else value

    def is_fitted(self, position: int) -> bool:
        """Tell whether figures of the platform were fitted on a point; it then judges nothing."""
        if self.fitted_points:
            return self.points[position][0] in self.fitted_points
        return bool(self.fitted) and position % 2 == 1


@dataclass(frozen=True)
class Point:
    """A published point beside the simulated one, both in cycles; `exception` says why it may be far off."""

    label: Label
    published: float
    simulated: float
    is_fitted: bool
    exception: str = ""

    @property
    def error(self) -> float:
        """How much longer the simulated instruction takes, as a part of the published time."""
        return self.simulated / self.published - 1


@dataclass(frozen=True)
class Comparison:
    """A table with its simulated points."""

    table: Table
    points: tuple[Point, ...]

    @property
    def median_error(self) -> float:
        """The median distance of the points on which nothing was fitted, exceptions among them."""
        return statistics.median(abs(point.error) for point in self.points if not point.is_fitted)

    @property
    def largest_error(self) -> float:
        """The largest distance of all points but the exceptions."""
        return max(abs(point.error) for point in self.points if not point.exception)

    @property
    def exceptions(self) -> list[Point]:
        """The points that do not count in the largest error."""
        return [point for point in self.points if point.exception]


def read_tables(path: Path = PUBLISHED) -> dict[str, Table]:
    """Return the published tables by name."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: _table(name, entry) for name, entry in content["tables"].items()}


def read_exceptions(path: Path = PUBLISHED) -> dict[tuple[str, str], str]:
    """Return, by table and point, why a point may be further off than the others."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {(entry["table"], entry["point"]): entry["why"] for entry in content["exceptions"]}


def _table(name: str, entry: Mapping[str, Any]) -> Table:
    points = tuple((label, float(value)) for label, value in entry["points"])
    fitted_points = tuple(entry.get("fitted_points", ()))
    return Table(
        name, entry["title"], entry["kind"], entry["source"], entry["unit"], points,
        tuple(entry["fitted"]), fitted_points, entry,
    )  # fmt: skip


def label_text(label: Label) -> str:
    """Print what a point is measured at."""
    return label if isinstance(label, str) else f"{label:g}"


def as_json(comparisons: list[Comparison]) -> Iterator[dict[str, Any]]:
    """Yield every point as plain data."""
    for comparison in comparisons:
        for point in comparison.points:
            yield {
                "table": comparison.table.name,
                "point": point.label,
                "published_cycles": point.published,
                "simulated_cycles": point.simulated,
                "error": point.error,
                "fitted": point.is_fitted,
                "exception": point.exception,
            }
