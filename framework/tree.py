"""Nested tuples, lists, dicts and dataclasses of tensors: taken apart into leaves, and put together again."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.ir.builder import Sym
from framework.tensor import Tensor


@dataclass(frozen=True)
class Leaf:
    """The place of a leaf in a structure."""

    index: int


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor, an array or symbolic."""
    return isinstance(value, (Tensor, Sym, np.ndarray, np.generic))


def flatten(value: Any, numbers: bool = False) -> tuple[list[Any], Any]:
    """Return the tensors in a value, and the value with a Leaf in the place of each.

    With `numbers`, ints and floats of Python's are leaves, too.

    >>> flatten((Tensor(1.0), "axis"))[1]
    (Leaf(index=0), 'axis')
    >>> flatten([1, True, {"a": 2.0}], numbers=True)
    ([1, 2.0], [Leaf(index=0), True, {'a': Leaf(index=1)}])
    """
    leaves: list[Any] = []

    def take(part: Any) -> Any:
        if is_tensor(part) or (numbers and type(part) in (int, float)):
            leaves.append(part)
            return Leaf(len(leaves) - 1)
        return _mapped(part, take)

    return leaves, take(value)


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    """Return the structure with leaves in the places of its Leafs."""

    def put(part: Any) -> Any:
        return leaves[part.index] if isinstance(part, Leaf) else _mapped(part, put)

    return put(structure)


def numbered(structure: Any, numbers: Iterator[int]) -> Any:
    """Return the structure with its Leafs numbered anew, in order."""

    def put(part: Any) -> Any:
        return Leaf(next(numbers)) if isinstance(part, Leaf) else _mapped(part, put)

    return put(structure)


def hashable(structure: Any) -> Any:
    """Return a key that tells structures apart: objects count by identity, methods by function and object."""
    if isinstance(structure, (tuple, list)):
        return (type(structure).__name__, *(hashable(each) for each in structure))
    if isinstance(structure, dict):
        return ("dict", *((key, hashable(each)) for key, each in structure.items()))
    if is_record(structure):
        return (type(structure), *(hashable(each) for each in _parts(structure)))
    if isinstance(structure, (Leaf, str, int, float, bool, type(None))):
        return (type(structure).__name__, structure)
    if isinstance(structure, types.MethodType):
        return ("method", id(structure.__func__), id(structure.__self__))
    return id(structure)


def places(structure: Any) -> Iterator[int]:
    """Go over the indices of the Leafs of a structure."""
    if isinstance(structure, Leaf):
        yield structure.index
    else:
        for each in _parts(structure):
            yield from places(each)


def is_record(value: Any) -> bool:
    """Tell whether a value is a user's dataclass, which may hold tensors."""
    return _is_record(type(value))


_RECORDS: dict[type, bool] = {}


def _is_record(kind: type) -> bool:
    if kind not in _RECORDS:
        is_ours = kind.__module__.startswith("framework.")
        _RECORDS[kind] = dataclasses.is_dataclass(kind) and not is_ours
    return _RECORDS[kind]


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a structure with each of its parts changed; what is none stays."""
    kind = type(value)
    if kind in (tuple, list):
        return kind(change(each) for each in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return kind(*(change(each) for each in value))
    if kind is dict:
        return {key: change(each) for key, each in value.items()}
    if not _is_record(kind):
        return value
    made = object.__new__(kind)
    for each in dataclasses.fields(kind):
        object.__setattr__(made, each.name, change(getattr(value, each.name)))
    return made


def _parts(value: Any) -> Sequence[Any]:
    if isinstance(value, (tuple, list)):
        return value
    if isinstance(value, dict):
        return list(value.values())
    if is_record(value):
        return [getattr(value, each.name) for each in dataclasses.fields(value)]
    return ()
