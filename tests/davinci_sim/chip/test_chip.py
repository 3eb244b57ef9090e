"""A chip hands out memory, computes tasks on any number of threads, and remembers the times of equal ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip, Task, remembered
from davinci_sim.chip import chip as chip_module
from davinci_sim.chip.task import Code
from davinci_sim.core.program import Program
from davinci_sim.errors import DavinciError, IllegalInstruction, OutOfSpace, UnknownName
from davinci_sim.memory.dtypes import F32, U8
from davinci_sim.platforms import assumed, platform

SMALL_L2 = platform("ascend910a").with_figures(
    "small L2", l2_bytes=assumed(1 << 16, "B", "so that lines have to go")
)


def task_of(*programs: Program, key: str = "a test") -> Task:
    """Return a task whose blocks are given as programs in a legal order."""
    return Task.of("test", (key,), Code(programs))


def test_memory_is_handed_out_zeroed_and_aligned():
    chip = Chip()
    first, second = chip.allocate(100), chip.allocate(100)
    assert (first, second) == (0, 512)
    assert not chip.read(first, (612,), U8).any()
    assert str(chip) == "Chip(ascend910a, 612 bytes allocated)"


def test_an_array_comes_back_as_it_was_written_also_after_the_memory_has_grown():
    chip = Chip()
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    handle = chip.allocate(array.nbytes)
    chip.write(handle, array)
    chip.allocate(1 << 22)
    assert np.array_equal(chip.read(handle, (3, 4), F32), array)


def test_a_chip_without_data_hands_out_the_same_handles_and_takes_the_same_time(words):
    """Up to its whole device memory, of which it holds nothing."""
    with_data, without = Chip(), Chip(data=False)
    sizes = (100, 5000, 1)
    assert [with_data.allocate(size) for size in sizes] == [without.allocate(size) for size in sizes]
    task = task_of(words.program(words.load(300), words.work(90)))
    assert with_data.cycles(task) == without.cycles(task)
    with_data.stream().launch(task)
    without.stream().launch(task)
    assert with_data.synchronize() == without.synchronize()
    without.allocate(without.platform.gm_bytes - (1 << 20))
    with pytest.raises(OutOfSpace):
        without.allocate(1 << 20, "one more")


def test_a_chip_without_data_says_that_it_has_none(words):
    chip = Chip(data=False)
    handle = chip.allocate(12)
    asked = {
        "write": lambda: chip.write(handle, np.zeros(3, dtype=np.float32)),
        "read": lambda: chip.read(handle, (3,), F32),
        "words": lambda: chip.words(handle, 1, np.int32),
        "copy": lambda: chip.copy(handle, handle, 4),
        "run": lambda: chip.run(task_of(words.program(words.load()))),
        "run_reference": lambda: chip.run_reference(task_of(words.program(words.load()))),
    }
    for what, ask in asked.items():
        with pytest.raises(DavinciError) as error:
            ask()
        assert str(error.value) == (
            f"Chip(ascend910a, 12 bytes allocated): {what} needs data\n"
            "  rule: a chip made with data=False tells time and holds no data\n"
            '  next: make it with Chip("ascend910a"), which holds them'
        )


def test_what_does_not_fit_the_device_memory_is_refused():
    chip = Chip()
    chip.allocate(1000, "a")
    with pytest.raises(OutOfSpace) as error:
        chip.allocate(1 << 40, "weights")
    assert str(error.value) == (
        "weights does not fit GM: needs 1099511627776 bytes, available 34359737344; use a smaller batch"
    )
    assert chip.allocated_bytes == 1000


def sums(words, block, count):
    """Return a program of `count` sums that doubles a row of its own in GM again and again."""
    byte = block * 256
    store = f"PIPE_MTE3 data_move dst=GM+0x{byte:x} src=UB+0x0 nburst=1 burst_len=8 "
    store += "src_gap=0 dst_gap=0 dtype=uint8"
    program = words.program(words.load(8, s=byte), words.add(), store)
    return Program(
        np.concatenate([program.words[:1], np.repeat(program.words[1:2], count, 0), program.words[2:]])
    )


def test_one_and_two_threads_compute_the_same_bits(words):
    task = task_of(*(sums(words, block, 1200) for block in range(5)))
    assert task.instructions > chip_module.SMALL_TASK
    results = []
    for threads in (1, 2, 4):
        chip = Chip(threads=threads)
        handle = chip.allocate(5 * 256)
        start = np.random.default_rng(0).standard_normal(5 * 64).astype(np.float32) * 1e-38
        chip.write(handle, start)
        chip.run(task)
        results.append(chip.read(handle, (5 * 64,), F32))
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    assert not np.array_equal(results[0], start)


@settings(max_examples=30)
@given(data=st.data())
def test_remembered_times_equal_fresh_ones(words, data):
    """Of tasks in any order, whose tensors share what does not fit L2; now and then L2 is emptied."""
    moves = [words.load(n, s=s) for n in (16, 700) for s in (0, 4096, 1 << 16)]
    moves += [words.store(n, d=d) for n in (16, 700) for d in (0, 1 << 15)]
    pool = [
        task_of(words.program(a), words.program(b), key=f"{a} {b}")
        for a, b in zip(moves, moves[3:], strict=False)
    ]
    order = data.draw(st.lists(st.sampled_from([None, *range(len(pool))]), max_size=20))
    times = []
    for remember in (True, False):
        chip = Chip(SMALL_L2, remember_times=remember)
        times.append([chip.empty_l2() if number is None else chip.time(pool[number]) for number in order])
    assert times[0] == times[1]


@pytest.mark.parametrize(("remember", "runs"), [(True, 2), (False, 4)])
def test_equal_tasks_in_equal_states_of_l2_are_simulated_once(narrow, words, monkeypatch, remember, runs):
    """The first run fills L2, the second finds everything there and leaves it so, as do all that follow."""
    counted = []

    def simulate_launches(*arguments):
        counted.append(arguments)
        return original(*arguments)

    original = remembered.simulate_launches
    monkeypatch.setattr(remembered, "simulate_launches", simulate_launches)
    chip = Chip(narrow, remember_times=remember)
    task = task_of(words.program(words.load(1024)))
    first, *others = [chip.cycles(task) for _ in range(4)]
    assert len(set(others)) == 1
    assert others[0] < first
    assert len(counted) == runs


def test_a_task_whose_tensors_lie_elsewhere_is_another_one(narrow, words):
    """Its operands say where they lie; L2 holds those of the first only."""
    chip, tasks = Chip(narrow), []
    for handle in (0, 1 << 20):
        task = task_of(words.program(words.load(1024, s=handle)))
        tasks.append(Task.of(task.name, task.key, task.code, {"x": handle}))
    cold = chip.time(tasks[0])
    assert chip.time(tasks[1]) == cold
    assert chip.time(tasks[0]).cycles < cold.cycles


def test_an_emptied_l2_makes_a_task_as_slow_as_the_first_time(narrow, words):
    chip, task = Chip(narrow), task_of(words.program(words.load(1024)))
    cold, warm = chip.time(task), chip.time(task)
    chip.empty_l2()
    assert warm.cycles < cold.cycles
    assert chip.time(task) == cold


def test_what_a_trace_leaves_in_l2_is_there_for_the_next_task(narrow, words, engine):
    """128 KiB from the memory, then from L2 over the core's own path."""
    chip, task = Chip(narrow, engine=engine), task_of(words.program(words.load(4096)))
    figures = chip.platform
    assert chip.trace(task).cycles == 1 + 131072 // figures.hbm_bytes_per_cycle
    assert chip.time(task).cycles == (
        1 + figures.gm_read_head_cycles + -(-131072 // figures.gm_to_ub_bytes_per_cycle)
    )


def test_the_time_of_a_task_says_how_busy_its_pipes_are(words):
    """The sums take 200 cycles; what only hands over is no work."""
    lines = [words.load(16), words.set_flag(5, 2), words.wait_flag(5, 2), words.work(200)]
    chip = Chip()
    time = chip.time(task_of(words.program(*lines)))
    moving = chip.platform.gm_read_head_cycles + -(-512 // chip.platform.gm_to_ub_bytes_per_cycle)
    assert time.busy_cycles == {"V": 200, "MTE2": moving}
    assert time.busiest == "V"


def test_the_time_of_a_task_has_its_start_in_it(words):
    """Each on a chip of its own, since the first one leaves its bytes in L2."""
    task = task_of(words.program(words.load()))
    assert Chip().cycles(task) == Chip().platform.task_start_cycles + Chip().time(task).cycles
    assert Chip().time(task).cycles == Chip().trace(task).cycles
    assert Chip().microseconds(1000) == 1.0


def test_both_engines_give_a_task_the_same_time(words):
    task = task_of(*(words.program(words.load(300, s=n * 4096), words.work(90)) for n in range(8)))
    fast, reference = Chip(engine="fast"), Chip(engine="reference")
    assert [fast.time(task) for _ in range(3)] == [reference.time(task) for _ in range(3)]


def test_an_engine_that_does_not_exist_is_refused():
    with pytest.raises(UnknownName) as error:
        Chip(engine="quick")
    assert str(error.value) == "unknown engine 'quick'; known: fast, reference"


def test_an_operand_that_leaves_its_memory_is_named_with_its_source(words):
    """Of the block that contains it, and the line there."""
    good, bad = words.program(words.add()), words.program(words.add(), words.add(255, d=240 * 1024))
    with pytest.raises(IllegalInstruction) as error:
        Chip().run(task_of(good, bad))
    assert str(error.value).startswith("PIPE_V    vadd         dst=UB+0x3c000 src0=UB+0x0")
    assert str(error.value).endswith(
        "# kernel.py:2\n  rule: every operand must stay inside its memory space\n"
        "  next: check the sizes, strides and the buffer that the operand belongs to"
    )


def test_both_engines_refuse_an_operand_that_leaves_its_memory(words):
    task = task_of(words.program(words.add(255, d=240 * 1024)))
    messages = []
    for engine in (Chip().run, Chip().run_reference):
        with pytest.raises(IllegalInstruction) as error:
            engine(task)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_memory_can_begin_where_the_sets_of_l2_do():
    """Lines that are 2 MiB apart share a set: 4096 sets of lines of 512 bytes."""
    chip = Chip(data=False)
    assert chip.l2_period_bytes == 1 << 21
    chip.allocate(1)
    assert chip.allocate(1, align_bytes=chip.l2_period_bytes) == 1 << 21
    assert chip.allocate(1) == (1 << 21) + 512


def test_tasks_of_a_group_wait_for_what_they_are_told_to(words):
    """One after the other where nothing is said; each starts when those before it have ended."""
    chip = Chip()
    tasks = [task_of(words.program(words.work(90)), key=f"{number}") for number in range(3)]
    alone = chip.time(tasks[0]).cycles
    in_order, side_by_side = chip.times([chip.group(tasks), chip.group(tasks, [(), (), (0, 1)])])
    start = chip.start_cycles
    assert in_order.spans == tuple(
        (start + number * (start + alone), (number + 1) * (start + alone)) for number in range(3)
    )
    assert side_by_side.spans == (
        (start, start + alone), (start, start + alone), (2 * start + alone, 2 * (start + alone))
    )  # fmt: skip
    assert {time.cycles for time in in_order.times} == {alone}
    assert side_by_side == chip.time_of_group(tasks, [(), (), (0, 1)])
