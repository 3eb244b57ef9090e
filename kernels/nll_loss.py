"""The negative log-likelihood loss of logarithms of probabilities with integer labels, and its gradient.

Of each row only the block that begins with its label's number is fetched. Labels outside of the rows count
for nothing: their loss and their gradient are zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
    FP16,
    FP32,
    INT32,
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
    flat_binary,
    flat_convert,
    flat_scale,
    free,
    gather_rows,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    size_of,
    use,
    vcadd,
    vector_dup,
)
from kernels.lang.flat import ADD
from kernels.one_hot import EXACT, OneHotTiling, Spots, rows_with_spots
from kernels.pieces.counting import count_up
from kernels.pieces.rows import pitch_bytes
from kernels.pieces.where import BITS_BYTES, LESS, NOT_LESS, Pick, where
from kernels.rules import require, require_dtype, round_up

Array = npt.NDArray[Any]
BLOCK, EDGE, EIGHT = 32, 16, 8
MOST_ROWS = 240
"""Rows of a tile: as many repeats has one instruction, whole sixteens of them."""


@dataclass(frozen=True)
class LikelihoodShape(Shape):
    """Logarithms of probabilities of n classes in m rows, of type `dtype`; labels are int32."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 3, "n": 10}, {"m": 300, "n": 129, "dtype": FP32}, {"m": 9, "n": 5000},
    )  # fmt: skip
    m: int
    n: int
    dtype: int = FP16

    def check(self, kernel: str) -> None:
        """Refuse types that are not floating point, and more classes than float32 counts."""
        require_dtype(kernel, self.dtype, FP16, FP32)
        require(kernel, self.n < EXACT, "n is below 2 ** 24", f"n={self.n}")


