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


@settings(max_examples=60)
@given(funcs(2, ("op", "if", "while")))
def test_tensors_that_are_written_in_place_are_never_seen_twice(func):
    """Elements are read and changed in loops and branches; arguments stay what they were."""
    given_, before = arguments(), arguments()
    run = compile_host(func)
    for _ in range(2):
        for found, expected in zip(run(given_), evaluate(func, before), strict=True):
            np.testing.assert_array_equal(found, expected)
    for now, then in zip(given_, before, strict=True):
        np.testing.assert_array_equal(now, then)
