"""The engines of step 2: the first that takes a node runs it, those with costs where it takes least."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.platforms import assumed, platform
from framework import Tensor, jit, ops
from framework.frontend.trace import trace
from framework.graph_engine.control.session import Session
from framework.graph_engine.data.graph import AICORE, AICPU, HOST, VIEW
from framework.graph_engine.pictures import graphs
from framework.graph_engine.service.engines import ENGINES
from framework.graph_engine.service.prepare import prepare
from framework.graph_engine.service.split import placement, split
from framework.passes import run

P = platform("ascend910a")


def func_of(function, *arrays):
    """Return the Func of a function of arrays."""
    return run(trace(function, [Tensor(each) for each in arrays], {}).func)


def node_of(function, *arrays, chip=P):
    """Return the only node of a function, placed."""
    (node,) = split(prepare(func_of(function, *arrays)), chip).nodes
    return node


def test_ai_cores_views_and_the_scheduler_go_before_all_that_cost():
    """Only two engines have costs, and they come last."""
    names = [engine.name for engine in ENGINES]
    assert names[-2:] == [AICPU, HOST]
    assert [engine.name for engine in ENGINES if engine.cycles] == [AICPU, HOST]
    x = np.ones((4, 4), np.float32)
    assert node_of(ops.relu, x).engine == AICORE
    assert node_of(lambda x: ops.reshape(x, (16,)), x).engine == VIEW


def test_every_engine_has_a_colour_in_the_pictures():
    """And no colour is left over."""
    assert set(graphs.ENGINES) == {engine.name for engine in ENGINES}


@given(count=st.integers(1, 1 << 22))
def test_what_has_no_kernel_runs_where_it_takes_less_time(count):
    """The times that are compared are those of the AI CPU and of the way to the host, of this many bytes."""
    nbytes = 2 * 4 * count
    cpu = P.aicpu_start_cycles - (-nbytes // P.aicpu_bytes_per_cycle)
    host = P.host_sync_cycles + P.host_launch_cycles - (-nbytes // P.host_link_bytes_per_cycle)
    node = node_of(ops.sin, np.broadcast_to(np.float32(1), count))
    assert node.engine == (AICPU if cpu <= host else HOST)
    assert node.why == f"no kernel computes sin; aicpu {cpu / 1e3:.1f} us, host {host / 1e3:.1f} us"


@pytest.mark.parametrize(("count", "engine"), [(100, AICPU), (100_000, HOST)])
def test_a_profile_has_the_times_that_the_choice_was_made_by(count, engine):
    """Costs and simulated times come from the same functions."""
    session = Session(func_of(ops.sin, np.ones(count, np.float32)), Chip(P, data=False))
    (node,) = session.placed.nodes
    rows = zip(session.compiled.tasks, session.profile().timeline.spans, strict=True)
    (took,) = (int(row["end"] - row["start"]) for task, row in rows if task.kind == engine)
    assert node.engine == engine
    assert f"{engine} {took / 1e3:.1f} us" in node.costs


def test_a_chip_far_from_its_host_leaves_more_to_the_ai_cpu():
    """The choice follows the figures of the platform."""
    far = P.with_figures("far", host_sync_cycles=assumed(10**6, "cycles", "a test"))
    x = np.ones(100_000, np.float32)
    assert (node_of(ops.sin, x).engine, node_of(ops.sin, x, chip=far).engine) == (HOST, AICPU)
    assert far.digest == P.digest  # so that tilings found for the one hold for the other


def test_products_of_the_cube_are_refused_by_the_ai_cpu():
    """Only the host is left, and the table says why."""
    images, filters = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    node = node_of(ops.conv2d, images, filters)
    assert (node.engine, node.costs) == (HOST, "aicpu: it has no cube, host 30.0 us")


def test_tensors_without_elements_are_refused_by_kernels():
    """They take one element and more; what has none is there as soon as it is asked for."""
    empty, x = Tensor(np.zeros((0, 8), np.float32)), Tensor(np.ones((2, 8), np.float32))
    device = jit(lambda e, x: (ops.concat([e * 2.0, x], 0), ops.reduce_sum(e)), device=Chip("ascend910a"))
    joined, total = device(empty, x)
    np.testing.assert_array_equal(joined.numpy(), x.numpy())
    assert total.item() == 0.0
    assert "kernels take no tensor without elements; " in device._on_device.session.texts()["2 split"]


def test_in_a_loop_costs_decide_as_they_do_elsewhere():
    """What is small stays on the chip, what is large goes to the host in each turn, and the table says it."""

    def waves(x, n):
        while n > 0:
            x = ops.sin(x)
            n -= 1
        return x

    for count, trips in ((1000, 0), (100_000, 3)):
        device = jit(waves, device=Chip(P))
        device(Tensor(np.ones(count, np.float32)), 3)
        assert device.profile().host_round_trips == trips


def test_an_int_that_is_converted_elsewhere_says_its_cost():
    """The texts of steps 2 and 3 have the same reasons."""
    session = Session(func_of(ops.neg, np.ones((3, 4), np.int32)), Chip(P, data=False))
    expected = "kernel neg: dtype=int32, rule: dtype is fp16 or fp32; aicpu 10.0 us, host 30.0 us"
    assert placement(session.placed).splitlines()[1].endswith(expected)
    assert f"[aicpu: {expected}]" in session.optimized.text()
