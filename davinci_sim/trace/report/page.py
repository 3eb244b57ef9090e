"""What stands in a report, and how it becomes one file.

The page (page.html, page.css, page.js) is static; all of a launch is one JSON object in it, `data`:

- `facts`: [[name, value]]; `advice`: [sentence]; `cycles`, `clock_hz` of the launch.
- `timeline`: `ops`: [name]; `lanes`: [{core, pipe, start, length, op, line}], where the last four are columns
  of 32-bit integers, deflated and in base 64: cycles, cycles, index into `ops`, index into `lines` or -1;
  `left_out`: a sentence about cores that are not in it.
- `ledger`: `causes`, `pipes`, `cycles`: [pipe][cause] means over the cores that work, `total`.
- `roofline`: `roofs`, `points`, `ceilings`, `unit`, `across`, as the classes below.
- `lines`: [{place, text, busy, waiting}]; `files`: [{path, lines: [{number, text, index}]}], where `index` is
  that of `lines`, or null of a line that is only there to be read.
"""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.core.trace import Trace
from davinci_sim.trace.files import atomic_file
from davinci_sim.trace.ledger import CAUSES, NAMES, PIPE_NAMES, Ledger
from davinci_sim.trace.ledger.causes import WAITS, WORK

MAX_EVENTS = 400_000
"""Instructions in one page, about 3 MB; further cores are left out, and the page says so."""
CONTEXT = 2
"""Lines that are shown around each line that has cycles."""


@dataclass(frozen=True)
class Roof:
    """A ceiling in the picture: `peak` in its unit, or `slope` in its unit for each operation a byte."""

    name: str
    peak: float | None = None
    slope: float | None = None
    dash: str | None = None


@dataclass(frozen=True)
class Point:
    """What a launch reached: operations per byte, and operations a second."""

    name: str
    intensity: float
    rate: float


@dataclass(frozen=True)
class Ceiling:
    """A lower bound of the launch: the cycles that one part of the machine needs at least."""

    name: str
    cycles: int


@dataclass(frozen=True)
class Roofs:
    """The roofline of a launch; `across` says what the axis of intensities counts."""

    unit: str
    across: str
    roofs: tuple[Roof, ...]
    points: tuple[Point, ...]
    ceilings: tuple[Ceiling, ...]


@dataclass(frozen=True)
class Page:
    """Everything that a report shows.

    Attributes:
        title: the launch.
        subtitle: the chip, the tiling, what else tells one launch from another.
        facts: names with values for the head of the page.
        advice: sentences that say what to change.
        trace: of the launch.
        ledger: of that trace.
        roofline: of that launch.
        texts: file, as the trace names it, -> its lines.
    """

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    advice: tuple[str, ...]
    trace: Trace
    ledger: Ledger
    roofline: Roofs
    texts: Mapping[str, Sequence[str]]


def write_report(page: Page, path: Path) -> None:
    """Write a report that needs no other file and no network."""
    with atomic_file(path) as temporary:
        temporary.write_text(_filled(page), encoding="utf-8")


