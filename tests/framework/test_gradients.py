"""Every operator's gradient equals central differences, drawn from the operator table."""

from __future__ import annotations

import numpy as np
import pytest

from framework import ops
from framework.autodiff import differentiate
from framework.autodiff.batching import Batch, batch
from framework.autodiff.forward import push
from framework.ir import Builder, Func, TensorType, evaluate, verify
from framework.ops import OPERATORS, NoGradient, Op, Sample

STEP = 1e-5
LANES = 3
CASES = [(op, sample) for op in OPERATORS.values() for sample in op.samples]
WITH_GRADIENT = [
    (op, sample)
    for op, sample in CASES
    if not isinstance(op.vjp, NoGradient) and any(arg.dtype == "float64" for arg in sample.args)
]


def name(value):
    return value.name if isinstance(value, Op) else str([arg.shape for arg in value.args])


def scalar_func(op: Op, sample: Sample, arrays) -> Func:
    """Return sum(op(inputs) * weights) as a Func of the inputs; every output counts with other weights."""
    builder = Builder()
    inputs = [builder.param(TensorType.of(array)) for array in arrays]
    outputs = op(*inputs, **sample.attrs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = builder.constant(np.float64(0))
    for position, output in enumerate(outputs):
        if op.name == "max_pool_with_argmax" and position == 1:
            continue
        weights = np.cos(np.arange(output.size) + position).reshape(output.shape)
        total = total + ops.reduce_sum(output * builder.constant(weights))
    return verify(builder.finish(op.name, [total]))


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


def differentiable(op, arrays):
    """Return the positions of the inputs that have a gradient."""
    if op.name in ("relu_grad", "max_pool_grad", "max_pool_take"):
        return [0]  # the second input only says where; it is constant between its steps
    return [position for position, array in enumerate(arrays) if array.dtype.kind == "f"]


@pytest.mark.parametrize(("op", "sample"), WITH_GRADIENT, ids=name)
def test_the_gradient_of_every_operator_equals_central_differences(op, sample):
    """The vjp rule of an operator is its derivative, in float64."""
    arrays = sample.draw(np.random.default_rng(5))
    func = scalar_func(op, sample, arrays)
    wrt = differentiable(op, arrays)
    found = evaluate(verify(differentiate(func, wrt)), arrays)
    for position, slopes in zip(wrt, found, strict=True):
        np.testing.assert_allclose(slopes, central_difference(func, arrays, position), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("op", "sample"), WITH_GRADIENT, ids=name)
def test_every_gradient_can_be_differentiated_again(op, sample):
    """The gradient of the gradients' weighted sum equals its central differences, for every input."""
    arrays = sample.draw(np.random.default_rng(6))
    wrt = differentiable(op, arrays)
    first = differentiate(scalar_func(op, sample, arrays), wrt)
    builder = Builder()
    params = [builder.param(param.type, param.name) for param in first.params]
    total = builder.constant(np.float64(0))
    for slopes in builder.call(first, params):
        weights = np.sin(np.arange(slopes.size) + 1.0).reshape(slopes.shape)
        total = total + ops.reduce_sum(slopes * builder.constant(weights))
    func = builder.finish("again", [total])
    found = evaluate(verify(differentiate(func, wrt)), arrays)
    for position, slopes in zip(wrt, found, strict=True):
        np.testing.assert_allclose(slopes, central_difference(func, arrays, position), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("op", "sample"), WITH_GRADIENT, ids=name)
def test_the_tangent_of_every_operator_is_that_of_its_gradient(op, sample):
    """Forward mode follows from the gradient rule: a tangent in is the gradient's product with it out."""
    arrays = sample.draw(np.random.default_rng(5))
    func, wrt = scalar_func(op, sample, arrays), differentiable(op, arrays)
    slopes = evaluate(differentiate(func, wrt), arrays)
    tangents = [np.cos(np.arange(each.size) * 1.7).reshape(each.shape) for each in slopes]
    pushed = push(func, [position in wrt for position in range(len(arrays))])
    found = evaluate(verify(pushed.func), [*arrays, *tangents])[-1]
    wanted = sum(float((slope * tangent).sum()) for slope, tangent in zip(slopes, tangents, strict=True))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("op", "sample"), WITH_GRADIENT, ids=name)
def test_the_gradients_of_a_batch_are_those_of_its_items(op, sample):
    """A gradient goes over a batch as what it is the gradient of does."""
    items = [sample.draw(np.random.default_rng(seed)) for seed in range(LANES)]
    func = differentiate(scalar_func(op, sample, items[0]), differentiable(op, items[0]))
    batched = batch(func, [True] * len(items[0]), Batch(LANES))
    stacked = [np.stack(each) for each in zip(*items, strict=True)]
    found = evaluate(verify(batched.func), [*stacked, np.ones(LANES, bool)])
    wanted = zip(*(evaluate(func, each) for each in items), strict=True)
    for slopes, each, in_batches in zip(found, wanted, batched.is_batched, strict=True):
        np.testing.assert_allclose(slopes, np.stack(each) if in_batches else each[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("op", "sample"), CASES, ids=name)
def test_evaluation_gives_the_types_that_infer_says(op, sample):
    """Shapes and dtypes of results are those inferred without data, in every float dtype."""
    for dtype in ("float16", "float32", "float64"):
        arrays = [
            array.astype(dtype) if array.dtype.kind == "f" else array
            for array in sample.draw(np.random.default_rng(7))
        ]
        types = tuple(TensorType.of(array) for array in arrays)
        attrs = op.normalized(types, op.bind(arrays, dict(sample.attrs))[1])
        found = tuple(TensorType.of(array) for array in op.run(arrays, attrs))
        assert found == op.infer_types(types, attrs)


def test_every_operator_has_a_sample_and_a_gradient_or_a_reason():
    """No operator escapes the tests above."""
    assert [op.name for op in OPERATORS.values() if not op.samples] == []
    assert [
        op.name for op in OPERATORS.values() if isinstance(op.vjp, NoGradient) and not op.vjp.reason
    ] == []
