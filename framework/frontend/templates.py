"""What a value of compiled code is, apart from the tensors in it.

A value (a tensor, a number, a tuple of them, a function ...) is taken apart into a template and its leaves,
the symbolic values in it; a template and other leaves are put together again. Templates are compared and
hashed: equal ones mean values that the same code can work on.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from framework.dtypes import DType
from framework.frontend.names import free_names
from framework.frontend.source import Function as Syntax
from framework.frontend.values import (
    MISSING,
    Choice,
    Closure,
    Conflict,
    Function,
    Maybe,
    Scope,
    Structure,
    is_cell,
)
from framework.ir.builder import Sym
from framework.ir.types import TensorType, Type
from framework.tree import is_record


class Known:
    """A value that is known when compiling; `key` tells it from others."""

    __slots__ = ("_hash", "key", "value")

    def __init__(self, key: Hashable, value: Any) -> None:
        """Hold a value and its key."""
        self.key = key
        self.value = value
        self._hash = hash(key)

    def __eq__(self, other: object) -> bool:
        """Compare the keys."""
        return isinstance(other, Known) and self.key == other.key

    def __hash__(self) -> int:
        """Return the hash of the key."""
        return self._hash

    def __repr__(self) -> str:
        """Return the value."""
        return f"Known({self.value!r})"


@dataclass(frozen=True, slots=True)
class Run:
    """A value that is known at run time; a weak one is a number of Python's."""

    type: Type
    weak: bool


@dataclass(frozen=True)
class Node:
    """A structure: its kind, what is fixed of it, and the templates of its parts."""

    kind: str
    static: Hashable
    children: tuple[Template, ...]

    @functools.cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.static, self.children))

    def __hash__(self) -> int:
        """Return the hash, computed once."""
        return self._hash


Template: TypeAlias = Known | Run | Node
ABSENT = Known(("absent",), MISSING)
"""The template of a variable that has no value."""


class Held:
    """An object by identity, kept alive."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        """Hold the object."""
        self.value = value

    def __eq__(self, other: object) -> bool:
        """Compare identities."""
        return isinstance(other, Held) and self.value is other.value

    def __hash__(self) -> int:
        """Return the hash of the identity."""
        return id(self.value)


MAYBE, CONFLICT, CHOICE = Held(Maybe), Held(Conflict), Held(Choice)
"""What is fixed of the templates of these."""

PLAIN = (bool, int, str, range, bytes, type(None), type(Ellipsis), DType, TensorType)


def known(value: Any) -> Known:
    """Return the template of a value that is known when compiling; objects count by identity."""
    if isinstance(value, PLAIN):
        return Known((type(value), value), value)
    if isinstance(value, float):
        return Known((float, value.hex()), value)
    if isinstance(value, np.generic):
        return Known((type(value), value.tobytes()), value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not callable(value):
        try:
            return Known((type(value), hash(value), repr(value)), value)
        except TypeError:  # a field that cannot be hashed
            return Known(Held(value), value)
    if isinstance(value, types.MethodType):
        return Known((Held(value.__func__), Held(value.__self__)), value)
    return Known(Held(value), value)


class Taker:
    """Takes values apart; `leaves` are the symbolic values, in order.

    When the values cross to another Func, functions take along the values around them, and what is asked of a
    Cell is `cell_key`; otherwise the scopes of calls under way stay as they are. With `keeps_parameters` the
    value of a Parameter stays that of this Parameter, instead of being a leaf as others.
    """

    def __init__(
        self,
        crosses: bool,
        cell_key: Callable[[Any], Hashable] | None = None,
        keeps_parameters: bool = False,
    ) -> None:
        """Start without leaves."""
        self._keeps_parameters = keeps_parameters
        self.leaves: list[Any] = []
        self.paths: list[str] = []
        self._crosses = crosses
        self._cell_key = cell_key
        self._around: list[Closure] = []

    def take(self, value: Any, path: str = "") -> Template:
        """Return the template of a value, and keep its leaves under names made from a path."""
        if isinstance(value, Sym):
            if self._keeps_parameters and value.parameter is not None:
                return known(value.parameter)
            self.leaves.append(value)
            self.paths.append(path)
            return Run(value.atom.type, value.weak)
        if value is MISSING:
            return ABSENT
        if isinstance(value, Closure):
            return self._closure(value)
        parts = parts_of(value)
        if parts is not None:
            kind, static, children = parts
            names = _child_names(kind, static, len(children), path)
            pairs = zip(children, names, strict=True)
            return Node(kind, static, tuple(self.take(each, name) for each, name in pairs))
        if self._cell_key is not None and is_cell(value):
            return Known(self._cell_key(value), value)
        return known(value)

    def take_call(self, args: Sequence[Any], kwargs: Any, function: Any, names: Sequence[str]) -> Template:
        """Return the template of (args, kwargs, function); leaves are called as the arguments are."""
        labels = [*names[: len(args)], *[""] * (len(args) - len(names))]
        positional = tuple(self.take(each, name) for each, name in zip(args, labels, strict=True))
        parts = (Node("tuple", None, positional), self.take(kwargs), self.take(function))
        return Node("tuple", None, parts)

    def _closure(self, closure: Closure) -> Template:
        if closure in self._around:
            return Node("again", self._around[::-1].index(closure), ())
        names: tuple[str, ...] = ()
        values: list[Any] = []
        if self._crosses or not closure.scope.is_live:
            found = {name: closure.scope.find(name) for name in sorted(free_names(closure.code.node))}
            found = {name: value for name, value in found.items() if value is not MISSING}
            names, values = tuple(found), list(found.values())
        scope = None if values or self._crosses or not closure.scope.is_live else Held(closure.scope)
        keywords = tuple(closure.keyword_defaults)
        static = (closure.code.node, len(closure.defaults), keywords, names, scope, Held(closure.code))
        own = [self.take(each) for each in (*closure.defaults, *closure.keyword_defaults.values())]
        self._around.append(closure)
        around = [self.take(each, name) for name, each in zip(names, values, strict=True)]
        self._around.pop()
        return Node("closure", _Static(static), (*own, *around))


class _Static:
    """What is fixed of a closure; equal when its node, its names and a scope under way are."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.parts[:-1] == other.parts[:-1]

    def __hash__(self) -> int:
        return hash(self.parts[:-1])