def _filled(page: Page) -> str:
    """Return the page's template with everything in it."""
    folder = resources.files("davinci_sim.trace.report")
    part = {
        name: folder.joinpath(f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")
    }
    values = {
        "title": html.escape(page.title),
        "subtitle": html.escape(page.subtitle),
        "footer": html.escape(f"Simulated on {page.trace.platform_name}: {page.trace.cycles} cycles."),
        "style": part["css"],
        "script": part["js"],
        "data": json.dumps(_data(page), separators=(",", ":")).replace("<", "\\u003c"),
    }
    pieces = part["html"].split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [values[name], rest]
    return "".join(filled)


def _data(page: Page) -> dict[str, Any]:
    """Return the object that the page's script reads; see the module's docstring."""
    trace, book = page.trace, page.ledger
    places = sorted(set(trace.sources.values()))
    lines = [_line(place, page) for place in places]
    return {
        "facts": page.facts,
        "advice": page.advice,
        "cycles": max(1, book.cycles),
        "clock_hz": trace.clock_hz,
        "timeline": _timeline(trace, book, places),
        "ledger": {
            "causes": [cause.name.replace("_", " ") for cause in CAUSES],
            "meanings": [cause.meaning for cause in CAUSES],
            "pipes": PIPE_NAMES,
            "cycles": book.mean.tolist(),
            "total": max(1, book.cycles),
        },
        "roofline": asdict(page.roofline),
        "lines": lines,
        "files": list(_files(places, page.texts)),
    }


def _line(place: str, page: Page) -> dict[str, Any]:
    """Return a source line with the cycles that pipes, the scalar unit aside, work for it and wait at it."""
    mine = [charge for charge in page.ledger.lines if charge.source == place and charge.pipe != "S"]
    waits = {NAMES[cause] for cause in WAITS}
    path, _, number = place.rpartition(":")
    return {
        "place": place,
        "text": _text(page.texts.get(path, ()), int(number)).strip(),
        "busy": sum(charge.cycles for charge in mine if charge.cause in NAMES[WORK]),
        "waiting": sum(charge.cycles for charge in mine if charge.cause in waits),
    }


def _text(lines: Sequence[str], number: int) -> str:
    return lines[number - 1].rstrip() if 0 < number <= len(lines) else ""


def _timeline(trace: Trace, book: Ledger, places: Sequence[str]) -> dict[str, Any]:
    """Return the instructions of as many cores as one page holds, the critical one first."""
    counts = np.bincount(trace.records["core"], minlength=book.critical_core + 1)
    order = [book.critical_core, *(core for core in trace.cores if core != book.critical_core)]
    shown = [core for core, sum_ in zip(order, np.cumsum(counts[order]), strict=True) if sum_ <= MAX_EVENTS]
    shown = shown or order[:1]
    used = np.unique(trace.records["op"])
    missing = len(trace.cores) - len(shown)
    return {
        "ops": [trace.op_names[op] for op in used.tolist()],
        "lanes": [lane for core in shown for lane in _lanes(trace, core, used, places)],
        "left_out": f"{missing} of {len(trace.cores)} cores are left out, to keep the page small."
        if missing
        else "",
    }


def _lanes(
    trace: Trace, core: int, used: npt.NDArray[np.int16], places: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the columns of each pipe of a core."""
    mine = trace.records[trace.records["core"] == core]
    numbers = {place: number for number, place in enumerate(places)}
    locations, where = np.unique(mine["location"], return_inverse=True)
    line_of = [numbers.get(trace.sources.get(location, ""), -1) for location in locations.tolist()]
    lines = np.array(line_of, dtype=np.int32)[where]
    first = min((start for start, _ in trace.spans), default=0)
    for pipe in np.unique(mine["pipe"]).tolist():
        chosen = mine["pipe"] == pipe
        rows = mine[chosen]
        yield {
            "core": core,
            "pipe": trace.pipe_names[pipe],
            "start": _packed(rows["start"] - first),
            "length": _packed(rows["end"] - rows["start"]),
            "op": _packed(np.searchsorted(used, rows["op"])),
            "line": _packed(lines[chosen]),
        }


def _packed(column: npt.NDArray[Any]) -> str:
    """Return a column of 32-bit integers, deflated and in base 64."""
    return base64.b64encode(zlib.compress(column.astype("<i4").tobytes(), 6)).decode("ascii")


def _files(places: Sequence[str], texts: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Yield the files with the lines that have cycles and a few around each."""
    found: dict[str, dict[int, int]] = {}
    for index, place in enumerate(places):
        path, _, number = place.rpartition(":")
        found.setdefault(path, {})[int(number)] = index
    for path, numbers in sorted(found.items()):
        text = texts.get(path, ())
        around = {
            near for number in numbers for near in range(number - CONTEXT, number + CONTEXT + 1)
            if near in numbers or 0 < near <= len(text)
        }  # fmt: skip
        lines = [
            {"number": number, "text": _text(text, number), "index": numbers.get(number)}
            for number in sorted(around)
        ]
        yield {"path": path, "lines": lines}
