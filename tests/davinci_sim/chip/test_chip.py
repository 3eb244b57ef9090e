"""A chip hands out memory, computes tasks on any number of threads, and remembers the times of equal ones."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.chip import Chip, Task
from davinci_sim.chip import chip as chip_module
from davinci_sim.core.program import Program
from davinci_sim.errors import IllegalInstruction, OutOfSpace
from davinci_sim.memory.dtypes import F32, U8


def task_of(*programs: Program, key: str = "a test") -> Task:
    """Return a task whose blocks are given as programs in a legal order."""
    words = np.concatenate([program.words for program in programs])
    return Task("test", (key,), programs, words, np.cumsum([0, *map(len, programs)]))


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


def test_remembered_times_equal_fresh_ones(words):
    tasks = [task_of(words.program(words.load(n), words.add(n)), key=f"{n}") for n in (5, 90, 5, 90)]
    remembering, fresh = Chip(), Chip(remember_times=False)
    assert [remembering.cycles(task) for task in tasks] == [fresh.cycles(task) for task in tasks]
    assert remembering.cycles(tasks[0]) != remembering.cycles(tasks[1])


@pytest.mark.parametrize(("remember", "runs"), [(True, 1), (False, 3)])
def test_equal_tasks_are_simulated_once(words, monkeypatch, remember, runs):
    counted = []

    def simulate(*arguments):
        counted.append(arguments)
        return original(*arguments)

    original = chip_module.simulate
    monkeypatch.setattr(chip_module, "simulate", simulate)
    chip = Chip(remember_times=remember)
    task = task_of(words.program(words.load()))
    assert len({chip.cycles(task) for _ in range(3)}) == 1
    assert len(counted) == runs


def test_the_time_of_a_task_has_its_start_in_it(words):
    chip, task = Chip(), task_of(words.program(words.load()))
    assert chip.cycles(task) == chip.platform.task_start_cycles + chip.trace(task).cycles
    assert chip.microseconds(1000) == 1.0


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
