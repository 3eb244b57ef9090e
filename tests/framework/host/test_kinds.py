"""Stacks in machine code: arrays and a range, that Python sees as sequences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.host.native.kinds import Kind, NotNative, Ragged
from framework.host.runtime import accumulated
from framework.ir.types import parse_type


def plain(value):
    """Return a stack as lists in lists."""
    return [plain(each) for each in value] if hasattr(value, "__len__") else float(value)


def there_and_back(kind, value):
    """Return a value after it was taken apart and put together again, behind another one."""
    return kind.taker(1)([None, *kind.packed(value)])


def test_stacks_within_a_stack_are_one_array_and_ranges():
    """The table of the module's docstring."""
    kind = Kind.of(parse_type("stack<stack<float64[]>>"))
    scalars, ranges, start, stop = kind.packed([[1.0, 2.0], [], [3.0]])
    assert scalars.tolist() == [1, 2, 3]
    assert (ranges.tolist(), start, stop) == ([[0, 2], [2, 2], [2, 3]], 0, 3)
    assert kind.signature == ("float64[::1]", "int64[:, ::1]", "int64", "int64")


NUMBERS = st.lists(st.floats(-9, 9), max_size=4)
STACKS = st.lists(NUMBERS, max_size=4)


@given(st.one_of(st.tuples(st.just(1), NUMBERS), st.tuples(st.just(2), STACKS),
                 st.tuples(st.just(3), st.lists(STACKS, max_size=3))))  # fmt: skip
def test_what_is_packed_is_unpacked_alike(case):
    """From lists, and again from what came back."""
    depth, value = case
    kind = Kind("float64", depth)
    once = there_and_back(kind, value)
    assert plain(once) == plain(value)
    assert plain(there_and_back(kind, once)) == plain(value)
    assert [plain(each) for each in reversed(once)] == [plain(each) for each in reversed(value)]


def test_stacks_of_stacks_are_indexed_as_sequences_are():
    """From both ends, by slices, and not beyond."""
    stack = there_and_back(Kind("float64", 2), [[1.0], [2.0, 3.0], []])
    assert isinstance(stack, Ragged)
    assert plain(stack[-2]) == [2, 3]
    assert plain(stack[1:]) == [[2, 3], []]
    with pytest.raises(IndexError):
        stack[3]


def test_sums_of_stacks_do_not_depend_on_who_has_made_them():
    """Arrays of machine code, lists of Python; an empty one is zero."""
    array, numbers, empty = np.array([1.0, 2.0]), [np.float64(3), np.float64(4)], np.zeros(0)
    for a, b in ((array, numbers), (numbers, array)):
        assert plain(accumulated(a, b)) == [4, 6]
    assert plain(accumulated(array, empty)) == plain(accumulated([], array)) == [1, 2]
    ragged = there_and_back(Kind("float64", 2), [[1.0], []])
    assert plain(accumulated(ragged, [[np.float64(1)], [np.float64(5)]])) == [[2], [5]]
    assert accumulated(None, (array, empty))[0] is array


@pytest.mark.parametrize("text", ["float16[]", "env", "fn() -> ()", "stack<float64[2]>", "stack<env>"])
def test_other_types_are_left_to_python(text):
    """Half precision, functions, stacks of tensors."""
    with pytest.raises(NotNative):
        Kind.of(parse_type(text))
