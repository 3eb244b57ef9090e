"""Values of compiled code that Python has no kind for, and numbers of Python's known at run time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework import dtypes
from framework.frontend.source import Function as Syntax
from framework.frontend.source import Source
from framework.ir.builder import Builder, Sym
from framework.ir.types import TensorType
from framework.tensor import Parameter

if TYPE_CHECKING:
    from framework.frontend.templates import Template

MISSING: Any = object()
"""What a name that has no value is found to be."""


class Structure:
    """A dataclass of the front end that may hold symbolic values."""


@dataclass(frozen=True)
class Maybe(Structure):
    """What a variable holds that some paths only assign: `is_assigned` is a truth known at run time."""

    value: Any
    is_assigned: Any
    where: str


@dataclass(frozen=True)
class Conflict(Structure):
    """A variable whose types disagree; reading it is a mistake, told by the message."""

    message: str


@dataclass(frozen=True)
class Choice(Structure):
    """One of several functions: which one is a number known at run time."""

    tag: Any
    functions: tuple[Any, ...]


@dataclass(frozen=True)
class Site:
    """Where functions of run time come from, and what is known of them: templates of arguments and result."""

    key: Hashable
    arguments: Template | None = None
    result: Template | None = None


@dataclass(frozen=True)
class Function:
    """A function that is a value of run time."""

    value: Any
    site: Site


@dataclass(frozen=True)
class Text(Structure):
    """An f-string with values known at run time: a format and what it shows."""

    form: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Code:
    """The source of a function."""

    name: str
    source: Source
    node: Syntax
    around: Mapping[str, Any]
    """The globals of its module."""


class Scope:
    """Names around a function; those of a call of it that is under way are a `Frame`."""

    is_live = False

    def __init__(self, names: dict[str, Any], outer: Scope | None = None) -> None:
        """Hold names, and the scope around."""
        self.names = names
        self.outer = outer

    def find(self, name: str) -> Any:
        """Return the value of a name, MISSING when there is none."""
        if name in self.names:
            return self.names[name]
        return MISSING if self.outer is None else self.outer.find(name)


@dataclass(frozen=True, eq=False)
class Closure:
    """A function or lambda written inside compiled code, with the names around it."""

    code: Code
    scope: Scope
    defaults: tuple[Any, ...]
    keyword_defaults: dict[str, Any]

    @property
    def name(self) -> str:
        """Return the name of the function."""
        return self.code.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compile a call that library code makes."""
        from framework.frontend.dispatch import apply, find_builder

        builder = find_builder((args, kwargs))
        if builder is None:
            raise DavinciError(f"{self.name} belongs to compiled code; only this can call it")
        return apply(builder, self, args, kwargs)


NUMBERS = {bool: dtypes.bool_, int: dtypes.int64, float: dtypes.float64}
"""The dtype of a number of Python's that is known at run time."""


def number_type(value: Any) -> TensorType:
    """Return the type of a number of Python's that becomes known at run time only."""
    return TensorType((), NUMBERS[type(value)])


def is_number(value: Any) -> bool:
    """Tell whether a value is a number or a truth of Python's."""
    return type(value) in NUMBERS


def weak_constant(builder: Builder, value: float) -> Sym:
    """Return a number of Python's as a symbolic value."""
    array = np.asarray(value, dtype=NUMBERS[type(value)].numpy)
    return Sym(builder, builder.constant(array).atom, weak=True)


def is_cell(value: Any) -> bool:
    """Return whether a value is a Cell; told by its construct, since Cells import the front end."""
    return hasattr(type(value), "construct") and hasattr(type(value), "is_native")


def symbolic(builder: Builder, value: Any) -> Any:
    """Return a value with its Parameters and the symbols of outer functions as symbols of this function."""
    if type(value) is Sym and value.builder is builder:
        return value
    if isinstance(value, (Sym, Parameter)):
        return builder.value(value)
    if type(value) in (tuple, list) and any(_may_hold(each) for each in value):
        found = type(value)(symbolic(builder, each) for each in value)
        return value if all(a is b for a, b in zip(value, found, strict=True)) else found
    return value


def _may_hold(value: Any) -> bool:
    return isinstance(value, (Sym, Parameter, tuple, list))
