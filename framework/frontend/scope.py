"""A call of a function that is under way, and how its arguments get their names."""

from __future__ import annotations

import builtins
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from davinci_sim.errors import DavinciError
from framework.frontend.source import Function
from framework.frontend.values import MISSING, Code, Scope, symbolic
from framework.ir.builder import Builder
from framework.ir.nodes import SourceLine

RETURNED, BROKEN, SKIPPED = "return?", "break?", "continue?"
"""Names of the truths that say whether a return, a break or a continue was run; no variable is called so."""
RESULT = "return"
"""Name of what a return gave."""
FLAGS = (RETURNED, BROKEN, SKIPPED)


class Frame(Scope):
    """The names of a call under way, and the Func, or part of one, that its statements go to."""

    is_live = True

    def __init__(
        self, code: Code, builder: Builder, names: dict[str, Any], outer: Scope | None = None
    ) -> None:
        """Start with the arguments."""
        super().__init__(names, outer)
        self.given: Sequence[Any] = ()
        """What the caller has given: its lists and dicts are not changed here."""
        self.label = code.name
        """What the parts of its Func are called after."""
        self.code = code
        self.source = code.source
        self.builder = builder
        self.lines: dict[str, SourceLine] = {}
        self.pending: frozenset[str] = frozenset()
        """Names that a loop under way may assign in a turn before."""

    def lookup(self, name: str) -> Any:
        """Return the value of a name as compiled code sees it, MISSING when there is none."""
        value = self.find(name)
        if value is MISSING:
            value = self.code.around.get(name, MISSING)
        if value is MISSING:
            return getattr(builtins, name, MISSING)
        return symbolic(self.builder, value)

    def assign(self, name: str, value: Any) -> None:
        """Give a name a value."""
        self.names[name] = value
        if self.builder.source is not None:
            self.lines[name] = self.builder.source

    def known(self) -> list[str]:
        """Return the names that can be used here, builtins left out."""
        found, scope = [*self.code.around], self.outer
        while scope is not None:
            found.extend(scope.names)
            scope = scope.outer
        return [*(name for name in self.names if name.isidentifier()), *found]

    @contextmanager
    def inside(self, builder: Builder, names: dict[str, Any]) -> Iterator[None]:
        """Send statements to a part of the Func, under names of its own."""
        outer = (self.builder, self.names, self.lines, self.pending)
        self.builder, self.names, self.lines = builder, names, dict(self.lines)
        try:
            yield
        finally:
            self.builder, self.names, self.lines, self.pending = outer


class Ended(Exception):
    """The path that is being compiled goes no further: it raises, at a place."""

    def __init__(self, place: str = "") -> None:
        """Hold the place."""
        super().__init__(place)
        self.place = place


class Unsettled(Ended):
    """What the path goes on with is not known yet: the result of a call of a function by itself.

    `activation` is the call, None when a variable is read that a turn of a loop before has assigned.
    """

    def __init__(self, activation: Any = None) -> None:
        """Hold the call whose result is wanted."""
        super().__init__()
        self.activation = activation


@dataclass(frozen=True)
class Signature:
    """The arguments of a function: its syntax and the values of its defaults."""

    name: str
    node: Function
    defaults: Sequence[Any]
    keyword_defaults: Mapping[str, Any]

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of every argument name."""
        spec = self.node.args
        positional = [each.arg for each in (*spec.posonlyargs, *spec.args)]
        bound = dict(zip(positional[len(positional) - len(self.defaults) :], self.defaults, strict=True))
        bound.update(self.keyword_defaults)
        bound.update(zip(positional, args, strict=False))
        if spec.vararg is not None:
            bound[spec.vararg.arg] = tuple(args[len(positional) :])
        elif len(args) > len(positional):
            raise DavinciError(
                f"{self.name} takes {len(positional)} positional arguments, {len(args)} were given"
            )
        accepted = [*positional, *(each.arg for each in spec.kwonlyargs)]
        self._check_keywords(kwargs, accepted, positional[: len(args)])
        extra = {key: value for key, value in kwargs.items() if key not in accepted}
        bound.update({key: value for key, value in kwargs.items() if key in accepted})
        if spec.kwarg is not None:
            bound[spec.kwarg.arg] = extra
        missing = [name for name in accepted if name not in bound]
        if missing:
            raise DavinciError(f"{self.name} is called without its argument {missing[0]!r}")
        return bound

    def _check_keywords(self, kwargs: Mapping[str, Any], accepted: list[str], given: list[str]) -> None:
        for key in kwargs:
            if key in given:
                raise DavinciError(f"{self.name} is given its argument {key!r} twice")
            if key not in accepted and self.node.args.kwarg is None:
                raise DavinciError(
                    f"{self.name} has no argument {key!r}; it has {', '.join(accepted) or 'none'}"
                )


def cells_of(function: types.FunctionType) -> dict[str, Any]:
    """Return the variables around a function of Python's that it uses."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet: using the name is then reported as undefined
            continue
    return found
