"""LAMB: Adam's step, as long as the weights of its layer allow, in two launches.

The first writes the direction u of the step with the partial sums of the squares of w and u; the second takes
the ratio of their norms from those. The sums depend neither on the cores nor on the tiles.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FP16,
    FP32,
    Operand,
    emits,
    flat_binary,
    flat_unary,
    kernel,
    output,
    share_end,
    share_start,
)
from kernels.lang.flat import ADD, DIV, MUL, REC, SQRT
from kernels.norms import PartTiling, partial_sums, sums_of
from kernels.optimizer import ScaledShape, UpdateShape, numbers, results, unscaled, weight_step
from kernels.optimizer_adaptive import (
    BETA1_POWER,
    BETA2_POWER,
    DECAY,
    EPSILON,
    bring_rates,
    moments,
    move_moments,
    moved_moments,
)
from kernels.pieces.broadcast import block_binary
from kernels.pieces.norm_ratio import bring_sums, norm_numbers, open_norms, ratio_block
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
from kernels.pieces.partial import (
    LANES,
    NUMBERS,
    add_squares,
    clear_sums,
    close_sums,
    open_sums,
    part_from,
    part_start,
    part_until,
    put_sums,
    put_zeros,
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
W_NORM, U_NORM = 1, 2
"""Numbers of the second launch, behind the learning rate."""


@dataclass(frozen=True)
class LambShape(ScaledShape):
    """n weights with two moments each."""

    STREAMS: ClassVar[int] = 7
    SPARES: ClassVar[int] = 1


def _direction_operands(shape: LambShape) -> tuple[Operand, ...]:
    names = "beta1_power", "beta2_power", "beta1", "beta2", "epsilon", "weight_decay"
    sums = output("w_sums", (NUMBERS,), FP32), output("u_sums", (NUMBERS,), FP32)
    return *moments(shape), *numbers(*names), *results(shape, "u", "m_new", "v_new"), *sums


def _direction_reference(  # noqa: PLR0913, PLR0917 - an operand each
    shape: LambShape, w: Array, m: Array, v: Array, g: Array, beta1_power: Array, beta2_power: Array,
    beta1: Array, beta2: Array, epsilon: Array, weight_decay: Array,
) -> tuple[Array, ...]:  # fmt: skip
    first, second = moved_moments(m, v, unscaled(shape, g), beta1, beta2)
    step = first / (1 - beta1_power) / (np.sqrt(second / (1 - beta2_power)) + epsilon)
    u = step + weight_decay * w
    squares = (partial_sums(np.square(x, dtype=np.float64)) for x in (w, u))
    return u, first, second, *squares


@emits
def lamb_rates(core: Any, rates: Any) -> None:
    """Turn what is left of the powers of beta1 and beta2 into factors."""
    take_numbers(core, rates)
    spread_numbers(core, rates)
    complement_numbers(core, rates)
    for power in (BETA1_POWER, BETA2_POWER):
        block = rest_block(core, rates, power)
        flat_unary(core, REC, block, block, LANES, FP32)


@emits
def lamb_direction(core: Any, u: Any, rates: Any, w: int, made: int, n: int) -> None:
    """Compute the direction at `made` from w and the new moments behind it."""
    block_binary(core, MUL, u.spare, made + 2 * u.pitch, rest_block(core, rates, BETA2_POWER), n, FP32)
    flat_unary(core, SQRT, u.spare, u.spare, n, FP32)
    block_binary(core, ADD, u.spare, u.spare, full_block(core, rates, EPSILON), n, FP32)
    block_binary(core, MUL, made, made + u.pitch, rest_block(core, rates, BETA1_POWER), n, FP32)
    flat_binary(core, DIV, u.spare, made, u.spare, n, FP32)
    block_binary(core, MUL, made, w, full_block(core, rates, DECAY), n, FP32)
    flat_binary(core, ADD, made, made, u.spare, n, FP32)


@kernel(LambShape, PartTiling, _direction_operands, _direction_reference)
def lamb_update(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, m: int, v: int, g: int, beta1_power: int, beta2_power: int, beta1: int, beta2: int,
    epsilon: int, weight_decay: int, u: int, m_new: int, v_new: int, w_sums: int, u_sums: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """u[n] = m' / (sqrt(v') + epsilon) + weight_decay * w[n], of corrected moments; and the sums of squares.

    m' = m_new / (1 - beta1_power), v' = v_new / (1 - beta2_power); the moments as in apply_adam.
    """
    rates = open_numbers(core)
    bring_rates(core, rates, beta1, beta2, epsilon, beta1_power, beta2_power)
    bring_number(core, rates, DECAY, weight_decay)
    streams = open_update(core, 4, 3, 1, 1 if shape.grad_dtype == FP16 else 0, tiling)
    sums = open_sums(core, 2)
    lamb_rates(core, rates)
    for part in range(part_from(core, shape.n), part_until(core, shape.n)):
        clear_sums(core, sums)
        end = part_start(core, shape.n, part + 1)
        for i in range(part_start(core, shape.n, part), end, streams.tile):
            n = min(streams.tile, end - i)
            taken = take_tiles(core, streams, Arrays(w, m, v, g), i, n)
            slope = unscaled_source(core, streams, taken, n, shape.grad_shift)
            made = make_tiles(core, streams)
            move_moments(core, streams, rates, taken, slope, made, n)
            lamb_direction(core, streams, rates, taken, made, n)
            add_squares(core, sums, 0, taken, streams.spare, n)
            add_squares(core, sums, 1, made, streams.spare, n)
            give_tiles(core, streams, made, Arrays(u, m_new, v_new, NONE), i, n)
        put_sums(core, sums, part, w_sums, u_sums)
    put_zeros(core, sums, shape.n, w_sums, u_sums)
    close_sums(core, sums)
    close_update(core, streams)
    close_numbers(core, rates)


@dataclass(frozen=True)
class StepShape(UpdateShape):
    """n weights and the direction of their step, both fp32."""

    OPTIONS: ClassVar[tuple[str, ...]] = ()


def _step_operands(shape: StepShape) -> tuple[Operand, ...]:
    w, u = Operand("w", (shape.n,), FP32), Operand("u", (shape.n,), shape.grad_dtype)
    return w, u, sums_of("w_sums"), sums_of("u_sums"), *numbers("learning_rate"), *results(shape, "w_new")


def _step_reference(
    shape: StepShape, w: Array, u: Array, w_sums: Array, u_sums: Array, learning_rate: Array
) -> tuple[Array]:  # fmt: skip
    w_norm, u_norm = (np.float32(np.sqrt(sums.sum(dtype=np.float64))) for sums in (w_sums, u_sums))
    ratio = w_norm / u_norm if min(w_norm, u_norm) > 0 else np.float32(1)
    return (w - learning_rate * ratio * u.astype(np.float32),)


@kernel(StepShape, FlatTiling, _step_operands, _step_reference)
def lamb_apply(  # noqa: PLR0913, PLR0917 - an operand each
    core: Any, w: int, u: int, w_sums: int, u_sums: int, learning_rate: int, w_new: int, shape: Any,
    tiling: Any,
) -> None:  # fmt: skip
    """w_new[n] = w[n] - learning_rate * |w| / |u| * u[n], the ratio 1 where a norm is 0; may be in place."""
    rates, norms = open_numbers(core), open_norms(core)
    bring_number(core, rates, 0, learning_rate)
    bring_sums(core, norms, w_sums, u_sums)
    streams = open_update(core, 2, 1, 0, 1 if shape.grad_dtype == FP16 else 0, tiling)
    take_numbers(core, rates)
    norm_numbers(core, norms, rates, W_NORM, U_NORM)
    spread_numbers(core, rates)
    w_norm, u_norm, rate = (
        full_block(core, rates, W_NORM),
        full_block(core, rates, U_NORM),
        full_block(core, rates, 3),
    )
    trust = ratio_block(core, norms, rates, w_norm, u_norm, W_NORM, U_NORM)
    flat_binary(core, MUL, rate, full_block(core, rates, 0), trust, LANES, FP32)
    end = share_end(core, shape.n, UNIT)
    for i in range(share_start(core, shape.n, UNIT), end, streams.tile):
        n = min(streams.tile, end - i)
        taken = take_tiles(core, streams, Arrays(w, u, NONE, NONE), i, n)
        step, made = last_source(core, streams, taken, n), make_tiles(core, streams)
        weight_step(core, made, taken, step, rate, n)
        give_tiles(core, streams, made, Arrays(w_new, NONE, NONE, NONE), i, n)
    close_update(core, streams)
    close_numbers(core, rates)
