"""Shapes, operands and tilings of batch normalisation: groups of 16 channels, each cut in parts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.fields import FP16, FP32
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Operand, output
from kernels.lang.shapes import Shape, Tiling
from kernels.pieces.channels import CUT, SMALL_IMAGE
from kernels.rules import item_bytes, require, require_dtype, round_up

Array = npt.NDArray[Any]
C0 = 16
TILE_BYTES, LEAST_TILE, WIDE_BYTES = 24 * 1024, 64, 4
MOST_PARTS = 64


@dataclass(frozen=True)
class BatchNormShape(Shape):
    """x[n, c, h, w] and fp32 statistics per channel; sums come per part of the n * h * w positions.

    Where `parts` is not given, few groups of channels are cut in as many parts as keep 32 cores busy.
    """

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"n": n, "c": c, "h": h, "w": h, "parts": parts, "dtype": dtype}
        for n, c, h, parts in ((3, 20, 7, 2), (2, 16, 30, 8), (5, 33, 3, 4))
        for dtype in (FP16, FP32)
    )
    n: int
    c: int
    h: int
    w: int
    parts: int = 0
    dtype: int = FP16

    def __post_init__(self) -> None:
        """Choose the parts where they are not given."""
        if self.parts == 0:
            object.__setattr__(self, "parts", min(MOST_PARTS, max(1, MOST_PARTS // max(1, self.groups))))

    @property
    def groups(self) -> int:
        """Groups of 16 channels."""
        return -(-self.c // C0)

    @property
    def positions(self) -> int:
        """Numbers per channel."""
        return self.n * self.h * self.w

    def check(self, kernel: str) -> None:
        """Refuse types that are not floating point, and parts that leave no room."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        require(kernel, self.parts <= MOST_PARTS, f"at most {MOST_PARTS} parts", f"parts={self.parts}")


@dataclass(frozen=True)
class NormaliseShape(BatchNormShape):
    """x[n, c, h, w] to be normalised; with relu=1 negative results become zero."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("relu",)
    relu: int = 0

    def check(self, kernel: str) -> None:
        """Refuse further what relu cannot be."""
        super().check(kernel)
        require(kernel, self.relu in (0, 1), "relu is 0 or 1", f"relu={self.relu}")


@dataclass(frozen=True)
class BatchNormTiling(Tiling):
    """Positions of a tile (rounded to a multiple of 64) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    tile: int
    slots: int = 2

    @classmethod
    def default(cls, shape: BatchNormShape, platform: Platform) -> Self:
        """Return tiles of about 24 KB, or of a whole part."""
        limit = TILE_BYTES // (C0 * item_bytes(shape.dtype))
        part = -(-shape.positions // shape.parts)
        return cls(round_up(-(-part // -(-part // limit)), LEAST_TILE))

    @classmethod
    def space(cls, shape: BatchNormShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling and halves of it."""
        first = cls.default(shape, platform)
        yield first
        for part in (2, 4):
            if first.tile // part >= LEAST_TILE:
                yield cls(first.tile // part)

    def blocks(self, shape: BatchNormShape, platform: Platform) -> int:
        """Return one core per part of a group, as many as there are."""
        return min(int(platform.ai_cores), shape.groups * shape.parts)


def channels(name: str, shape: BatchNormShape, between: tuple[float, float] | None = None) -> Operand:
    """Declare a number per channel; the last group is read whole."""
    return Operand(name, (shape.c,), FP32, padding_bytes=-4 * shape.c % 64, between=between)


def number(name: str, low: float, high: float) -> Operand:
    """Declare one number."""
    return Operand(name, (1,), FP32, between=(low, high))


def feature_map(name: str, shape: BatchNormShape) -> Operand:
    """Declare a feature map that is read."""
    return Operand(name, (shape.n, shape.c, shape.h, shape.w), shape.dtype, "NC1HWC0")


def partial(name: str, shape: BatchNormShape) -> Operand:
    """Declare what every part of the positions leaves of every channel, whole groups."""
    return output(name, (shape.parts, shape.groups * C0), FP32)


def parts_of(shape: BatchNormShape, x: Array) -> list[Array]:
    """Return x[n, c, h, w] as its parts [positions, groups * 16], in float64, channels beyond c zero."""
    rows = x.transpose(0, 2, 3, 1).reshape(-1, shape.c).astype(np.float64)
    rows = np.pad(rows, ((0, 0), (0, shape.groups * C0 - shape.c)))
    size = shape.h * shape.w
    unit = size if size <= SMALL_IMAGE else CUT
    units = -(-len(rows) // unit)
    edges = [min(len(rows), units * part // shape.parts * unit) for part in range(shape.parts + 1)]
    return [rows[start:end] for start, end in pairwise(edges)]
