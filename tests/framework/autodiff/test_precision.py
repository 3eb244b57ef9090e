"""Cotangents keep their digits: what a cast narrows on the way ahead is not rounded on the way back."""

from __future__ import annotations

import numpy as np

from framework import Tensor, grad, nn, ops
from framework.tensor import Parameter


def test_the_gradient_of_a_weight_that_is_cast_has_the_digits_of_its_sums():
    """1365 / 4096 four times is a float16 number; 1365 / 4096 five times is not, and stays what it is."""
    x = Tensor(np.full((5, 1), 1 / 3, np.float32))
    w = Parameter(np.ones((1, 1), np.float32), name="w")

    def f(x):
        product = ops.matmul(ops.cast(x, "float16"), ops.cast(w, "float16"))
        return ops.reduce_sum(ops.cast(product, "float32"))

    found = grad(f, None, w)(x).numpy().item()
    assert found == 5 * 1365 / 4096
    assert found != np.float32(np.float16(found))


def test_gradients_of_weights_are_cast_nowhere():
    """They come out of the product as the optimiser wants them."""
    dense = nn.Dense(3, 2).to_float("float16")
    x = Tensor(np.ones((4, 3), np.float32))
    compiled = grad(lambda x: ops.reduce_sum(dense(x)), None, dense.weight).compiled(x)
    (product,) = (binding for binding in compiled.func.bindings if binding.op == "matmul")
    assert product.outputs == compiled.func.results


def test_one_weight_that_is_used_in_two_precisions_has_one_gradient():
    """The wide cotangent of the narrowed weight and that of the weight itself are added as they are."""
    w = Parameter(np.full((2, 2), 0.1, np.float32), name="w")
    x = Tensor(np.full((1, 2), 1 / 3, np.float32))

    def f(x):
        half = ops.matmul(ops.cast(x, "float16"), ops.cast(w, "float16"), out_dtype="float32")
        return ops.reduce_sum(half) + ops.reduce_sum(ops.matmul(x, w))

    third = np.float32(1 / 3)
    wanted = np.float32(np.float16(third)) + third
    np.testing.assert_array_equal(grad(f, None, w)(x).numpy(), np.full((2, 2), wanted))
