"""Operators over a batch whose lanes part: what is refused is refused for lanes on the way only."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import DavinciError
from framework import ops
from framework.autodiff.batching import Batch, batch
from framework.ir import Builder, Func, evaluate, verify
from framework.ir.flow import Part, branch, loop
from framework.ir.types import parse_type

X, N = parse_type("float64[3]"), parse_type("int64[]")


def sum_of_first() -> Func:
    """Return f(x, n): the sum of the first n elements of x."""
    builder = Builder()
    x, n = builder.param(X), builder.param(N)
    over, turn = Builder(builder), Builder(builder)
    at, _ = over.param(N), over.param(parse_type("float64[]"))
    cond = Part(over, [ops.less(at, n)], "cond")
    at, total = turn.param(N), turn.param(parse_type("float64[]"))
    body = Part(turn, [at + 1, total + turn.lift(x)[at]], "body")
    start = [builder.constant(np.int64(0)), builder.constant(np.float64(0))]
    return verify(builder.finish("f", [loop(builder, start, cond, body)[1]]))


def test_a_lane_that_has_left_a_loop_may_point_anywhere():
    """Its counter stands behind the end of the tensor while the others go on."""
    x, n = np.arange(6.0).reshape(2, 3), np.array([3, 1])
    batched = verify(batch(sum_of_first(), [True, True], Batch(2)).func)
    np.testing.assert_array_equal(evaluate(batched, [x, n, np.ones(2, bool)])[0], [3.0, 3.0])
    with pytest.raises(DavinciError, match="index: position 3 is outside axis 1"):
        evaluate(batched, [x, n + 1, np.ones(2, bool)])


def test_an_operator_without_a_way_for_a_batch_goes_lane_by_lane():
    """A convolution whose images and filters are both in batches."""
    builder = Builder()
    x, w = builder.param(parse_type("float64[1, 2, 4, 4]")), builder.param(parse_type("float64[2, 2, 3, 3]"))
    func = builder.finish("f", [ops.conv2d(x, w)])
    generator = np.random.default_rng(1)
    xs, ws = generator.normal(size=(3, 1, 2, 4, 4)), generator.normal(size=(3, 2, 2, 3, 3))
    found = evaluate(verify(batch(func, [True, True], Batch(3)).func), [xs, ws, np.ones(3, bool)])[0]
    wanted = [evaluate(func, [x, w])[0] for x, w in zip(xs, ws, strict=True)]
    np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-12)


def test_a_branch_that_is_not_taken_is_not_refused():
    """Integers with negative powers are, where a lane takes the branch."""
    builder = Builder()
    base, power = builder.param(N), builder.param(N)
    then, orelse = Builder(builder), Builder(builder)
    taken = Part(then, [ops.pow(then.lift(base), then.lift(power))], "then")
    other = Part(orelse, [orelse.lift(base)], "orelse")
    func = builder.finish("f", branch(builder, ops.greater_equal(power, 0), taken, other))
    batched = verify(batch(func, [True, True], Batch(3)).func)
    found = evaluate(batched, [np.array([2, 3, 4]), np.array([3, -1, 2]), np.ones(3, bool)])[0]
    assert found.tolist() == [8, 3, 16]
