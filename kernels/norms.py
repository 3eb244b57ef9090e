"""Norms of whole tensors and what is scaled by them: clipping by the global norm, LARS; and finite numbers.

A norm begins as partial sums of squares (`square_sum`), which depend neither on the cores nor on the tiles.
A tensor's own sums go on to LARS and LAMB as they are; those of many tensors, one behind the other, become
the global norm. The check for finite numbers goes the same way, with sums of zeros that only infinities and
NaN change. Nothing of this returns to the host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from davinci_sim.platforms import Platform
from kernels.lang import (
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
    flat_binary,
    flat_unary,
    free,
    kernel,
    output,
    queue,
    share_end,
    share_start,
    use,
    vadd,
    vcmpv_eq,
    vector_dup,
)
from kernels.lang.flat import ADD, DIV, MAX, MUL, SQRT
from kernels.optimizer import UpdateShape, arrays, numbers, results
from kernels.pieces.broadcast import block_binary
from kernels.pieces.norm_ratio import bring_sums, choose_or, norm_numbers, open_norms, ratio_block
from kernels.pieces.numbers import (
    bring_number,
    close_numbers,
    full_block,
    open_numbers,
    spread_numbers,
    take_numbers,
)
from kernels.pieces.partial import (
    LANES,
    LINE,
    NUMBERS,
    PARTS,
    add_nothing,
    add_squares,
    clear_sums,
    close_sums,
    open_sums,
    part_from,
    part_start,
    part_until,
    put_sums,
    put_zeros,
    total,
)
from kernels.pieces.update import (
    NONE,
    UNIT,
    Arrays,
    close_update,
    give_tiles,
    last_source,
    make_tiles,
    open_update,
    take_tiles,
)
from kernels.rules import round_up
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
W_NORM, G_NORM, BELOW, ABOVE = 3, 4, 5, 6
"""Numbers that LARS computes, behind those that it fetches."""


def partial_sums(x: Array) -> Array:
    """Return the sums of x[n] that `kernels.pieces.partial` describes, in fp32.

    >>> partial_sums(np.ones(1000)).sum()
    np.float32(1000.0)
    """
    length = round_up(-(-x.size // PARTS), UNIT)
    padded = np.zeros(PARTS * length)
    padded[: x.size] = x
    return np.asarray(padded.reshape(PARTS, -1, LANES).sum(axis=1).ravel(), dtype=np.float32)


def sums_of(name: str) -> Operand:
    """Declare the partial sums of squares of a tensor as an operand."""
    return Operand(name, (NUMBERS,), FP32, between=(0, 4))


@dataclass(frozen=True)
class PartShape(FlatShape):
    """n numbers, fp32 or fp16."""

    dtype: int = FP32

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot: what arrives, and two single tiles."""
        return 8


@dataclass(frozen=True)
class PartTiling(FlatTiling):
    """As for plain arrays, but cores take whole parts."""

    def blocks(self, shape: Any, platform: Platform) -> int:
        """Return the cores to use, at most one per part."""
        return min(PARTS, super().blocks(shape, platform))


def _part_operands(shape: PartShape) -> tuple[Operand, ...]:
    return Operand("x", (shape.n,), shape.dtype), output("sums", (NUMBERS,), FP32)


def _squares_reference(shape: PartShape, x: Array) -> tuple[Array]:
    return (partial_sums(np.square(x.astype(np.float64))),)


def _nothing_reference(shape: PartShape, x: Array) -> tuple[Array]:
    return (partial_sums(np.where(np.isfinite(x), 0.0, np.nan)),)


@emits
def sum_parts(core: Any, is_square: int, x: int, to: int, shape: Any, tiling: Any) -> None:
    """Write the partial sums of squares, or of 0 * x, of this block's parts."""
    u = open_update(core, 1, 0, 1, 1 if shape.dtype == FP16 else 0, tiling)
    sums = open_sums(core, 1)
    for part in range(part_from(core, shape.n), part_until(core, shape.n)):
        clear_sums(core, sums)
        end = part_start(core, shape.n, part + 1)
        for i in range(part_start(core, shape.n, part), end, u.tile):
            n = min(u.tile, end - i)
            taken = take_tiles(core, u, Arrays(x, NONE, NONE, NONE), i, n)
            wide, made = last_source(core, u, taken, n), make_tiles(core, u)
            if is_square != 0:
                add_squares(core, sums, 0, wide, u.spare, n)
            else:
                add_nothing(core, sums, 0, wide, u.spare, n)
            give_tiles(core, u, made, Arrays(NONE, NONE, NONE, NONE), i, n)
        put_sums(core, sums, part, to, NONE)
    put_zeros(core, sums, shape.n, to, NONE)
    close_sums(core, sums)
    close_update(core, u)


@kernel(PartShape, PartTiling, _part_operands, _squares_reference)
def square_sum(core: Any, x: int, sums: int, shape: Any, tiling: Any) -> None:
    """sums[512] = partial sums of the squares of x[n]; their sum is the square of its norm."""
    sum_parts(core, 1, x, sums, shape, tiling)


