"""Derivatives of Funcs with loops, branches, recursion and functions as values, to the third order."""

from __future__ import annotations

import numpy as np
import pytest

from framework.autodiff import differentiate
from framework.autodiff.batching import Batch, batch
from framework.autodiff.forward import push
from framework.ir import Builder, Func, evaluate, parse_func, print_func, structurally_equal, verify
from tests.framework.autodiff.programs import PROGRAMS, power


def slope(func: Func, args: list, position: int, step: float = 1e-5) -> float:
    """Return the central difference of result 0."""
    low, high = list(args), list(args)
    low[position], high[position] = args[position] - step, args[position] + step
    return (value(func, high) - value(func, low)) / (2 * step)


def value(func: Func, args: list) -> float:
    """Return result 0."""
    return float(evaluate(func, [np.asarray(each) for each in args])[0])


@pytest.mark.parametrize(("func", "args", "wrt"), PROGRAMS, ids=lambda each: getattr(each, "name", None))
def test_derivatives_of_control_flow_equal_differences(func, args, wrt):
    """Each order is the derivative of the one before; each is a Func that verifies and reads back."""
    for _ in range(3):
        gradient = verify(differentiate(func, wrt))
        assert structurally_equal(parse_func(print_func(gradient)), gradient)
        found = evaluate(gradient, [np.asarray(each) for each in args])
        expected = [slope(func, args, position) for position in wrt]
        np.testing.assert_allclose(np.array(found, float), expected, rtol=2e-6, atol=1e-6)
        func = verify(differentiate(func, wrt[:1]))


def test_the_derivative_of_a_loop_holds_a_loop_and_no_copies():
    """It serves every number of turns."""
    gradient = differentiate(power(), [0])
    assert [op for op in gradient.ops() if op in ("while", "scan")] == ["while", "scan"]
    for turns in (0, 1, 7):
        found = evaluate(gradient, [np.float64(1.01), np.int64(turns), np.float64(1.0)])
        expected = 2.0**turns * 1.01 ** (2**turns - 1)
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)


@pytest.mark.parametrize(("func", "args", "wrt"), PROGRAMS, ids=lambda each: getattr(each, "name", None))
def test_forward_and_reverse_mode_agree(func, args, wrt):
    """Tangents are those of the gradient; also forward over reverse and reverse over forward."""
    position = wrt[0]
    forward = tangent_func(func, position)
    gradient = differentiate(func, [position])
    expected = value(gradient, args)
    np.testing.assert_allclose(value(forward, args), expected, rtol=1e-12)
    second = value(differentiate(gradient, [position]), args)
    for func_of_second in (tangent_func(gradient, position), differentiate(forward, [position])):
        np.testing.assert_allclose(value(verify(func_of_second), args), second, rtol=1e-12)


def tangent_func(func: Func, position: int) -> Func:
    """Return the Func of the tangent of result 0 when one parameter moves by one."""
    pushed = push(func, [at == position for at in range(len(func.params))])
    builder = Builder()
    params = [builder.param(each.type, each.name) for each in func.params]
    outputs = builder.call(verify(pushed.func), [*params, 1.0 + 0.0 * params[position]])
    return verify(builder.finish("tangent", [outputs[len(func.results)]]))


@pytest.mark.parametrize(("func", "args", "wrt"), PROGRAMS, ids=lambda each: getattr(each, "name", None))
@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_batch_equals_its_lanes(func, args, wrt, order):
    """Also where lanes take other branches, turn and recurse differently often, and so do their gradients."""
    for _ in range(order):
        func = differentiate(func, wrt[:1])
    shifts = np.array([-0.3, 0.0, 0.9, 1.4])
    columns = [
        args[0] + shifts,
        *(np.array([each, 0, 2, 1]) if isinstance(each, int) else each + 0.2 * shifts for each in args[1:]),
    ]
    columns = [column.astype(np.asarray(arg).dtype) for column, arg in zip(columns, args, strict=True)]
    for is_batched in ([True] * len(args), [True, *[False] * (len(args) - 1)]):
        batched = batch(func, is_batched, Batch(len(shifts)))
        given = [columns[at] if each else np.asarray(args[at]) for at, each in enumerate(is_batched)]
        found = evaluate(verify(batched.func), [*given, np.ones(len(shifts), bool)])[0]
        lanes = [
            value(func, [columns[at][lane] if each else args[at] for at, each in enumerate(is_batched)])
            for lane in range(len(shifts))
        ]
        np.testing.assert_allclose(found, lanes, rtol=1e-12)
