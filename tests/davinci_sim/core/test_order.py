"""A legal order is found without time: as written where that is legal, else one that flags allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim.core.order import SET, WAIT, flag_of, legal_order
from davinci_sim.errors import Deadlock, IllegalInstruction


def test_a_program_that_is_legal_as_written_stays_as_it_is(words):
    program = words.program(
        words.load(), words.set_flag(5, 2), words.wait_flag(5, 2), words.add(), words.barrier, words.add()
    )
    assert legal_order(program).tolist() == list(range(6))


def test_a_wait_is_put_behind_its_set_with_what_follows_in_its_pipe(words):
    """Another pipe is not held up."""
    program = words.program(words.wait_flag(5, 2), words.add(), words.load(), words.set_flag(5, 2))
    assert legal_order(program).tolist() == [2, 3, 0, 1]


def test_a_barrier_lets_nothing_pass(words):
    """What follows it waits for what was put off before it."""
    program = words.program(
        words.wait_flag(5, 2), words.load(), words.set_flag(5, 2), words.barrier, words.load(), words.add()
    )
    assert legal_order(program).tolist() == [1, 2, 0, 3, 4, 5]


def test_a_deadlock_names_who_waits_for_which_flag_and_where(words):
    program = words.program(words.load(), words.wait_flag(5, 2, 3), words.add(), words.wait_flag(2, 6, 1))
    with pytest.raises(Deadlock) as error:
        legal_order(program)
    assert str(error.value) == (
        "stuck, waiting for flags that nobody sets:\n"
        "  PIPE_V waits for flag(src=MTE2, dst=V, event_id=3)  (kernel.py:2)\n"
        "  PIPE_MTE3 waits for flag(src=V, dst=MTE3, event_id=1)  (kernel.py:4)\n"
        "  next: every wait_flag needs one set_flag of the same pipes and event id before it"
    )


def test_two_pipes_that_wait_for_each_other_are_a_deadlock(words):
    program = words.program(
        words.wait_flag(5, 2), words.set_flag(2, 5), words.wait_flag(2, 5), words.set_flag(5, 2)
    )
    with pytest.raises(Deadlock, match=r"PIPE_V waits for flag\(src=MTE2, dst=V, event_id=0\)"):
        legal_order(program)


def test_a_flag_that_is_set_twice_is_refused(words):
    with pytest.raises(IllegalInstruction) as error:
        legal_order(words.program(words.set_flag(5, 2), words.set_flag(5, 2), words.wait_flag(5, 2)))
    assert str(error.value) == (
        "PIPE_MTE2 set_flag     src=5 dst=2 event_id=0 dtype=int32  # kernel.py:2\n"
        "  rule: a flag must be waited for before it is set again\n"
        "  next: wait for it in the destination pipe, or use another event id"
    )


def test_a_flag_that_nobody_waits_for_is_refused(words):
    with pytest.raises(IllegalInstruction) as error:
        legal_order(words.program(words.load(), words.set_flag(5, 2)))
    assert str(error.value) == (
        "PIPE_MTE2 set_flag     src=5 dst=2 event_id=0 dtype=int32  # kernel.py:2\n"
        "  rule: set_flag and wait_flag must balance; nobody waits for this flag\n"
        "  next: add the wait_flag, or close the queue at the end of the kernel"
    )


@given(st.data())
def test_every_order_keeps_pipes_in_order_and_flags_before_waits(words, data):
    """Of a random program in which each pipe's lines are merged in any way."""
    lanes = {2: [], 5: [], 6: []}
    pairs = [(5, 2, 0), (2, 6, 1), (6, 5, 2)]
    for step in range(data.draw(st.integers(1, 4))):
        for src, dst, event in pairs:
            lanes[src].append(words.set_flag(src, dst, event))
            lanes[dst].append(words.wait_flag(src, dst, event))
            if step:
                lanes[src][-1], lanes[src][-2] = lanes[src][-2], lanes[src][-1]
    lines = []
    while any(lanes.values()):
        pipe = data.draw(st.sampled_from([pipe for pipe, left in lanes.items() if left]))
        lines.append(lanes[pipe].pop(0))
    program = words.program(*lines)
    try:
        order = legal_order(program)
    except (Deadlock, IllegalInstruction):
        return
    assert sorted(order) == list(range(len(program)))
    pipes = program.words[order, 0] >> 8 & 255
    for pipe in np.unique(pipes):
        mine = order[pipes == pipe]
        assert (np.diff(mine) > 0).all()
    flags = set()
    for record in order:
        op, flag = program.words[record, 0] & 255, flag_of.py_func(int(program.words[record, 1]))
        if op == SET:
            assert flag not in flags
            flags.add(flag)
        elif op == WAIT:
            flags.remove(flag)
    assert not flags
