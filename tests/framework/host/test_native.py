"""Loops of scalars as machine code: the same bits as in Python, at any nesting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from framework.host import compile_host
from framework.host.native import files, loop, parts
from framework.host.native.source import NativeSource
from framework.host.operators import UFUNCS
from framework.ir import evaluate
from tests.framework.funcs import arguments, funcs


def interpreted(source: NativeSource) -> Callable[..., Any]:
    """Return the source of a loop as Python runs it, which needs no compilation."""
    names: dict[str, Any] = {"np": np}
    for name in ("extended", "grown", "grown_ranges", "summed"):
        names[name] = getattr(parts, name).py_func
    names["unary"] = names["binary"] = lambda ufunc, _, *values: ufunc(*values)
    exec(source.text, names)
    called = {(at, side): UFUNCS[op] for at, (op, _) in enumerate(source.ufuncs) for side in (0, 1)}
    return lambda _, *values: names["loop"](called, *values)


@pytest.fixture
def at_once(monkeypatch):
    """Let every loop be taken for hot from the start, and its source for Numba be run by Python."""
    monkeypatch.setattr(loop, "PATIENCE", 0)
    monkeypatch.setattr(files, "compiled", interpreted)


KINDS = ("op", "if", "while", "scan", "call")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(func=funcs(3, KINDS, scalars=True))
def test_loops_of_scalars_mean_the_same_as_machine_code(at_once, func):
    """Loops in loops, what they save within what they save, forwards and backwards, come out alike."""
    run = compile_host(func)
    for seed in range(3):
        for found, expected in zip(run(arguments(seed)), evaluate(func, arguments(seed)), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(func=funcs())
def test_python_and_machine_code_hand_stacks_to_each_other(at_once, func):
    """A loop over tensors reads what machine code has saved, and the other way round."""
    for found, expected in zip(compile_host(func)(arguments()), evaluate(func, arguments()), strict=True):
        np.testing.assert_array_equal(found, expected)
