"""Parts of tensors are written in place where nobody can see it, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from framework import Tensor, grad, jit, ops
from framework.dtypes import dtype
from framework.host import compile_host
from framework.host.places import arranged
from framework.ir import Builder, TensorType, evaluate, parse_func
from framework.passes.add_parts import add_parts
from framework.passes.dead_code import dead_code

BEFORE = """
func @back(%x: float64[4], %v: float64[], %i: int64[]) {
  %a: float64[4] = index_update(%x, %v, %i, spec=(('at', 0),))
  %b: float64[] = index(%x, %i, spec=(('at', 0),))
  %c: float64[4] = index_add(float64[4]{all 0.0}, %b, %i, spec=(('at', 0),))
  %d: float64[4] = index_add(float64[4]{all 0.0}, %v, spec=(2,))
  %e: float64[4] = add(%c, %d)
  %f: float64[4] = add(%a, %e)
  return %f
}
"""


def test_parts_are_added_alone_and_tensors_read_before_they_are_changed():
    """No tensor of zeros is left, and the update is the last to look at x."""
    func = parse_func(BEFORE)
    bindings = arranged(dead_code(add_parts(func)))
    assert [each.op for each in bindings if each.op != "full"] == [
        "index",
        "index_update",
        "index_add",
        "index_add",
    ]
    x, i = np.arange(4.0), np.int64(1)
    for found in (compile_host(func)([x, np.float64(7), i]), evaluate(func, [x, np.float64(7), i])):
        np.testing.assert_array_equal(found[0], [0, 8, 9, 3])


def scaled(x):
    for i in range(x.shape[0]):
        x[i] = x[i] * 2
    return x


def history(x):
    """Return the sum of all that x has been."""
    total = x
    for i in range(x.shape[0]):
        x[i] = x[i] + 1
        total = total + x
    return total


def swapped(x, y, n):
    """Change x and y in turns, each under the other's name."""
    for i in range(n):
        x[i] = y[i] + 10
        x, y = y, x
    return x, y


def shared(x, n):
    """Keep a value under two names and change one of them."""
    y = x
    for i in range(n):
        y = x
        x[i] = -1.0
    return x, y


def either(x, n):
    for i in range(n):
        if x[i] > 1:
            x[i] = 0.0
        elif x[i] < 1:
            x[i + 1] = x[i] + x[i + 1]
    return x


def rows(x, n):
    """Keep a row, which is a view, while its tensor changes."""
    row = x[0]
    for i in range(n):
        row = x[i]
        x[i] = row * 0.0
    return x, row


def twice(x, n):
    """Change two elements in a turn, or in a branch that is the last to look at the tensor."""
    for i in range(n):
        x[i] = x[i] + 1
        x[i + 1] = x[i] * 2
        if x[i] > 2:
            y = x * 1
            if x[0] > 1:
                y[0] = x[1]
            x = y
    return x


CASES = [
    (twice, (np.arange(4.0), 3)),
    (scaled, (3.0 * np.arange(4),)),
    (history, (np.zeros(3),)),
    (swapped, (np.zeros(3), np.ones(3), 3)),
    (shared, (np.arange(3.0), 2)),
    (either, (np.array([0.5, 1.0, 2.0, 0.0]), 3)),
    (rows, (np.arange(6.0).reshape(3, 2), 2)),
]


@pytest.mark.parametrize(("function", "args"), CASES, ids=[case[0].__name__ for case in CASES])
def test_what_is_written_in_place_is_seen_by_nobody_else(function, args):
    """Arguments, values kept under other names, rows and histories stay what they were."""
    compiled = jit(function)
    before = [np.copy(each) for each in args]
    tensors = [Tensor(each) if isinstance(each, np.ndarray) else each for each in args]
    for _ in range(2):
        found = compiled(*tensors)
        plain = evaluate(compiled.compiled(*tensors).func, [np.asarray(each) for each in args])
        several = found if isinstance(found, tuple) else (found,)
        for each, wanted in zip(several, plain, strict=True):
            np.testing.assert_array_equal(each.numpy(), wanted)
        for each, wanted in zip(args, before, strict=True):
            np.testing.assert_array_equal(each, wanted)


def test_the_gradient_of_a_loop_over_a_long_tensor_takes_one_step_per_element():
    """A hundred thousand elements: copies of the tensor in each turn would take minutes."""

    def squares(x):
        total = x[0] * 0
        for each in x:
            total = total + each * each
        return total

    x = np.linspace(-1, 1, 100_000)
    np.testing.assert_array_equal(grad(squares)(Tensor(x)).numpy(), 2 * x)


def test_two_places_in_a_turn_take_two_steps():
    """Writing the first leaves a tensor that nobody else has, for the second."""

    def pairs(x):
        total = 0.0
        for i in range(x.shape[0]):
            total += x[i, 0] * x[i, 1]
        return total

    x = np.linspace(-1, 1, 100_000).reshape(-1, 2)
    np.testing.assert_array_equal(grad(pairs)(Tensor(x)).numpy(), x[:, ::-1])


def test_a_whole_tensor_is_a_place():
    """`x[...]` reads all of it, and writes all of it."""
    builder = Builder()
    x = builder.param(TensorType((2, 2), dtype("float64")), "x")
    y = ops.index_add(x * 2, x, spec=("...",))
    func = builder.finish("whole", [y[...], ops.index_update(y + 1, x, spec=("...",))])
    array = np.arange(4.0).reshape(2, 2)
    for found, wanted in zip(compile_host(func)([array]), evaluate(func, [array]), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_place_outside_of_a_tensor_is_told():
    """In the words of the operator, for reading and for writing."""
    builder = Builder()
    x, i = (
        builder.param(TensorType((3,), dtype("float64")), "x"),
        builder.param(TensorType((), dtype("int64"))),
    )
    func = builder.finish("outside", [ops.index_update(x + 1, ops.reduce_sum(x), i, spec=(("at", 0),))])
    for place in (3, -4):
        with pytest.raises(Exception, match=f"index_update: position {place} is outside axis 0 of"):
            compile_host(func)([np.zeros(3), np.int64(place)])
    assert compile_host(func)([np.zeros(3), np.int64(-1)])[0].tolist() == [1, 1, 0]


@pytest.mark.parametrize("op", ["index(%x", "index_update(%x, %y", "index_add(%x, %y"])
@pytest.mark.parametrize(("shape", "spec"), [("2, 3", (("slice", None, None, None),) * 2), ("", ())])
def test_all_of_a_tensor_is_a_part_of_it(op, shape, spec):
    """An index that takes every axis, or a tensor without one, is like any other."""
    params = f"%x: float32[{shape}], %y: float32[{shape}]"
    text = f"func @f({params}) {{\n  %0: float32[{shape}] = {op}, spec={spec!r})\n  return %0, %x\n}}"
    func = parse_func(text)
    sizes = tuple(int(each) for each in shape.split(",") if each)
    arguments = [np.full(sizes, number, np.float32) for number in (2, 3)]
    for found, expected in zip(compile_host(func)(arguments), evaluate(func, arguments), strict=True):
        np.testing.assert_array_equal(found, expected)
