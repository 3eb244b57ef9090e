"""Functions translated without Numba's analysis do what plain Python does; others are left to Numba."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import config
from numba.core import types

from davinci_sim.isa import INSTRUCTIONS
from davinci_sim.isa.compiler import symbol_and_signature
from davinci_sim.isa.direct import Translator, Untranslated
from davinci_sim.isa.jit import apart, emission_jit
from davinci_sim.isa.state import CoreState

NUMBERS = (-130, -7, -1, 0, 1, 2, 7, 64, 1000)
LIMIT = 5


class Pair(NamedTuple):
    """Two numbers."""

    first: int
    second: int


class Nested(NamedTuple):
    """A pair and a number."""

    pair: Any
    third: int


def quotients(a, b):
    return a // b if b != 0 else 0, a % b if b != 0 else 0, a // 8, a % 8, a // -3, a % 3


def bits(a, b):
    return a & b, a | b, a ^ b, ~a, a << (b & 15), a >> (b & 31), -a, +b


def comparisons(a, b):
    return a < b, a <= b == (b >= a), a != b, not a, a in (1, 7, b), b not in (0, a), a and b, a or b


def extremes(a, b):
    return min(a, b, 3), max(a, b), abs(a), int(a > b), bool(b), a if a > b else b


def loops(a, b):
    total, step = 0, 1 if a < b else -1
    for i in range(a, b, step):
        if i % 7 == 3:
            continue
        if total > 500:
            break
        total += i
    for weight in (1, 10, 100):
        total += weight
    while total > LIMIT:
        total = total // 2 - 1
    return total


def returns(a, b):
    if a > b:
        return a
    else:
        return -b


def floats(a, b):
    half = 0.5 * a
    return (half > b) + 2 * (half == b) + 4 * (1.0 * a / 4 < -0.25)


def choices(a, b):
    row = (a, b, a + b, 7)
    return row[a & 3], row[-1 - (b & 3)], float(a) * 0.5 < float(b), int((a, b)[a > b])


def patterns(a, b):
    wide = np.uint32((a * 65537 + b) & 0x7F7FFFFF).view(np.float32)
    return wide < float(b), wide > 1.5 * a, float(wide) == 0.0


@pytest.mark.parametrize(
    "function", [quotients, bits, comparisons, extremes, loops, returns, floats, choices, patterns]
)
def test_integers_are_computed_as_in_python(function):
    """For every pair of numbers, of either sign; and the function is one that is translated."""
    Translator(function, (types.int64, types.int64), None).text("f")
    compiled = emission_jit(function)
    for a, b in product(NUMBERS, NUMBERS):
        assert np.array_equal(compiled(a, b), function(a, b)), (a, b)


def named(a, b):
    made = Nested(Pair(second=a, first=b), 7)
    (x, y), z = made.pair, made.third
    kept = (x, *made.pair, z)
    return kept[0] - kept[-1], kept[1] + 2 * y


def test_named_tuples_hold_named_tuples():
    assert emission_jit(named)(3, 5) == named(3, 5)


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")
def test_nothing_divided_by_zero_stops_the_code():
    """As in all code that Numba compiles here: the result is 0."""

    def divided(a, b):
        return a // b, a % b

    assert emission_jit(divided)(7, 0) == (0, 0)


class Given(NamedTuple):
    """What kernels are given: arrays, numbers and tuples of them."""

    rows: Any
    pair: Pair
    third: int


def noting(given, row, x, y):
    given.rows[x, y] = given.pair.first + 10 * given.pair.second + 100 * given.third
    given.rows[0, 1] = row[0] + 1000 * given.rows.shape[0]


def test_python_hands_over_arrays_numbers_and_tuples_of_them():
    """Numbers of NumPy, too; a function that returns nothing returns None."""
    expected, found = (np.zeros((3, 8), dtype=np.int64) for _ in range(2))
    row, pair = np.array([5]), Pair(2, -3)
    noting(Given(expected, pair, 4), row, 2, 3)
    assert emission_jit(noting)(Given(found, pair, 4), row, 2, np.int64(3)) is None
    assert np.array_equal(expected, found)


def _joined(a, numbers):
    return a + len(numbers)


joined = apart(_joined, ("any",), allocates=False)


def mixed(a, b):
    return joined(a, (a, b, b)) * 2


def test_what_is_not_translated_is_compiled_by_numba_and_called():
    """`len` is left to Numba; the function that calls it is translated all the same."""
    with pytest.raises(Untranslated):
        Translator(_joined, (types.int64, types.UniTuple(types.int64, 3)), None).text("f")
    assert emission_jit(mixed)(4, 5) == mixed(4, 5) == 14


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")
@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
def test_every_emitter_is_translated(name):
    """None of them needs Numba's analysis, which takes ten times as long."""
    emitter = INSTRUCTIONS[name].emitter
    words, state = types.Array(types.int64, 2, "C"), types.Array(types.int64, 1, "C")
    kinds = {"int": types.int64, "float": types.float64, "any": types.NamedTuple((words, state), CoreState)}
    code = Translator(emitter.py_func, tuple(kinds[kind] for kind in emitter.kinds), symbol_and_signature)
    assert "store i64" in code.text("f")
