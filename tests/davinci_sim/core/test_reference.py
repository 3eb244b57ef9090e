"""The law of a core, on both engines: in order within a pipe, overlapped; pipes side by side; flags.

All times are counted by hand from the platform's figures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from davinci_sim.core.trace import Trace
from davinci_sim.errors import Deadlock, IllegalInstruction
from davinci_sim.platforms import Platform, platform
from davinci_sim.platforms.figure import assumed

CHIP = platform("ascend910a").with_figures(
    "narrow", hbm_bytes_per_cycle=assumed(32, "B/cycle", "a test: a block a cycle from the device memory")
)
DRAIN = CHIP.vector_drain_cycles
DISPATCH = CHIP.dispatch_cycles


class Span(NamedTuple):
    """When a record held its unit, and when its result was there."""

    start: int
    end: int
    ready: int


def spans(trace: Trace) -> list[Span]:
    """Return when each record ran, in program order."""
    assert trace.records["index"].tolist() == list(range(len(trace.records)))
    return [Span(*(int(row[time]) for time in Span._fields)) for row in trace.records]


def held(repeats: int) -> int:
    """Return the cycles for which so many repeats of vadd hold the vector unit."""
    return max(CHIP.vector_min_cycles, repeats * CHIP.vector_cycles("vadd", "fp32"))


def fetched(blocks: int) -> int:
    """Return the cycles of a lone load of blocks (whole lines of L2) that L2 does not hold."""
    return blocks * 32 // CHIP.hbm_bytes_per_cycle


def changed(**figures: int) -> Platform:
    """Return the 910A with other figures."""
    return CHIP.with_figures("changed", **{name: assumed(n, "", "a test") for name, n in figures.items()})


def test_the_first_instruction_starts_when_it_has_been_handed_out(words, trace_of: Callable):
    (first,) = spans(trace_of(words.work(100)))
    assert first == (DISPATCH, DISPATCH + held(100), DISPATCH + held(100) + DRAIN)


def test_instructions_of_one_pipe_overlap(words, trace_of: Callable):
    """The unit takes the second when it has done with the first, whose result is still on its way."""
    first, second = spans(trace_of(words.work(100), words.work(100)))
    assert second.start == first.end
    assert second.start < first.ready
    assert second.ready == first.ready + held(100)


def test_a_short_instruction_holds_the_unit_for_its_least_time(words, trace_of):
    first, second = spans(trace_of(words.work(1), words.work(1)))
    assert second.start - first.start == CHIP.vector_min_cycles


def test_a_product_holds_the_cube_for_its_fractals_and_a_head(words, trace_of):
    """Four fractal products of 16 x 16 x 16; the sums are there after the drain."""
    product = "PIPE_M mmad c=L0C+0x0 a=L0A+0x0 b=L0B+0x0 m=32 k=16 n=32 accumulate=0 dtype=fp16"
    first, second = spans(trace_of(product, product))
    assert first.end - first.start == 4 + CHIP.mmad_head_cycles
    assert first.ready - first.end == CHIP.mmad_drain_cycles
    assert second.start == first.end


def test_a_transfer_is_there_when_its_unit_is_free(words, trace_of):
    """What the memory takes contains everything; the next transfer starts behind it."""
    first, second = spans(trace_of(words.load(1024), words.load(1024, s=1 << 20)))
    assert first == (DISPATCH, DISPATCH + fetched(1024), DISPATCH + fetched(1024))
    assert second == (first.end, first.end + fetched(1024), first.end + fetched(1024))


def test_pipes_run_side_by_side(words, trace_of):
    """A long move and a long sum together take as long as the longer one, not as both."""
    both = trace_of(words.load(2048), words.work(255), words.work(255)).cycles
    move, sums = trace_of(words.load(2048)).cycles, trace_of(words.work(255), words.work(255)).cycles
    assert both == max(move, sums)


def test_a_flag_is_set_when_the_results_before_it_are_there(words, trace_of):
    """The sum's result drains; the flag takes a slot of the unit meanwhile."""
    add, flag, wait, move = spans(
        trace_of(words.work(100), words.set_flag(2, 6), words.wait_flag(2, 6), words.store(16))
    )
    assert (flag.start, flag.end, flag.ready) == (add.end, add.end + 1, add.ready)
    assert (wait.start, wait.end) == (add.ready, add.ready + 1)
    assert move.start == wait.end


