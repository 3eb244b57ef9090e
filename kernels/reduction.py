"""Reductions of x[b, m, n] over its last or its middle axis, and the gradient of a bias."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    ADD,
    FP16,
    FP32,
    INT32,
    MAX,
    MIN,
    MTE2,
    MTE3,
    MUL,
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
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vector_dup,
)
from kernels.pieces.fold import ADD_HALF, INTEGERS, fold
from kernels.pieces.reduce_columns import reduce_columns
from kernels.pieces.reduce_rows import PART_COLUMNS, reduce_rows
from kernels.rules import item_bytes, require_dtype, round_up
from kernels.tiling.reduction import CELL, EDGE, MeanShape, ReduceShape, ReduceTiling

Array = npt.NDArray[Any]
LINE, LANES, BLOCK = 256, 64, 32
BIAS_TILE_BYTES = 32 * 1024


@emits
def reduce(core: Any, op: int, x: int, y: int, shape: Any, tiling: Any, factor: float) -> None:
    """Reduce x[b, m, n] along the shape's axis and multiply by `factor`."""
    how = op + (INTEGERS if shape.dtype == INT32 else 0)
    if shape.axis == 1:
        reduce_rows(core, how, x, y, shape, tiling, factor)
    else:
        reduce_columns(core, how, x, y, shape, tiling, factor)


