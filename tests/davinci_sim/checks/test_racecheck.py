"""racecheck: what hand-offs do not order, byte by byte, within a pipe, across pipes and across cores."""

from __future__ import annotations

from tests.davinci_sim.checks.conftest import OUT, store

V_BARRIER = "PIPE_V pipe_barrier barred=2 dtype=int32"
ADD_16 = "PIPE_V vadd dst=UB+0x{d:x} src0=UB+0x0 src1=UB+0x0 mask={mask} repeat={n} dst_blk=1 src0_blk=1"
ADD_16 += " src1_blk=1 dst_rep={rep} src0_rep=8 src1_rep=8 dtype=fp32"


def test_a_hand_off_orders_two_pipes(words, rules):
    """Load, tell V, add."""
    assert (
        rules(words.program(words.load(8), words.set_flag(5, 2), words.wait_flag(5, 2), words.add(d=1024)))
        == []
    )


def test_a_read_that_waits_for_nothing_names_both_lines_the_bytes_and_the_flag(words, findings):
    (found,) = findings(words.program(words.load(8), words.add(d=1024)))
    assert found.message == (
        "racecheck: read-after-write\n"
        "  rule: a pipe must wait for what another pipe writes before it reads it\n"
        "  written by MTE2 data_move (block 0, record 0, kernel.py:1)\n"
        "  read by V vadd (block 0, record 1, kernel.py:2)\n"
        "  bytes: UB[0:256]\n"
        "  next: set_flag(src=MTE2, dst=V) after kernel.py:1 "
        "and wait_flag(src=MTE2, dst=V) before kernel.py:2"
    )
    assert (found.kind, found.flag, found.pipes) == ("racecheck", "flag(src=MTE2, dst=V)", ("MTE2", "V"))


def test_a_flag_that_is_set_before_the_move_orders_nothing(words, rules):
    program = words.program(words.set_flag(5, 2), words.load(8), words.wait_flag(5, 2), words.add(d=1024))
    assert rules(program) == ["read-after-write"]


def test_a_buffer_that_is_overwritten_while_it_is_read_is_a_race(words, rules):
    """The second load does not wait until V has read."""
    handed = (words.load(8), words.set_flag(5, 2), words.wait_flag(5, 2), words.add(d=1024))
    assert rules(words.program(*handed, words.load(8))) == ["write-after-read"]
    back = (words.set_flag(2, 5), words.wait_flag(2, 5))
    assert rules(words.program(*handed, *back, words.load(8))) == []


def test_two_pipes_that_write_the_same_bytes_race(words, rules):
    """V's result and a load."""
    first = (words.load(8), words.set_flag(5, 2), words.wait_flag(5, 2), words.add(d=1024))
    assert rules(words.program(*first, words.load(8, d=1024))) == ["write-after-write"]


def test_order_passes_through_a_third_pipe(words, rules):
    """MTE2 tells V, V tells MTE3: MTE3 knows about MTE2."""
    program = words.program(
        words.load(8),
        words.set_flag(5, 2),
        words.wait_flag(5, 2),
        words.set_flag(2, 6),
        words.wait_flag(2, 6),
        store(),
    )
    assert rules(program) == []


def test_within_a_pipe_a_read_after_a_write_needs_a_barrier(words, findings):
    handed = (words.load(8), words.set_flag(5, 2), words.wait_flag(5, 2), words.add(d=1024))
    (found,) = findings(words.program(*handed, words.add(a=1024, d=2048)))
    assert (found.rule, found.flag) == ("no-barrier", "pipe_barrier(V)")
    assert found.message.endswith("next: pipe_barrier(V) between kernel.py:4 and kernel.py:5")
    assert findings(words.program(*handed, V_BARRIER, words.add(a=1024, d=2048))) == []


def test_within_a_pipe_writes_are_in_order(words, rules):
    """A second write, and a write of what was read, need nothing."""
    handed = (words.load(8), words.set_flag(5, 2), words.wait_flag(5, 2))
    assert rules(words.program(*handed, words.add(d=1024), words.add(d=1024), words.add(d=0))) == []


def test_a_barrier_of_all_pipes_orders_everything(words, rules):
    assert rules(words.program(words.load(8), words.barrier, words.add(d=1024), words.barrier, store())) == []


def test_neighbouring_bytes_do_not_race(words, rules):
    """The load ends where V begins to read."""
    filled = (words.load(8), words.set_flag(5, 2), words.wait_flag(5, 2))
    assert rules(words.program(*filled, words.load(8, d=256), words.add(d=1024))) == []


def test_rows_between_the_rows_of_another_pipe_do_not_race(words, rules):
    """Strides count: V writes every other 256 bytes, MTE2 one of those between."""
    handed = (words.load(16), words.set_flag(5, 2), words.wait_flag(5, 2))
    strided = ADD_16.format(d=1024, mask="f" * 32, n=2, rep=16)
    assert rules(words.program(*handed, strided, words.load(8, d=1280))) == []
    assert rules(words.program(*handed, strided, words.load(8, d=1536))) == ["write-after-write"]


def test_lanes_outside_the_mask_do_not_race(words, rules):
    """Eight lanes of fp32 are one block; the next block is free."""
    handed = (words.load(8), words.set_flag(5, 2), words.wait_flag(5, 2))
    masked = ADD_16.format(d=1024, mask="0" * 30 + "ff", n=1, rep=8)
    assert rules(words.program(*handed, masked, words.load(1, d=1056))) == []
    assert rules(words.program(*handed, masked, words.load(1, d=1024))) == ["write-after-write"]


def stored(words, d: int, blocks: int = 1):
    """Return a program that writes `blocks` at address d of GM."""
    return words.program(words.load(8), words.set_flag(5, 6), words.wait_flag(5, 6), store(blocks, d=d))


def test_two_blocks_that_write_the_same_bytes_race(words, findings):
    """Neighbouring bytes are fine, a shared one is not."""
    assert findings(stored(words, OUT), stored(words, OUT + 32)) == []
    (found,) = findings(stored(words, OUT, 2), stored(words, OUT + 32))
    assert (found.rule, found.records) == ("cores-write", ((0, 3), (1, 3)))
    assert str(found.bytes) == f"GM[{OUT + 32}:{OUT + 64}] of y"


def test_a_block_that_reads_what_another_writes_races(words, rules):
    reader = words.program(words.load(1, s=OUT))
    assert "cores-read" in rules(stored(words, OUT), reader)
    assert "cores-read" in rules(reader, stored(words, OUT))


def test_an_early_reader_is_remembered_when_the_writer_reads_too(words, rules):
    """Block 0 reads, block 1 reads and writes the same bytes."""
    reader = words.program(words.load(1, s=OUT))
    both = words.program(words.load(8, s=OUT), words.set_flag(5, 6), words.wait_flag(5, 6), store())
    assert "cores-read" in rules(reader, both)


def test_atomic_adds_of_two_blocks_do_not_race(words, rules):
    """Adds against adds are in any order; an add against a plain write or a read is a race."""
    plain, added = stored(words, OUT), store().replace("dtype=uint8", "atomic=1 dtype=fp32")
    adding = words.program(words.load(8), words.set_flag(5, 6), words.wait_flag(5, 6), added)
    assert rules(adding, adding) == []
    assert rules(adding, plain) == ["cores-write"]
    assert "cores-read" in rules(adding, words.program(words.load(1, s=OUT)))
