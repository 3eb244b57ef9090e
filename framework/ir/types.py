"""The type of a value in the IR: a shape and an element type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.dtypes import DType, dtype


@dataclass(frozen=True)
class TensorType:
    """A shape that is known when compiling, and a dtype.

    >>> print(TensorType((2, 3), dtype("float32")))
    float32[2, 3]
    """

    shape: tuple[int, ...]
    dtype: DType

    @staticmethod
    def of(array: np.ndarray[Any, Any]) -> TensorType:
        """Return the type of a NumPy array."""
        return TensorType(tuple(int(size) for size in array.shape), dtype(array.dtype))

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Return the number of bytes without padding."""
        return self.size * self.dtype.itemsize_bytes

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        """Return the type with another shape."""
        return TensorType(tuple(int(size) for size in shape), self.dtype)

    def with_dtype(self, other: DType | str) -> TensorType:
        """Return the type with another dtype."""
        return TensorType(self.shape, dtype(other))

    def __str__(self) -> str:
        """Return the IR text of the type."""
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"
