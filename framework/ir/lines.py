"""Errors told in the user's lines: one line, or a chain of calls in which what is repeated stands once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

from davinci_sim.errors import DavinciError
from framework.ir.nodes import SourceLine

LONGEST_PART = 100
"""Calls in the part of a chain that is looked for to be repeated."""
END = 10
"""Lines at either end of a chain in which nothing is repeated."""

Error = TypeVar("Error", bound=DavinciError)


class Place(NamedTuple):
    """Where a call has got to: the Func, and the user's line if that is known."""

    func: str
    source: SourceLine | None


def at_line(error: Error, source: SourceLine | None) -> Error:
    """Return an error with the user's line that it arose at, if it does not tell one already."""
    if source is not None and not getattr(error, "tells_line", False):
        error.tells_line = True  # type: ignore[attr-defined]
        line = source.users
        if line.place not in str(error):
            error.args = (f"{error}\n{line.pointed}",)
    return error


def chain(calls: Sequence[Place]) -> list[str]:
    """Return a line for each call, the outermost first; a part that is repeated to the end stands once."""
    calls = [each for call in calls for each in _with_callers(call)]
    start, period = _repeated(calls)
    if not period:  # calls at changing lines
        start, period = _repeated([each.func for each in calls])
    lines = [f"  {each}" for each in _described(calls[:start])]
    if len(lines) > 2 * END:
        lines[END:-END] = [f"  ... {len(lines) - 2 * END:,} more"]
    if period:
        times = (len(calls) - start) // period
        lines.append(f"  then, {times:,} times over:")
        lines += [f"    {each}" for each in _described(calls[start : start + period])]
    return lines


def _with_callers(call: Place) -> Iterator[Place]:
    """Go over the calls that have been inlined around a line, then the line."""
    func, source = call
    if source is not None and source.caller is not None:
        yield from _with_callers(Place(func, source.caller))
        func = source.func
    yield Place(func, source)


def _repeated(calls: Sequence[Hashable]) -> tuple[int, int]:
    """Return where the repeated end of a chain starts, and how long the part is that is repeated."""
    for period in range(1, min(len(calls) // 2, LONGEST_PART) + 1):
        start = len(calls) - period
        while start > 0 and calls[start - 1] == calls[start - 1 + period]:
            start -= 1
        if len(calls) - start >= 2 * period:
            return start, period
    return len(calls), 0


def _described(calls: Sequence[Place]) -> Iterator[str]:
    """Yield a line for each call: the Func, and the user's line that it has reached."""
    for (func, source), _ in groupby(calls):
        yield f"@{func}" if source is None else f"@{func}  {source.file}:{source.line}  {source.text.strip()}"
