"""The two levels of the language: flags by hand and queues are one program for one schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from davinci_sim.chip import Chip
from davinci_sim.platforms import platform
from experiments.user_files import load_module
from kernels.check import check
from kernels.run import place, random_inputs, references, run

LEVELS = load_module(Path(__file__).parents[2] / "docs" / "examples" / "two_levels.py", "docs_two_levels")
PAIR = (LEVELS.double_by_queues, LEVELS.double_by_flags)
LENGTHS = (1, 130, 8192, 700_001)
"""One number, a masked rest, one piece, and several pieces on every core with a short last one."""


@pytest.mark.parametrize("n", LENGTHS)
def test_queues_and_flags_by_hand_emit_the_same_instructions(n):
    shape = LEVELS.Vector(n)
    queues, flags = (place(each, shape, None, Chip()).task for each in PAIR)
    assert [p.digest() for p in queues.programs] == [p.digest() for p in flags.programs]


@pytest.mark.parametrize("n", LENGTHS)
def test_queues_and_flags_by_hand_take_the_same_cycles(n):
    shape = LEVELS.Vector(n)
    cycles = [chip.trace(place(each, shape, None, chip).task).cycles for each in PAIR for chip in [Chip()]]
    assert cycles[0] == cycles[1]


@pytest.mark.parametrize("kernel", PAIR, ids=lambda kernel: kernel.name)
def test_both_levels_are_right_and_clean(kernel):
    shape = LEVELS.Vector(20_001)
    inputs = random_inputs(kernel, shape, 3)
    outputs, _ = run(kernel, shape, inputs, Chip())
    assert np.array_equal(outputs["y"], references(kernel, shape, inputs)["y"])
    assert check(kernel, shape, platform("ascend910a")) == []
