"""The functional IR: typed, in A-normal form, immutable.

A `Func` names every intermediate value once; a value is a `Var` (named) or a `Const`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np

from davinci_sim.errors import InternalError
from framework.ir.types import TensorType, Type

_LIBRARY = str(Path(__file__).parents[1]) + os.sep

CALL = "call"
"""The op of a binding that calls another Func, which is its attribute `func`."""


@dataclass(frozen=True)
class SourceLine:
    """Where a value comes from in the user's Python source.

    In a Func that has been inlined `func` is its name, and `caller` the line that it was called on. `column`
    is where in the text it begins, if that is known; lines that differ in it alone are equal.
    """

    file: str
    line: int
    text: str
    caller: SourceLine | None = field(default=None, compare=False, repr=False)
    func: str = field(default="", compare=False, repr=False)
    column: int | None = field(default=None, compare=False, repr=False)

    @property
    def is_library(self) -> bool:
        """Tell whether it is a line of this package, such as one of a layer's."""
        return self.file.startswith(_LIBRARY)

    @property
    def users(self) -> SourceLine:
        """Return the line itself, or the user's that has led to one of this package, as far as is known."""
        found: SourceLine | None = self
        while found is not None and found.is_library:
            found = found.caller
        return found or self

    @property
    def place(self) -> str:
        """Return file, number and text, for the end of a message."""
        return f"  {self.file}:{self.line}\n    {self.text}"

    @property
    def pointed(self) -> str:
        """Return the same with a caret below the column, if that is known."""
        return self.place if self.column is None else f"{self.place}\n    {' ' * self.column}^"

    def __str__(self) -> str:
        """Return file name and line, short enough for a comment."""
        return f"{self.file.rsplit('/', maxsplit=1)[-1]}:{self.line}"


@dataclass(frozen=True)
class Var:
    """A named value; its name is unique in its Func."""

    name: str
    type: Type

    def __hash__(self) -> int:
        """Return the hash of the name, which tells the values of a Func apart: types take long to hash."""
        return hash(self.name)

    @property
    def tensor(self) -> TensorType:
        """Return the type of a value that is a tensor."""
        if not isinstance(self.type, TensorType):
            raise InternalError(f"%{self.name} is {self.type}, a tensor is wanted")
        return self.type


@dataclass(frozen=True)
class Const:
    """A value that is known when compiling, kept as the bytes of a C-ordered array."""

    type: TensorType
    data: bytes

    @property
    def tensor(self) -> TensorType:
        """Return the type, as `Var.tensor` does."""
        return self.type

    @staticmethod
    def of(array: np.ndarray[Any, Any]) -> Const:
        """Return the constant that holds a copy of the array."""
        return Const(TensorType.of(array), array.tobytes())

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """Return the array, read-only."""
        return np.frombuffer(self.data, dtype=self.type.dtype.numpy).reshape(self.type.shape)


Atom: TypeAlias = Var | Const
Attr: TypeAlias = Union[bool, int, float, str, tuple["Attr", ...], "Func", "Rec", Type, None]
Attrs: TypeAlias = Mapping[str, Attr]


@dataclass(frozen=True)
class Rec:
    """In the place of a Func: the one of this name that the binding stands in, at whatever depth."""

    name: str


@dataclass(frozen=True)
class Binding:
    """`outputs = op(inputs, attrs)`; equality does not look at the source line."""

    outputs: tuple[Var, ...]
    op: str
    inputs: tuple[Atom, ...]
    attrs: Attrs = field(default_factory=dict, hash=False)
    source: SourceLine | None = field(default=None, compare=False)

    @property
    def callee(self) -> Func | None:
        """Return the Func that this binding calls, None for an operator."""
        func = self.attrs.get("func")
        return func if isinstance(func, Func) and self.op == CALL else None

    @property
    def funcs(self) -> dict[str, Func]:
        """Return the Funcs among the attributes: what is called, the branches, the parts of a loop."""
        return {key: value for key, value in self.attrs.items() if isinstance(value, Func)}

    def with_funcs(self, change: Callable[[Func], Func]) -> Binding:
        """Return the binding with each of its Funcs changed."""
        funcs = {key: change(func) for key, func in self.funcs.items()}
        return replace(self, attrs={**self.attrs, **funcs}) if funcs else self


@dataclass(frozen=True)
class Func:
    """A function: parameters, bindings in order, results.

    `updates` says which result is the new value of which parameter: {result index: parameter name}.
    """

    name: str
    params: tuple[Var, ...]
    bindings: tuple[Binding, ...]
    results: tuple[Atom, ...]
    updates: Mapping[int, str] = field(default_factory=dict, hash=False)

    def with_body(self, bindings: tuple[Binding, ...], results: tuple[Atom, ...]) -> Func:
        """Return the Func with another body and the same parameters."""
        return replace(self, bindings=bindings, results=results)

    def param(self, name: str) -> int:
        """Return the position of the parameter of this name."""
        return self._positions[name]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {each.name: position for position, each in enumerate(self.params)}

    @cached_property
    def signature(self) -> tuple[tuple[Type, ...], tuple[Type, ...]]:
        """The types of the parameters and of the results."""
        return tuple([param.type for param in self.params]), tuple([atom.type for atom in self.results])

    @cached_property
    def mentions(self) -> frozenset[str]:
        """The names of the Funcs around that are meant in it; its own is among them if it is."""
        found: set[str] = set()
        for binding in self.bindings:
            for each in binding.attrs.values():
                if isinstance(each, Rec):
                    found.add(each.name)
                elif isinstance(each, Func):
                    found |= each.mentions - {each.name}
        return frozenset(found)

    def ops(self) -> tuple[str, ...]:
        """Return the op of every binding, in order."""
        return tuple(binding.op for binding in self.bindings)

    def __str__(self) -> str:
        """Return the IR text."""
        from framework.ir.printer import print_func

        return print_func(self)
