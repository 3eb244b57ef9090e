"""The definition of a core: in order within a pipe, pipes side by side, flags, barriers, bounded queues."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from davinci_sim.errors import Deadlock, IllegalInstruction
from davinci_sim.platforms import platform
from davinci_sim.platforms.figure import assumed

CHIP = platform("ascend910a")


def spans(trace) -> list[tuple[str, int, int]]:
    """Return (instruction, start, end) in program order."""
    rows = sorted(trace.records.tolist(), key=lambda row: row[6])
    return [(trace.op_names[row[2]], row[3], row[4]) for row in rows]


def test_instructions_of_one_pipe_run_one_after_the_other(words, trace_of: Callable):
    first, second = spans(trace_of(words.add(100), words.add(100)))
    assert second[1] >= first[2]


def test_pipes_run_side_by_side(words, trace_of):
    """A long move and a long sum together take as long as the longer one, not as both."""
    both = trace_of(words.load(2000), words.add(255), words.add(255)).cycles
    move, sums = trace_of(words.load(2000)).cycles, trace_of(words.add(255), words.add(255)).cycles
    assert max(move, sums) <= both < move + sums


def test_a_wait_holds_its_pipe_until_the_flag_is_set(words, trace_of):
    trace = trace_of(words.load(500), words.set_flag(5, 2), words.wait_flag(5, 2), words.add())
    move, flag, wait, add = spans(trace)
    assert flag[1] >= move[2]
    assert wait[1] >= flag[2]
    assert add[1] >= wait[2]


def test_without_a_flag_nothing_waits(words, trace_of):
    move, add = spans(trace_of(words.load(500), words.add()))
    assert add[2] < move[2]


def test_a_barrier_drains_every_pipe(words, trace_of):
    move, add, barrier, after = spans(trace_of(words.load(500), words.add(), words.barrier, words.add()))
    assert barrier[1] >= max(move[2], add[2])
    assert after[1] >= barrier[2]


def test_a_full_queue_stalls_the_scalar_unit(words, trace_of):
    """A queue of one: the move behind three sums is handed out only when the first of them is through."""
    short = CHIP.with_figures("short", queue_depth=assumed(1, "", "a test"))
    lines = [words.add(255)] * 3 + [words.load()]
    free, stalled = spans(trace_of(*lines)), spans(trace_of(*lines, chip=short))
    assert free[3][1] < free[0][2]
    assert stalled[3][1] >= stalled[0][2]


def test_decoding_takes_its_cycles(words, trace_of):
    slow = CHIP.with_figures("slow", dispatch_cycles=assumed(50, "cycles", "a test"))
    assert spans(trace_of(words.add(), chip=slow))[0][1] == 50


def test_a_deadlock_names_the_flag_and_the_cycle(words, trace_of):
    with pytest.raises(Deadlock) as error:
        trace_of(words.add(), words.wait_flag(5, 2, 3), words.add())
    lines = str(error.value).splitlines()
    assert lines[0].startswith("stuck at cycle ")
    assert lines[1] == "  PIPE_V waits for flag(src=MTE2, dst=V, event_id=3)  (kernel.py:2)"


def test_a_flag_that_is_set_twice_is_refused(words, trace_of):
    with pytest.raises(IllegalInstruction) as error:
        trace_of(words.set_flag(5, 2), words.set_flag(5, 2))
    assert "rule: a flag must be waited for before it is set again (cycle " in str(error.value)
    assert str(error.value).startswith(
        "PIPE_MTE2 set_flag     src=5 dst=2 event_id=0 dtype=int32  # kernel.py:2"
    )


def test_cycles_are_integers_and_equal_from_run_to_run(words, trace_of):
    lines = [words.load(77), words.set_flag(5, 2), words.wait_flag(5, 2), words.add(9)]
    assert trace_of(*lines) == trace_of(*lines)
    assert np.issubdtype(trace_of(*lines).records["end"].dtype, np.integer)


def test_every_record_appears_once_with_its_source(words, trace_of):
    trace = trace_of(words.load(), words.add(), words.barrier)
    assert sorted(trace.records["index"].tolist()) == [0, 1, 2]
    assert {trace.sources[row["location"]] for row in trace.records} == {f"kernel.py:{n}" for n in (1, 2, 3)}
