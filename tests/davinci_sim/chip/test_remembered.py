"""A remembered time is that of a simulation, wherever operands lie and whatever else L2 holds."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip, Task
from davinci_sim.chip.engine.l2 import content_of
from davinci_sim.chip.task import Code, Tensor
from davinci_sim.core.program import Program
from davinci_sim.errors import Deadlock, IllegalInstruction
from davinci_sim.platforms import Platform, assumed, platform

LINE, LINES = 512, 128
BLOCK = 32
OPERANDS = (40 * LINE, 7 * LINE, 300)
"""Bytes of the operands of the tasks here: two of them together are less than L2, and more with others."""


def with_ways(ways: int) -> Platform:
    """Return a 910A with a small L2 of so many ways behind which the memory is slow."""
    return platform("ascend910a").with_figures(
        "small L2",
        l2_bytes=assumed(LINES * LINE, "B", "so that lines have to go"),
        l2_ways=assumed(ways, "", "a test"),
        hbm_bytes_per_cycle=assumed(32, "B/cycle", "so that it is seen what L2 holds"),
    )


CHIPS = {ways: with_ways(ways) for ways in (16, LINES)}
PERIOD = {16: LINES // 16 * LINE, LINES: LINE}
"""Addresses that are this far apart belong to the same set."""


class Kernel:
    """Loads and stores of parts of three operands, by two blocks."""

    def __init__(self, words, moves) -> None:
        self.words, self.moves = words, moves

    @functools.lru_cache(maxsize=256)  # noqa: B019 - lives as long as a test
    def task(self, handles: tuple[int, ...]) -> Task:
        """Return the task for operands at these addresses."""
        blocks = [self._program(handles, self.moves[part::2]) for part in range(2)]
        return task_of(blocks, handles, str(self.moves))

    def _program(self, handles, moves) -> Program:
        lines = []
        for operand, first, count, is_store in moves:
            blocks = OPERANDS[operand] // BLOCK
            start = handles[operand] + first % blocks * BLOCK
            size = min(count, blocks - first % blocks)
            lines.append(self.words.store(size, d=start) if is_store else self.words.load(size, s=start))
        return self.words.program(*lines, self.words.work(3))


def task_of(blocks, handles, key) -> Task:
    """Return a task of programs that have tensors at these addresses."""
    tensors = tuple(
        Tensor(f"x{number}", start, nbytes)
        for number, (start, nbytes) in enumerate(zip(handles, OPERANDS, strict=False))
    )
    return Task.of("test", (key,), Code(tuple(blocks)), tensors=tensors)


moves = st.tuples(st.integers(0, 2), st.integers(0, 700), st.integers(1, 700), st.booleans())
kernels = st.lists(moves, min_size=1, max_size=5)
offsets = st.tuples(*[st.integers(0, 200)] * 3)
"""Of operands, in half lines; they may lie upon each other."""


def layers(data, words, period: int) -> list[Task]:
    """Draw a chain of tasks: some kernels, launched on tensors here and there, layer after layer."""
    pool = [Kernel(words, tuple(data.draw(kernels))) for _ in range(2)]
    homes = data.draw(st.lists(offsets, min_size=1, max_size=3))
    layer = data.draw(
        st.lists(st.tuples(st.sampled_from(pool), st.sampled_from(homes)), min_size=1, max_size=4)
    )
    steps = data.draw(st.lists(st.sampled_from([0, 1, 3, 4, 40, 41, 57]), min_size=2, max_size=6))
    unit = data.draw(st.sampled_from([period, period, LINE, BLOCK]))
    return [
        kernel.task(tuple(half * LINE // 2 + step * unit for half in home))
        for step in steps
        for kernel, home in layer
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), ways=st.sampled_from(sorted(CHIPS)))
def test_times_and_what_is_left_in_l2_are_those_of_a_simulation(words, data, ways):
    """Of tasks in chains, at addresses that share sets, lines or nothing, alone and side by side."""
    tasks = layers(data, words, PERIOD[ways])
    remembering, fresh = (Chip(CHIPS[ways], remember_times=remember) for remember in (True, False))
    for at, task in enumerate(tasks):
        if at % 3 == 2:
            group = (tasks[at - 1], task), ((), ())
            assert remembering.time_of_group(*group) == fresh.time_of_group(*group)
        assert remembering.time(task) == fresh.time(task)
        contents = [content_of(chip.clockwork.cache) for chip in (remembering, fresh)]
        assert np.array_equal(*contents)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), ways=st.sampled_from(sorted(CHIPS)))
def test_sequences_take_what_their_tasks_take_one_after_the_other(words, data, ways):
    """However often they come, and whatever runs between them."""
    tasks = layers(data, words, PERIOD[ways])
    cuts = [tasks[:3], tasks[3:5], tasks[:2]]
    order = data.draw(st.lists(st.sampled_from([0, 0, 1, 2, "task", "trace", "empty"]), max_size=12))
    remembering, fresh = (Chip(CHIPS[ways], remember_times=remember) for remember in (True, False))
    for step in order:
        for chip in (remembering, fresh):
            if step == "empty":
                chip.empty_l2()
            elif step == "trace":
                chip.trace(tasks[-1])
        if step == "task":
            assert remembering.time(tasks[0]) == fresh.time(tasks[0])
        elif isinstance(step, int):
            groups = [remembering.group((task,)) for task in cuts[step]]
            expected = [fresh.time(task) for task in cuts[step]]
            assert [group.times[0] for group in remembering.times(groups)] == expected
    assert np.array_equal(*(content_of(chip.clockwork.cache) for chip in (remembering, fresh)))


def chain(words, ways: int, layer_bytes: int, count: int = 8) -> Chip:
    """Return a chip that has timed equal layers, each with weights of its own; L2 holds less."""
    kernel = Kernel(words, ((0, 0, 640, False), (1, 0, 112, False), (0, 0, 640, True), (2, 0, 9, False)))
    chip = Chip(CHIPS[ways])
    for layer in range(count):
        base = layer * layer_bytes
        for part in range(4):
            chip.time(
                kernel.task((base + part * 64 * LINE, base + (part + 1) * 64 * LINE, base + 320 * LINE))
            )
    return chip


@pytest.mark.parametrize(("ways", "layer_bytes"), [(16, 400 * LINE), (LINES, 399 * LINE)])
def test_equal_layers_are_simulated_once_when_l2_has_filled(words, ways, layer_bytes):
    """The first layer finds L2 empty, the second what the first one left, the others what equal ones left."""
    assert chain(words, ways, layer_bytes).clockwork.simulated <= 12
    assert chain(words, ways, layer_bytes, 16).clockwork.simulated <= 12


def test_layers_that_lie_a_line_further_on_each_are_still_equal(words):
    """All their operands are: the same kernel meets other sets, in the same order."""
    assert chain(words, 16, 401 * LINE).clockwork.simulated <= 12


def test_a_task_that_leaves_its_operands_is_told_from_one_that_finds_other_lines(words, narrow):
    """The load is of no operand, so that what L2 holds beside the operands matters."""
    stray = task_of([words.program(words.load(1024, s=1 << 20))], (0,), "stray")
    for remember in (True, False):
        chip, times = Chip(narrow, remember_times=remember), []
        for byte in (1 << 20, 1 << 22):
            chip.empty_l2()
            warm = words.program(words.load(1024, s=byte))
            chip.time(Task.of("warm", (f"warm {byte}",), Code((warm,))))
            times.append(chip.time(stray).cycles)
        assert times[0] < times[1]


def test_a_task_that_cannot_run_leaves_l2_as_it_was(words):
    chip = Chip(CHIPS[16])
    good = words.program(words.load(100))
    chip.time(task_of([good], (0,), "good"))
    before = content_of(chip.clockwork.cache)
    bad = words.program(words.load(100, s=1 << 14), words.wait_flag(5, 2))
    with pytest.raises(Deadlock):
        chip.time(task_of([bad], (0,), "bad"))
    assert np.array_equal(content_of(chip.clockwork.cache), before)


def test_a_task_that_leaves_the_device_memory_is_refused_and_changes_nothing(words):
    chip = Chip(CHIPS[16])
    beyond = words.program(words.load(100, s=int(chip.platform.gm_bytes) - 32))
    for task in (task_of([beyond], (0,), "beyond"), Task.of("beyond", ("no tensors",), Code((beyond,)))):
        with pytest.raises(IllegalInstruction, match="every operand must stay inside its memory space"):
            chip.time(task)
    assert (chip.clockwork.cache.lines == -1).all()


def test_a_step_that_is_repeated_leaves_nothing_to_catch_up_with(words):
    """From the second one on L2 holds the same, however often it comes."""
    kernel = Kernel(words, ((0, 0, 640, False), (0, 0, 640, True)))
    chip = Chip(CHIPS[16])
    step = [chip.group([kernel.task((part * 64 * LINE, 1 << 20, 1 << 21))]) for part in range(4)]
    times = [chip.times(step) for _ in range(50)]
    assert times[2:] == times[1:-1]
    assert len(chip.clockwork._behind) <= len(step)
    assert chip.clockwork.simulated <= 3 * len(step)
