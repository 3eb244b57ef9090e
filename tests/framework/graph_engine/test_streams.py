"""Independent tasks run side by side: never slower, with the same bits, and with no event too many."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim import Chip
from framework import data, nn
from framework.dtypes import dtype
from framework.graph_engine import Options, Session
from framework.graph_engine.data.tasks import HOST_TASK, KERNEL, TaskSpec, order_within
from framework.graph_engine.service.dependencies import Access, accesses, dependencies
from framework.graph_engine.service.events import at_addresses, races, waits_of, with_events
from framework.graph_engine.service.streams import MOST_TASKS, groups_of, numbered
from framework.ir.types import TensorType
from framework.models import lenet5
from framework.optim import Momentum
from framework.train import initial_state, training_step
from framework.train.runner import Batch, feeds_of

BATCH = 4
ACCESSES = st.lists(
    st.builds(
        lambda home, begin, length, writes: Access(home, begin, begin + length, writes),
        st.sampled_from("ab"), st.integers(0, 6), st.integers(1, 4), st.booleans(),
    ),
    max_size=3,
)  # fmt: skip
STEPS = st.lists(st.tuples(st.integers(0, 2), ACCESSES), max_size=14)


def specs(streams):
    """Return tasks of which only the streams are known."""
    return [TaskSpec(KERNEL, f"t{n}", None, {}, stream=stream) for n, stream in enumerate(streams)]


def conflict(mine, others):
    """Tell whether two tasks need an order."""
    return any(a.conflicts(b) for a in mine for b in others)


@given(STEPS)
def test_events_leave_no_race_and_each_of_them_prevents_one(steps):
    """Whatever streams and accesses: all that conflicts is ordered; one wait less, and something is not."""
    streams, touched = [s for s, _ in steps], [t for _, t in steps]
    waits = waits_of(streams, touched)
    tasks = with_events(specs(streams), waits)
    assert not list(races(tasks, touched))
    for number, task in enumerate(tasks):
        for event in task.waits:
            fewer = replace(task, waits=tuple(each for each in task.waits if each != event))
            assert list(races([*tasks[:number], fewer, *tasks[number + 1 :]], touched))


@given(st.lists(ACCESSES, max_size=14))
def test_dependencies_order_exactly_what_conflicts(touched):
    """What a task waits for conflicts with it, and nothing that conflicts is left out."""
    depends, reached = dependencies(touched), []
    for number, mine in enumerate(touched):
        assert all(conflict(mine, touched[each]) for each in depends[number])
        reached.append(depends[number].union(*(reached[each] for each in depends[number])))
        assert all(each in reached[-1] for each in range(number) if conflict(mine, touched[each]))


@given(st.lists(ACCESSES, max_size=20), st.randoms(use_true_random=False))
def test_groups_hold_every_task_once_and_nothing_before_what_it_depends_on(touched, random):
    """Whatever seems to pay: a task waits for earlier groups, its stream, or an event of its group."""
    depends, tasks = dependencies(touched), specs([0] * len(touched))
    groups = groups_of(depends, frozenset({3, 11}), lambda group, more: random.random() < 0.7)
    assert sorted(each for group in groups for each in group) == list(range(len(tasks)))
    assert all(len(group) <= MOST_TASKS for group in groups)
    made = numbered(tasks, groups, depends)
    moved = [touched[int(task.name[1:])] for task in made]
    made = with_events(made, waits_of([task.stream for task in made], moved))
    assert not list(races(made, moved))
    for group in groups:
        orders = order_within([task for task in made if int(task.name[1:]) in group])
        reached = []
        for place, order in enumerate(orders):
            reached.append(set(order).union(*(reached[each] for each in order)))
            needed = depends[group[place]] & set(group)
            assert {group.index(each) for each in needed} <= reached[-1]


def test_nothing_passes_a_task_of_the_host():
    """What stands behind it may take what only the host knows."""
    tasks = [TaskSpec(kind, kind, None, {}) for kind in (KERNEL, HOST_TASK, KERNEL)]
    depends = dependencies([accesses(task, None, {}) for task in tasks])
    assert groups_of(depends, frozenset({2}), lambda group, more: True) == [[0, 1, 2]]
    assert depends == (frozenset(), frozenset({0}), frozenset({1}))


@cache
def lenet(streams):
    """Return a training step of LeNet on a chip, with or without streams."""
    net = lenet5.build()
    optimizer = Momentum(net.trainable_params(), 0.05, 0.9)
    types = TensorType((BATCH, 1, 32, 32), dtype("float32")), TensorType((BATCH,), dtype("int32"))
    func = training_step(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, *types)
    return Session(func, Chip(), initial_state(net, optimizer), Options(streams=streams))


def test_a_step_with_streams_is_faster():
    """LeNet has many small tasks, and some side by side."""
    beside, behind = lenet(True).profile(), lenet(False).profile()
    assert beside.us < 0.9 * behind.us
    assert len(beside) == len(behind)


def test_streams_change_no_bit():
    """Losses, logits and weights of two steps are the same, and those of a second run, too."""
    digits = data.dataset("digits", BATCH, 0).train.epoch(0)
    batches = [Batch(x, y, 0.01) for x, y in islice(digits, 2)]
    found = []
    for streams in (True, False, True):
        session = lenet(streams)
        state = session.variables()
        outputs = session.run(feeds_of(batches, session.loaded.graph.inputs)).outputs
        found.append({**outputs, **session.variables()})
        session.set_variables(state)
    for other in found[1:]:
        values = zip(found[0].values(), other.values(), strict=True)
        assert all(np.array_equal(a, b) for a, b in values)


def test_every_event_of_lenet_prevents_a_race():
    """Blocks of memory that are used in turn are accesses like others."""
    compiled = lenet(True).compiled
    tasks = compiled.tasks
    touched = [
        at_addresses(accesses(task, compiled.graph, compiled.homes), compiled.memory.offsets)
        for task in tasks
    ]
    assert not list(races(tasks, touched))
    events = {task.records for task in tasks} - {None}
    assert events
    for event in events:
        fewer = [replace(task, waits=tuple(e for e in task.waits if e != event)) for task in tasks]
        assert list(races(fewer, touched))


def test_the_task_list_tells_streams_and_events():
    """It reads like a disassembly."""
    text = lenet(True).compiled.text()
    assert "\n      s0 wait         e" in text
    assert "\n      s1 record       e" in text
    assert "wait" not in lenet(False).compiled.text()


def test_the_trace_of_a_step_has_a_track_per_stream(tmp_path):
    """Tasks of one stream follow each other."""
    profile = lenet(True).profile()
    profile.write(tmp_path / "step.json")
    events = json.loads((tmp_path / "step.json").read_text())["traceEvents"]
    names = [event["args"]["name"] for event in events if event["ph"] == "M"]
    assert names[:2] == ["stream 0", "stream 1"]
    ends = {}
    for event in (each for each in events if each["ph"] == "X"):
        assert event["ts"] >= ends.get(event["tid"], 0) - 1e-6
        ends[event["tid"]] = event["ts"] + event["dur"]
    assert max(ends.values()) == pytest.approx(profile.us)
