"""Barriers within a pipe stand before reads of what the pipe has written, and nowhere else."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from davinci_sim.core.barriers import with_barriers
from davinci_sim.core.program import Program

MMAD = "PIPE_M mmad c=L0C+0x0 a=L0A+0x0 b=L0B+0x0 m=16 k=16 n=16 accumulate=0 dtype=fp16"


def barred(program: Program) -> list[str]:
    """Return the names of the instructions with barriers put in."""
    made = Program(with_barriers(program.words), program.sources)
    return [line.split()[1] for line in made.text().splitlines()]


def test_a_read_of_what_the_pipe_wrote_gets_a_barrier(words):
    assert barred(words.program(words.add(d=1024), words.add(a=1024, d=2048))) == [
        "vadd",
        "pipe_barrier",
        "vadd",
    ]


def test_the_barrier_is_of_the_same_pipe_and_carries_the_line_of_the_reader(words):
    program = words.program(words.add(d=1024), words.add(a=1024, d=2048))
    made = Program(with_barriers(program.words), program.sources)
    assert made.line(1) == "PIPE_V    pipe_barrier barred=2 dtype=int32  # kernel.py:2"


def test_independent_instructions_are_left_as_they_are(words):
    """Writes of the same bytes and overwriting what was read are in order without a barrier."""
    program = words.program(words.add(d=1024), words.add(d=1024), words.add(d=0))
    assert with_barriers(program.words) is program.words


def test_one_barrier_is_enough_for_all_that_was_written_before(words):
    program = words.program(
        words.add(d=1024), words.add(d=2048), words.add(a=1024, d=4096), words.add(a=2048, d=5120)
    )
    assert barred(program) == ["vadd", "vadd", "pipe_barrier", "vadd", "vadd"]


def test_a_barrier_that_the_kernel_put_itself_counts(words):
    program = words.program(words.add(d=1024), words.barrier, words.add(a=1024, d=2048))
    assert with_barriers(program.words) is program.words


def test_other_pipes_are_left_to_flags(words):
    """A load into what V reads needs a flag, which no barrier replaces."""
    program = words.program(words.load(8), words.add(d=1024), MMAD, MMAD)
    assert barred(program).count("pipe_barrier") == 0


def test_many_scattered_writes_end_in_a_barrier(words):
    """At most sixteen ranges are remembered; what is forgotten is barred."""
    scattered = [words.add(d=1024 * (2 * n + 2)) for n in range(17)]
    assert barred(words.program(*scattered)).count("pipe_barrier") == 1


def test_the_records_themselves_do_not_change(words):
    program = words.program(words.add(d=1024), words.add(a=1024, d=2048), words.add(a=2048, d=1024))
    made = with_barriers(program.words)
    kept = made[(made[:, 0] & 255) == (program.words[0, 0] & 255)]
    assert np.array_equal(kept, program.words)


def test_what_takes_its_addresses_from_memory_may_touch_anything(words):
    """A gather waits for writes that lie elsewhere, and is waited for."""
    gather = "PIPE_V vgather dst=UB+0x8000 src=UB+0x0 offsets=UB+0x4000 repeat=1 mask=" + "f" * 32
    program = words.program(words.add(d=1024), gather + " dst_rep=8 dtype=fp32", words.add(a=4096, d=2048))
    assert barred(program) == ["vadd", "pipe_barrier", "vgather", "pipe_barrier", "vadd"]


def test_a_repeated_record_is_judged_where_it_stands(words):
    """Its ranges are remembered, what was written before it is not the same each time."""
    writer, reader = words.add(d=1024), words.add(a=1024, d=2048)
    program = words.program(reader, reader, writer, reader, reader)
    assert barred(program) == ["vadd", "vadd", "vadd", "pipe_barrier", "vadd", "vadd"]


def test_more_records_than_are_remembered_change_nothing(words):
    """A record that comes again after thousands of others has the ranges that it had."""
    chain = [words.add(a=32 * n, b=32 * n, d=32 * (n + 8)) for n in range(0, 2400, 8)] * 4
    others = [words.add(a=32 * n, b=32 * n, d=32 * (n + 8)) for n in range(1, 4000)]
    program = words.program(*chain, *others, *chain)
    one_by_one = sum(barred(words.program(*pair)).count("pipe_barrier") for pair in pairwise(chain))
    assert one_by_one == 4 * 299
    assert barred(words.program(*chain)).count("pipe_barrier") == one_by_one
    assert barred(program)[: 2 * len(chain) - 4] == barred(program)[-(2 * len(chain) - 4) :]
