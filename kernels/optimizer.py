"""Weight updates without second moments: one pass over weights, moments and gradients.

Weights and moments are fp32, gradients fp32 or fp16 (`grad_dtype`), scaled by 2 ** `grad_shift` as those of a
scaled loss are; results may lie where the sources do.
Numbers such as the learning rate are tensors of one element. The barriers and hand-offs are those of
`kernels.pieces.update`; adaptive updates are in `optimizer_adaptive`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FAST_BYTES,
    FP16,
    FP32,
    INT32,
    Operand,
    emits,
    flat_binary,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
)
from kernels.lang.flat import ADD, MUL, SUB
from kernels.pieces.broadcast import SAME, Work, block_binary, stream_binary
from kernels.pieces.numbers import (
    bring_number,
    close_numbers,
    full_block,
    open_numbers,
    spread_numbers,
    take_numbers,
)
from kernels.pieces.update import (
    NONE,
    UNIT,
    Arrays,
    close_update,
    give_tiles,
    make_tiles,
    open_update,
    take_tiles,
    unscaled_source,
)
from kernels.rules import require, require_dtype
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
MOST_SHIFT = 30
"""The largest power of two that a loss is scaled by, as kernels take it."""


@dataclass(frozen=True)
class UpdateShape(FlatShape):
    """n weights in fp32 and their gradients in `grad_dtype`."""

    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = ({"n": 512 * 512 * 9}, {"n": 30522 * 1024})
    """The largest convolution of ResNet-50, the embedding of BERT-Large."""
    STREAMS: ClassVar[int] = 3
    """Arrays that come and go."""
    SPARES: ClassVar[int] = 0
    """Tiles for intermediate results."""
    dtype: int = FP32
    grad_dtype: int = FP32

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot: of what is not double buffered, half of it."""
        single = self.SPARES + (1 if self.grad_dtype == FP16 else 0)
        return 4 * self.STREAMS + 2 * single

    def check(self, kernel: str) -> None:
        """Refuse other weights than fp32: master weights have no other type."""
        require_dtype(kernel, self.dtype, FP32)
        require_dtype(kernel, self.grad_dtype, FP16, FP32, name="grad_dtype")