def code_of(template: Node) -> Syntax:
    """Return the syntax of the function that a template of a closure means."""
    found: Syntax = template.static.parts[0]  # type: ignore[attr-defined]
    return found


Parts = tuple[str, Hashable, Sequence[Any]]


def parts_of(value: Any) -> Parts | None:
    """Return kind, fixed part and parts of a structure; None for what has none."""
    kind = type(value)
    if kind in (tuple, list):
        return (kind.__name__, None, value)
    if kind is dict:
        return ("dict", tuple(value), list(value.values()))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return ("namedtuple", Held(kind), value)
    if kind is slice:
        return ("slice", None, (value.start, value.stop, value.step))
    if kind is functools.partial:
        return ("partial", tuple(value.keywords), (value.func, *value.args, *value.keywords.values()))
    if kind is Function:
        return ("function", value.site, (value.value,))
    if kind is types.MethodType:
        return ("method", value.__func__, (value.__self__,))
    if hasattr(value, "emit_call") and hasattr(value, "with_function"):
        return ("transform", value.key(), (value.function,))
    if isinstance(value, Structure) or is_record(value):
        names = _fields(kind)
        return ("object", Held(kind), [getattr(value, name) for name in names])
    return None


_FIELDS: dict[type, tuple[str, ...]] = {}


def _fields(kind: type) -> tuple[str, ...]:
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(each.name for each in dataclasses.fields(kind))
    return _FIELDS[kind]


def _child_names(kind: str, static: Any, count: int, path: str) -> list[str]:
    if kind == "dict":
        return [f"{path}_{key}" if path else str(key) for key in static]
    if kind == "object":
        return [f"{path}_{name}" if path else name for name in _fields(static.value)]
    return [f"{path}_{at}" if path and count > 1 else path for at in range(count)]


def _object(static: Held, parts: Sequence[Any]) -> Any:
    kind = static.value
    made: Any = object.__new__(kind)
    for name, value in zip(_fields(kind), parts, strict=True):
        object.__setattr__(made, name, value)
    return made


_MAKE: dict[str, Callable[[Any, list[Any]], Any]] = {
    "tuple": lambda static, parts: tuple(parts),
    "list": lambda static, parts: parts,
    "dict": lambda static, parts: dict(zip(static, parts, strict=True)),
    "namedtuple": lambda static, parts: static.value(*parts),
    "slice": lambda static, parts: slice(*parts),
    "partial": lambda static, parts: functools.partial(
        parts[0],
        *parts[1 : len(parts) - len(static)],
        **dict(zip(static, parts[len(parts) - len(static) :], strict=True)),
    ),
    "function": lambda static, parts: Function(parts[0], static),
    "method": lambda static, parts: types.MethodType(static, parts[0]),
    "transform": lambda static, parts: static.value.with_function(parts[0]),
    "object": _object,
}


class Putter:
    """Puts values together from templates and leaves, in the order in which they were taken apart."""

    def __init__(self, leaves: Sequence[Any]) -> None:
        """Take the leaves in order."""
        self._leaves = iter(leaves)
        self._around: list[Closure] = []

    def put(self, template: Template) -> Any:
        """Return the value of a template."""
        if isinstance(template, Known):
            return template.value
        if isinstance(template, Run):
            leaf = next(self._leaves)
            return Sym(leaf.builder, leaf.atom, weak=template.weak)
        if template.kind == "closure":
            return self._closure(template)
        if template.kind == "again":
            return self._around[-1 - template.static]  # type: ignore[operator]
        return _MAKE[template.kind](template.static, [self.put(each) for each in template.children])

    def _closure(self, template: Node) -> Closure:
        _, count, keywords, names, scope, code = template.static.parts  # type: ignore[attr-defined]
        names_of: dict[str, Any] = {}
        scope = Scope(names_of) if scope is None else scope.value
        children = template.children
        defaults = tuple(self.put(each) for each in children[:count])
        by_name = {
            name: self.put(each)
            for name, each in zip(keywords, children[count : count + len(keywords)], strict=True)
        }
        closure = Closure(code.value, scope, defaults, by_name)
        self._around.append(closure)
        for name, each in zip(names, children[count + len(keywords) :], strict=True):
            names_of[name] = self.put(each)
        return self._around.pop()


def template_of(value: Any) -> Template:
    """Return the template of a value that stays in its Func."""
    return Taker(False).take(value)


def put_together(template: Template, leaves: Sequence[Sym]) -> Any:
    """Return the value of a template and its leaves."""
    return Putter(leaves).put(template)


def leaves_of(template: Template) -> Iterator[Run]:
    """Go over the leaves of a template, in order."""
    if isinstance(template, Run):
        yield template
    elif isinstance(template, Node):
        for each in template.children:
            yield from leaves_of(each)
