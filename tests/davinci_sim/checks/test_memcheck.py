"""memcheck: every byte in one buffer or tensor, aligned, and no two buffers on the same bytes."""

from __future__ import annotations

import numpy as np

from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space
from tests.davinci_sim.checks.conftest import buffers, store

TWO = buffers((Space.UB, 0, 512, 2), (Space.UB, 512, 256, 1))


def test_a_move_that_fills_its_slot_is_fine(words, rules):
    assert rules(words.program(words.load(8), words.load(8, d=256), words.load(8, d=512)), table=TWO) == []


def test_a_move_one_block_too_long_leaves_its_slot(words, findings):
    """Also where the next slot belongs to the same buffer."""
    (found,) = findings(words.program(words.load(9)), table=TWO)
    assert (found.kind, found.rule, str(found.bytes)) == (
        "memcheck",
        "outside-buffer",
        "UB[0:288] of  slot 0",
    )


def test_a_move_behind_the_last_buffer_is_outside(words, rules):
    assert rules(words.program(words.load(1, d=768)), table=TWO) == ["outside-buffer"]


def test_a_move_that_leaves_its_space_is_told_so(words, rules):
    program = words.program(words.load(8, d=262144 - 128))
    assert rules(program, table=buffers((Space.UB, 0, 262144, 1))) == ["outside-space"]


def test_the_last_block_of_a_tensor_may_be_read_whole(words, rules):
    """A read may begin anywhere in the tensor; 31 bytes behind it are its last block."""
    assert rules(words.program(words.load(1, s=4095))) == []
    assert rules(words.program(words.load(2, s=4064))) == ["outside-buffer"]


def test_a_write_of_an_input_is_found(words, rules):
    filled = (words.load(8), words.set_flag(5, 6), words.wait_flag(5, 6))
    assert rules(words.program(*filled, store(d=0))) == ["writes-input"]


def test_an_operand_beside_its_alignment_is_found(words, findings):
    """A program that was emitted is aligned; this one was changed afterwards."""
    program = words.program(words.load(8))
    program.words[0, 1] += 16
    (found,) = findings(program)
    assert (found.rule, found.source) == ("misaligned", ("kernel.py:1",))
    assert program.words[0, 1] == (int(Space.UB) << SPACE_SHIFT) + 16


def test_buffers_that_share_bytes_are_found(words, findings):
    table = buffers((Space.UB, 0, 512, 1), (Space.UB, 256, 512, 1), (Space.L1, 256, 512, 1))
    (found,) = findings(words.program(words.load(8)), table=table)
    assert (found.rule, str(found.bytes).split(" of")[0]) == ("overlap", "UB[256:512]")


def test_equal_findings_are_counted(words, findings):
    """One finding per rule and line, however often and in however many blocks."""
    program = words.program(words.load(9))
    many = type(program)(np.repeat(program.words, 5, axis=0), program.sources)
    (found,) = findings(many, many, table=TWO)
    assert found.count == 10
    assert "10 times at these lines" in found.message
