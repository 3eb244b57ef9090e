"""Loops that are to be written out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def unroll(iterable: Iterable[T]) -> Iterable[T]:
    """Let a `for` in compiled code write its turns out, one after the other, instead of being a loop.

    In a turn, numbers of a range or a tuple are then known when compiling. Elsewhere it changes nothing.

    >>> [2 * i for i in unroll(range(3))]
    [0, 2, 4]
    """
    return iterable