@kernel(PartShape, PartTiling, _part_operands, _nothing_reference)
def all_finite(core: Any, x: int, sums: int, shape: Any, tiling: Any) -> None:
    """sums[512] = 0 where all numbers of x[n] that it covers are finite, else NaN."""
    sum_parts(core, 0, x, sums, shape, tiling)


@dataclass(frozen=True)
class TotalShape(Shape):
    """The partial sums of n tensors, one behind the other."""

    SMALL: ClassVar[dict[str, int]] = {"n": 5}
    LARGE: ClassVar[dict[str, int]] = {"n": 300}
    SAMPLES: ClassVar[tuple[dict[str, int], ...]] = ({"n": 1}, {"n": 5}, {"n": 70})
    n: int


@dataclass(frozen=True)
class TotalTiling(Tiling):
    """Tensors whose sums are fetched at once, by the only core, and buffers."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tensors",)
    tensors: int
    slots: int = 2

    @classmethod
    def default(cls, shape: TotalShape, platform: Platform) -> "TotalTiling":
        """Return tiles of up to 32 KiB."""
        return cls(min(shape.n, 16))

    def blocks(self, shape: TotalShape, platform: Platform) -> int:
        """Return 1: the sums are few."""
        return 1


def _total_operands(name: str) -> Callable[[TotalShape], tuple[Operand, ...]]:
    def operands(shape: TotalShape) -> tuple[Operand, ...]:
        return Operand("sums", (shape.n, NUMBERS), FP32, between=(0, 4)), output(name, (1,), FP32)

    return operands


def _norm_reference(shape: TotalShape, sums: Array) -> tuple[Array]:
    return (np.sqrt(sums.astype(np.float64).sum().reshape(1)).astype(np.float32),)


def _status_reference(shape: TotalShape, sums: Array) -> tuple[Array]:
    return (np.isnan(sums).any(keepdims=True).reshape(1).astype(np.float32),)


@emits
def add_tensors(core: Any, kept: int, x: int, sums: int, shape: Any, tiling: Any) -> None:
    """Add the partial sums of all tensors to kept[512]; x is room for the tiles."""
    q, pitch = queue(core, MTE2, V, tiling.slots), tiling.tensors * NUMBERS * 4
    vector_dup(core, kept, NUMBERS // 64, 0.0, FP32, 64)
    for first in range(0, shape.n, tiling.tensors):
        count = min(tiling.tensors, shape.n - first)
        taken = x + fill(core, q) * pitch
        data_move(core, taken, sums + first * NUMBERS * 4, 1, count * NUMBERS * 4 // 32)
        filled(core, q)
        use(core, q)
        for tensor in range(count):
            vadd(core, kept, kept, taken + tensor * NUMBERS * 4, NUMBERS // 64, FP32, 64)
        free(core, q)
    close(core, q)


@emits
def total_kernel(core: Any, is_norm: int, sums: int, y: int, shape: Any, tiling: Any) -> None:
    """Write the root of the sum of all partial sums to y, or whether it is no number."""
    x = alloc(core, UB, tiling.slots * tiling.tensors * NUMBERS * 4, tiling.slots)
    kept, made = alloc(core, UB, NUMBERS * 4), alloc(core, UB, LINE)
    clean, bits, q = alloc(core, UB, LINE), alloc(core, UB, 32), queue(core, V, MTE3, 1)
    add_tensors(core, kept, x, sums, shape, tiling)
    fill(core, q)
    vector_dup(core, made, 1, 0.0, FP32, 64)
    total(core, made, kept)
    if is_norm != 0:
        flat_unary(core, SQRT, made, made, LANES, FP32)
    else:
        vector_dup(core, clean, 1, 0.0, FP32, LANES)
        vcmpv_eq(core, bits, made, made, 1, FP32)
        choose_or(core, made, bits, clean, 1.0)
    filled(core, q)
    use(core, q)
    data_move(core, y, made, 1, 1)
    free(core, q)
    close(core, q)


@kernel(TotalShape, TotalTiling, _total_operands("norm"), _norm_reference)
def global_norm(core: Any, sums: int, norm: int, shape: Any, tiling: Any) -> None:
    """norm[1] = the root of the sum of sums[n, 512], the partial sums of squares of n tensors."""
    total_kernel(core, 1, sums, norm, shape, tiling)


@kernel(TotalShape, TotalTiling, _total_operands("status"), _status_reference)
def float_status(core: Any, sums: int, status: int, shape: Any, tiling: Any) -> None:
    """status[1] = 0 where all_finite found n tensors finite in sums[n, 512], else 1."""
    total_kernel(core, 0, sums, status, shape, tiling)


@dataclass(frozen=True)
class ClipShape(UpdateShape):
    """n gradients."""

    STREAMS: ClassVar[int] = 2


def _clip_operands(shape: ClipShape) -> tuple[Operand, ...]:
    return *arrays(shape), *numbers("norm", "clip_norm"), *results(shape, "clipped")


def _clip_reference(shape: ClipShape, g: Array, norm: Array, clip_norm: Array) -> tuple[Array]:
    return (g.astype(np.float32) * (clip_norm / np.maximum(norm, clip_norm)),)


@kernel(ClipShape, FlatTiling, _clip_operands, _clip_reference)
def clip_by_norm(
    core: Any, g: int, norm: int, clip_norm: int, clipped: int, shape: Any, tiling: Any
) -> None:  # fmt: skip
    """clipped[n] = g[n] * clip_norm / max(norm, clip_norm), of which the norm is that of all gradients."""
    rates = open_numbers(core)
    bring_number(core, rates, 0, norm)
    bring_number(core, rates, 1, clip_norm)
    u = open_update(core, 1, 1, 0, 1 if shape.grad_dtype == FP16 else 0, tiling)
    take_numbers(core, rates)
    spread_numbers(core, rates)
    limit, scale = full_block(core, rates, 1), full_block(core, rates, 2)
    flat_binary(core, MAX, scale, full_block(core, rates, 0), limit, LANES, FP32)
    flat_binary(core, DIV, full_block(core, rates, 3), limit, scale, LANES, FP32)
    end = share_end(core, shape.n, UNIT)
    for i in range(share_start(core, shape.n, UNIT), end, u.tile):
        n = min(u.tile, end - i)
        taken = take_tiles(core, u, Arrays(g, NONE, NONE, NONE), i, n)
        slope, made = last_source(core, u, taken, n), make_tiles(core, u)
        block_binary(core, MUL, made, slope, full_block(core, rates, 3), n, FP32)
        give_tiles(core, u, made, Arrays(clipped, NONE, NONE, NONE), i, n)
    close_update(core, u)
    close_numbers(core, rates)


@dataclass(frozen=True)
class LarsShape(UpdateShape):
    """n weights and their gradients."""


def _lars_operands(shape: LarsShape) -> tuple[Operand, ...]:
    norms = sums_of("w_sums"), sums_of("g_sums")
    rates = numbers("weight_decay", "coefficient", "epsilon")
    return *arrays(shape, "w"), *norms, *rates, *results(shape, "scaled")


def _lars_reference(
    shape: LarsShape, w: Array, g: Array, w_sums: Array, g_sums: Array, weight_decay: Array,
    coefficient: Array, epsilon: Array,
) -> tuple[Array]:  # fmt: skip
    w_norm, g_norm = (np.float32(np.sqrt(sums.sum(dtype=np.float64))) for sums in (w_sums, g_sums))
    trust = coefficient * w_norm / (g_norm + weight_decay * w_norm + epsilon)
    ratio = trust if min(w_norm, g_norm) > 0 else np.float32(1)
    return ((g.astype(np.float32) + weight_decay * w) * ratio,)


@emits
def lars_ratio(core: Any, rates: Any, norms: int) -> int:
    """Return a block full of the trust ratio; the numbers are decay, coefficient and epsilon."""
    take_numbers(core, rates)
    norm_numbers(core, norms, rates, W_NORM, G_NORM)
    spread_numbers(core, rates)
    below, above = full_block(core, rates, BELOW), full_block(core, rates, ABOVE)
    w_norm, decay = full_block(core, rates, W_NORM), full_block(core, rates, 0)
    flat_binary(core, MUL, below, decay, w_norm, LANES, FP32)
    flat_binary(core, ADD, below, below, full_block(core, rates, G_NORM), LANES, FP32)
    flat_binary(core, ADD, below, below, full_block(core, rates, 2), LANES, FP32)
    flat_binary(core, MUL, above, full_block(core, rates, 1), w_norm, LANES, FP32)
    return int(ratio_block(core, norms, rates, above, below, W_NORM, G_NORM))


@kernel(LarsShape, FlatTiling, _lars_operands, _lars_reference)
def lars_update(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, g: int, w_sums: int, g_sums: int, weight_decay: int, coefficient: int, epsilon: int,
    scaled: int, shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """scaled[n] = (g[n] + weight_decay * w[n]) * trust, for apply_momentum to take as its gradient.

    trust = coefficient * |w| / (|g| + weight_decay * |w| + epsilon), or 1 where a norm is 0; the norms come
    as the partial sums that square_sum gives.
    """
    rates, norms = open_numbers(core), open_norms(core)
    bring_number(core, rates, 0, weight_decay)
    bring_number(core, rates, 1, coefficient)
    bring_number(core, rates, 2, epsilon)
    bring_sums(core, norms, w_sums, g_sums)
    u = open_update(core, 2, 1, 0, 1 if shape.grad_dtype == FP16 else 0, tiling)
    trust = lars_ratio(core, rates, norms)
    end = share_end(core, shape.n, UNIT)
    for i in range(share_start(core, shape.n, UNIT), end, u.tile):
        n = min(u.tile, end - i)
        at = take_tiles(core, u, Arrays(w, g, NONE, NONE), i, n)
        slope, made = last_source(core, u, at, n), make_tiles(core, u)
        block_binary(core, MUL, made, at, full_block(core, rates, 0), n, FP32)
        flat_binary(core, ADD, made, made, slope, n, FP32)
        block_binary(core, MUL, made, made, trust, n, FP32)
        give_tiles(core, u, made, Arrays(scaled, NONE, NONE, NONE), i, n)
    close_update(core, u)
    close_numbers(core, rates)