@dataclass(frozen=True)
class ScaledShape(UpdateShape):
    """n weights whose gradients are 2 ** grad_shift times too large."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("grad_shift",)
    UNVARIED: ClassVar[tuple[str, ...]] = ("grad_shift",)
    grad_shift: int = 0

    def check(self, kernel: str) -> None:
        """Refuse other types, and a scale that is no power of two of fp32."""
        super().check(kernel)
        rule = f"grad_shift is 0 to {MOST_SHIFT}"
        require(kernel, 0 <= self.grad_shift <= MOST_SHIFT, rule, f"grad_shift={self.grad_shift}")


@dataclass(frozen=True)
class NesterovShape(ScaledShape):
    """n weights with a moment each; `nesterov` 1 steps as if the next moment were known."""

    STREAMS: ClassVar[int] = 5
    SPARES: ClassVar[int] = 1
    OPTIONS: ClassVar[tuple[str, ...]] = (*ScaledShape.OPTIONS, "nesterov")
    nesterov: int = 0

    def check(self, kernel: str) -> None:
        """Refuse other types and scales, and an option that is neither 0 nor 1."""
        super().check(kernel)
        require(kernel, self.nesterov in {0, 1}, "nesterov is 0 or 1", f"nesterov={self.nesterov}")


def arrays(shape: UpdateShape, *names: str) -> tuple[Operand, ...]:
    """Declare fp32 arrays of n elements, and the gradient behind them."""
    wide = tuple(Operand(name, (shape.n,), FP32) for name in names)
    return (*wide, Operand("g", (shape.n,), shape.grad_dtype))


def numbers(*names: str) -> tuple[Operand, ...]:
    """Declare operands of one fp32 number each."""
    return tuple(Operand(name, (1,), FP32, between=(0.1, 0.9)) for name in names)


def results(shape: UpdateShape, *names: str) -> tuple[Operand, ...]:
    """Declare fp32 arrays of n elements that are written."""
    return tuple(output(name, (shape.n,), FP32) for name in names)


def unscaled(shape: ScaledShape, g: Array) -> Array:
    """Return gradients in fp32, without their scale."""
    return g.astype(np.float32) * np.float32(2.0**-shape.grad_shift)


def _momentum_operands(shape: NesterovShape) -> tuple[Operand, ...]:
    rates = numbers("learning_rate", "momentum")
    return *arrays(shape, "w", "m"), *rates, *results(shape, "w_new", "m_new")


def _momentum_reference(
    shape: NesterovShape, w: Array, m: Array, g: Array, learning_rate: Array, momentum: Array
) -> tuple[Array, Array]:
    return _decayed_reference(shape, w, m, g, learning_rate, momentum, np.zeros(1, np.float32))


def _decayed_operands(shape: NesterovShape) -> tuple[Operand, ...]:
    rates = numbers("learning_rate", "momentum", "weight_decay")
    return *arrays(shape, "w", "m"), *rates, *results(shape, "w_new", "m_new")


def _decayed_reference(
    shape: NesterovShape, w: Array, m: Array, g: Array, learning_rate: Array, momentum: Array,
    weight_decay: Array,
) -> tuple[Array, Array]:  # fmt: skip
    slope = weight_decay * w + unscaled(shape, g)
    moved = momentum * m + slope
    step = momentum * moved + slope if shape.nesterov else moved
    return w - learning_rate * step, moved


@emits
def momentum_step(core: Any, made: int, m: int, g: int, momentum: int, n: int, pitch: int) -> None:
    """Compute m_new, `pitch` bytes behind `made`: momentum * m + g; momentum is a full block."""
    block_binary(core, MUL, made + pitch, m, momentum, n, FP32)
    flat_binary(core, ADD, made + pitch, made + pitch, g, n, FP32)


@emits
def weight_step(core: Any, made: int, w: int, step: int, learning_rate: int, n: int) -> None:
    """Compute w_new at `made`: w - learning_rate * step, of which the rate is a full block."""
    block_binary(core, MUL, made, step, learning_rate, n, FP32)
    flat_binary(core, SUB, made, w, made, n, FP32)


@emits
def momentum_update(
    core: Any, sources: Any, made_to: Any, rates: Any, decays: int, shape: Any, tiling: Any
) -> None:
    """Update this block's share of the weights and moments; rates are 0 learning, 1 momentum, 2 decay."""
    u = open_update(core, 3, 2, 1, 1 if shape.grad_dtype == FP16 else 0, tiling)
    take_numbers(core, rates)
    spread_numbers(core, rates)
    learning_rate, momentum = full_block(core, rates, 0), full_block(core, rates, 1)
    end = share_end(core, shape.n, UNIT)
    for i in range(share_start(core, shape.n, UNIT), end, u.tile):
        n = min(u.tile, end - i)
        w = take_tiles(core, u, sources, i, n)
        g, made = unscaled_source(core, u, w, n, shape.grad_shift), make_tiles(core, u)
        if decays != 0:
            block_binary(core, MUL, u.spare, w, full_block(core, rates, 2), n, FP32)
            flat_binary(core, ADD, u.spare, u.spare, g, n, FP32)
            g = u.spare
        momentum_step(core, made, w + u.pitch, g, momentum, n, u.pitch)
        if shape.nesterov != 0:
            block_binary(core, MUL, made, made + u.pitch, momentum, n, FP32)
            flat_binary(core, ADD, made, made, g, n, FP32)
        weight_step(core, made, w, made if shape.nesterov != 0 else made + u.pitch, learning_rate, n)
        give_tiles(core, u, made, made_to, i, n)
    close_update(core, u)


