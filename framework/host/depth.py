"""Recursion on the host: calls nested deeper than Python allows of itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

DEEPEST = 100_000
"""Calls within calls. They are calls from Python to Python, which take memory, and none of the C stack."""


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
