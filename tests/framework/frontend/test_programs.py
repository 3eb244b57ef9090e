"""Compiled programs compute what Python computes, and their gradients are those of differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from framework import Tensor, grad, jit
from tests.framework.frontend import (
    programs_of_calls,
    programs_of_control,
    programs_of_functions,
    programs_of_statements,
)
from tests.framework.frontend.programs import PROGRAMS

STEP = 1e-6
SOURCES = (
    programs_of_statements,
    programs_of_functions,
    programs_of_calls,
    programs_of_control,
)  # what they enter
IDS = [function.__name__ for function, _ in PROGRAMS]


def fresh(args):
    """Copies of the arguments: plain Python changes them in place."""
    return [Tensor(each.numpy().copy()) if isinstance(each, Tensor) else each for each in args]


def equal(found, expected):
    """Compare structures of tensors and numbers."""
    if isinstance(expected, (tuple, list)):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            equal(a, b)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        equal(list(found.values()), list(expected.values()))
    elif dataclasses.is_dataclass(expected):
        equal(vars(found), vars(expected))
    elif expected is None or isinstance(expected, str):
        assert found == expected
    else:
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-12, atol=1e-12)


def total(value):
    """The sum of all floats in a structure, as a program that is compiled, too."""
    found = 0.0
    if isinstance(value, (tuple, list)):
        for each in value:
            found = found + total(each)
    elif isinstance(value, dict):
        found = total(list(value.values()))
    elif dataclasses.is_dataclass(value):
        found = total([value.a, value.b])
    elif isinstance(value, Tensor):
        found = value.sum() if value.dtype.is_float else 0.0
    elif isinstance(value, float):
        found = value
    return found


@pytest.mark.parametrize(("function", "args"), PROGRAMS, ids=IDS)
def test_a_compiled_program_computes_what_python_computes(function, args):
    """Values, structures and Python numbers come out the same."""
    equal(jit(function)(*fresh(args)), function(*fresh(args)))


WITH_TENSORS = [(function, args) for function, args in PROGRAMS if isinstance(args[0], Tensor)]


@pytest.mark.parametrize(
    ("function", "args"), WITH_TENSORS, ids=[function.__name__ for function, _ in WITH_TENSORS]
)
def test_the_gradient_of_a_program_is_that_of_differences(function, args):
    """Central differences of the plain Python function, at every element of the first argument."""

    def objective(x, *rest):
        return total(function(x, *rest))

    found = grad(objective)(*fresh(args)).numpy()
    x = args[0].numpy()
    for place in np.ndindex(x.shape):
        values = []
        for step in (STEP, -STEP):
            moved = x.copy()
            moved[place] += step
            values.append(float(total(function(Tensor(moved), *args[1:]))))
        slope = (values[0] - values[1]) / (2 * STEP)
        np.testing.assert_allclose(found[place], slope, rtol=1e-5, atol=1e-5)
