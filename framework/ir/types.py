"""The types of values in the IR: tensors, functions, stacks of what a loop saved, cotangents of functions."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from davinci_sim.errors import DavinciError
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
        return _type_of(array.shape, array.dtype)

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


@functools.lru_cache(maxsize=4096)
def _type_of(shape: tuple[int, ...], kind: np.dtype[Any]) -> TensorType:
    return TensorType(shape, dtype(kind))


@dataclass(frozen=True)
class FnType:
    """A function as a value: code with what it has captured.

    >>> f = TensorType((), dtype("float32"))
    >>> print(FnType((f, f), (f,)))
    fn(float32[], float32[]) -> (float32[])
    """

    params: tuple[Type, ...]
    results: tuple[Type, ...]

    def __str__(self) -> str:
        """Return the IR text of the type."""
        return f"fn({', '.join(map(str, self.params))}) -> ({', '.join(map(str, self.results))})"


@dataclass(frozen=True)
class StackType:
    """What a loop saved, a value per turn; how many turns there are is known at run time.

    >>> print(StackType(TensorType((2,), dtype("int64"))))
    stack<int64[2]>
    """

    element: Type

    def __str__(self) -> str:
        """Return the IR text of the type."""
        return f"stack<{self.element}>"


@dataclass(frozen=True)
class EnvType:
    """The cotangent of a function as a value: the cotangents of what it has captured."""

    def __str__(self) -> str:
        """Return the IR text of the type."""
        return "env"


Type: TypeAlias = TensorType | FnType | StackType | EnvType


def has_cotangent(type_: Type) -> bool:
    """Tell whether values of this type have derivatives: floats, functions, stacks of them."""
    if isinstance(type_, TensorType):
        return type_.dtype.is_float
    return not isinstance(type_, StackType) or has_cotangent(type_.element)


def cotangent_type(type_: Type) -> Type:
    """Return the type of the cotangents of values of a type that has some."""
    if isinstance(type_, StackType):
        return StackType(cotangent_type(type_.element))
    return EnvType() if isinstance(type_, FnType) else type_


_TENSOR = re.compile(r"(?P<dtype>\w+)\[(?P<shape>[\d, ]*)\]$")


def parse_type(text: str) -> Type:
    """Return the type that a text means.

    >>> parse_type("stack<fn(float32[2, 3], env) -> (int64[])>")
    StackType(element=FnType(params=(TensorType(shape=(2, 3), dtype=float32), EnvType()), results=(TensorType(shape=(), dtype=int64),)))

    Raises:
        DavinciError: it means none.
    """  # noqa: E501 - the type as Python shows it
    text = text.strip()
    if text == "env":
        return EnvType()
    if text.startswith("stack<") and text.endswith(">"):
        return StackType(parse_type(text[len("stack<") : -1]))
    if text.startswith("fn("):
        end = _closing(text, len("fn"))
        results = text[end + 1 :].strip().removeprefix("->").strip()
        return FnType(_parse_types(text[len("fn") + 1 : end]), _parse_types(results[1:-1]))
    found = _TENSOR.match(text)
    if found is None:
        raise DavinciError(
            f"{text!r} is no type\n  next: write one such as float32[2, 3], or fn(env) -> (int64[])"
        )
    return TensorType(
        tuple(int(each) for each in found["shape"].split(",") if each.strip()), dtype(found["dtype"])
    )


def split_commas(text: str) -> list[str]:
    """Return the parts of a text between commas that stand outside of brackets and quotes.

    >>> split_commas("float32[2, 3], 'a, b'")
    ['float32[2, 3]', "'a, b'"]
    """
    parts, depth, start, quote, escaping = [], 0, 0, "", False
    for position, letter in enumerate(text):
        if quote:
            is_escaped, escaping = escaping, letter == "\\" and not escaping
            quote = "" if letter == quote and not is_escaped else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{<":
            depth += 1
        elif letter in ")]}" or (letter == ">" and text[position - 1] != "-"):
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [part for part in [*parts, text[start:].strip()] if part]


def _parse_types(text: str) -> tuple[Type, ...]:
    return tuple(parse_type(each) for each in split_commas(text))


def _closing(text: str, start: int) -> int:
    """Return where the bracket that opens at `start` closes."""
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if depth == 0:
            return position
    raise DavinciError(f"{text!r} has a bracket that does not close")
