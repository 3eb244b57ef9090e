"""The rule by which results are compared with their references."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.tolerance import allowed_error, compare


def test_the_rule_is_the_one_that_is_stated():
    expected = np.array([0.0, 2.0, -4.0], dtype=np.float16)
    assert allowed_error(expected).tolist() == [2.0**-9 * (1 + magnitude + 2) for magnitude in (0, 2, 4)]
    assert allowed_error(expected.astype(np.float32))[0] == 2.0**-14 * 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_one_rounding_is_allowed_and_a_hundred_times_the_rule_is_not(dtype):
    expected = np.linspace(-3, 3, 50).astype(dtype)
    assert compare(np.nextafter(expected, dtype(9)), expected).wrong == 0
    assert compare(expected + dtype(1), expected).wrong == 50


def test_integers_are_equal_or_wrong():
    assert compare(np.array([1, 2], np.int32), np.array([1, 3], np.int32)).wrong == 1


def test_nan_and_infinity_must_stand_in_the_same_places():
    expected = np.array([np.nan, np.inf, -np.inf, 1.0], dtype=np.float32)
    assert compare(expected.copy(), expected).max_abs_error == 0
    wrong = compare(np.array([1.0, np.inf, np.inf, 1.0], dtype=np.float32), expected)
    assert (wrong.wrong, wrong.max_abs_error) == (2, np.inf)


def test_nothing_differs_from_nothing():
    assert compare(np.empty((0, 3)), np.empty((0, 3))).wrong == 0