@dataclass(frozen=True)
class LikelihoodTiling(Tiling):
    """Rows of a tile, a multiple of 16."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows",)
    rows: int

    @classmethod
    def default(cls, shape: LikelihoodShape, platform: Platform) -> Self:
        """Return one tile for each core, or as many rows as one instruction takes."""
        return cls(min(MOST_ROWS, round_up(-(-shape.m // int(platform.ai_cores)), EDGE)))

    @classmethod
    def space(cls, shape: LikelihoodShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, and one of half the rows."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > EDGE:
            yield replace(first, rows=first.rows // 2)

    def blocks(self, shape: LikelihoodShape, platform: Platform) -> int:
        """Return one core per 16 rows, as many as there are."""
        return min(int(platform.ai_cores), -(-shape.m // EDGE))


class Chosen(NamedTuple):
    """Buffers for the rows of a tile: hand-offs, labels, where their numbers lie, what came, and in fp32.

    `starts` counts where rows begin; `zero` and `end` are blocks full of 0 and of n.
    """

    q_labels: int
    q_places: int
    q_came: int
    q_out: int
    labels: int
    places: int
    starts: int
    came: int
    wide: int
    known: int
    loss: int
    out: int
    zero: int
    end: int
    bits: int


@emits
def open_chosen(core: Any, rows: int, shape: Any) -> Chosen:
    """Allocate everything, and fill what stays as it is."""
    room = (rows + 63) // 64 * 256  # bytes of a number for each row, in whole repeats
    q_labels, q_places = queue(core, MTE2, V, 1), queue(core, V, MTE2, 1)
    q_came, q_out = queue(core, MTE2, V, 1), queue(core, V, MTE3, 1)
    labels, places, starts = alloc(core, UB, room), alloc(core, UB, room), alloc(core, UB, room)
    came = alloc(core, UB, rows * BLOCK)
    wide = alloc(core, UB, 2 * rows * BLOCK) if shape.dtype == FP16 else came
    known, loss, out = alloc(core, UB, room), alloc(core, UB, room), alloc(core, UB, room)
    zero, end, bits = alloc(core, UB, BLOCK), alloc(core, UB, BLOCK), alloc(core, UB, BITS_BYTES)
    count_up(core, starts, rows, shape.n, INT32, zero)
    vector_dup(core, zero, 1, 0.0, FP32, EIGHT)
    vector_dup(core, end, 1, shape.n * 1.0, FP32, EIGHT)
    return Chosen(
        q_labels, q_places, q_came, q_out, labels, places, starts, came, wide, known, loss, out, zero, end,
        bits,
    )  # fmt: skip


@emits
def fetch_chosen(core: Any, c: Chosen, x: int, labels: int, row: int, count: int, shape: Any) -> None:
    """Bring the labels of some rows, and of each row the block that begins with its label's number."""
    fill(core, c.q_labels)
    data_move(core, c.labels, labels + row * 4, 1, pitch_bytes(core, count * 4) // BLOCK)
    filled(core, c.q_labels)
    use(core, c.q_labels)
    fill(core, c.q_places)
    flat_binary(core, ADD, c.places, c.labels, c.starts, count, INT32)
    filled(core, c.q_places)
    use(core, c.q_places)
    fill(core, c.q_came)
    size = size_of(core, shape.dtype)
    gather_rows(core, c.came, x + row * shape.n * size, c.places, count * shape.n, size, count, 1, 0)
    free(core, c.q_places)
    filled(core, c.q_came)
    use(core, c.q_came)


@emits
def loss_of_chosen(core: Any, c: Chosen, count: int, dtype: int) -> None:
    """Compute the loss of some rows from the first number of each block that came."""
    step = 1
    if dtype == FP16:
        flat_convert(core, c.wide, FP32, c.came, FP16, count * EDGE)
        step = 2
    vcadd(core, c.loss, c.wide, count, FP32, 1, 1, step)  # of one lane: its number
    flat_convert(core, c.known, FP32, c.labels, INT32, count)
    flat_scale(core, c.loss, c.loss, count, -1.0, 0.0, FP32)
    where(core, NOT_LESS, c.loss, c.known, c.zero, Pick(c.loss, 1, c.zero, 0, c.bits), count, FP32)
    where(core, LESS, c.loss, c.known, c.end, Pick(c.loss, 1, c.zero, 0, c.bits), count, FP32)
    free(core, c.q_came)
    free(core, c.q_labels)


def _loss_operands(shape: LikelihoodShape) -> tuple[Operand, ...]:
    labels = Operand("labels", (shape.m,), INT32, between=(-1, shape.n + 1), is_whole=True)
    x = Operand("x", (shape.m, shape.n), shape.dtype, between=(-9.0, 0.0))
    return x, labels, output("loss", (shape.m,), shape.dtype)


def _grad_operands(shape: LikelihoodShape) -> tuple[Operand, ...]:
    x, labels, loss = _loss_operands(shape)
    return Operand("dloss", loss.shape, shape.dtype), labels, output("dx", x.shape, shape.dtype)


def _loss_reference(shape: LikelihoodShape, x: Array, labels: Array) -> tuple[Array]:
    inside = (labels >= 0) & (labels < shape.n)
    chosen = x[np.arange(shape.m), np.where(inside, labels, 0)]
    return (np.where(inside, -chosen, 0).astype(x.dtype),)


def _grad_reference(shape: LikelihoodShape, dloss: Array, labels: Array) -> tuple[Array]:
    is_label = np.arange(shape.n) == labels[:, np.newaxis]
    return (np.where(is_label, -dloss[:, np.newaxis], 0).astype(dloss.dtype),)


@kernel(LikelihoodShape, LikelihoodTiling, _loss_operands, _loss_reference)
def nll_loss(core: Any, x: int, labels: int, loss: int, shape: Any, tiling: Any) -> None:
    """loss[m] = -x[m, labels[m]], where x holds logarithms of probabilities; 0 for labels outside."""
    size, rows = size_of(core, shape.dtype), max(1, min(MOST_ROWS, tiling.rows) // EDGE) * EDGE
    c, end = open_chosen(core, rows, shape), share_end(core, shape.m, EDGE)
    for row in range(share_start(core, shape.m, EDGE), end, rows):
        count = min(rows, end - row)
        fetch_chosen(core, c, x, labels, row, count, shape)
        loss_of_chosen(core, c, count, shape.dtype)
        fill(core, c.q_out)
        if shape.dtype == FP16:
            flat_convert(core, c.out, FP16, c.loss, FP32, count)
        else:
            data_move(core, c.out, c.loss, 1, pitch_bytes(core, count * size) // BLOCK)
        filled(core, c.q_out)
        use(core, c.q_out)
        data_move(core, loss + row * size, c.out, 1, pitch_bytes(core, count * size) // BLOCK)
        free(core, c.q_out)
    close(core, c.q_out)
    close(core, c.q_came)
    close(core, c.q_places)
    close(core, c.q_labels)


@kernel(LikelihoodShape, OneHotTiling, _grad_operands, _grad_reference)
def nll_loss_grad(core: Any, dloss: int, labels: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[m, n] = -dloss[m] at place labels[m] of each row, 0 elsewhere."""
    rows_with_spots(core, Spots(labels, dx, 0, 0, dloss, 1), shape, tiling)
