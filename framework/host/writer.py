"""Python source under construction: lines that know their place in the user's program, and what they name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from framework.ir.lines import Place
from framework.ir.nodes import Const, SourceLine

INDENT = "    "


class Code:
    """The lines of one `def`, written from the top; `source` goes with the lines that are written next."""

    def __init__(self, func: str) -> None:
        """Start empty; the lines belong to the Func of this name."""
        self.func = func
        self.source: SourceLine | None = None
        self.lines: list[str] = []
        self.places: list[Place] = []
        self.depth = 0
        self._fresh = itertools.count()

    def write(self, line: str) -> None:
        """Append a line at the present depth."""
        self.lines.append(INDENT * self.depth + line)
        self.places.append(Place(self.func, self.source))

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Write a head that ends in a colon, and deeper what follows; an empty block passes."""
        self.write(head)
        self.depth += 1
        start = len(self.lines)
        yield
        if len(self.lines) == start:
            self.write("pass")
        self.depth -= 1

    def fresh(self, letter: str = "v") -> str:
        """Return a name that no other value of this `def` has."""
        return f"{letter}{next(self._fresh)}"

    def assign(self, targets: Sequence[str], values: Sequence[str]) -> None:
        """Write one assignment of all values at once; what stays as it is is left out."""
        pairs = [(to, value) for to, value in zip(targets, values, strict=True) if to != value]
        if pairs:
            self.write(f"{', '.join(to for to, _ in pairs)} = {', '.join(value for _, value in pairs)}")


class Module:
    """The `def`s of one Func and the names that they use: constants, operators, parts of the run time."""

    def __init__(self) -> None:
        """Start empty."""
        self.lines: list[str] = []
        self.places: list[Place] = []
        self.names: dict[str, Any] = {}
        self._known: dict[Any, str] = {}

    def add(self, code: Code) -> None:
        """Append a `def`."""
        self.lines += code.lines
        self.places += code.places

    def name(self, letter: str, key: Any, value: Any) -> str:
        """Return the name of a value; values of one key share one."""
        if (letter, key) not in self._known:
            found = self._known[letter, key] = f"{letter}{len(self.names)}"
            self.names[found] = value
        return self._known[letter, key]

    def constant(self, const: Const) -> str:
        """Return the name of a constant: an array, or a NumPy scalar, with which Python is quicker."""
        key = (const.data, const.type.shape, const.type.dtype.name)
        return self.name("K", key, const.value if const.type.shape else const.value[()])

    @property
    def text(self) -> str:
        """Return the source."""
        return "\n".join(self.lines) + "\n"


def spelled(name: str) -> str:
    """Return a Func's name as part of a Python name.

    >>> spelled("grad_f.then~2")
    'grad_f_then_2'
    """
    return re.sub(r"\W", "_", name)
