"""Weight updates with a step of its own for every weight: Adam, AdamW and FTRL.

Weights, moments and results are fp32, gradients fp32 or fp16 (`grad_dtype`), those of Adam scaled by
2 ** `grad_shift`; results may lie where the sources do. Numbers are tensors of one element. `beta1_power`
and `beta2_power` are beta1 and beta2 to the power of the step, as MindSpore's ApplyAdam has them; 0 leaves
the correction of the bias out, as its AdamWeightDecay does.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import FP16, FP32, Operand, emits, flat_binary, flat_unary, kernel, share_end, share_start
from kernels.lang.flat import ADD, DIV, MAX, MIN, MUL, SQRT, SUB, flat_scale
from kernels.optimizer import NesterovShape, UpdateShape, arrays, numbers, results, unscaled
from kernels.pieces.broadcast import block_binary
from kernels.pieces.numbers import (
    bring_number,
    close_numbers,
    complement_numbers,
    full_block,
    open_numbers,
    rest_block,
    spread_numbers,
    take_numbers,
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
    unscaled_source,
)
from kernels.tiling.flat import FlatTiling

Array = npt.NDArray[Any]
BLOCK_LANES = 8
BETA1, BETA2, EPSILON, RATE, BETA1_POWER, BETA2_POWER, DECAY = range(7)
"""The order in which the numbers are fetched."""


@dataclass(frozen=True)
class AdamShape(NesterovShape):
    """n weights with two moments each; `nesterov` 1 steps as if the next first moment were known."""

    STREAMS: ClassVar[int] = 7


def moments(shape: UpdateShape) -> tuple[Operand, ...]:
    """Declare weights, both moments (the second not negative) and gradients."""
    w, m, g = arrays(shape, "w", "m")
    return w, m, Operand("v", (shape.n,), FP32, between=(0, 4)), g


def moved_moments(m: Array, v: Array, slope: Array, beta1: Array, beta2: Array) -> tuple[Array, Array]:
    """Return the next first and second moments."""
    return beta1 * m + (1 - beta1) * slope, beta2 * v + (1 - beta2) * slope * slope


def _adam_operands(shape: AdamShape) -> tuple[Operand, ...]:
    rates = numbers("beta1_power", "beta2_power", "learning_rate", "beta1", "beta2", "epsilon")
    return *moments(shape), *rates, *results(shape, "w_new", "m_new", "v_new")


def _adam_reference(  # noqa: PLR0913, PLR0917 - an operand each
    shape: AdamShape, w: Array, m: Array, v: Array, g: Array, beta1_power: Array, beta2_power: Array,
    learning_rate: Array, beta1: Array, beta2: Array, epsilon: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    slope = unscaled(shape, g)
    first, second = moved_moments(m, v, slope, beta1, beta2)
    rate = learning_rate * np.sqrt(1 - beta2_power) / (1 - beta1_power)
    step = beta1 * first + (1 - beta1) * slope if shape.nesterov else first
    return w - rate * step / (np.sqrt(second) + epsilon), first, second


def _adamw_operands(shape: AdamShape) -> tuple[Operand, ...]:
    *before, w_new, m_new, v_new = _adam_operands(shape)
    return *before, *numbers("weight_decay"), w_new, m_new, v_new


def _adamw_reference(  # noqa: PLR0913, PLR0917 - an operand each
    shape: AdamShape, w: Array, m: Array, v: Array, g: Array, beta1_power: Array, beta2_power: Array,
    learning_rate: Array, beta1: Array, beta2: Array, epsilon: Array, weight_decay: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    kept = w * (1 - learning_rate * weight_decay)
    rates = (beta1_power, beta2_power, learning_rate, beta1, beta2, epsilon)
    return _adam_reference(shape, kept, m, v, g, *rates)


@emits
def average(core: Any, moved: int, kept: int, x: int, rates: Any, beta: int, n: int) -> None:
    """Compute moved[n] = beta * kept + (1 - beta) * x, of which x is used up; beta counts the numbers."""
    block_binary(core, MUL, moved, kept, full_block(core, rates, beta), n, FP32)
    block_binary(core, MUL, x, x, rest_block(core, rates, beta), n, FP32)
    flat_binary(core, ADD, moved, moved, x, n, FP32)


@emits
def move_moments(core: Any, u: Any, rates: Any, taken: int, g: int, made: int, n: int) -> None:
    """Compute the moments behind `made` from those behind `taken` and the gradients g."""
    spare, m_new, v_new = u.spare, made + u.pitch, made + 2 * u.pitch
    flat_binary(core, MUL, spare, g, g, n, FP32)
    average(core, v_new, taken + 2 * u.pitch, spare, rates, BETA2, n)
    block_binary(core, MUL, spare, g, rest_block(core, rates, BETA1), n, FP32)
    block_binary(core, MUL, m_new, taken + u.pitch, full_block(core, rates, BETA1), n, FP32)
    flat_binary(core, ADD, m_new, m_new, spare, n, FP32)


@emits
def adam_rates(core: Any, rates: Any, decays: int) -> None:
    """Turn the learning rate to one that corrects the bias, and the decay to the share that is kept."""
    take_numbers(core, rates)
    spread_numbers(core, rates)
    complement_numbers(core, rates)
    rate, decay = full_block(core, rates, RATE), full_block(core, rates, DECAY)
    root, rest = rest_block(core, rates, BETA2_POWER), rest_block(core, rates, BETA1_POWER)
    if decays != 0:
        flat_binary(core, MUL, decay, decay, rate, BLOCK_LANES, FP32)
        flat_scale(core, decay, decay, BLOCK_LANES, -1.0, 1.0, FP32)
    flat_unary(core, SQRT, root, root, BLOCK_LANES, FP32)
    flat_binary(core, MUL, rate, rate, root, BLOCK_LANES, FP32)
    flat_binary(core, DIV, root, rate, rest, BLOCK_LANES, FP32)


@emits
def adam_update(
    core: Any, sources: Any, made_to: Any, rates: Any, decays: int, shape: Any, tiling: Any
) -> None:
    """Update this block's share of the weights and moments."""
    u = open_update(core, 4, 3, 1, 1 if shape.grad_dtype == FP16 else 0, tiling)
    adam_rates(core, rates, decays)
    rate = rest_block(core, rates, BETA2_POWER)
    end = share_end(core, shape.n, UNIT)
    for i in range(share_start(core, shape.n, UNIT), end, u.tile):
        n = min(u.tile, end - i)
        w = take_tiles(core, u, sources, i, n)
        g = unscaled_source(core, u, w, n, shape.grad_shift)
        made = make_tiles(core, u)
        move_moments(core, u, rates, w, g, made, n)
        step = made + u.pitch
        if shape.nesterov != 0:  # spare holds (1 - beta1) * g
            block_binary(core, MUL, made, step, full_block(core, rates, BETA1), n, FP32)
            flat_binary(core, ADD, made, made, u.spare, n, FP32)
            step = made
        flat_unary(core, SQRT, u.spare, made + 2 * u.pitch, n, FP32)
        block_binary(core, ADD, u.spare, u.spare, full_block(core, rates, EPSILON), n, FP32)
        flat_binary(core, DIV, u.spare, step, u.spare, n, FP32)
        block_binary(core, MUL, u.spare, u.spare, rate, n, FP32)
        if decays != 0:
            block_binary(core, MUL, w, w, full_block(core, rates, DECAY), n, FP32)
        flat_binary(core, SUB, made, w, u.spare, n, FP32)
        give_tiles(core, u, made, made_to, i, n)
    close_update(core, u)


