"""Counters in 32 bits on the device: only where they fit, with the numbers of 64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim import Chip
from davinci_sim.errors import DavinciError
from davinci_sim.platforms import platform
from framework import Tensor, grad, jit, ops
from framework.graph_engine.service.narrow import narrow
from framework.graph_engine.service.prepare import MOST_ROOM, more_room, prepare
from framework.graph_engine.service.ranges import NARROW, WIDE, Interval, ranges
from framework.graph_engine.service.split import split
from framework.graph_engine.service.switches import fuse_switches
from framework.passes import FLAT, run

X = Tensor(np.linspace(0.1, 1.0, 8, dtype=np.float32))
MOST = NARROW.high


@pytest.fixture(scope="module")
def chip():
    """Return one chip for all tests."""
    return Chip("ascend910a")


def counted(x, n):
    """Count down; what is counted is read by the loop only."""
    while n > 0:
        x = x * 0.5
        n -= 1
    return x


def weighted(x, n):
    """Use the counter as a number."""
    for i in range(n):
        x = x + x * i
    return ops.reduce_sum(x)


def squared(x, n):
    """Count by squares, which soon need more bits than there are."""
    i = 2
    while i < n:
        x, i = x * 0.5, i * i
    return x


def endless(x, limit):
    """Count turns without a bound that is known."""
    turns = 0
    while ops.reduce_max(x) > limit:
        x, turns = x * 0.5, turns + 1
    return x + ops.cast(turns, "float32")


def spaced(x, first, last, step):
    """Go from one number to another."""
    turns = 0
    i = first
    while i < last:
        i, turns = i + step, turns + 1
        if turns > 3:
            break
    return x * ops.cast(i % 8, "float32"), i


def graph_of(function, *args):
    """Return the graph before counters are looked at."""
    func = run(jit(function).compiled(*args).func, FLAT)
    return fuse_switches(split(prepare(func), platform("ascend910a")))


def wide_counters(function, *args):
    """Return the integers of 64 bits that are left, constants apart."""
    found = narrow(graph_of(function, *args), platform("ascend910a"))
    return [each for each in found.values.values() if each.type.dtype.name == "int64" and each.data is None]


def on_both(function, chip, *args):
    """Check that the device has the numbers of the host; return its profile."""
    device = jit(function, device=chip)
    for found, expected in zip(_arrays(device(*args)), _arrays(jit(function)(*args)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    return device.profile()


def _arrays(found):
    return [
        np.asarray(each.numpy() if isinstance(each, Tensor) else each)
        for each in (found if isinstance(found, tuple) else (found,))
    ]


def test_a_counter_that_fits_is_counted_by_the_cores(chip):
    """No task of the AI CPU is left, in the gradient neither."""
    assert wide_counters(counted, X, 3) == []
    for function in (counted, lambda x, n: grad(lambda y: ops.reduce_sum(counted(y, n)))(x)):
        profile = on_both(function, chip, X, 3)
        assert (profile.timeline.runs("aicpu"), profile.host_round_trips) == (0, 0)


def test_a_counter_that_is_used_as_a_number_is_converted_by_the_cores(chip):
    """Ahead and back, where the stack of the counters is in 32 bits, too."""
    assert on_both(weighted, chip, X, 5).timeline.runs("aicpu") == 0
    assert on_both(grad(weighted), chip, X, 5).timeline.runs("aicpu") == 0


@pytest.mark.parametrize("number", [(1 << 24) + 1, (1 << 24) + 3, MOST, -MOST, NARROW.low + 1])
def test_large_counters_are_rounded_as_by_the_host(chip, number):
    """Halves go to the even number."""

    def rounded(n, m):
        y = 0.0
        while n > m:
            y, n = ops.cast(n, "float32"), m
        return y

    device = jit(rounded, device=chip)
    assert float(device(number, number - 1).numpy()) == np.float32(number)
    assert device.profile().timeline.runs("aicpu") == 0


def test_a_count_beyond_32_bits_is_right_too(chip):
    """The host looks at what is given, and loads the graph with 64 bits where they are needed."""

    def above(x, n):
        while n > (1 << 33):
            x, n = x * 0.5, n - 1
        return x

    def until(x, first, n):
        while first < n:
            x, first = x * 0.5, first + 1
        return x

    assert on_both(above, chip, X, (1 << 33) + 3).host_round_trips == 0
    device = jit(until, device=chip)
    for first in (5, 1 << 40, 6):
        expected = X.numpy() * np.float32(0.125)
        np.testing.assert_array_equal(device(X, first, first + 3).numpy(), expected)
        assert device.profile().host_round_trips == 0


@pytest.mark.parametrize(("function", "args"), [(squared, (X, 1000)), (endless, (X, 0.01))])
def test_what_may_grow_beyond_stays_wide(chip, function, args):
    """Squares of what fits need not fit; turns without a bound need not either."""
    assert wide_counters(function, *args) != []
    on_both(function, chip, *args)


def test_turns_are_kept_as_far_as_they_are_counted():
    """Beyond, the message says what keeps less."""
    assert (more_room(64), more_room(1 << 30), MOST_ROOM) == (256, MOST_ROOM, MOST)
    with pytest.raises(DavinciError) as caught:
        more_room(MOST_ROOM)
    assert str(caught.value) == (
        "a loop keeps values of more than 2,147,483,647 turns for its gradient\n"
        "  rule: turns on the device are counted in 32 bits\n"
        "  next: recompute(...) a loop of many turns inside of one of few"
    )


def test_a_loop_tells_the_range_of_its_counter():
    """The condition bounds what the body sees, and so what it leaves."""
    known = ranges(graph_of(counted, X, 3))
    assert sorted(set(known.values())) == [NARROW, Interval(0, 0), Interval(0, MOST - 1), Interval(1, 1)]
    assert Interval(4, (MOST - 1) ** 2) in ranges(graph_of(squared, X, 1000)).values()
    assert WIDE in ranges(graph_of(endless, X, 0.01)).values()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([0, MOST, NARROW.low, MOST + 1, NARROW.low - 1]),
    st.integers(-5, 5),
    st.integers(-2, 9),
    st.sampled_from([1, 2, 5, -3, MOST]),
)
def test_counters_around_the_bounds_of_32_bits_have_the_numbers_of_the_host(base, first, ahead, step):
    """Whatever is given, near the bounds and beyond."""
    start = base + first
    args = (X, start, start + ahead, step)
    for found, expected in zip(_arrays(DEVICE(*args)), _arrays(spaced(*args)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


DEVICE = jit(spaced, device=Chip("ascend910a"))
