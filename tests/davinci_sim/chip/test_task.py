"""A task is emitted when its programs are asked for, and a remembered one never."""

from __future__ import annotations

import gc

from davinci_sim.chip import Chip, Task
from davinci_sim.chip.task import Code, Tensor


def counted(words, start: int, emitted: list[int]) -> Task:
    """Return a task that loads from `start` and notes when it is emitted."""

    def emit() -> Code:
        emitted.append(start)
        return Code((words.program(words.load(64, s=start)),))

    return Task("load", ("load",), 1, emit, tensors=(Tensor("x", start, 2048),))


def test_code_lives_as_long_as_somebody_uses_it(words):
    emitted: list[int] = []
    task = counted(words, 0, emitted)
    code = task.code
    assert (task.programs, task.instructions, len(emitted)) == (code.programs, 1, 1)
    del code
    gc.collect()
    assert (len(task.programs), len(emitted)) == (1, 2)


def test_a_task_whose_time_is_remembered_is_not_emitted(words):
    """Nor are equal ones elsewhere; all that is known of them is what they say without programs."""
    emitted: list[int] = []
    chip = Chip()
    for start in (0, 1 << 21, 1 << 22):
        task = counted(words, start, emitted)
        chip.empty_l2()
        chip.cycles(task)
        chip.cycles(task)
        assert task.block_dim == 1
    assert emitted == [0, 0]


def test_a_task_that_was_given_its_code_keeps_it(words):
    code = Code((words.program(words.load()),))
    task = Task.of("load", ("load",), code)
    other = task.with_code(Code((*code.programs, *code.programs)))
    assert (task.code, task.block_dim) == (code, 1)
    assert (other.name, other.key, other.block_dim, other.instructions) == ("load", ("load",), 2, 2)
