"""initcheck: bytes that nobody wrote are not read."""

from __future__ import annotations

from tests.davinci_sim.checks.conftest import OUT, store


def test_a_read_of_bytes_that_nobody_wrote_is_found(words, findings):
    """The load brings 128 of the 256 bytes that are added."""
    (found,) = findings(words.program(words.load(4), words.barrier, words.add(d=1024)))
    assert (found.kind, found.rule, str(found.bytes)) == ("initcheck", "unwritten", "UB[128:256]")


def test_what_another_block_left_on_chip_is_not_written(words, rules):
    """On-chip memory is a core's own, and a block finds nothing in it."""
    first = words.program(words.load(8))
    assert rules(first, words.program(words.add(d=1024))) == ["unwritten"]


def test_an_output_is_read_only_where_it_was_written(words, rules):
    """What the block itself wrote may be read back behind a hand-off."""
    written = (words.load(8), words.set_flag(5, 6), words.wait_flag(5, 6), store())
    again = (words.set_flag(6, 5), words.wait_flag(6, 5))
    assert rules(words.program(*written, *again, words.load(1, d=512, s=OUT))) == []
    assert rules(words.program(*written, *again, words.load(2, d=512, s=OUT))) == ["unwritten-gm"]


def test_inputs_are_written_before_the_kernel(words, rules):
    assert rules(words.program(words.load(8, s=512))) == []
