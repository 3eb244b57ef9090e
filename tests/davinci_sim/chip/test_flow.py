"""Labels, switches and gotos: a stream that the task scheduler follows without the host."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim import Chip
from davinci_sim.chip.flow import (
    COMPARISONS,
    Copy,
    CpuTask,
    Flow,
    HostTask,
    Label,
    LabelGoto,
    LabelSwitch,
    StreamSwitch,
)
from davinci_sim.errors import DavinciError


@dataclass(frozen=True)
class Counter:
    """A chip with a count and a truth in its memory, and the tasks of a loop that counts down."""

    chip: Chip
    count: int
    truth: int
    kind: ClassVar[str] = "aicpu"

    @staticmethod
    def of(turns: int) -> Counter:
        """Return one that counts from `turns`."""
        chip = Chip("ascend910a")
        count, truth = chip.allocate(8), chip.allocate(1)
        chip.write(count, np.array([turns], np.int64))
        return Counter(chip, count, truth)

    def compare(self) -> None:
        """Write whether the count is above zero."""
        self.chip.write(self.truth, np.array([self.chip.words(self.count, 1, np.int64)[0] > 0]))

    def decrement(self) -> None:
        """Take one from the count."""
        self.chip.words(self.count, 1, np.int64)[0] -= 1

    def flow(self) -> Flow:
        """Return the loop."""
        return Flow(
            self.chip,
            [
                Label("top", 0),
                CpuTask("compare", self.compare, 9),
                LabelSwitch("decide", self.truth, (2, 1)),
                Label("body", 1),
                CpuTask("decrement", self.decrement, 16),
                LabelGoto("again", 0),
                Label("end", 2),
            ],
        )


@given(st.integers(0, 20))
def test_a_loop_turns_as_often_as_the_word_in_memory_says(turns):
    """The switch reads device memory each time; nobody asks the host."""
    counter = Counter.of(turns)
    flow = counter.flow()
    timeline = flow.timeline(flow.run())
    assert counter.chip.words(counter.count, 1, np.int64)[0] == 0
    assert [timeline.runs(kind) for kind in ("label_goto", "label_switch", "host")] == [turns, turns + 1, 0]


def test_a_turn_takes_the_sum_of_its_tasks():
    """Every turn of the loop has the same time: a label, two AI CPU tasks, a switch, a label, a goto."""
    chip = Counter.of(0).chip
    figures = chip.platform
    turn = (
        2 * figures.label_cycles + figures.label_switch_cycles + figures.label_goto_cycles
        + 2 * figures.aicpu_start_cycles + -(-9 // figures.aicpu_bytes_per_cycle)
        + -(-16 // figures.aicpu_bytes_per_cycle)
    )  # fmt: skip
    cycles = []
    for turns in (3, 4):
        flow = Counter.of(turns).flow()
        cycles.append(flow.timeline(flow.run()).cycles)
    assert cycles[1] - cycles[0] == turn


def test_the_timeline_shows_labels_switches_and_gotos():
    """A line per task that ran, and an event for the trace viewer."""
    flow = Counter.of(1).flow()
    timeline = flow.timeline(flow.run())
    names = [line.split()[3] for line in timeline.text().splitlines()]
    assert names == [
        "label", "aicpu", "label_switch", "label", "aicpu", "label_goto", "label", "aicpu", "label_switch",
        "label",
    ]  # fmt: skip
    events = [event for event in timeline.events() if event["ph"] == "X"]
    assert [event["cat"] for event in events] == names
    assert all(a["ts"] + a["dur"] == pytest.approx(b["ts"]) for a, b in pairwise(events))


def test_a_copy_takes_the_bytes_along():
    """A copy of the stream is one of the chip's copy engine."""
    chip = Chip("ascend910a")
    src, dst = chip.allocate(16), chip.allocate(16)
    chip.write(src, np.arange(16, dtype=np.uint8))
    flow = Flow(chip, [Copy("copy", dst, src, 16)])
    assert flow.timeline(flow.run()).cycles == chip.copy_cycles(16)
    assert chip.words(dst, 16, np.uint8).tolist() == list(range(16))


