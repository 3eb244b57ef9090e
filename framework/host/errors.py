"""Errors at run time, told in the user's lines: generated source knows where each of its lines is from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from types import TracebackType

from davinci_sim.errors import DavinciError
from framework.host.depth import DEEPEST
from framework.host.writer import Place

_LONGEST_PART = 100
"""Calls in the part of a chain that is looked for to be repeated."""


class EndlessRecursion(DavinciError):
    """Calls that are nested deeper than anything that ends."""


def located(error: DavinciError, file: str, places: Sequence[Place]) -> DavinciError:
    """Return an error with the user's line that it arose at, if it does not tell it already.

    `places` are those of the lines of the generated file.
    """
    sources = [
        place.source for place in _calls(error.__traceback__, file, places) if place.source is not None
    ]
    if sources:
        line = f"\n  {sources[-1].file}:{sources[-1].line}\n    {sources[-1].text}"
        if line not in str(error):
            error.args = (f"{error}{line}",)
    return error


def endless(error: RecursionError, file: str, places: Sequence[Place]) -> EndlessRecursion:
    """Return the error for a recursion without end: how deep it went, and the chain of calls, folded."""
    calls = list(_calls(error.__traceback__, file, places))
    start, period = _repeated([each.func for each in calls])
    lines = [f"  {each}" for each in _described(calls[:start])]
    if period:
        times = (len(calls) - start) // period
        lines.append(f"  then, {times:,} times over:")
        lines += [f"    {each}" for each in _described(calls[start : start + period])]
    name = calls[start].func if start < len(calls) else "the function"
    return EndlessRecursion(
        f"@{name} calls itself without an end: {len(calls):,} calls are nested\n"
        + "\n".join(lines)
        + f"\n  rule: calls are nested at most {DEEPEST:,} deep"
        + "\n  next: let a branch return without a call, or write a loop"
    )


def _calls(traceback: TracebackType | None, file: str, places: Sequence[Place]) -> Iterator[Place]:
    """Yield where each call of the file had got to, the outermost first."""
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            yield places[traceback.tb_lineno - 1]
        traceback = traceback.tb_next


def _repeated(names: Sequence[str]) -> tuple[int, int]:
    """Return where the repeated end of a chain starts, and how long the part is that is repeated."""
    for period in range(1, len(names) // 2 + 1):
        start = len(names) - period
        while start > 0 and names[start - 1] == names[start - 1 + period]:
            start -= 1
        if len(names) - start >= 2 * period:
            return start, period
        if period > _LONGEST_PART:
            break
    return len(names), 0


def _described(calls: Sequence[Place]) -> Iterator[str]:
    """Yield a line for each call: the Func, and the user's line that it has reached."""
    for (func, source), _ in groupby(calls):
        yield f"@{func}" if source is None else f"@{func}  {source.file}:{source.line}  {source.text.strip()}"
