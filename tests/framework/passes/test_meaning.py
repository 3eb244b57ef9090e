"""Passes on random Funcs with branches, loops, recursion and functions as values: what they compute stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from framework import passes
from framework.ir import Func, evaluate, structurally_equal, verify
from tests.framework.funcs import arguments, funcs

EACH = (*passes.OPTIMIZE, passes.flatten, passes.write_zeros)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def assert_same_meaning(before: Func, after: Func) -> None:
    """Both give the same results, up to the rounding that the passes say they change."""
    with np.errstate(all="ignore"):
        for seed in range(3):
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


@FEW
@given(funcs(3))
def test_the_pipeline_keeps_the_meaning_and_is_settled(func):
    """All passes together keep the meaning, and a second run finds nothing left to do."""
    after = passes.run(func)
    assert_same_meaning(func, after)
    assert structurally_equal(passes.run(after), after)
