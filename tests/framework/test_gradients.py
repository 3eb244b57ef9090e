"""Every operator's gradient equals central differences, drawn from the operator table."""

from __future__ import annotations

import numpy as np
import pytest

from framework.autodiff import differentiate
from framework.autodiff.batching import Batch, batch
from framework.autodiff.forward import push
from framework.ir import TensorType, evaluate, verify
from framework.ops import OPERATORS, NoGradient, Op
from tests.framework.ops.differences import central_difference, floats, moving, weighted_slopes, weighted_sum

LANES = 3
CASES = [(op, sample) for op in OPERATORS.values() for sample in op.samples]
WITH_GRADIENT = [
    (op, sample)
    for op, sample in CASES
    if not isinstance(op.vjp, NoGradient) and any(arg.dtype == "float64" for arg in sample.args)
]


def name(value):
    return value.name if isinstance(value, Op) else str([arg.shape for arg in value.args])


@pytest.mark.parametrize(("op", "sample"), WITH_GRADIENT, ids=name)
def test_the_gradient_of_every_operator_equals_central_differences(op, sample):
    """The vjp rule of an operator is its derivative, in float64."""
    arrays = sample.draw(np.random.default_rng(5))
    func = weighted_sum(op, arrays, sample.attrs)
    wrt = moving(op, arrays)
    found = evaluate(verify(differentiate(func, wrt)), arrays)
    for position, slopes in zip(wrt, found, strict=True):
        np.testing.assert_allclose(slopes, central_difference(func, arrays, position), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("op", "sample"), WITH_GRADIENT, ids=name)
def test_every_gradient_can_be_differentiated_again(op, sample):
    """The gradient of the gradients' weighted sum equals its central differences, for every input."""
    arrays = sample.draw(np.random.default_rng(6))
    wrt = moving(op, arrays)
    func = weighted_slopes(differentiate(weighted_sum(op, arrays, sample.attrs), wrt))
    found = evaluate(verify(differentiate(func, wrt)), arrays)
    for position, slopes in zip(wrt, found, strict=True):
        np.testing.assert_allclose(slopes, central_difference(func, arrays, position), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("op", "sample"), WITH_GRADIENT, ids=name)
def test_the_tangent_of_every_operator_is_that_of_its_gradient(op, sample):
    """Forward mode follows from the gradient rule: a tangent in is the gradient's product with it out."""
    arrays = sample.draw(np.random.default_rng(5))
    func, wrt = weighted_sum(op, arrays, sample.attrs), moving(op, arrays)
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
    func = differentiate(weighted_sum(op, items[0], sample.attrs), moving(op, items[0]))
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


END_OF_GRADIENTS = {
    "stop_gradient", "clip_by_norm", "global_norm",
    "apply_momentum_decay", "apply_sgd", "apply_adam", "apply_adamw", "apply_lamb",
}  # fmt: skip
"""Operators that move with their inputs, and that no cotangent is to flow through: they say so."""


def without_gradient():
    """Return the operators of the kit without a gradient, by name."""
    return {
        each.name: each
        for each in OPERATORS.values()
        if isinstance(each.vjp, NoGradient) and type(each) is Op
    }


@pytest.mark.parametrize("op", without_gradient().values(), ids=name)
def test_what_has_no_gradient_does_not_move_with_its_inputs(op):
    """It gives no floats, or its differences are zero; but for those that are there to end a gradient."""
    for sample in op.samples:
        arrays = sample.draw(np.random.default_rng(5))
        attrs = op.normalized(tuple(map(TensorType.of, arrays)), op.bind(arrays, dict(sample.attrs))[1])
        if not floats(op.run(arrays, attrs)) or not floats(arrays):
            continue
        func = weighted_sum(op, arrays, sample.attrs)
        moves = any(central_difference(func, arrays, position).any() for position in floats(arrays))
        assert moves == (op.name in END_OF_GRADIENTS)


def test_the_operators_without_a_gradient_are_these():
    """Each says why; whoever adds one to the list has looked for its gradient."""
    by_reason = {}
    for each in without_gradient().values():
        by_reason.setdefault(each.vjp.reason, []).append(each.name)
    assert {reason: " ".join(sorted(names)) for reason, names in by_reason.items()} == {
        "a comparison gives booleans": "equal greater greater_equal less less_equal not_equal",
        "it gives booleans": "isfinite isinf isnan logical_and logical_not logical_or logical_xor "
        "reduce_all reduce_any",
        "it gives integers": "bitwise_and bitwise_not bitwise_or bitwise_xor left_shift right_shift",
        "its input is an index": "one_hot",
        "its output is an index": "argmax argmin",
        "its output is constant between its steps": "ceil floor floor_div round sign",
        "its output is always zero": "zeros_like",
        "it is there to stop cotangents": "stop_gradient",
        "it has no input": "full",
        "the step of an optimiser is the end of what is differentiated": "apply_adam apply_adamw apply_lamb "
        "apply_momentum_decay apply_sgd",
        "the norm that gradients are clipped by counts as a number": "global_norm",
        "what is clipped is the gradient itself": "clip_by_norm",
        "whether numbers are finite is no number that moves": "float_status",
    }


def test_the_inputs_without_a_slope_are_these():
    """Whole numbers in a float dtype: no difference can be taken."""
    found = {
        op.name: [op.input_names[at] for at in floats(arrays) if at not in moving(op, arrays)]
        for op, sample in WITH_GRADIENT
        for arrays in [sample.draw(np.random.default_rng(5))]
    }
    assert {name: inputs for name, inputs in found.items() if inputs} == {
        "max_pool_grad": ["argmax"],
        "max_pool_take": ["argmax"],
    }


def test_every_operator_with_a_gradient_is_compared_with_differences():
    """No operator escapes the tests above: each has a sample, those with a gradient one of float64."""
    assert [op.name for op in OPERATORS.values() if not op.samples] == []
    compared = {op.name for op, _ in WITH_GRADIENT}
    assert compared.isdisjoint(without_gradient())
    assert compared | without_gradient().keys() == {op.name for op in OPERATORS.values() if type(op) is Op}
