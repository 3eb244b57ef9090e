"""The experiment on bandwidth: its operators, the states of L2 and what it calls an error."""

from __future__ import annotations

import pytest

from davinci_sim.chip import Chip
from experiments.bandwidth.experiment import CURVE, SHARES, Row, median_error, metrics
from experiments.bandwidth.operators import MB, Operator, published_operators, relu
from experiments.harness import load
from experiments.operators.timing import STATES, Bench

PUBLISHED = published_operators()


@pytest.fixture(scope="module")
def bench() -> Bench:
    """Return a bench on the chip of the profile."""
    return Bench(Chip("ascend910a", remember_times=False))


@pytest.mark.parametrize(
    ("op", "us", "elements", "moved", "gbps"),
    [
        ("ReluGrad", 514.47, 16000 * 2496, 3 * 4, 931.5),
        ("Cast", 251.82, 16000 * 2496, 4 + 2, 951.5),
        ("ReLU", 27.94, 16000 * 512, 2 * 4, 2345.9),
    ],
)
def test_an_operator_moves_its_inputs_and_its_result(op, us, elements, moved, gbps):
    """The bandwidths are those that follow from the profile's shapes."""
    (found,) = [each for each in PUBLISHED if each.op.startswith(op) and each.us == us]
    assert found.moved_bytes == elements * moved
    assert found.gbps(us) == pytest.approx(gbps, rel=2e-4)


def test_all_points_move_a_megabyte_and_lie_on_both_sides_of_l2():
    """31 operators from 1 to 479 MB."""
    sizes = [each.moved_bytes for each in PUBLISHED]
    l2_bytes = int(Chip("ascend910a").platform.l2_bytes)
    assert len(sizes) == 31
    assert min(sizes) >= MB
    assert min(sum(size > l2_bytes for size in sizes), sum(size < l2_bytes for size in sizes)) >= 10


def test_an_input_that_was_just_written_is_read_faster_than_one_from_hbm(bench):
    """8 MB of input lie in L2 when the operator before has written them."""
    operator = relu(512 * SHARES)
    us = {state: bench.us([operator.launch], state) for state in STATES}
    assert us["produced"] < us["used"]
    assert us["cold"] < us["used"]


def test_the_time_holds_the_start_of_the_task(bench):
    """A small operator takes the start of a task at least."""
    start = bench.chip.microseconds(bench.chip.start_cycles)
    assert bench.us([relu(128).launch], "cold") > start


def test_errors_are_those_of_the_bandwidth():
    """Half the time is twice the bandwidth: an error of 100 %."""
    operator = Operator("ReLU", relu(SHARES).launch, us=10.0)
    slow = [Row(operator, {"cold": 10.0, "used": 20.0, "produced": 5.0})]
    assert [median_error(slow, state) for state in STATES] == [0, 0.5, 1]
    assert metrics(slow, 1)["median_error_of_all"] == 0


def test_the_curve_spans_the_points_and_starts_shares_on_boundaries():
    """1 to 512 MB; every core's share begins at a multiple of 512 bytes."""
    moved = [8 * count for count in CURVE]
    assert min(moved) <= 1.02 * MB
    assert max(moved) >= max(each.moved_bytes for each in PUBLISHED)
    assert all(count % SHARES == 0 for count in CURVE)


def test_the_median_is_judged_at_fifteen_percent():
    """As the claim says."""
    bound = load("bandwidth").expected["median_error"].whole
    assert bound is not None
    assert (bound.expected, bound.kind) == (0.15, "at_most")
