"""What pays on a chip is asked once: the next process reads what the one before it has found."""

from __future__ import annotations

import pytest

from davinci_sim import Chip
from davinci_sim.chip.kept import Store
from framework import nn
from framework.dtypes import dtype
from framework.graph_engine import Options, Session
from framework.graph_engine.data import decisions
from framework.graph_engine.service import streams
from framework.graph_engine.service.fusion import gain
from framework.ir.types import TensorType
from framework.models import lenet5
from framework.optim import Momentum
from framework.train import training_step
from kernels.tune import remembered


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Let decisions be kept in a folder that is empty."""
    monkeypatch.setattr(remembered, "STORE", Store(tmp_path))
    return tmp_path


def another_process():
    """Forget what this process has decided."""
    for remembering in (streams._is_faster, streams._chip, gain._answered, gain._cycles):
        remembering.cache_clear()


def never():
    """Stand for what needs not be found again."""
    raise AssertionError


def test_a_question_is_answered_once(folder):
    assert decisions.decided("which", {"add"}, lambda: [1, 2]) == [1, 2]
    assert decisions.decided("which", {"add"}, never) == [1, 2]


def test_what_concerns_other_kernels_is_another_question(folder, monkeypatch):
    """The source of the kernels that it is about is part of it."""
    monkeypatch.setattr(decisions, "identity", lambda kernel: kernel.name)
    assert decisions.decided("which", {"add"}, lambda: [1]) == [1]
    assert decisions.decided("which", {"add", "mul"}, lambda: [2]) == [2]


def test_what_concerns_a_kernel_of_the_user_is_not_kept(folder, monkeypatch):
    """It may use whatever it imports."""
    monkeypatch.setattr(decisions, "identity", lambda kernel: "")
    assert decisions.decided("which", {"add"}, lambda: [1]) == [1]
    assert decisions.decided("which", {"add"}, lambda: [2]) == [2]
    assert not list(folder.iterdir())


def lenet_tasks():
    """Compile a training step and print its tasks."""
    net = lenet5.build()
    optimizer = Momentum(net.trainable_params(), 0.05, 0.9)
    types = TensorType((4, 1, 32, 32), dtype("float32")), TensorType((4,), dtype("int32"))
    func = training_step(net, nn.SoftmaxCrossEntropyWithLogits(), optimizer, *types)
    return Session(func, Chip(data=False), options=Options()).compiled.text()


def test_a_network_is_compiled_again_without_a_trial(folder, monkeypatch):
    """Neither fusions nor streams are simulated where it was compiled before, and its tasks are the same."""
    another_process()
    expected = lenet_tasks()
    another_process()
    monkeypatch.setattr(streams, "Chip", never)
    monkeypatch.setattr(gain, "Chip", never)
    assert lenet_tasks() == expected


def both_ways(platform, together):
    """Simulate a group, and its last task behind the others, whatever could be told without."""
    tasks, found = streams._tasks(platform, together.called), []
    for groups in ([tasks], [tasks[:-1], tasks[-1:]]):
        chip, orders = Chip(platform, data=False), (together.order[: len(groups[0])], [()])
        made = (chip.group(group, after) for group, after in zip(groups, orders, strict=False))
        found.append(sum(time.cycles for time in chip.times(list(made))))
    return found[0] < found[1]


def test_trials_answer_what_a_simulation_of_both_ways_tells(folder, monkeypatch):
    """Some need no simulation, some one: they leave out nothing that would change an answer."""
    another_process()
    found, answers = streams._found, []

    def checked(platform, together):
        answers.append(found(platform, together))
        assert answers[-1] == both_ways(platform, together)
        return answers[-1]

    monkeypatch.setattr(streams, "_found", checked)
    lenet_tasks()
    assert {True, False} == set(answers)
