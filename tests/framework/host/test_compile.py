"""Funcs compiled for the host: the meaning is that of `framework.ir.evaluate`."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from framework.host import compile_host
from framework.ir import evaluate, verify
from tests.framework.funcs import arguments, funcs


@settings(max_examples=80)
@given(funcs())
def test_the_host_gives_what_the_ir_means(func):
    """Random programs with branches, loops, functions as values and recursion give the same bits."""
    verify(func)
    run = compile_host(func)
    for seed in range(3):
        for found, expected in zip(run(arguments(seed)), evaluate(func, arguments(seed)), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
