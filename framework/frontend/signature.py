"""What the arguments of a call are to a compiled function, found fast: a key, and the leaves."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from framework.ir.builder import Sym
from framework.tensor import Parameter, Tensor
from framework.tree import Leaf, unflatten

NUMBERS = (int, float)
KNOWN = (bool, str, type(None))
"""Types whose values are known when compiling."""


class Unusual(Exception):
    """Arguments that are told apart with more care: symbolic values, dataclasses, kinds of tuples."""


def signature(values: Iterable[Any], leaves: list[Any]) -> tuple[Any, ...]:
    """Return a key that tells apart what is compiled apart; append the arrays and numbers to the leaves.

    Leaves come in the order of `framework.tree.flatten`. Objects count by identity: the key is of use for as
    long as they live.

    Raises:
        Unusual: there may be leaves where this does not look.
    """
    key: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is Tensor or kind is Parameter:
            array = value.numpy()
            leaves.append(array)
            key += (array.dtype, array.shape)
        elif kind in NUMBERS:
            leaves.append(value)
            key.append(kind)
        elif kind is np.ndarray or isinstance(value, np.generic):
            leaves.append(value)
            key += (value.dtype, value.shape)
        elif kind in KNOWN:
            key.append((kind, value))
        elif kind is tuple or kind is list:
            key.append((kind, signature(value, leaves)))
        elif kind is dict:
            key.append((kind, tuple(value), signature(value.values(), leaves)))
        elif isinstance(value, (tuple, dict, Sym)) or dataclasses.is_dataclass(value):
            raise Unusual
        elif kind is types.MethodType:  # made anew by each look at the object's attribute
            key += (id(value.__func__), id(value.__self__))
        else:
            key.append(id(value))
    return tuple(key)


def are_leaves(found: Sequence[Any], leaves: Sequence[Any]) -> bool:
    """Tell whether what `signature` has found is what a call is traced with: numbers may become tensors."""
    return len(found) == len(leaves) and all(
        type(each) in NUMBERS or each is (leaf.numpy() if isinstance(leaf, Tensor) else leaf)
        for each, leaf in zip(found, leaves, strict=True)
    )


def arrangement(structure: Any) -> Callable[[Sequence[Any]], Any]:
    """Return what puts results into a structure; one value, or a flat tuple of them, takes no search."""
    if isinstance(structure, Leaf):
        index = structure.index
        return lambda leaves: leaves[index]
    if type(structure) is tuple and structure == tuple(map(Leaf, range(len(structure)))):
        return tuple
    return lambda leaves: unflatten(structure, leaves)
