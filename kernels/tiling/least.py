"""The least of many estimates, without making most of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest
from itertools import chain
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")
ROUNDING = 1 - 1e-9
"""What a bound is multiplied by: it is summed in another order than the estimates, and rounded otherwise."""


Family = tuple[float, Callable[[], Iterable[T]]]
"""What none of some estimates lies below, and the candidates that they are of."""


def least(families: Sequence[Family[T]], estimate: Callable[[T], float], count: int) -> list[T]:
    """Return the `count` candidates with the least estimates, of equal ones those that come first.

    Families are looked at in the order of their bounds, until nothing better can come.

    >>> tens = [(10.0 * n, lambda n=n: range(10 * n, 10 * n + 10)) for n in (3, 1, 2)]
    >>> least(tens, float, 2)
    [10, 11]
    """
    found: list[tuple[float, int, int, T]] = []
    for at in sorted(range(len(families)), key=lambda at: families[at][0]):
        bound, members = families[at]
        if len(found) == count and bound * ROUNDING > found[-1][0]:
            break
        made = ((estimate(each), at, place, each) for place, each in enumerate(members()))
        found = nsmallest(count, chain(found, made), key=itemgetter(0, 1, 2))
    return [each for *_, each in found]


def labelled(label: int, family: Family[T]) -> Family[tuple[int, T]]:
    """Return a family whose candidates say to what they belong."""
    bound, members = family
    return bound, lambda: ((label, each) for each in members())
