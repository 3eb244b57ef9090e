"""Concatenation of two, three, four or eight arrays along one axis: rows side by side.

Along any axis of larger arrays, m is what stands before the axis, and a, b ... are what stands from it on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import FP16, FP32, INT32, Operand, emits, kernel, output, size_of
from kernels.pieces.parts import Assembly, assemble
from kernels.pieces.row import Part, longer_row, row_of
from kernels.rules import item_bytes, require_dtype
from kernels.tiling.rows import RowsShape, RowTiling

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Concat2Shape(RowsShape):
    """a[m, a] beside b[m, b]."""

    PARTS: ClassVar[str] = "ab"
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 37, "a": 3, "b": 5}, {"m": 50, "a": 16, "b": 48}, {"m": 9, "a": 1001, "b": 70, "dtype": FP32},
        {"m": 3, "a": 20000, "b": 9}, {"m": 40, "a": 1, "b": 300}, {"m": 100, "a": 200, "b": 1},
    )  # fmt: skip
    SMALL: ClassVar[Mapping[str, int]] = {"a": 20, "b": 17, "c": 5, "d": 64, "e": 1, "f": 33, "g": 48, "h": 8}
    LARGE: ClassVar[Mapping[str, int]] = {
        "a": 320,
        "b": 64,
        "c": 99,
        "d": 16,
        "e": 1,
        "f": 33,
        "g": 48,
        "h": 8,
    }
    m: int
    a: int
    b: int
    dtype: int = FP16

    @property
    def rows(self) -> int:
        """Rows of the result."""
        return self.m

    @property
    def lengths(self) -> tuple[int, ...]:
        """Elements of a row of each operand."""
        return tuple(int(getattr(self, name)) for name in self.PARTS)

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes of a row of each operand."""
        return tuple(length * item_bytes(self.dtype) for length in self.lengths)

    def check(self, kernel: str) -> None:
        """Refuse other types than those of two and four bytes."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)


@dataclass(frozen=True)
class Concat3Shape(Concat2Shape):
    """Three arrays; c is given like a and b."""

    PARTS: ClassVar[str] = "abc"
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 37, "a": 3, "b": 5, "c": 7}, {"m": 50, "a": 16, "b": 48, "c": 32},
        {"m": 30, "a": 90, "b": 1, "c": 1}, {"m": 30, "a": 1, "b": 1, "c": 90},
    )  # fmt: skip
    c: int = 1


@dataclass(frozen=True)
class Concat4Shape(Concat3Shape):
    """Four arrays."""

    PARTS: ClassVar[str] = "abcd"
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 37, "a": 3, "b": 5, "c": 7, "d": 11}, {"m": 20, "a": 100, "b": 1, "c": 300, "d": 9},
        {"m": 20, "a": 16, "b": 32, "c": 48, "d": 64},
    )  # fmt: skip
    d: int = 1


@dataclass(frozen=True)
class Concat8Shape(Concat4Shape):
    """Eight arrays."""

    PARTS: ClassVar[str] = "abcdefgh"
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 5, **dict.fromkeys("abcdefgh", 3)}, {"m": 33, **dict.fromkeys("abcdefgh", 100)},
        {"m": 1, **dict.fromkeys("abcdefgh", 4000)},
    )  # fmt: skip
    e: int = 1
    f: int = 1
    g: int = 1
    h: int = 1


def _operands(shape: Concat2Shape) -> tuple[Operand, ...]:
    inputs = [
        Operand(name, (shape.m, width), shape.dtype)
        for name, width in zip(shape.PARTS, shape.lengths, strict=True)
    ]
    return (*inputs, output("y", (shape.m, sum(shape.lengths)), shape.dtype))


def _reference(shape: Concat2Shape, *parts: Array) -> tuple[Array]:
    return (np.concatenate(parts, axis=1),)


@emits
def columns_of(core: Any, x: int, elements: int, shape: Any) -> Any:
    """Return an operand of so many elements a row as a part."""
    width = elements * size_of(core, shape.dtype)
    return Part(x, width, width)


@kernel(Concat2Shape, RowTiling, _operands, _reference)
def concat2(core: Any, a: int, b: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, a + b] = a[m, a] beside b[m, b]."""
    first, second = columns_of(core, a, shape.a, shape), columns_of(core, b, shape.b, shape)
    row = row_of(core, shape.m, 0, first, second, Part(0, 0, 0), Part(0, 0, 0))
    assemble(core, row, Assembly(y, shape.m, shape.dtype, tiling.tile, tiling.slots), 0.0)


@kernel(Concat3Shape, RowTiling, _operands, _reference)
def concat3(core: Any, a: int, b: int, c: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, a + b + c] = a[m, a] beside b[m, b] beside c[m, c]."""
    first, second = columns_of(core, a, shape.a, shape), columns_of(core, b, shape.b, shape)
    row = row_of(core, shape.m, 0, first, second, columns_of(core, c, shape.c, shape), Part(0, 0, 0))
    assemble(core, row, Assembly(y, shape.m, shape.dtype, tiling.tile, tiling.slots), 0.0)


@kernel(Concat4Shape, RowTiling, _operands, _reference)
def concat4(core: Any, a: int, b: int, c: int, d: int, y: int, shape: Any, tiling: Any) -> None:
    """y[m, a + b + c + d] = four arrays of m rows side by side."""
    first, second = columns_of(core, a, shape.a, shape), columns_of(core, b, shape.b, shape)
    third, fourth = columns_of(core, c, shape.c, shape), columns_of(core, d, shape.d, shape)
    row = row_of(core, shape.m, 0, first, second, third, fourth)
    assemble(core, row, Assembly(y, shape.m, shape.dtype, tiling.tile, tiling.slots), 0.0)


@kernel(Concat8Shape, RowTiling, _operands, _reference)
def concat8(  # noqa: PLR0913, PLR0917 - one handle per operand
    core: Any, a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, y: int, shape: Any, tiling: Any
) -> None:  # fmt: skip
    """y[m, a + ... + h] = eight arrays of m rows side by side."""
    first, second = columns_of(core, a, shape.a, shape), columns_of(core, b, shape.b, shape)
    third, fourth = columns_of(core, c, shape.c, shape), columns_of(core, d, shape.d, shape)
    fifth, sixth = columns_of(core, e, shape.e, shape), columns_of(core, f, shape.f, shape)
    seventh, eighth = columns_of(core, g, shape.g, shape), columns_of(core, h, shape.h, shape)
    four = row_of(core, shape.m, 0, first, second, third, fourth)
    row = longer_row(core, four, fifth, sixth, seventh, eighth)
    assemble(core, row, Assembly(y, shape.m, shape.dtype, tiling.tile, tiling.slots), 0.0)
