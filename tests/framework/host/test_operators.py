"""Every operator of the table gives the same bits in Python source, and in machine code, as in NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from davinci_sim.errors import DavinciError
from framework.dtypes import DTYPES, dtype
from framework.host import compile_host
from framework.ir import Builder, Func, TensorType, evaluate
from framework.ir.registry import OPERATORS

NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.3, -2.7, 5.5, 1e30, -1e30, np.inf, -np.inf, np.nan, 1e-40]
ELEMENTWISE = (
    "add", "sub", "mul", "div", "neg", "abs", "square", "maximum", "minimum", "floor_div", "mod", "sign",
    "equal", "less", "greater_equal", "logical_and", "logical_xor", "logical_not", "floor", "round", "sqrt",
    "exp", "log", "tanh", "sin", "pow", "relu", "isnan", "isfinite", "reciprocal", "sigmoid",
)  # fmt: skip
WHOLE = [0, 1, -1, 2, -3, 7, 127, 2**31 - 1, -(2**31)]


def one_binding(op: str, types: Sequence[TensorType], attrs: dict[str, Any]) -> Func:
    """Return the Func of one operator."""
    builder = Builder()
    found = OPERATORS[op](*(builder.param(each) for each in types), **attrs)
    return builder.finish(op, found if isinstance(found, tuple) else [found])


def same(found, expected):
    """Demand equal types and bits; NaNs are all alike."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if found.dtype.name in DTYPES and dtype(found.dtype).is_float:
        found, expected = found.astype(np.float64), expected.astype(np.float64)
        is_number = ~np.isnan(found)
        np.testing.assert_array_equal(np.signbit(found)[is_number], np.signbit(expected)[is_number])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_every_operator_of_the_table_is_run_as_it_is_evaluated(op):
    """On the samples that it is declared with."""
    for sample in OPERATORS[op].samples:
        arrays = sample.draw(np.random.default_rng(0))
        func = one_binding(op, [TensorType.of(each) for each in arrays], sample.attrs)
        for found, expected in zip(compile_host(func)(arrays), evaluate(func, arrays), strict=True):
            same(found, expected)


def values_of(name):
    """Return arrays of numbers that are hard for a dtype."""
    kind = dtype(name)
    if name == "bool":
        return np.array([True, False])
    with np.errstate(all="ignore"):
        return np.array(NUMBERS if kind.is_float else WHOLE).astype(kind.numpy)


def hard_pairs(name: str, shape: tuple[int, ...]) -> list[list[np.ndarray]]:
    """Return pairs of hard numbers: one by one, or all of them as two arrays."""
    values = values_of(name)
    if shape:
        return [[np.repeat(values, len(values)), np.tile(values, len(values))]]
    return [list(map(np.asarray, pair)) for pair in itertools.product(values, repeat=2)]


@pytest.mark.parametrize("name", sorted(DTYPES))
@pytest.mark.parametrize("op", ELEMENTWISE)
def test_operators_on_hard_numbers_are_run_as_they_are_evaluated(op, name):
    """Infinities, signed zeros, overflow, division by zero: on scalars and on arrays of every dtype."""
    values, count = values_of(name), len(OPERATORS[op].input_names)
    for shape in ((), (len(values) ** 2,)):
        types = [TensorType(shape, dtype(name))] * count
        try:
            func = one_binding(op, types, {})
            run = compile_host(func)
        except DavinciError:  # not for this dtype
            return
        for arrays in hard_pairs(name, shape):
            try:
                (expected,) = evaluate(func, arrays[:count])
            except (DavinciError, TypeError, ValueError):  # minus truths, negative powers of integers
                continue
            same(run(arrays[:count])[0], expected)