def parts_of(shape: ReduceShape) -> list[int]:
    """Return where the parts of the reduced axis begin, and where the last one ends."""
    unit, length = (EDGE, shape.m) if shape.axis == 0 else (PART_COLUMNS, shape.n)
    lines = -(-length // unit)
    return [min(length, lines * part // shape.parts * unit) for part in range(shape.parts + 1)]


def _reduction(
    function: Callable[..., Array], start: float, between: tuple[float, float] | None = None,
    shape_type: type[ReduceShape] = ReduceShape,
) -> Callable[[Callable[..., None]], Any]:  # fmt: skip
    def operands(shape: ReduceShape) -> tuple[Operand, ...]:
        given = (shape.b, shape.m, shape.n) if shape.b > 1 else (shape.m, shape.n)
        x = Operand("x", given, shape.dtype, between=(-9, 9) if shape.dtype == INT32 else between)
        return x, output("y", shape.out_shape, shape.out_dtype)

    def reference(shape: ReduceShape, x: Array) -> tuple[Array]:
        if shape.dtype == INT32:
            return (_whole(shape, x.reshape(shape.b, shape.m, shape.n), function, start),)
        wide = x.reshape(shape.b, shape.m, shape.n).astype(np.float64)
        factor = shape.reduced if function is np.mean else 1
        made = _reduced(shape, wide, np.sum if function is np.mean else function, start) / factor
        (result,) = operands(shape)[1:]
        return (made.astype(result.device_dtype.numpy),)

    return kernel(shape_type, ReduceTiling, operands, reference)


def _whole(shape: ReduceShape, x: Array, combine: Callable[..., Array], start: float) -> Array:
    """Return integers reduced; of results the lower 32 bits remain."""
    limits = np.iinfo(np.int32)
    first = int(min(max(start, limits.min), limits.max))
    return _reduced(shape, x.astype(np.int64), combine, first).astype(np.int32)


def _reduced(shape: ReduceShape, x: Array, combine: Callable[..., Array], start: float) -> Array:
    """Return x[b, m, n] reduced along the shape's axis."""
    if shape.axis == 0:
        found = [combine(x[:, a:b], axis=1, initial=start) for a, b in pairwise(parts_of(shape))]
        return np.stack(found, axis=1).reshape(shape.out_shape)
    return _row_parts(shape, x.reshape(-1, shape.n), combine, start).reshape(shape.out_shape)


def _row_parts(shape: ReduceShape, x: Array, combine: Callable[..., Array], start: float) -> Array:
    """Return rows reduced: one number each or, in parts, what every eighth column of a part gives."""
    if shape.parts == 1:
        return combine(x, axis=1)
    made, edges = np.full((len(x), shape.parts, CELL), start, x.dtype), parts_of(shape)
    for part, (left, right) in enumerate(pairwise(edges)):
        for lane in range(CELL):
            if right - left > lane:
                made[:, part, lane] = combine(x[:, left + lane : right : CELL], axis=1)
    return made


@_reduction(np.sum, 0.0)
def reduce_sum(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[b, m] = sum of x[b, m, n] over n (axis 1), or y[b, n] = sum over m (axis 0)."""
    reduce(core, ADD, x, y, shape, tiling, 1.0)


@_reduction(np.max, -np.inf)
def reduce_max(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[b, m] = largest of x[b, m, n] over n (axis 1), or y[b, n] = largest over m (axis 0)."""
    reduce(core, MAX, x, y, shape, tiling, 1.0)


@_reduction(np.min, np.inf)
def reduce_min(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[b, m] = smallest of x[b, m, n] over n (axis 1), or y[b, n] = smallest over m (axis 0)."""
    reduce(core, MIN, x, y, shape, tiling, 1.0)


@_reduction(np.prod, 1.0, between=(0.9, 1.1))
def reduce_prod(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[b, m] = product of x[b, m, n] over n (axis 1), or y[b, n] = product over m (axis 0)."""
    reduce(core, MUL, x, y, shape, tiling, 1.0)


@_reduction(np.mean, 0.0, shape_type=MeanShape)
def reduce_mean(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[b, m] = mean of x[b, m, n] over n (axis 1), or y[b, n] = mean over m (axis 0)."""
    factor = 1.0 / (shape.n if shape.axis == 1 else shape.m)
    reduce(core, ADD, x, y, shape, tiling, factor)


@dataclass(frozen=True)
class BiasShape(Shape):
    """dy[m, n] in fp16 or fp32; one sum per column."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 17, "n": 1234},
        {"m": 200, "n": 70},
        {"m": 3, "n": 5000},
        {"m": 17, "n": 1234, "dtype": FP16},
        {"m": 2050, "n": 70, "dtype": FP16},
    )
    m: int
    n: int
    dtype: int = FP32

    def check(self, kernel: str) -> None:
        """Refuse types that are not summed in fp32."""
        require_dtype(kernel, self.dtype, FP16, FP32)


@dataclass(frozen=True)
class BiasTiling(Tiling):
    """Rows of a tile (rounded down to a multiple of 4) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int
    slots: int = 2

    @classmethod
    def default(cls, shape: BiasShape, platform: Platform) -> Self:
        """Return tiles of up to 32 KB."""
        most = BIAS_TILE_BYTES // (EDGE * item_bytes(shape.dtype))
        return cls(min(most, round_up(shape.m, 4)))

    @classmethod
    def space(cls, shape: BiasShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling and one of half the rows."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > 4:
            yield cls(first.rows // 2)

    def blocks(self, shape: BiasShape, platform: Platform) -> int:
        """Return one core per 16 columns, as many as there are."""
        return min(int(platform.ai_cores), -(-shape.n // EDGE))


def _bias_operands(shape: BiasShape) -> tuple[Operand, ...]:
    return Operand("dy", (shape.m, shape.n), shape.dtype, "NZ"), output("db", (shape.n,), FP32)


def _bias_reference(shape: BiasShape, dy: Array) -> tuple[Array]:
    return (dy.astype(np.float64).sum(axis=0).astype(np.float32),)


@kernel(BiasShape, BiasTiling, _bias_operands, _bias_reference)
def bias_add_grad(core: Any, dy: int, db: int, shape: Any, tiling: Any) -> None:
    """db[n] = sum of dy[m, n] over m, in fp32; dy in NZ."""
    rows = max(1, tiling.rows // 4) * 4
    height = (shape.m + EDGE - 1) // EDGE * EDGE
    op, line = ADD_HALF if shape.dtype == FP16 else ADD, EDGE * size_of(core, shape.dtype)
    blocks = line // BLOCK  # of a row of 16 columns
    pitch = rows * line
    ub_x, kept = alloc(core, UB, tiling.slots * pitch, tiling.slots), alloc(core, UB, 2 * LINE)
    q_in, q_out = queue(core, MTE2, V, tiling.slots), queue(core, V, MTE3, 2)
    columns = (shape.n + EDGE - 1) // EDGE
    for column in range(share_start(core, columns, 1), share_end(core, columns, 1)):
        total = kept + fill(core, q_out) * LINE
        vector_dup(core, total, 1, 0.0, FP32, LANES)
        for row in range(0, shape.m, rows):
            count = min(rows, shape.m - row)
            taken = ub_x + fill(core, q_in) * pitch
            data_move(core, taken, dy + (column * height + row) * line, 1, count * blocks)
            filled(core, q_in)
            use(core, q_in)
            fold(core, op, total, taken, count // 4, LANES, 0, 4 * blocks)  # four rows a repeat
            if count % 4 > 0:
                rest = taken + count // 4 * 4 * line
                fold(core, op, total, rest, 1, count % 4 * EDGE, 0, 4 * blocks)
            free(core, q_in)
        fold(core, ADD, total, total + 128, 1, 32, 8, 8)
        fold(core, ADD, total, total + 64, 1, 16, 8, 8)
        filled(core, q_out)
        use(core, q_out)
        data_move(core, db + column * 64, total, 1, (min(EDGE, shape.n - column * EDGE) + 7) // 8)
        free(core, q_out)
    close(core, q_out)
    close(core, q_in)
