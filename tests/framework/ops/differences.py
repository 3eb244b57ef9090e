"""Funcs with one result around operators and their gradients, and what differences say about them."""

from __future__ import annotations

import numpy as np

from framework import ops
from framework.ir import Builder, Func, TensorType, evaluate, verify
from framework.ops import Op

STEP = 1e-5


def floats(arrays):
    """Return the positions of the arrays that hold floats."""
    return [position for position, array in enumerate(arrays) if array.dtype.kind == "f"]


def moving(op: Op, arrays):
    """Return the positions of the inputs that have slopes: floats, but `argmax`, which names taps of windows.

    It holds whole numbers in the dtype of the pooled tensor; between them it means nothing.
    """
    names = op.input_names
    return [at for at in floats(arrays) if names[min(at, len(names) - 1)] != "argmax"]


def weighted_sum(op: Op, arrays, attrs) -> Func:
    """Return sum(op(inputs) * weights) as a Func of the inputs; every element and output counts otherwise."""
    builder = Builder()
    outputs = op(*(builder.param(TensorType.of(array)) for array in arrays), **attrs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = builder.constant(np.float64(0))
    for position, output in enumerate(outputs):
        weights = np.cos(np.arange(output.size) + position).reshape(output.shape)
        total = total + ops.reduce_sum(output * builder.constant(weights))
    return verify(builder.finish(op.name, [total]))


def weighted_slopes(gradient: Func) -> Func:
    """Return the sum of all slopes that a gradient gives, times weights."""
    builder = Builder()
    params = [builder.param(param.type, param.name) for param in gradient.params]
    total = builder.constant(np.float64(0))
    for slopes in builder.call(gradient, params):
        weights = np.sin(np.arange(slopes.size) + 1.0).reshape(slopes.shape)
        total = total + ops.reduce_sum(slopes * builder.constant(weights))
    return verify(builder.finish("again", [total]))


def central_difference(func: Func, arrays, position: int):
    """Return d func / d arrays[position] by moving each element up and down."""
    slopes = np.zeros_like(arrays[position])
    for index in np.ndindex(slopes.shape):
        ends = []
        for sign in (1, -1):
            moved = [array.copy() for array in arrays]
            moved[position][index] += sign * STEP
            ends.append(float(evaluate(func, moved)[0]))
        slopes[index] = (ends[0] - ends[1]) / (2 * STEP)
    return slopes


def slope_along(func: Func, arrays, directions):
    """Return how fast a result changes when inputs move in directions, by their positions.

    None where it has a step or a bend.
    """
    results = []
    for sign in (1, 0, -1):
        moved = list(arrays)
        for position, direction in directions.items():
            moved[position] = arrays[position] + sign * STEP * direction
        results.append(float(evaluate(func, moved)[0]))
    there, here, back = results
    ahead, behind = (there - here) / STEP, (here - back) / STEP
    return None if abs(ahead - behind) > 0.01 * max(1.0, abs(ahead)) else (there - back) / (2 * STEP)
