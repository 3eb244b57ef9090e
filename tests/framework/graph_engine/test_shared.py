"""What several readers want is made once, and what undoes itself is not made."""

from __future__ import annotations

from collections import Counter

import numpy as np

from davinci_sim.chip import Chip
from framework import Tensor, grad, ops
from framework.frontend.trace import trace
from framework.graph_engine import Session
from framework.graph_engine.options import Options
from framework.passes import FLAT, run

RANDOM = np.random.Generator(np.random.Philox(9))
HALVES = np.float16


def numbers(*shape, dtype=HALVES):
    """Return random numbers."""
    return RANDOM.standard_normal(shape).astype(dtype)


def kernels_of(function, *arrays) -> Counter[str]:
    """Return how often each kernel is launched in a step of a function, and check its numbers."""
    func = run(trace(function, [Tensor(each) for each in arrays], {}).func, FLAT)
    session = Session(func, Chip("ascend910a"), options=Options(streams=False))
    feeds = {p.name: each[np.newaxis] for p, each in zip(func.params, arrays, strict=True)}
    outputs = session.run(feeds).outputs
    expected = function(*map(Tensor, arrays))
    expected = expected if isinstance(expected, tuple) else (expected,)
    for name, each in zip(session.loaded.graph.outputs, expected, strict=True):
        ours, theirs = (np.asarray(array, np.float32) for array in (outputs[name][0], each.numpy()))
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=5e-2)
    return Counter(task.kernel for task in session.compiled.tasks if task.kernel)


def test_a_conversion_that_two_products_want_is_made_once():
    """Three matrices come as rows; each is laid out in fractals once."""
    x, v, w = numbers(64, 80), numbers(80, 96), numbers(80, 48)
    found = kernels_of(lambda x, v, w: (ops.matmul(x, v), ops.matmul(x, w)), x, v, w)
    assert found["matmul"] == 2
    assert found["nd_to_nz"] == 3


def test_a_cast_that_two_readers_want_is_made_once():
    """Written twice, it is one task."""
    x, v, w = numbers(64, 80, dtype=np.float32), numbers(80, 96), numbers(80, 48)

    def f(x, v, w):
        return ops.matmul(x.astype("float16"), v), ops.matmul(x.astype("float16"), w)

    assert kernels_of(f, x, v, w)["cast"] == 1


def test_pairs_that_undo_each_other_are_not_made():
    """Casts to a wider type and back, transposes there and back, and reshapes."""
    x = numbers(64, 80)

    def f(x):
        y = ops.transpose(ops.transpose(x, (1, 0)), (1, 0)).astype("float32").astype("float16")
        return ops.reshape(ops.reshape(y, (80, 64)), (64, 80)) + x

    assert kernels_of(f, x) == Counter({"add": 1})


def test_cotangents_of_a_value_of_many_readers_are_added_in_one_kernel():
    """Five readers give a cotangent each, of which the sum is stored and no part of it."""
    arrays = [numbers(70, 60, dtype=np.float32) for _ in range(6)]

    def f(x, *weights):
        return ops.reduce_sum(sum(x * weight for weight in weights))

    found = kernels_of(grad(f), *arrays)
    assert found["fused"] == 1
    assert found["add"] == 0
