"""What stands between the brackets of `x[...]`, taken apart: what is known when compiling, and what is not.

A spec has an item per part: an int, None (a new axis), "..." or ("slice", start, stop, step); ("at", k) is
the k-th of the further inputs: integers that are known at run time, a number or a tensor of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.ir.arithmetic import Arithmetic

Item = int | str | tuple[Any, ...] | None
Spec = tuple[Item, ...]


def taken_apart(index: Any) -> tuple[Spec, list[Any]]:
    """Return the spec of an index and its further inputs.

    >>> taken_apart((2, None, slice(1, None), ...))
    ((2, None, ('slice', 1, None, None), '...'), [])
    """
    spec: list[Item] = []
    inputs: list[Any] = []
    for part in index if isinstance(index, tuple) else (index,):
        if part is None or isinstance(part, EllipsisType):
            spec.append(None if part is None else "...")
        elif isinstance(part, slice):
            spec.append(_slice(part))
        elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            spec.append(int(part))
        else:
            for each in _tensors(part):
                spec.append(("at", len(inputs)))
                inputs.append(each)
    return tuple(spec), inputs


def is_symbolic(index: Any) -> bool:
    """Tell whether some of an index is known at run time only."""
    parts: Sequence[Any] = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, Arithmetic) and part.is_symbolic for part in parts)


def _slice(part: slice) -> Item:
    bounds = (part.start, part.stop, part.step)
    for each in bounds:
        if isinstance(each, Arithmetic):
            raise DavinciError(
                f"a slice has a bound {each.type} that is known at run time only\n"
                "  rule: shapes are known when compiling\n"
                "  next: write ops.dynamic_slice(x, start, size), or ops.select with a condition"
            )
    return ("slice", *(None if each is None else int(each) for each in bounds))


def _tensors(part: Any) -> Sequence[Any]:
    """Return the tensors of integers that a part of an index means; a mask becomes where it is true."""
    if isinstance(part, Arithmetic) and not part.is_symbolic:
        part = np.asarray(part)
    if isinstance(part, (bool, list, np.ndarray, np.generic)):
        array = np.asarray(part)
        if array.dtype == bool:
            return [each.astype(np.int64) for each in np.nonzero(np.atleast_1d(array))]
        return [array.astype(np.int64) if array.size == 0 else array]
    if isinstance(part, Arithmetic) and part.type.dtype.name == "bool":
        raise DavinciError(
            f"an index is a mask {part.type}\n"
            "  rule: shapes are known when compiling, how many of it are true is not\n"
            "  next: write ops.select(mask, x, other)"
        )
    return [part]
