"""Nested tuples, lists and dicts of tensors: taken apart into leaves, and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def flatten(value: Any) -> tuple[list[Any], Any]:
    """Return the tensors in a value, and the value with a Leaf in the place of each.

    >>> flatten((Tensor(1.0), "axis"))[1]
    (Leaf(index=0), 'axis')
    """
    leaves: list[Any] = []
    return leaves, _take(value, leaves)


def unflatten(structure: Any, leaves: Sequence[Any]) -> Any:
    """Return the structure with leaves in the places of its Leafs."""
    if isinstance(structure, Leaf):
        return leaves[structure.index]
    if isinstance(structure, (tuple, list)):
        return type(structure)(unflatten(each, leaves) for each in structure)
    if isinstance(structure, dict):
        return {key: unflatten(each, leaves) for key, each in structure.items()}
    return structure


def numbered(structure: Any, numbers: Iterator[int]) -> Any:
    """Return the structure with its Leafs numbered anew, in order."""
    if isinstance(structure, Leaf):
        return Leaf(next(numbers))
    if isinstance(structure, (tuple, list)):
        return type(structure)(numbered(each, numbers) for each in structure)
    if isinstance(structure, dict):
        return {key: numbered(each, numbers) for key, each in structure.items()}
    return structure


def hashable(structure: Any) -> Any:
    """Return a hashable key that tells structures apart; objects count by identity."""
    if isinstance(structure, (tuple, list)):
        return (type(structure).__name__, *(hashable(each) for each in structure))
    if isinstance(structure, dict):
        return ("dict", *((key, hashable(each)) for key, each in structure.items()))
    if isinstance(structure, (Leaf, str, int, float, bool, type(None))):
        return (type(structure).__name__, structure)
    return id(structure)


def places(structure: Any) -> Iterator[int]:
    """Go over the indices of the Leafs of a structure."""
    if isinstance(structure, Leaf):
        yield structure.index
    elif isinstance(structure, (tuple, list)):
        for each in structure:
            yield from places(each)
    elif isinstance(structure, dict):
        for each in structure.values():
            yield from places(each)


def _take(value: Any, leaves: list[Any]) -> Any:
    if is_tensor(value):
        leaves.append(value)
        return Leaf(len(leaves) - 1)
    if type(value) in (tuple, list):
        return type(value)(_take(each, leaves) for each in value)
    if isinstance(value, dict):
        return {key: _take(each, leaves) for key, each in value.items()}
    return value
