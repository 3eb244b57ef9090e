"""How inputs of different dtypes meet: tensors promote, numbers follow.

A number of the program is weak: a Python number, or a symbolic value that stands for one which is known at
run time. Where it meets tensors it takes on their dtype, except that a float makes float32 of integers.
Numbers among themselves follow Python: they are bool, int64 or float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from framework.dtypes import DType, bool_, float32, float64, int32, int64, promote
from framework.ir.builder import Sym
from framework.ir.types import TensorType
from framework.tensor import Tensor

BOOL, INT, FLOAT = range(3)
"""The kinds of numbers, in the order in which they promote."""
EAGER = (bool_, int32, float32)
"""What numbers become where no program is written."""
WEAK = (bool_, int64, float64)


def strong_dtype(value: Any) -> DType | None:
    """Return the dtype of a tensor, None for a number or a list of numbers."""
    if isinstance(value, Sym):
        return None if value.weak else value.dtype
    if isinstance(value, Tensor):
        return value.dtype
    return TensorType.of(np.asarray(value)).dtype if isinstance(value, (np.ndarray, np.generic)) else None


def kind(value: Any) -> int:
    """Return the kind of a number, of a list the kind of its elements."""
    if isinstance(value, Sym):
        return WEAK.index(value.dtype)
    if isinstance(value, list):
        return {"b": BOOL, "i": INT, "u": INT}.get(np.asarray(value).dtype.kind, FLOAT)
    return BOOL if isinstance(value, bool) else INT if isinstance(value, int) else FLOAT


def meeting_dtype(values: Sequence[Any], least: int = BOOL, least_number: int = BOOL) -> DType:
    """Return the dtype in which values meet: of kind `least` at least, for numbers of kind `least_number`."""
    known = [strong_dtype(each) for each in values]
    strong = [each for each in known if each is not None]
    numbers = (kind(each) for each, found in zip(values, known, strict=True) if found is None)
    widest = max(least, max(numbers, default=BOOL))
    if not strong:
        is_symbolic = any(isinstance(each, Sym) for each in values)
        return (WEAK if is_symbolic else EAGER)[max(widest, least_number)]
    found = reduce(promote, strong)
    if found.is_float or widest == BOOL or (widest == INT and found != bool_):
        return found
    return EAGER[widest]


def is_weak(values: Sequence[Any]) -> bool:
    """Tell whether values are numbers of the program, at least one of them known at run time only."""
    return any(isinstance(each, Sym) for each in values) and all(
        isinstance(each, (bool, int, float)) or (isinstance(each, Sym) and each.weak) for each in values
    )
