"""Random programs compute what Python computes, and have the gradients that differences have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from framework import Tensor, grad, jit, ops
from tests.framework.frontend.generated import made, sources

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
ARGUMENTS = (st.sampled_from([0.3, -0.45, 1.2]), st.sampled_from([0.7, -0.15]), st.integers(0, 4))


def compared(source, a, b, n):
    """Compare a compiled program with the plain one."""
    program = made(source, {"ops": ops})
    args = (Tensor(a, "float64"), Tensor(b, "float64"), n)
    found, expected = jit(program)(*args), program(*args)
    np.testing.assert_allclose([float(each) for each in found], [float(each) for each in expected], rtol=1e-9)


def differentiated(source, a, b, n):
    """Compare the gradient of a program with differences, where steps of two sizes agree about it."""
    program = made(source, {"ops": ops})

    def objective(a, b, n):
        first, second, third, _ = program(a, b, n)
        return first + second * 2.0 + third * 3.0

    def slope(step):
        ends = [
            float(objective(Tensor(a + each, "float64"), Tensor(b, "float64"), n)) for each in (step, -step)
        ]
        return (ends[0] - ends[1]) / (2 * step)

    found = float(grad(objective)(Tensor(a, "float64"), Tensor(b, "float64"), n))
    assume(abs(slope(1e-5) - slope(1e-6)) < 1e-4 * max(1.0, abs(slope(1e-6))))
    np.testing.assert_allclose(found, slope(1e-6), rtol=1e-3, atol=1e-4)


@QUICK
@given(sources(), *ARGUMENTS)
def test_a_random_program_computes_what_python_computes(source, a, b, n):
    """Conditions, loops, functions and recursion in any nesting."""
    compared(source, a, b, n)


@QUICK
@given(sources(2), *ARGUMENTS)
def test_the_gradient_of_a_random_program_is_that_of_differences(source, a, b, n):
    """Through the branches that are taken and the turns that are made."""
    differentiated(source, a, b, n)


@pytest.mark.slow
@LONG
@given(sources(), *ARGUMENTS)
def test_many_random_programs_compute_what_python_computes(source, a, b, n):
    """The same, longer."""
    compared(source, a, b, n)


@pytest.mark.slow
@LONG
@given(sources(), *ARGUMENTS)
def test_the_gradients_of_many_random_programs_are_those_of_differences(source, a, b, n):
    """The same, longer."""
    differentiated(source, a, b, n)
