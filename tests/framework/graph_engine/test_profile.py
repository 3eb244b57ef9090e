"""The profile of a step: what each task is, stands for, and takes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from davinci_sim.chip import Chip, TaskTime
from davinci_sim.chip.group import GroupTime
from framework import models
from framework.graph_engine import Options, Session
from framework.graph_engine.control import profile as profile_module
from framework.graph_engine.data.graph import Node
from framework.graph_engine.service.fusion.draft import Change, with_operators


def node(name: str, op: str) -> Node:
    """Return a node without values."""
    return Node(name, op, (), ())


@pytest.fixture(scope="module")
def session():
    """Return LeNet-5's training step of 2 images on a chip that only tells time."""
    step = models.lenet5.training(models.config("lenet5"), 2)
    return Session(
        step.func, Chip("ascend910a", data=False), dict.fromkeys(step.held, np.zeros(0)), Options()
    )


def test_a_profile_counts_the_records_of_every_task(session):
    emitted = [each.task.instructions for each in session.loaded.tasks if each.task is not None]
    assert [each.instructions for each in session.profile() if each.instructions] == emitted


def test_the_second_profile_is_remembered_as_a_whole(session):
    first = session.profile()
    before = session.chip.clockwork.simulated
    assert list(session.profile()) == list(first)
    assert session.chip.clockwork.simulated == before


def test_a_profile_tells_the_operators_that_a_task_stands_for(session):
    found = {each.kernel: each.fused for each in session.profile() if each.fused}
    assert found["matmul_bias"][:2] == ("matmul", "bias_add")
    assert found["conv2d"] == ("conv2d", "relu")


def test_what_leaves_no_node_counts_for_the_first_new_one():
    """A convolution takes in the sums of a normalisation, whose update stays beside it."""
    old = (node("c", "conv2d"), node("r", "reduce"), node("u", "update"))
    first, second = with_operators(Change(old, (node("c", "conv2d_statistics"), node("u", "update"))))
    assert (first.operators, second.operators) == (("conv2d", "reduce"), ("update",))


def test_a_node_that_is_taken_apart_stands_for_itself():
    change = Change((node("n", "batch_norm"),), (node("a", "reduce"), node("b", "update")))
    assert [each.operators for each in with_operators(change)] == [("reduce",), ("update",)]


def test_op_by_op_the_host_sends_task_after_task(session):
    """Nothing runs side by side, and every task costs the host its time at least."""
    step = session.func
    alone = Session(step, session.chip, dict.fromkeys(session.loaded.graph.values), Options(mode="op-by-op"))
    assert {task.stream for task in alone.compiled.tasks} == {0}
    assert alone.profile().us >= len(alone.compiled.tasks) * session.chip.microseconds(
        int(session.chip.platform.host_launch_cycles)
    )


def beside(blocks: int) -> list[str]:
    """Return what bounds a long product and a short sum that run side by side, each with so many blocks."""
    chip = Chip("ascend910a", data=False)
    cores = min(blocks, 32)
    group = [SimpleNamespace(spec=SimpleNamespace(blocks=blocks)) for _ in range(2)]
    busy = {"M": 90_000 * cores, "MTE2": 8_000 * cores}, {"V": 3_000 * cores, "MTE2": 5_000 * cores}
    times = GroupTime(
        ((0, 100_000), (6_000, 98_000)), (TaskTime(100_000, busy[0]), TaskTime(92_000, busy[1]))
    )
    return [took.bound for took in profile_module._on_cores(chip, group, times)]


def test_a_task_that_waits_for_the_cores_of_others_is_bound_by_them():
    """A sum that works for 5 us is not bound by its reads where it ends after 92 us."""
    assert beside(blocks=32) == ["cube", "cores"]


def test_where_there_is_a_core_for_each_block_nobody_waits_for_one():
    assert beside(blocks=16) == ["cube", "GM read"]