@emits
def bring_rates(
    core: Any, rates: Any, beta1: int, beta2: int, epsilon: int, beta1_power: int, beta2_power: int
) -> None:  # fmt: skip
    """Fetch the numbers of an adaptive update in the order that this module counts them."""
    bring_number(core, rates, BETA1, beta1)
    bring_number(core, rates, BETA2, beta2)
    bring_number(core, rates, EPSILON, epsilon)
    bring_number(core, rates, BETA1_POWER, beta1_power)
    bring_number(core, rates, BETA2_POWER, beta2_power)


@kernel(AdamShape, FlatTiling, _adam_operands, _adam_reference)
def apply_adam(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, m: int, v: int, g: int, beta1_power: int, beta2_power: int, learning_rate: int,
    beta1: int, beta2: int, epsilon: int, w_new: int, m_new: int, v_new: int, shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """w_new[n] = w - rate * m_new / (sqrt(v_new) + epsilon); may be in place.

    m_new = beta1 * m + (1 - beta1) * g, v_new = beta2 * v + (1 - beta2) * g * g, and rate = learning_rate *
    sqrt(1 - beta2_power) / (1 - beta1_power); with `nesterov` m_new in the step is averaged with g once more.
    """
    rates = open_numbers(core)
    bring_rates(core, rates, beta1, beta2, epsilon, beta1_power, beta2_power)
    bring_number(core, rates, RATE, learning_rate)
    to = Arrays(w_new, m_new, v_new, NONE)
    adam_update(core, Arrays(w, m, v, g), to, rates, 0, shape, tiling)
    close_numbers(core, rates)


@kernel(AdamShape, FlatTiling, _adamw_operands, _adamw_reference)
def apply_adamw(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, m: int, v: int, g: int, beta1_power: int, beta2_power: int, learning_rate: int,
    beta1: int, beta2: int, epsilon: int, weight_decay: int, w_new: int, m_new: int, v_new: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """As apply_adam, of weights that decay first: w * (1 - learning_rate * weight_decay); may be in place."""
    rates = open_numbers(core)
    bring_rates(core, rates, beta1, beta2, epsilon, beta1_power, beta2_power)
    bring_number(core, rates, RATE, learning_rate)
    bring_number(core, rates, DECAY, weight_decay)
    to = Arrays(w_new, m_new, v_new, NONE)
    adam_update(core, Arrays(w, m, v, g), to, rates, 1, shape, tiling)
    close_numbers(core, rates)


@dataclass(frozen=True)
class FtrlShape(UpdateShape):
    """n weights, each with a sum of squared gradients and a linear term."""

    STREAMS: ClassVar[int] = 7
    SPARES: ClassVar[int] = 1


def _ftrl_operands(shape: FtrlShape) -> tuple[Operand, ...]:
    w, linear, g = arrays(shape, "w", "linear")
    squares = Operand("squares", (shape.n,), FP32, between=(0, 4))
    made = results(shape, "w_new", "squares_new", "linear_new")
    return w, squares, linear, g, *numbers("learning_rate", "l1", "l2"), *made


def _ftrl_reference(
    shape: FtrlShape, w: Array, squares: Array, linear: Array, g: Array, learning_rate: Array, l1: Array,
    l2: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    slope = g.astype(np.float32)
    moved = squares + slope * slope
    sigma = (np.sqrt(moved) - np.sqrt(squares)) / learning_rate
    bent = linear + slope - sigma * w
    steep = np.sqrt(moved) / learning_rate + 2 * l2
    return (np.clip(bent, -l1, l1) - bent) / steep, moved, bent


@emits
def ftrl_step(core: Any, u: Any, rates: Any, taken: int, g: int, made: int, n: int) -> None:
    """Compute the new weights, squares and linear terms; the numbers are rate, l1, 2 * l2, -l1."""
    w, squares, linear = taken, taken + u.pitch, taken + 2 * u.pitch
    squares_new, linear_new, rate = made + u.pitch, made + 2 * u.pitch, full_block(core, rates, 0)
    flat_binary(core, MUL, made, g, g, n, FP32)
    flat_binary(core, ADD, squares_new, squares, made, n, FP32)
    flat_unary(core, SQRT, made, squares_new, n, FP32)
    flat_unary(core, SQRT, squares, squares, n, FP32)
    flat_binary(core, SUB, u.spare, made, squares, n, FP32)
    block_binary(core, DIV, squares, u.spare, rate, n, FP32)  # sigma
    flat_binary(core, MUL, u.spare, squares, w, n, FP32)
    flat_binary(core, ADD, linear, linear, g, n, FP32)
    flat_binary(core, SUB, linear_new, linear, u.spare, n, FP32)
    block_binary(core, DIV, u.spare, made, rate, n, FP32)
    block_binary(core, ADD, u.spare, u.spare, full_block(core, rates, 2), n, FP32)
    block_binary(core, MIN, w, linear_new, full_block(core, rates, 1), n, FP32)
    block_binary(core, MAX, w, w, full_block(core, rates, 3), n, FP32)
    flat_binary(core, SUB, w, w, linear_new, n, FP32)
    flat_binary(core, DIV, made, w, u.spare, n, FP32)


@kernel(FtrlShape, FlatTiling, _ftrl_operands, _ftrl_reference)
def apply_ftrl(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, squares: int, linear: int, g: int, learning_rate: int, l1: int, l2: int, w_new: int,
    squares_new: int, linear_new: int, shape: Any, tiling: Any,
) -> None:  # fmt: skip
    """Follow the regularised leader with a learning rate power of -1/2; may be in place.

    squares_new = squares + g * g; linear_new = linear + g - (sqrt(squares_new) - sqrt(squares)) / rate * w;
    w_new[n] = (clip(linear_new, -l1, l1) - linear_new) / (sqrt(squares_new) / rate + 2 * l2).
    """
    rates = open_numbers(core)
    bring_number(core, rates, 0, learning_rate)
    bring_number(core, rates, 1, l1)
    bring_number(core, rates, 2, l2)
    u = open_update(core, 4, 3, 1, 1 if shape.grad_dtype == FP16 else 0, tiling)
    take_numbers(core, rates)
    spread_numbers(core, rates)
    flat_scale(core, full_block(core, rates, 2), full_block(core, rates, 2), BLOCK_LANES, 2.0, 0.0, FP32)
    flat_scale(core, full_block(core, rates, 3), full_block(core, rates, 1), BLOCK_LANES, -1.0, 0.0, FP32)
    end = share_end(core, shape.n, UNIT)
    for i in range(share_start(core, shape.n, UNIT), end, u.tile):
        n = min(u.tile, end - i)
        taken = take_tiles(core, u, Arrays(w, squares, linear, g), i, n)
        slope, made = last_source(core, u, taken, n), make_tiles(core, u)
        ftrl_step(core, u, rates, taken, slope, made, n)
        give_tiles(core, u, made, Arrays(w_new, squares_new, linear_new, NONE), i, n)
    close_update(core, u)
    close_numbers(core, rates)
