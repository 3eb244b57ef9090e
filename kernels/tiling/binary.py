"""Shapes and tilings of what has two sources that broadcast."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.fields import FP16, FP32, INT32
from davinci_sim.platforms import Platform
from kernels.lang.shapes import Shape
from kernels.pieces.broadcast import AXES, COLUMN, NUMBER, ROW, SAME
from kernels.pieces.broadcast_axes import LEAST_PLANE
from kernels.rules import item_bytes, require, require_dtype
from kernels.tiling.flat import FlatTiling

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BinaryShape(Shape):
    """n elements; `pattern` 0: b like a, 1: b[1], 2: b[n/rows] for a[rows, n/rows], 3: b[rows].

    With pattern 4, c is [d0, d1, d2, rows, the rest of n]; a lacks the axes i for which bit 2**i of `lacks`
    is set, and b those for which bit 2**(5 + i) is (`kernels.tiling.broadcast` finds the keys of any shapes).
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ("pattern", "lacks")
    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"n": 37}, {"n": 9000}, {"n": 9000, "dtype": FP32}, {"n": 9000, "pattern": NUMBER},
        {"n": 40 * 10, "rows": 40, "pattern": ROW}, {"n": 9 * 1001, "rows": 9, "pattern": COLUMN},
        {"n": 9 * 1001, "rows": 9, "pattern": ROW, "dtype": FP32},
        {"n": 600 * 160, "rows": 600, "pattern": ROW}, {"n": 3000, "rows": 300, "pattern": COLUMN},
        {"n": 3 * 20 * 70, "pattern": AXES, "d2": 3, "rows": 20, "lacks": 0b10100 << 5},
        {"n": 50 * 37, "pattern": AXES, "rows": 50, "lacks": 0b10000 | 0b01000 << 5},
        {"n": 2 * 7 * 3000, "pattern": AXES, "d2": 2, "rows": 7, "lacks": 0b01000, "dtype": FP32},
    )  # fmt: skip
    TYPES: ClassVar[tuple[int, ...]] = (FP16, FP32, INT32)
    n: int
    rows: int = 1
    pattern: int = SAME
    dtype: int = FP16
    d0: int = 1
    d1: int = 1
    d2: int = 1
    lacks: int = 0

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        return (8 if self.pattern == AXES else 4) * item_bytes(self.dtype)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The axes of pattern 4."""
        planes = self.d0 * self.d1 * self.d2
        return self.d0, self.d1, self.d2, self.rows, self.n // max(1, planes * self.rows)

    @property
    def a_shape(self) -> tuple[int, ...]:
        """The shape of a."""
        if self.pattern == AXES:
            return self._without(self.lacks)
        return (self.n,) if self.pattern in (SAME, NUMBER) else (self.rows, self.n // self.rows)

    @property
    def b_shape(self) -> tuple[int, ...]:
        """The shape of b."""
        if self.pattern == AXES:
            return self._without(self.lacks >> 5)
        lengths = {SAME: self.n, NUMBER: 1, ROW: self.n // self.rows, COLUMN: self.rows}
        return (lengths[self.pattern],)

    @property
    def c_shape(self) -> tuple[int, ...]:
        """The shape of c."""
        return self.lengths if self.pattern == AXES else self.a_shape

    def __str__(self) -> str:
        """Print the five axes only where the pattern uses them."""
        text = super().__str__()
        return text if self.pattern == AXES else text.partition(",d0=")[0]

    def _without(self, lacking: int) -> tuple[int, ...]:
        return tuple(1 if lacking >> axis & 1 else length for axis, length in enumerate(self.lengths))

    def check(self, kernel: str) -> None:
        """Refuse unknown patterns, lengths that do not make n, and types that the instruction lacks."""
        require(kernel, 0 <= self.pattern <= AXES, "pattern is 0, 1, 2, 3 or 4", f"pattern={self.pattern}")
        require(kernel, self.n % self.rows == 0, "rows divides n", f"n={self.n}, rows={self.rows}")
        if self.pattern == AXES:
            numbers = f"n={self.n}, axes d0 to d2 and rows make {math.prod(self.lengths[:4])}"
            require(kernel, self.n == math.prod(self.lengths), "the axes divide n", numbers)
            is_known = 0 <= self.lacks < 1024 and self.lacks & self.lacks >> 5 & 31 == 0
            require(kernel, is_known, "a or b has each of five axes", f"lacks={self.lacks}")
        else:
            numbers = f"pattern={self.pattern}, lacks={self.lacks}"
            require(kernel, self.lacks == 0, "pattern 4 alone names axes", numbers)
        require_dtype(kernel, self.dtype, *self.TYPES)

    def aligned(self, b: Array) -> Array:
        """Return b in a shape that NumPy broadcasts to that of c."""
        return b[:, np.newaxis] if self.pattern == COLUMN else b


@dataclass(frozen=True)
class FloatBinaryShape(BinaryShape):
    """As BinaryShape, without integers."""

    TYPES: ClassVar[tuple[int, ...]] = (FP16, FP32)


@dataclass(frozen=True)
class BinaryTiling(FlatTiling):
    """Like FlatTiling; planes of a few bytes are one core's work."""

    def blocks(self, shape: BinaryShape, platform: Platform) -> int:
        """Return one core per KiB, as many as there are."""
        if shape.pattern == AXES and math.prod(shape.lengths[3:]) * item_bytes(shape.dtype) < LEAST_PLANE:
            return 1
        return super().blocks(shape, platform)