@given(nbytes=st.integers(0, 1 << 30))
def test_a_task_of_the_host_costs_the_way_there_and_back_and_is_counted(nbytes):
    """The host hears of it, its bytes go over the link, and it sends what follows."""
    chip, seen = Chip("ascend910a"), []
    flow = Flow(chip, [HostTask("print", lambda: seen.append(1), nbytes)])
    timeline, figures = flow.timeline(flow.run()), chip.platform
    expected = figures.host_sync_cycles + figures.host_launch_cycles + -(-nbytes // 20)
    assert (seen, timeline.runs("host"), timeline.cycles) == ([1], 1, expected)


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 40))
def test_tasks_that_the_host_sends_one_by_one_wait_for_it_and_for_each_other(cycles, host_cycles):
    """A task starts when it was sent and the one before it has ended."""
    flow = Flow(Chip("ascend910a"), [Label(f"task {number}", number) for number in range(len(cycles))])
    spans = flow.timeline(flow.straight(), cycles, host_cycles).spans
    end, expected = 0, []
    for number, took in enumerate(cycles):
        start = max(end, (number + 1) * host_cycles)
        end = start + took
        expected.append((number, 0, start, end))
    assert [tuple(row) for row in spans.tolist()] == expected


def test_a_jump_to_a_label_that_stands_nowhere_is_refused():
    """The message names the jump and the labels that there are."""
    with pytest.raises(DavinciError) as caught:
        Flow(Chip(), [Label("top", 0), LabelGoto("again", 3)])
    assert str(caught.value) == (
        "label_goto again goes to label 3, which stands nowhere\n"
        "  rule: a jump goes to a label of its stream: [0]"
    )


def test_a_label_at_two_places_is_refused():
    """Nobody could tell where to go on."""
    with pytest.raises(DavinciError) as caught:
        Flow(Chip(), [Label("top", 0), Label("end", 0)])
    assert str(caught.value) == "label 0 stands at tasks 0 and 1\n  rule: a label stands at one place"


def test_a_word_beyond_the_labels_is_refused():
    """A switch over two labels takes zero or one."""
    chip = Chip()
    word = chip.allocate(1)
    chip.write(word, np.array([2], np.uint8))
    with pytest.raises(DavinciError) as caught:
        Flow(chip, [Label("a", 0), Label("b", 1), LabelSwitch("decide", word, (0, 1))]).run()
    assert str(caught.value) == (
        f"label switch decide: the word at {word} is 2\n  rule: it must be below 2, the number of labels"
    )


@given(st.sampled_from(sorted(COMPARISONS)), st.integers(-3, 3), st.integers(-3, 3))
def test_a_stream_switch_compares_two_words_of_memory(compare, a, b):
    """It goes on at the second label exactly if NumPy says so."""
    chip, reached = Chip("ascend910a"), []
    words = chip.allocate(8), chip.allocate(8)
    for word, value in zip(words, (a, b), strict=True):
        chip.write(word, np.array([value], np.int64))
    flow = Flow(
        chip,
        [
            StreamSwitch("decide", words, "int64", compare, (0, 1)),
            Label("yes", 1),
            HostTask("note", lambda: reached.append(True)),
            Label("no", 0),
        ],
    )
    flow.run()
    assert bool(reached) == bool(getattr(np, compare)(a, b))


def test_no_figure_of_the_scheduler_changes_what_was_found_for_kernels():
    """Tilings that a search has kept hold for a chip with another task scheduler."""
    chip = Chip().platform
    slow = chip.with_figures("ascend910a", label_goto_cycles=chip.figure("task_start_cycles"))
    other = chip.with_figures("ascend910a", task_start_cycles=chip.figure("label_cycles"))
    assert slow.digest == chip.digest != other.digest


def test_the_first_way_through_branches_is_known_without_data():
    """Each switch goes on at the first of its labels in the stream; a way that leads back has no end."""
    switch, then, end = LabelSwitch("if", 0, (1, 0)), Label("then", 0), Label("end", 2)
    tasks = [switch, then, LabelGoto("over", 2), Label("orelse", 1), end]
    assert Flow(Chip(data=False), tasks).first_ways().tolist() == [0, 1, 2, 4]
    assert Flow(Chip(data=False), [then, LabelGoto("again", 0)]).first_ways() is None
