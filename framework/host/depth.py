"""Recursion on the host: as deep as memory goes, and an end to recursion that has none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from types import TracebackType

from davinci_sim.errors import DavinciError
from framework.host.writer import Place

DEEPEST = 100_000
"""Calls within calls. They are calls from Python to Python, which take memory, and none of the C stack."""


class EndlessRecursion(DavinciError):
    """Calls that are nested deeper than anything that ends."""


class _Limit:
    """Python's limit, raised while any run needs it: it is one for all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs = 0
        self.before = 0

    @contextmanager
    def raised(self) -> Iterator[None]:
        with self.lock:
            if self.runs == 0:
                self.before = sys.getrecursionlimit()
                sys.setrecursionlimit(max(self.before, DEEPEST))
            self.runs += 1
        try:
            yield
        finally:
            with self.lock:
                self.runs -= 1
                if self.runs == 0:
                    sys.setrecursionlimit(self.before)


deep = _Limit().raised
"""Return a context in which calls may be nested `DEEPEST` deep."""


def endless(error: RecursionError, places: Mapping[str, Sequence[Place]]) -> EndlessRecursion:
    """Return the error for a recursion that does not end; `places` has those of the lines of each file."""
    calls = list(_calls(error.__traceback__, places))
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


def _calls(traceback: TracebackType | None, places: Mapping[str, Sequence[Place]]) -> Iterator[Place]:
    while traceback is not None:
        found = places.get(traceback.tb_frame.f_code.co_filename)
        if found is not None:
            yield found[traceback.tb_lineno - 1]
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


_LONGEST_PART = 100


def _described(calls: Sequence[Place]) -> Iterator[str]:
    """Yield a line for each call: the Func, and the user's line that it has reached."""
    for (func, source), _ in groupby(calls):
        yield f"@{func}" if source is None else f"@{func}  {source.file}:{source.line}  {source.text.strip()}"
