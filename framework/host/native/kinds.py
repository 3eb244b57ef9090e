"""What machine code can hold: scalars of five dtypes, and stacks of them within stacks.

A stack of depth d is d arrays and a range: the last array has what the range counts. In the first one lie the
scalars; in each further one lies, for every stack that it holds, the range [start, stop) in the array before.

| value | arrays | range |
|---|---|---|
| [[1., 2.], [], [3.]] | [1., 2., 3.], [[0, 2], [2, 2], [2, 3]] | [0, 3) |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, overload

import numpy as np

from framework.ir.types import StackType, TensorType, Type

Array = np.ndarray[Any, Any]
DTYPES = {"bool": "boolean", "int32": "int32", "int64": "int64", "float32": "float32", "float64": "float64"}
"""Numba's names of the dtypes."""


class NotNative(Exception):
    """A loop has something that machine code is not made for; it runs in Python."""


@dataclass(frozen=True)
class Kind:
    """Scalars of a dtype (depth 0), stacks of them (1), stacks of stacks (2) ...; tensors, to be indexed."""

    dtype: str
    depth: int
    ndim: int = 0

    @staticmethod
    def of(type_: Type) -> Kind:
        """Return the kind of values of a type, or raise NotNative."""
        depth = 0
        while isinstance(type_, StackType):
            type_, depth = type_.element, depth + 1
        if not isinstance(type_, TensorType) or type_.dtype.name not in DTYPES or (depth and type_.shape):
            raise NotNative(str(type_))
        return Kind(type_.dtype.name, depth, type_.ndim)

    @property
    def is_scalar(self) -> bool:
        """Tell whether a value is one number."""
        return self.depth == 0 and self.ndim == 0

    @property
    def element(self) -> Kind:
        """Return the kind of what a stack holds."""
        return Kind(self.dtype, self.depth - 1)

    @property
    def stacked(self) -> Kind:
        """Return the kind of a stack of such values."""
        if self.ndim:
            raise NotNative("a stack of tensors")
        return Kind(self.dtype, self.depth + 1)

    @property
    def signature(self) -> tuple[str, ...]:
        """Return the types of a value's parts, as Numba names them."""
        scalar = DTYPES[self.dtype]
        if self.ndim:
            return (f"{scalar}[{':, ' * (self.ndim - 1)}::1]",)
        if self.depth == 0:
            return (scalar,)
        return (f"{scalar}[::1]", *("int64[:, ::1]",) * (self.depth - 1), "int64", "int64")

    def packed(self, value: Any) -> tuple[Any, ...]:
        """Return the parts of a value that is no scalar: a tensor, or arrays and a range."""
        if self.ndim:
            return (np.require(value, requirements=["C", "W"]),)
        if isinstance(value, Ragged):
            return (*value.arrays, value.start, value.stop)
        if self.depth == 1:
            array = np.ascontiguousarray(value, dtype=self.dtype)
            return (array, 0, len(array))
        return self._from_sequences(value)

    def taker(self, at: int) -> Callable[[Sequence[Any]], Any]:
        """Return what makes a value of its parts, which start at a place."""
        if self.ndim:
            return itemgetter(at)
        if self.depth == 0:
            scalar = np.dtype(self.dtype).type
            return lambda parts: scalar(parts[at])
        stop = at + len(self.signature)
        return lambda parts: _stack(*parts[at:stop])

    def _from_sequences(self, value: Sequence[Any]) -> tuple[Any, ...]:
        arrays: list[Array] = []
        for _ in range(self.depth - 1):
            stops = np.cumsum([len(each) for each in value], dtype=np.int64)
            starts = np.concatenate([np.zeros(1, np.int64), stops])[: len(stops)]
            arrays.append(np.ascontiguousarray(np.stack([starts, stops], axis=1)))
            value = [each for inner in value for each in inner]
        count = len(arrays[0])
        return (np.array(value, dtype=self.dtype), *reversed(arrays), 0, count)


@dataclass(frozen=True)
class Ragged(Sequence[Any]):
    """Stacks within a stack, as machine code keeps them; Python sees a sequence of sequences."""

    arrays: tuple[Array, ...]
    start: int
    stop: int

    def __len__(self) -> int:
        """Return how many stacks there are."""
        return self.stop - self.start

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return a stack: an array of scalars, or again stacks."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        start, stop = self.arrays[-1][self.start + range(len(self))[index]]
        if len(self.arrays) == 2:
            return self.arrays[0][start:stop]
        return Ragged(self.arrays[:-1], int(start), int(stop))

    def __iter__(self) -> Iterator[Any]:
        """Go over the stacks."""
        return (self[at] for at in range(len(self)))


def _stack(*parts: Any) -> Array | Ragged:
    """Return a stack of arrays and a range."""
    *arrays, start, stop = parts
    return arrays[0][start:stop] if len(arrays) == 1 else Ragged(tuple(arrays), start, stop)
