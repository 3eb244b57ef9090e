"""The average of every channel of an image, and its gradient."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    ADD,
    FP16,
    FP32,
    MTE2,
    MTE3,
    UB,
    Operand,
    Shape,
    Tiling,
    V,
    alloc,
    close,
    data_move,
    emits,
    fill,
    filled,
    flat_scale,
    free,
    kernel,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vmuls,
)
from kernels.pieces.reduce_columns import reduce_narrow
from kernels.rules import item_bytes, require_dtype, round_up
from kernels.tiling.reduction import ReduceShape, ReduceTiling

Array = npt.NDArray[Any]
C0, BLOCK, REPEATS, LANES = 16, 32, 255, 8
TILE_BYTES = 24 * 1024


@dataclass(frozen=True)
class GlobalShape(Shape):
    """x[n, c, h, w] and y[n, c, 1, 1]."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = tuple(
        {"n": n, "c": c, "h": h, "w": h, "dtype": dtype}
        for n, c, h in ((3, 20, 7), (1, 16, 30), (40, 70, 2))
        for dtype in (FP16, FP32)
    )
    n: int
    c: int
    h: int
    w: int
    dtype: int = FP16

    @property
    def planes(self) -> int:
        """Images times groups of 16 channels."""
        return self.n * -(-self.c // C0)

    @property
    def matrices(self) -> ReduceShape:
        """The same numbers as matrices of 16 columns."""
        size = self.h * self.w
        return ReduceShape(m=size, n=C0, axis=0, b=self.planes, dtype=self.dtype, out_dtype=self.dtype)

    def check(self, kernel: str) -> None:
        """Refuse types that are not floating point."""
        require_dtype(kernel, self.dtype, FP16, FP32)


@dataclass(frozen=True)
class GlobalTiling(ReduceTiling):
    """How matrices of 16 columns are reduced."""

    @classmethod
    def default(cls, shape: GlobalShape, platform: Platform) -> Self:  # type: ignore[override] # its matrices
        """Return the tiling of the matrices."""
        return super().default(shape.matrices, platform)

    def blocks(self, shape: GlobalShape, platform: Platform) -> int:  # type: ignore[override] # its matrices
        """Return one core per plane, as many as there are."""
        return min(int(platform.ai_cores), shape.planes)


@dataclass(frozen=True)
class SpreadTiling(Tiling):
    """Positions of a tile (rounded to a multiple of 8) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    tile: int
    slots: int = 2

    @classmethod
    def default(cls, shape: GlobalShape, platform: Platform) -> Self:
        """Return tiles of about 24 KB: several planes, or a part of one."""
        limit = TILE_BYTES // (C0 * item_bytes(shape.dtype))
        share = -(-shape.planes // int(platform.ai_cores)) * shape.h * shape.w
        return cls(min(limit, round_up(share, LANES)))

    @classmethod
    def space(cls, shape: GlobalShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling and half of it."""
        first = cls.default(shape, platform)
        yield first
        if first.tile > LANES:
            yield cls(first.tile // 2)

    def blocks(self, shape: GlobalShape, platform: Platform) -> int:
        """Return one core per plane, as many as there are."""
        return min(int(platform.ai_cores), shape.planes)


class Matrices(NamedTuple):
    """The planes as matrices of positions and channels."""

    b: int
    m: int
    n: int
    dtype: int
    out_dtype: int


def _map(name: str, shape: GlobalShape, h: int, w: int, is_output: bool = False) -> Operand:
    return Operand(name, (shape.n, shape.c, h, w), shape.dtype, "NC1HWC0", is_output=is_output)


def _operands(shape: GlobalShape) -> tuple[Operand, ...]:
    return _map("x", shape, shape.h, shape.w), _map("y", shape, 1, 1, is_output=True)


def _reference(shape: GlobalShape, x: Array) -> tuple[Array]:
    return (x.astype(np.float64).mean(axis=(2, 3), keepdims=True).astype(x.dtype),)


@kernel(GlobalShape, GlobalTiling, _operands, _reference)
def global_avg_pool(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n, c, 1, 1] = average of x[n, c, h, w] over h and w."""
    planes, size = shape.n * ((shape.c + C0 - 1) // C0), shape.h * shape.w
    matrices = Matrices(planes, size, planes * 0 + C0, shape.dtype, shape.dtype)
    reduce_narrow(core, ADD, x, y, matrices, tiling, 1.0 / size)


def _grad_operands(shape: GlobalShape) -> tuple[Operand, ...]:
    return _map("dy", shape, 1, 1), _map("dx", shape, shape.h, shape.w, is_output=True)


def _grad_reference(shape: GlobalShape, dy: Array) -> tuple[Array]:
    size = (shape.n, shape.c, shape.h, shape.w)
    return (np.broadcast_to(dy.astype(np.float64) / (shape.h * shape.w), size).astype(dy.dtype),)


@emits
def repeat_position(core: Any, dst: int, position: int, count: int, dtype: int) -> None:
    """Fill `count` positions with copies of one."""
    unit = C0 * size_of(core, dtype) // BLOCK
    lanes = LANES * C0 // unit
    for half in range(unit):
        done = 0
        while done < count:
            repeat = max(1, min(REPEATS, (count - done) // LANES))
            to, mask = dst + (done * unit + half) * BLOCK, min(lanes, (count - done) * C0 // unit)
            vmuls(core, to, position + half * BLOCK, repeat, 1.0, dtype, mask, unit, 0, LANES * unit, 0)
            done += repeat * LANES


@kernel(GlobalShape, SpreadTiling, _grad_operands, _grad_reference)
def global_avg_pool_grad(core: Any, dy: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n, c, h, w] = dy[n, c, 1, 1] / (h * w)."""
    position, size = C0 * size_of(core, shape.dtype), shape.h * shape.w
    planes, tile = shape.n * ((shape.c + C0 - 1) // C0), max(1, tiling.tile // LANES) * LANES
    at_once = max(1, tile // size)
    given = alloc(core, UB, tiling.slots * at_once * position, tiling.slots)
    made = alloc(core, UB, tiling.slots * tile * position, tiling.slots)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, tiling.slots)
    end = share_end(core, planes, 1)
    for plane in range(share_start(core, planes, 1), end, at_once):
        count = min(at_once, end - plane)
        there = given + fill(core, q_in) * at_once * position
        data_move(core, there, dy + plane * position, 1, count * position // BLOCK)
        filled(core, q_in)
        use(core, q_in)
        flat_scale(core, there, there, count * C0, 1.0 / size, 0.0, shape.dtype)
        for first in range(0, size, tile):
            some = min(tile, size - first)
            result = made + fill(core, q_out) * tile * position
            for i in range(count):
                repeat_position(core, result + i * size * position, there + i * position, some, shape.dtype)
            filled(core, q_out)
            use(core, q_out)
            blocks = (count - 1) * size * position // BLOCK + some * position // BLOCK
            data_move(core, dx + (plane * size + first) * position, result, 1, blocks)
            free(core, q_out)
        free(core, q_in)
    close(core, q_out)
    close(core, q_in)