def test_a_wait_holds_its_pipe_until_the_flag_is_set(words, trace_of):
    move, flag, wait, add = spans(
        trace_of(words.load(512), words.set_flag(5, 2), words.wait_flag(5, 2), words.work())
    )
    assert flag.ready == move.ready + 1 == DISPATCH + fetched(512) + 1
    assert wait.start == flag.ready
    assert add.start == wait.start + 1


def test_a_flag_that_is_set_already_costs_a_slot_only(words, trace_of):
    trace = trace_of(words.set_flag(5, 2), words.work(100), words.wait_flag(5, 2), words.work(100))
    _, first, wait, second = spans(trace)
    assert (wait.start, second.start) == (first.end, first.end + 1)


def test_a_set_flag_does_not_hold_its_pipe(words, trace_of):
    """What follows it in the pipe starts before the flag is set."""
    add, flag, following, _ = spans(
        trace_of(words.work(100), words.set_flag(2, 6), words.work(), words.wait_flag(2, 6))
    )
    assert following.start == add.end + 1 < flag.ready


def test_without_a_flag_nothing_waits(words, trace_of):
    move, add = spans(trace_of(words.load(512), words.work()))
    assert add.start == 2 * DISPATCH
    assert add.ready < move.ready


def test_a_barrier_of_one_pipe_waits_for_the_results_of_that_pipe(words, trace_of):
    """Not only until its unit is free; another pipe goes on."""
    lines = [words.load(512), words.work(100), words.pipe_barrier(2), words.work(100)]
    move, first, barrier, second = spans(trace_of(*lines))
    assert barrier.start == first.ready == first.end + DRAIN
    assert second.start == barrier.end == first.ready + 1
    assert move.ready > second.ready


def test_a_barrier_of_all_pipes_waits_for_every_result(words, trace_of):
    """The scalar unit hands out what follows only then."""
    lines = [words.load(16), words.work(255), words.barrier, words.work()]
    move, add, barrier, after = spans(trace_of(*lines))
    assert add.ready > move.ready
    assert barrier.start == add.ready
    assert after.start == barrier.end + DISPATCH == add.ready + 1 + DISPATCH


def test_a_full_queue_stalls_the_scalar_unit(words, trace_of):
    """A queue of one: a sum runs, one stands in line, the third holds up the move behind it."""
    lines = [words.work(255)] * 3 + [words.load(16)]
    free, stalled = spans(trace_of(*lines)), spans(trace_of(*lines, chip=changed(queue_depth=1)))
    assert free[3].start == 4 * DISPATCH
    assert stalled[3].start == stalled[0].end + DISPATCH


def test_a_place_in_the_queue_is_free_when_the_unit_takes_the_record(words, trace_of):
    """Of a queue of two, two stand in line behind the one that runs."""
    lines = [words.work(255)] * 3 + [words.load(16)]
    assert spans(trace_of(*lines, chip=changed(queue_depth=2)))[3].start == 4 * DISPATCH


def test_a_wait_that_blocks_its_pipe_has_left_the_queue(words, trace_of):
    """Else the load that the sum waits for would never be handed out."""
    chip = changed(queue_depth=1)
    lines = [words.wait_flag(5, 2), words.work(), words.load(16), words.set_flag(5, 2)]
    wait, add, move, flag = spans(trace_of(*lines, chip=chip))
    assert move.start == 3 * DISPATCH
    assert (wait.start, add.start) == (flag.ready, flag.ready + 1)


def test_handing_out_takes_its_cycles(words, trace_of):
    """Instructions of different pipes start as far apart as the scalar unit hands them out."""
    add, move = spans(trace_of(words.work(), words.load(16), chip=changed(dispatch_cycles=50)))
    assert (add.start, move.start) == (50, 100)


def test_the_scalar_unit_runs_its_own_flags_before_it_hands_out_more(words, trace_of):
    add, flag, wait, move = spans(
        trace_of(words.work(100), words.set_flag(2, 1), words.wait_flag(2, 1), words.load(16))
    )
    assert wait.start == flag.ready == add.ready
    assert move.start == wait.end + DISPATCH


