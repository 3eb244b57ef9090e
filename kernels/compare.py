"""Comparisons with broadcasting: 1 where they hold and 0 elsewhere, in the type of what is compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import FP32, Operand, kernel, output
from kernels.pieces.broadcast import AXES, COLUMN, NUMBER, ROW
from kernels.pieces.broadcast_axes import two_sources
from kernels.pieces.sides import EQ, GE, GT, LE, LT, NE, comparison
from kernels.tiling.binary import BinaryTiling, FloatBinaryShape

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CompareShape(FloatBinaryShape):
    """Numbers of a and of b, and how they broadcast."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37}, {"n": 9000, "dtype": FP32}, {"n": 900, "pattern": NUMBER},
        {"n": 40 * 10, "rows": 40, "pattern": ROW}, {"n": 300 * 160, "rows": 300, "pattern": COLUMN},
        {"n": 9 * 1001, "rows": 9, "pattern": COLUMN, "dtype": FP32},
        {"n": 50 * 37, "pattern": AXES, "rows": 50, "lacks": 0b10000 | 0b01000 << 5},
    )  # fmt: skip


def _operands(shape: CompareShape) -> tuple[Operand, ...]:
    a = Operand("a", shape.a_shape, shape.dtype, between=(0, 5), is_whole=True)
    b = Operand("b", shape.b_shape, shape.dtype, between=(0, 5), is_whole=True)
    return a, b, output("c", shape.c_shape, shape.dtype)


def _comparison(function: Callable[[Array, Array], Array]) -> Callable[[Callable[..., None]], Any]:
    def reference(shape: CompareShape, a: Array, b: Array) -> tuple[Array]:
        return (function(a, shape.aligned(b)).astype(a.dtype),)

    return kernel(CompareShape, BinaryTiling, _operands, reference)


@_comparison(np.equal)
def equal(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] == b[n], 0 elsewhere; or b[1], a row or a column by `pattern`."""
    two_sources(core, comparison(core, EQ, shape.dtype), a, b, c, shape, tiling)


@_comparison(np.not_equal)
def not_equal(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] != b[n], 0 elsewhere; or b[1], a row or a column by `pattern`."""
    two_sources(core, comparison(core, NE, shape.dtype), a, b, c, shape, tiling)


@_comparison(np.less)
def less(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] < b[n], 0 elsewhere; or b[1], a row or a column by `pattern`."""
    two_sources(core, comparison(core, LT, shape.dtype), a, b, c, shape, tiling)


@_comparison(np.less_equal)
def less_equal(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] <= b[n], 0 elsewhere; or b[1], a row or a column by `pattern`."""
    two_sources(core, comparison(core, LE, shape.dtype), a, b, c, shape, tiling)


@_comparison(np.greater)
def greater(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] > b[n], 0 elsewhere; or b[1], a row or a column by `pattern`."""
    two_sources(core, comparison(core, GT, shape.dtype), a, b, c, shape, tiling)


@_comparison(np.greater_equal)
def greater_equal(core: Any, a: int, b: int, c: int, shape: Any, tiling: Any) -> None:
    """c[n] = 1 where a[n] >= b[n], 0 elsewhere; or b[1], a row or a column by `pattern`."""
    two_sources(core, comparison(core, GE, shape.dtype), a, b, c, shape, tiling)
