"""What translated code computes with: numbers, tuples and arrays as LLVM values."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba.core.types
from numba.core.errors import NumbaError

types: Any = numba.core.types  # Numba's own functions have no types
INT, FLOAT, NONE = types.int64, types.float64, types.none
ARRAY_PARTS = 5
"""Of an array as it is passed, before its shape and its strides; the last of them is the address."""
_MASK64 = (1 << 64) - 1


class Untranslated(NumbaError):
    """The function uses something that is left to Numba."""


@dataclass(frozen=True)
class Value:
    """What an expression gives: its type and the LLVM values that it consists of."""

    kind: Any
    parts: tuple[str, ...]

    @property
    def address(self) -> str:
        """Where an array begins."""
        return self.parts[ARRAY_PARTS - 1]


@dataclass(frozen=True)
class Held:
    """A Python object known now: a module, a function, a class."""

    item: Any


def tree_of(function: Any) -> ast.FunctionDef:
    """Return the syntax tree that a function was made from."""
    tree = vars(function).get("tree")
    if tree is None:
        try:
            text = vars(function).get("source") or textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError) as error:
            raise Untranslated(str(error)) from None
        tree = ast.parse(text).body[0]
    if not isinstance(tree, ast.FunctionDef) or function.__closure__ is not None:
        raise Untranslated(f"{function.__qualname__} is no plain function")
    return tree


def names_of(function: Any) -> Iterator[str]:
    """Yield the names of a function's arguments."""
    code = function.__code__
    yield from code.co_varnames[: code.co_argcount]


def llvm_type(kind: Any) -> str:
    """Return how a result of a type is stored."""
    if kind is NONE:
        return "ptr"
    if isinstance(kind, types.BaseTuple):
        return f"[{len(part_types(kind))} x i64]"
    return "double" if kind is FLOAT else "i64"


def part_types(kind: Any) -> list[str]:
    """Return the LLVM types of what a value of a type is passed as."""
    if kind is INT or kind is FLOAT:
        return [llvm_type(kind)]
    if isinstance(kind, types.Array) and kind.dtype is INT and kind.layout == "C":
        return ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * (2 * kind.ndim)]
    if isinstance(kind, types.BaseTuple):
        return [part for each in kind for part in part_types(each)]
    raise Untranslated(f"an argument of type {kind}")


def joined(values: list[Value]) -> tuple[str, ...]:
    """Return what all the values consist of."""
    return tuple(part for value in values for part in value.parts)


def result_type(kind: Any) -> str:
    """Return how a result of a type is stored by a function that Numba may have compiled."""
    return "i8" if kind is types.boolean else llvm_type(kind)


def is_record(item: Any) -> bool:
    """Tell whether an object is a type of named tuples."""
    return isinstance(item, type) and issubclass(item, tuple) and hasattr(item, "_fields")


def is_number(text: str) -> bool:
    """Tell whether an LLVM value is a number known now."""
    return text.lstrip("-").isdigit()


def number_text(value: int) -> str:
    """Return an integer as 64 bits hold it."""
    value &= _MASK64
    return str(value - (1 << 64) if value >> 63 else value)