@kernel(NesterovShape, FlatTiling, _momentum_operands, _momentum_reference)
def apply_momentum(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, m: int, g: int, learning_rate: int, momentum: int, w_new: int, m_new: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """m_new[n] = momentum * m[n] + g[n]; w_new[n] = w[n] - learning_rate * m_new[n]; may be in place.

    With `nesterov` the step is momentum * m_new + g instead of m_new.
    """
    rates = open_numbers(core)
    bring_number(core, rates, 0, learning_rate)
    bring_number(core, rates, 1, momentum)
    to = Arrays(w_new, m_new, NONE, NONE)
    momentum_update(core, Arrays(w, m, g, NONE), to, rates, 0, shape, tiling)
    close_numbers(core, rates)


@kernel(NesterovShape, FlatTiling, _decayed_operands, _decayed_reference)
def apply_momentum_decay(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, m: int, g: int, learning_rate: int, momentum: int, weight_decay: int, w_new: int,
    m_new: int, shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """As apply_momentum, of the gradient g[n] + weight_decay * w[n]; may be in place."""
    rates = open_numbers(core)
    bring_number(core, rates, 0, learning_rate)
    bring_number(core, rates, 1, momentum)
    bring_number(core, rates, 2, weight_decay)
    to = Arrays(w_new, m_new, NONE, NONE)
    momentum_update(core, Arrays(w, m, g, NONE), to, rates, 1, shape, tiling)
    close_numbers(core, rates)


def _sgd_operands(shape: ScaledShape) -> tuple[Operand, ...]:
    return *arrays(shape, "w"), *numbers("learning_rate", "weight_decay"), *results(shape, "w_new")


def _sgd_reference(
    shape: ScaledShape, w: Array, g: Array, learning_rate: Array, weight_decay: Array
) -> tuple[Array]:
    return (w - learning_rate * (weight_decay * w + unscaled(shape, g)),)


@kernel(ScaledShape, FlatTiling, _sgd_operands, _sgd_reference)
def apply_sgd(
    core: Any, w: int, g: int, learning_rate: int, weight_decay: int, w_new: int, shape: Any, tiling: Any
) -> None:  # fmt: skip
    """w_new[n] = w[n] - learning_rate * (g[n] + weight_decay * w[n]); may be in place."""
    rates = open_numbers(core)
    bring_number(core, rates, 0, learning_rate)
    bring_number(core, rates, 1, weight_decay)
    u = open_update(core, 2, 1, 0, 1 if shape.grad_dtype == FP16 else 0, tiling)
    take_numbers(core, rates)
    spread_numbers(core, rates)
    end = share_end(core, shape.n, UNIT)
    for i in range(share_start(core, shape.n, UNIT), end, u.tile):
        n = min(u.tile, end - i)
        at = take_tiles(core, u, Arrays(w, g, NONE, NONE), i, n)
        slope = unscaled_source(core, u, at, n, shape.grad_shift)
        made = make_tiles(core, u)
        block_binary(core, MUL, made, at, full_block(core, rates, 1), n, FP32)
        flat_binary(core, ADD, made, made, slope, n, FP32)
        weight_step(core, made, at, made, full_block(core, rates, 0), n)
        give_tiles(core, u, made, Arrays(w_new, NONE, NONE, NONE), i, n)
    close_update(core, u)
    close_numbers(core, rates)


@dataclass(frozen=True)
class AssignShape(FlatShape):
    """n numbers."""

    LIVE: ClassVar[int] = 3

    def check(self, kernel: str) -> None:
        """Refuse types that are not added."""
        require_dtype(kernel, self.dtype, FP16, FP32, INT32)


def _assign_operands(shape: AssignShape) -> tuple[Operand, ...]:
    n = (shape.n,)
    sources = Operand("x", n, shape.dtype), Operand("more", n, shape.dtype)
    return *sources, output("x_new", n, shape.dtype)


def _assign_reference(shape: AssignShape, x: Array, more: Array) -> tuple[Array]:
    return (x + more,)


@kernel(AssignShape, FlatTiling, _assign_operands, _assign_reference)
def assign_add(core: Any, x: int, more: int, x_new: int, shape: Any, tiling: Any) -> None:
    """x_new[n] = x[n] + more[n], of any type; may be in place: a counter of steps, a sum of gradients."""
    tile = max(1, tiling.tile // 128) * 128
    work = Work(ADD, x, more, x_new, 1, shape.n, shape.dtype, tile, tiling.slots)
    stream_binary(core, work, more, FAST_BYTES // size_of(core, shape.dtype), SAME)
