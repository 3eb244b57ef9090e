"""Tasks of one stream run in order, streams side by side; events order them, the host sends one by one."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.chip import Chip, Task
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.chip.task import Code
from davinci_sim.core.program import Program
from davinci_sim.core.trace import Trace
from davinci_sim.errors import DavinciError
from davinci_sim.memory.dtypes import F32
from davinci_sim.platforms import assumed, platform

HOST, START, CORES = 100, 1000, 4
PLATFORM = platform("ascend910a").with_figures(
    "a test",
    host_launch_cycles=assumed(HOST, "cycles", "a test"),
    task_start_cycles=assumed(START, "cycles", "a test"),
    block_start_cycles=assumed(0, "cycles", "a test"),
    ai_cores=assumed(CORES, "", "a test"),
    hbm_bytes_per_cycle=assumed(32, "B/cycle", "a test: a block a cycle"),
)
SUMS = 200
TAKES = PLATFORM.dispatch_cycles + SUMS + PLATFORM.vector_drain_cycles
"""Cycles of a block of `sums`: until it is handed out, until the unit is free, until the result is there."""


@pytest.fixture
def chip(engine) -> Chip:
    """A chip of four cores."""
    return Chip(PLATFORM, engine=engine)


def task_of(*programs: Program) -> Task:
    """Return a task whose blocks are given as programs in a legal order."""
    return Task.of("test", ("a test",), Code(programs))


def sums(words, blocks: int = 1) -> Task:
    """Return a task of equal blocks that take `TAKES` cycles each."""
    return task_of(*[words.program(words.work(SUMS))] * blocks)


def cores(trace: Trace, task: int) -> list[int]:
    """Return the cores on which the blocks of a task of one instruction ran."""
    return trace.records["core"][trace.records["task"] == task].tolist()


def test_a_task_starts_when_the_host_has_sent_it_and_the_scheduler_has_begun_it(chip, words):
    chip.stream().launch(sums(words))
    trace = chip.synchronize()
    assert trace.spans == ((HOST + START, HOST + START + TAKES),)
    assert trace.records["start"].tolist() == [HOST + START + PLATFORM.dispatch_cycles]
    assert trace.cycles == HOST + START + TAKES


def test_tasks_of_one_stream_run_one_after_the_other(chip, words):
    """The second is long sent when the first ends; its start comes behind that."""
    stream = chip.stream()
    for _ in range(3):
        stream.launch(sums(words))
    trace = chip.synchronize()
    starts = [HOST + START + n * (TAKES + START) for n in range(3)]
    assert trace.spans == tuple((start, start + TAKES) for start in starts)
    assert [cores(trace, task) for task in range(3)] == [[0], [0], [0]]


def test_tasks_of_two_streams_run_side_by_side_on_different_cores(chip, words):
    """The host sends the second a little later; it gets the next free cores."""
    for _ in range(2):
        chip.stream().launch(sums(words, blocks=2))
    trace = chip.synchronize()
    first, second = trace.spans
    assert second[0] == first[0] + HOST < first[1]
    assert second[1] == second[0] + TAKES
    assert [cores(trace, task) for task in range(2)] == [[0, 1], [2, 3]]


def test_the_host_sends_one_task_after_the_other(chip, words):
    """However many streams there are."""
    for _ in range(4):
        chip.stream().launch(sums(words))
    assert [start for start, _ in chip.synchronize().spans] == [START + n * HOST for n in (1, 2, 3, 4)]


def test_time_does_not_end_after_two_seconds(words, engine):
    """2^31 cycles are 2.1 seconds of this chip."""
    launch = Launch((words.program(words.work(SUMS)),), host_cycle=1 << 31)
    trace = simulate_launches([launch], PLATFORM, engine)
    assert trace.spans == (((1 << 31), (1 << 31) + TAKES),)


def test_blocks_beyond_the_cores_stand_in_line(chip, words):
    """Ten blocks on four cores take three rounds."""
    chip.stream().launch(sums(words, blocks=10))
    trace = chip.synchronize()
    assert cores(trace, 0) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    begins = trace.records["start"] - PLATFORM.dispatch_cycles - trace.spans[0][0]
    assert begins.tolist() == [0] * 4 + [TAKES] * 4 + [2 * TAKES] * 2
    assert trace.spans == ((HOST + START, HOST + START + 3 * TAKES),)


def test_blocks_of_a_later_task_stand_behind_those_of_an_earlier_one(chip, words):
    """Six blocks leave two cores in the second round; two of three later blocks get them, one waits on."""
    chip.stream().launch(sums(words, blocks=6))
    chip.stream().launch(sums(words, blocks=3))
    trace = chip.synchronize()
    begins = trace.records["start"] - PLATFORM.dispatch_cycles - trace.spans[0][0]
    assert begins[trace.records["task"] == 1].tolist() == [TAKES, TAKES, 2 * TAKES]
    assert cores(trace, 1) == [2, 3, 0]


@pytest.fixture
def slow_scheduler(engine) -> Chip:
    """A chip whose scheduler begins a block every 70 cycles."""
    figures = {"block_start_cycles": assumed(70, "cycles", "a test")}
    return Chip(PLATFORM.with_figures("slow scheduler", **figures), engine=engine)


def test_the_scheduler_begins_one_block_after_the_other(slow_scheduler, words):
    slow_scheduler.stream().launch(sums(words, blocks=3))
    trace = slow_scheduler.synchronize()
    begins = trace.records["start"] - PLATFORM.dispatch_cycles - trace.spans[0][0]
    assert begins.tolist() == [0, 70, 140]
    assert trace.spans == ((HOST + START, HOST + START + 140 + TAKES),)


def test_a_block_gets_a_core_that_is_free_again(slow_scheduler, words):
    """The fourth block is due in cycle 210, the first ends in cycle 223, the fifth is due in cycle 280."""
    slow_scheduler.stream().launch(sums(words, blocks=5))
    assert cores(slow_scheduler.synchronize(), 0) == [0, 1, 2, 3, 0]


def test_blocks_of_two_tasks_take_turns_as_they_are_due(slow_scheduler, words):
    """Those of the second come 100 cycles later."""
    for _ in range(2):
        slow_scheduler.stream().launch(sums(words, blocks=2))
    trace = slow_scheduler.synchronize()
    begins = trace.records["start"] - PLATFORM.dispatch_cycles - trace.spans[0][0]
    assert begins.tolist() == [0, 70, 100, 170]
    assert cores(trace, 0) + cores(trace, 1) == [0, 1, 2, 3]


def test_the_time_of_a_task_has_the_starts_of_its_blocks_in_it(slow_scheduler, words):
    assert slow_scheduler.time(sums(words, blocks=3)).cycles == 2 * 70 + TAKES
    assert slow_scheduler.trace(sums(words, blocks=3)).cycles == 2 * 70 + TAKES
    assert slow_scheduler.run_reference(sums(words, blocks=3)).cycles == 2 * 70 + TAKES


def test_a_stream_waits_for_an_event_of_another(chip, words):
    first, second = chip.stream(), chip.stream()
    first.launch(sums(words))
    second.wait(first.record())
    second.launch(sums(words))
    before, after = chip.synchronize().spans
    assert after[0] == before[1] + START


def test_an_event_holds_up_what_is_launched_after_the_wait_only(chip, words):
    """The task that was in the stream already runs beside the first; the next waits for both."""
    first, second = chip.stream(), chip.stream()
    first.launch(sums(words))
    second.launch(sums(words))
    second.wait(first.record())
    second.launch(sums(words))
    a, b, c = chip.synchronize().spans
    assert b[0] == a[0] + HOST
    assert c[0] == max(a[1], b[1]) + START


def test_an_event_is_what_was_launched_when_it_was_recorded(chip, words):
    """Not what comes into the stream later."""
    first, second = chip.stream(), chip.stream()
    first.launch(sums(words))
    event = first.record()
    first.launch(sums(words))
    second.wait(event)
    second.launch(sums(words))
    a, b, c = chip.synchronize().spans
    assert b[0] == c[0] == a[1] + START


def test_an_event_of_an_empty_stream_has_happened(chip, words):
    first, second = chip.stream(), chip.stream()
    second.wait(first.record())
    second.launch(sums(words))
    assert chip.synchronize().spans == ((HOST + START, HOST + START + TAKES),)


def test_an_event_from_before_the_last_synchronisation_has_happened(chip, words):
    """Also for the stream itself: time begins anew."""
    first, second = chip.stream(), chip.stream()
    first.launch(sums(words))
    event = first.record()
    before = chip.synchronize().spans
    second.wait(event)
    second.launch(sums(words))
    assert chip.synchronize().spans == before
    first.launch(sums(words))
    assert chip.synchronize().spans == before


def test_an_event_of_another_chip_is_refused(words):
    ahead, behind = Chip(PLATFORM), Chip(PLATFORM)
    ahead.stream().launch(sums(words))
    ahead.synchronize()
    with pytest.raises(DavinciError) as error:
        behind.stream().wait(ahead.stream().record())
    assert str(error.value) == (
        "stream 1: the event belongs to batch 1, the chip is at 0\n"
        "  rule: an event is waited for on the chip that recorded it"
    )


def test_synchronising_computes_the_data_of_all_tasks_in_order(chip, words):
    """A row is doubled three times."""
    handle = chip.allocate(256)
    numbers = np.arange(64, dtype=np.float32)
    chip.write(handle, numbers)
    double = task_of(words.program(words.load(8), words.add(), words.store(8)))
    stream = chip.stream()
    for _ in range(3):
        stream.launch(double)
    assert np.array_equal(chip.read(handle, (64,), F32), numbers)
    chip.synchronize()
    assert np.array_equal(chip.read(handle, (64,), F32), 8 * numbers)


def test_synchronising_runs_what_was_launched_once(chip, words):
    chip.stream().launch(sums(words))
    chip.synchronize()
    trace = chip.synchronize()
    assert (trace.cycles, trace.spans, len(trace.records)) == (0, (), 0)


def test_a_task_without_blocks_ends_when_it_starts(chip, words):
    """What waits for it goes on."""
    nothing = Task.of("nothing", ("nothing",), Code(()))
    stream = chip.stream()
    stream.launch(nothing)
    stream.launch(sums(words))
    first, second = chip.synchronize().spans
    assert first == (HOST + START, HOST + START)
    assert second[0] == first[1] + START


def test_tasks_leave_what_they_read_in_l2_for_those_behind_them(chip, words):
    """Within one synchronisation and beyond it."""
    load = task_of(words.program(words.load(4096)))
    stream = chip.stream()
    stream.launch(load)
    stream.launch(load)
    spans = chip.synchronize().spans
    cold, warm = (end - start for start, end in spans)
    assert cold == PLATFORM.dispatch_cycles + 131072 // PLATFORM.hbm_bytes_per_cycle
    least = PLATFORM.gm_read_head_cycles + -(-131072 // PLATFORM.gm_to_ub_bytes_per_cycle)
    assert warm == PLATFORM.dispatch_cycles + least
    assert chip.time(load).cycles == warm


def test_records_say_which_task_they_belong_to(chip, words):
    stream = chip.stream()
    stream.launch(sums(words, blocks=2))
    stream.launch(task_of(words.program(words.work(), words.work(), words.work())))
    trace = chip.synchronize()
    assert trace.records["task"].tolist() == [0, 0, 1, 1, 1]
    for task, (start, end) in enumerate(trace.spans):
        mine = trace.records[trace.records["task"] == task]
        assert start < mine["start"].min()
        assert mine["ready"].max() == end


def test_streams_are_numbered():
    chip = Chip(PLATFORM)
    assert [repr(chip.stream()) for _ in range(2)] == ["Stream(1)", "Stream(2)"]
