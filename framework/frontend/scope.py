"""Names and functions as compiled code sees them."""

from __future__ import annotations

import builtins
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from davinci_sim.errors import DavinciError
from framework.frontend.source import Function, Source
from framework.ir.builder import Builder, Sym
from framework.tensor import Parameter

MISSING = object()


@dataclass
class Scope:
    """The names of one function call; `outer` holds those around a nested function."""

    source: Source
    builder: Builder
    names: dict[str, Any]
    outer: Scope | None = None
    around: Mapping[str, Any] = field(default_factory=dict)

    def find(self, name: str) -> Any:
        """Return the value of a name, MISSING when there is none."""
        if name in self.names:
            return self.names[name]
        if self.outer is not None:
            return symbolic(self.builder, self.outer.find(name))
        if name in self.around:
            return symbolic(self.builder, self.around[name])
        return getattr(builtins, name, MISSING)

    def known(self) -> list[str]:
        """Return the names that can be used here, builtins left out."""
        outer = [] if self.outer is None else self.outer.known()
        return [*self.names, *outer, *self.around]


@dataclass(frozen=True)
class Closure:
    """A function or lambda written inside compiled code, with the names around it."""

    name: str
    node: Function
    scope: Scope
    defaults: tuple[Any, ...]
    keyword_defaults: Mapping[str, Any]


def names_around(function: types.FunctionType) -> dict[str, Any]:
    """Return the globals and closure variables of a function."""
    found = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not assigned yet: using the name is then reported as undefined
            found.pop(name, None)
    return found


def symbolic(builder: Builder, value: Any) -> Any:
    """Return a value with its Parameters and the symbols of outer functions as symbols of this function."""
    if isinstance(value, (Sym, Parameter)):
        return builder.value(value)
    if type(value) in (tuple, list):
        return type(value)(symbolic(builder, each) for each in value)
    return value


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
