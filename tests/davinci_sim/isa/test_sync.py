"""Hand-offs between pipes name two pipes and an event that the platform has."""

from __future__ import annotations

import pytest

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles
from davinci_sim.isa import Pipe, pipe_barrier, set_flag, wait_flag
from davinci_sim.isa import state as st
from davinci_sim.platforms import platform
from kernels.lang.refusal import _illegal

FLAGS = pytest.mark.parametrize("flag", [set_flag, wait_flag], ids=["set_flag", "wait_flag"])


@FLAGS
def test_a_pipe_does_not_hand_over_to_itself(machine, flag):
    """The rule says what to use instead."""
    machine.emit(flag, src=Pipe.V, dst=Pipe.V, event_id=0)
    assert machine.rule(flag) == (
        "src and dst must be two pipes; within one pipe, pipe_barrier waits for what is written"
    )


@FLAGS
@pytest.mark.parametrize("event_ids", [4, 8])
def test_event_ids_are_those_of_the_platform(machine, flag, event_ids):
    """The last one is accepted, the next one is not."""
    machine.core.state[st.EVENT_IDS] = event_ids
    machine.emit(flag, src=Pipe.MTE2, dst=Pipe.V, event_id=event_ids - 1)
    assert machine.refusal == (st.NO_ERROR, 0)
    machine.emit(flag, src=Pipe.MTE2, dst=Pipe.V, event_id=event_ids)
    assert machine.refusal[0] == st.REJECTED


def test_a_refused_event_is_told_with_the_number_of_the_platform(machine):
    """The message has the call, the rule with its number, and the line."""
    machine.emit(set_flag, src=Pipe.MTE2, dst=Pipe.V, event_id=4)
    assert str(_illegal(machine.core.state, "  kernel.py:7")) == (
        "set_flag(src=5, dst=2, event_id=4, dtype=int32)\n"
        "  rule: event_id must be below 4, the event ids of a pipe pair here\n"
        "  kernel.py:7\n  next: docs/reference/instructions.md tells what set_flag takes"
    )


def test_flags_are_queued_in_the_pipe_that_sets_or_waits(machine):
    """A set in its source, a wait in its destination."""
    pipes = []
    for flag in (set_flag, wait_flag):
        words = machine.emit(flag, src=Pipe.MTE2, dst=Pipe.V, event_id=1)
        pipes.append(int(words[0, 0]) >> 8 & 255)
    assert pipes == [Pipe.MTE2, Pipe.V]


@pytest.mark.parametrize("pipe", [Pipe.V, Pipe.M, Pipe.MTE1, Pipe.MTE2, Pipe.MTE3, Pipe.ALL])
def test_every_queued_pipe_has_a_barrier_and_all_together(machine, pipe):
    """It stands in the pipe that it holds, and takes a cycle of it."""
    words = machine.emit(pipe_barrier, barred=pipe)
    assert machine.refusal == (st.NO_ERROR, 0)
    assert int(words[0, 0]) >> 8 & 255 == pipe
    assert count_cycles(words, costs_of(platform("ascend910a")))[0] == 1


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 11])
def test_other_numbers_have_no_barrier(machine, number):
    """The scalar unit has none, and the rest are no pipes."""
    machine.emit(pipe_barrier, barred=number)
    assert machine.refusal[0] == st.REJECTED
