"""Passes on random Funcs with branches, loops, recursion and functions as values: what they compute stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from framework import passes
from framework.autodiff import differentiate
from framework.ir import Func, evaluate, structurally_equal, verify
from tests.framework.funcs import arguments, funcs

EACH = (*passes.OPTIMIZE, passes.flatten, passes.write_zeros)
FEW = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def assert_same_meaning(before: Func, after: Func) -> None:
    """Both give the same results, up to the rounding that the passes say they change."""
    with np.errstate(all="ignore"):
        for seed in range(2):
            found, expected = (evaluate(each, arguments(seed)) for each in (after, before))
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("each", EACH, ids=lambda each: each.__name__)
@FEW
@given(func=funcs(2))
def test_a_pass_keeps_the_meaning(each, func):
    """The Func after a pass is well formed and gives the same results."""
    after = verify(each(verify(func)))
    assert_same_meaning(func, after)


def assert_settled(func: Func) -> None:
    """All passes together keep the meaning, and a second run finds nothing left to do."""
    after = passes.run(func)
    assert_same_meaning(func, after)
    assert structurally_equal(passes.run(after), after)


@FEW
@given(funcs(2))
def test_the_pipeline_keeps_the_meaning_and_is_settled(func):
    """Run a second time, the passes together find nothing left to do."""
    assert_settled(func)


@pytest.mark.slow
@settings(FEW, max_examples=100)
@given(funcs(3))
def test_the_pipeline_keeps_the_meaning_of_deep_programs(func):
    """The same for programs whose branches and loops are nested more deeply."""
    assert_settled(func)


@settings(FEW, max_examples=10)
@given(funcs(2))
def test_the_pipeline_keeps_the_meaning_of_derivatives(func):
    """Derivatives are programs like others: with stacks, functions as values and cotangents."""
    gradient = differentiate(func, [0])
    assert_same_meaning(gradient, passes.run(gradient))
    assert_same_meaning(gradient, passes.run(gradient, passes.FLAT))
