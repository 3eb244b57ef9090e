"""Errors at run time, told in the user's lines: generated source knows where each of its lines is from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from types import TracebackType

from davinci_sim.errors import DavinciError
from framework.host.depth import DEEPEST
from framework.ir.lines import Place, at_line, chain


class EndlessRecursion(DavinciError):
    """Calls that are nested deeper than anything that ends."""


def located(error: DavinciError, file: str, places: Sequence[Place]) -> DavinciError:
    """Return an error with the user's line that it arose at, if it does not tell it already.

    `places` are those of the lines of the generated file.
    """
    sources = [each.source for each in _calls(error.__traceback__, file, places) if each.source is not None]
    users = [each for each in sources if not each.users.is_library]
    return at_line(error, next(iter([*users[::-1], *sources[::-1]]), None))


def endless(error: RecursionError, file: str, places: Sequence[Place]) -> EndlessRecursion:
    """Return the error for a recursion without end: how deep it went, and the chain of calls, folded."""
    calls = list(_calls(error.__traceback__, file, places))
    name = Counter(each.func for each in calls).most_common(1)[0][0] if calls else "the function"
    return EndlessRecursion(
        f"@{name} calls itself without an end: {len(calls):,} calls are nested\n"
        + "\n".join(chain(calls[:-1]))  # the last one has failed to call
        + f"\n  rule: calls are nested at most {DEEPEST:,} deep"
        + "\n  next: let a branch return without a call, or write a loop"
    )


def _calls(traceback: TracebackType | None, file: str, places: Sequence[Place]) -> Iterator[Place]:
    """Yield where each call of the file had got to, the outermost first."""
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            yield places[traceback.tb_lineno - 1]
        traceback = traceback.tb_next