def test_a_deadlock_names_the_flag_and_the_source(words, trace_of):
    with pytest.raises(Deadlock) as error:
        trace_of(words.work(), words.wait_flag(5, 2, 3), words.work(), words.wait_flag(2, 6, 1))
    assert str(error.value) == (
        "stuck, waiting for flags that nobody sets:\n"
        "  PIPE_V waits for flag(src=MTE2, dst=V, event_id=3)  (kernel.py:2)\n"
        "  PIPE_MTE3 waits for flag(src=V, dst=MTE3, event_id=1)  (kernel.py:4)\n"
        "  next: every wait_flag needs one set_flag of the same pipes and event id before it"
    )


def test_a_full_queue_behind_a_wait_is_a_deadlock(words, trace_of):
    """The set_flag stands behind sums that find no room, which stand behind the wait for it."""
    lines = [words.wait_flag(5, 2), words.work(), words.work(), words.set_flag(5, 2)]
    assert trace_of(*lines, chip=changed(queue_depth=2)).cycles > 0
    with pytest.raises(Deadlock, match=r"PIPE_V waits for flag\(src=MTE2, dst=V, event_id=0\)  \(kern"):
        trace_of(*lines, chip=changed(queue_depth=1))


def test_a_flag_that_is_set_twice_is_refused(words, trace_of):
    """The first set runs in cycle 1, the second is there at the end of cycle 2."""
    with pytest.raises(IllegalInstruction) as error:
        trace_of(words.set_flag(5, 2), words.set_flag(5, 2))
    assert str(error.value) == (
        "PIPE_MTE2 set_flag     src=5 dst=2 event_id=0 dtype=int32  # kernel.py:2\n"
        "  rule: a flag must be waited for before it is set again (cycle 3)\n"
        "  next: wait for it in the destination pipe, or use another event id"
    )


def set_twice_and_taken(words, cycle: int) -> list[str]:
    """Return lines that set a flag in cycles 2 and 1027, and wait for it from `cycle` on, behind sums."""
    sums = cycle - 4 * DISPATCH  # the first of them starts as the fourth record
    lines = [words.set_flag(5, 2), words.load(1024), words.set_flag(5, 2)]
    lines += [words.work(128)] * (sums // 128 - 1) + [words.work(128 + sums % 128)]
    return [*lines, words.wait_flag(5, 2), words.wait_flag(5, 2)]


def test_a_flag_that_is_taken_in_the_cycle_of_its_second_set_is_fine(words, trace_of):
    """What happens in one cycle has no order on the chip."""
    second_set = 2 * DISPATCH + fetched(1024) + 1
    *_, wait, again = spans(trace_of(*set_twice_and_taken(words, second_set)))
    assert (wait.start, again.start) == (second_set, second_set + 1)


def test_a_flag_that_is_taken_a_cycle_after_its_second_set_is_refused(words, trace_of):
    second_set = 2 * DISPATCH + fetched(1024) + 1
    with pytest.raises(IllegalInstruction, match=rf"before it is set again \(cycle {second_set}\)"):
        trace_of(*set_twice_and_taken(words, second_set + 1))


def test_a_flag_that_nobody_waits_for_is_refused(words, trace_of):
    """When the program ends."""
    with pytest.raises(IllegalInstruction) as error:
        trace_of(words.load(16), words.set_flag(5, 2))
    end = DISPATCH + CHIP.gm_read_head_cycles + -(-512 // CHIP.gm_to_ub_bytes_per_cycle) + 1
    assert str(error.value) == (
        "PIPE_MTE2 set_flag     src=5 dst=2 event_id=0 dtype=int32  # kernel.py:2\n"
        f"  rule: set_flag and wait_flag must balance; nobody waits for this flag (cycle {end})\n"
        "  next: add the wait_flag, or close the queue at the end of the kernel"
    )


def test_cycles_are_integers_and_equal_from_run_to_run(words, trace_of):
    lines = [words.load(77), words.set_flag(5, 2), words.wait_flag(5, 2), words.work(9)]
    assert trace_of(*lines) == trace_of(*lines)
    assert all(np.issubdtype(trace_of(*lines).records[time].dtype, np.integer) for time in Span._fields)


def test_every_record_appears_once_with_its_source(words, trace_of):
    trace = trace_of(words.load(), words.work(), words.barrier)
    assert trace.records["index"].tolist() == [0, 1, 2]
    assert [trace.sources[row["location"]] for row in trace.records] == [f"kernel.py:{n}" for n in (1, 2, 3)]


def test_a_program_without_instructions_takes_no_time(words, trace_of):
    assert trace_of().cycles == 0
