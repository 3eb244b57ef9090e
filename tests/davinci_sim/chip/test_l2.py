"""L2 holds lines of device memory; it fetches what it lacks, and writes back what has to go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.chip.engine.l2 import EMPTY, L2, content_of, l2_with, new_l2, pass_through
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.core.costs import costs_of
from davinci_sim.isa.machine import Transfer
from davinci_sim.platforms import Platform, assumed, platform

CHIP = platform("ascend910a")
LINE = CHIP.l2_line_bytes
COSTS = costs_of(CHIP)


def with_l2(lines: int, ways: int) -> Platform:
    """Return the 910A with an L2 of so many lines."""
    return CHIP.with_figures(
        "changed", l2_bytes=assumed(lines * LINE, "B", "a test"), l2_ways=assumed(ways, "", "a test")
    )


SMALL = with_l2(4, 2)  # two sets: even lines share one, odd lines the other


def read(cache: L2, address: int, size: int = LINE) -> int:
    """Read bytes in one run; return the bytes that the device memory moves for it."""
    return sum(pass_through(cache, Transfer(address, size, 1, 0, size, 0), COSTS))


def write(cache: L2, address: int, size: int = LINE) -> int:
    """Write bytes in one run; return the bytes that the device memory moves for it."""
    return sum(pass_through(cache, Transfer(address, size, 1, 0, size, 1), COSTS))


def test_a_cache_of_the_platform_has_all_its_lines_and_is_empty():
    cache = new_l2(CHIP)
    assert cache.lines.size * cache.line_bytes == CHIP.l2_bytes
    assert cache.lines.shape[1] == CHIP.l2_ways
    assert (cache.lines == EMPTY).all()


def test_what_was_read_is_there_the_next_time():
    cache = new_l2(CHIP)
    assert read(cache, 0, 10 * LINE) == 10 * LINE
    assert read(cache, 0, 10 * LINE) == 0
    assert read(cache, 9 * LINE, 2 * LINE) == LINE


def test_a_few_bytes_bring_their_whole_line():
    cache = new_l2(CHIP)
    assert read(cache, 0, 32) == LINE
    assert read(cache, 0, LINE) == 0


def test_a_run_beside_the_lines_takes_one_more_and_uses_the_memory_badly():
    """512 bytes from byte 256 on lie in two lines, and come at 70 % of the bandwidth."""
    assert read(new_l2(CHIP), LINE // 2, LINE) == 2 * LINE * 100 // CHIP.gm_unaligned_percent


def test_runs_with_gaps_bring_only_the_lines_that_they_touch():
    """Three runs of two lines, four lines apart."""
    cache = new_l2(CHIP)
    assert sum(pass_through(cache, Transfer(0, 2 * LINE, 3, 4 * LINE, 6 * LINE, 0), COSTS)) == 6 * LINE
    assert np.sort(cache.lines[cache.lines != EMPTY]).tolist() == [0, 1, 4, 5, 8, 9]


def test_runs_within_one_line_bring_it_once():
    cache = new_l2(CHIP)
    slower = LINE * 7 * (100 - CHIP.gm_unaligned_percent) // (8 * CHIP.gm_unaligned_percent)
    assert sum(pass_through(cache, Transfer(0, 32, 8, 64, 256, 0), COSTS)) == LINE + slower


def test_what_is_written_is_not_fetched_and_can_be_read():
    cache = new_l2(CHIP)
    assert write(cache, 0, 3 * LINE) == 0
    assert read(cache, 0, 3 * LINE) == 0


def test_a_modified_line_goes_back_when_it_has_to_go_and_not_before():
    """Lines 0, 2, 4 and 6 share a set of two: 4 drives out 0, which was modified, and 6 drives out 2."""
    cache = new_l2(SMALL)
    moved = [write(cache, 0), read(cache, 2 * LINE), read(cache, 4 * LINE), read(cache, 6 * LINE)]
    assert moved == [0, LINE, 2 * LINE, LINE]


def test_a_line_that_was_read_and_then_written_goes_back():
    cache = new_l2(SMALL)
    assert (read(cache, 0), write(cache, 0)) == (LINE, 0)
    assert [write(cache, line * LINE) for line in (2, 4)] == [0, LINE]


def test_a_line_goes_back_once():
    """Fetched again it is clean."""
    cache = new_l2(SMALL)
    assert [write(cache, 0), read(cache, 2 * LINE), read(cache, 4 * LINE)] == [0, LINE, 2 * LINE]
    assert [read(cache, 0), read(cache, 2 * LINE), read(cache, 4 * LINE)] == [LINE, LINE, LINE]


def test_the_line_that_came_first_goes_first_even_if_it_was_used_since():
    cache = new_l2(SMALL)
    assert [read(cache, line * LINE) for line in (0, 2, 0, 4)] == [LINE, LINE, 0, LINE]
    assert [read(cache, line * LINE) for line in (2, 0)] == [0, LINE]


@pytest.mark.parametrize(("lines", "again"), [(64, 0), (65, 5), (80, 80)])
def test_what_fits_stays_and_what_does_not_drives_itself_out(lines, again):
    """Of 64 lines in 16 sets of 4: with one more, the five of its set drive each other out."""
    cache = new_l2(with_l2(64, 4))
    assert read(cache, 0, lines * LINE) == lines * LINE
    assert read(cache, 0, lines * LINE) == again * LINE


def test_without_l2_every_transfer_passes_the_memory_as_it_is():
    cache = new_l2(with_l2(0, 16))
    assert cache.lines.size == 0
    transfer = Transfer(0, 64, 3, 128, 768, 0)
    assert [sum(pass_through(cache, transfer, COSTS)) for _ in range(2)] == [768, 768]


def test_on_a_chip_without_l2_the_second_time_takes_as_long_as_the_first(words, engine):
    """Bytes read and bytes written share the rate of the device memory."""
    chip = with_l2(0, 16).with_figures("narrow", hbm_bytes_per_cycle=assumed(64, "B/cycle", "a test"))
    programs = (words.program(words.load(1024)), words.program(words.store(1024, d=1 << 20)))
    cache = new_l2(chip)
    for _ in range(2):
        trace = simulate_launches([Launch(programs)], chip, engine, cache)
        assert trace.records["end"].tolist() == [1 + 32768 // (64 // 2)] * 2


def test_a_chip_without_l2_computes_its_remembered_times(words):
    from tests.davinci_sim.chip.test_chip import task_of

    chip, task = Chip(with_l2(0, 16)), task_of(words.program(words.load(1024)))
    assert chip.time(task) == chip.time(task)


def test_a_transfer_does_not_wait_for_what_it_drives_out_but_the_next_one_does(words, engine):
    """Lines that go for the first load are written back behind it; the second one ends with them."""
    chip = with_l2(256, 16).with_figures("narrow", hbm_bytes_per_cycle=assumed(32, "B/cycle", "a test"))
    loads = words.program(words.load(4096, s=1 << 20), words.load(1, s=1 << 20))
    cache = new_l2(chip)
    simulate_launches([Launch((words.program(words.store(4096)),))], chip, engine, cache)
    behind = simulate_launches([Launch((loads,))], chip, engine, cache).records["end"]
    alone = simulate_launches([Launch((loads,))], chip, engine).records["end"]
    assert behind[0] == alone[0]
    assert behind[1] == behind[0] + 131072 // chip.hbm_bytes_per_cycle > alone[1]


accesses = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6), st.booleans()), max_size=60)
"""(first line, lines, whether they are written)"""


class Listed:
    """The same cache as a list of [line, is modified] per set, the oldest first."""

    def __init__(self, sets: int, ways: int) -> None:
        self.sets, self.ways = [[] for _ in range(sets)], ways

    def touch(self, line: int, is_write: bool) -> int:
        """Return how many lines the device memory moves."""
        row = self.sets[line % len(self.sets)]
        for held in row:
            if held[0] == line:
                held[1] |= is_write
                return 0
        gone = row.pop(0) if len(row) == self.ways else [None, False]
        row.append([line, is_write])
        return int(not is_write) + int(gone[1])


@settings(max_examples=60)
@given(accesses, st.sampled_from([(1, 1), (2, 2), (4, 4), (3, 2)]))
def test_a_cache_is_a_queue_per_set(drawn, shape):
    """Any sequence of reads and writes moves the lines that plain lists say."""
    sets, ways = shape
    cache, lists = new_l2(with_l2(sets * ways, ways)), Listed(sets, ways)
    for first, count, is_write in drawn:
        moved = (write if is_write else read)(cache, first * LINE, count * LINE)
        assert moved == LINE * sum(lists.touch(line, is_write) for line in range(first, first + count))


@settings(max_examples=60)
@given(accesses, accesses)
def test_caches_that_are_alike_in_order_have_the_same_future(before, after):
    """However the lines of a set are turned in memory, with the mark of the oldest."""
    cache = new_l2(SMALL)
    for first, count, is_write in before:
        (write if is_write else read)(cache, first * LINE, count * LINE)
    turned = L2(
        np.roll(cache.lines, 1, axis=1).copy(), (cache.oldest + 1) % 2, cache.state.copy(), cache.line_bytes
    )
    assert np.array_equal(content_of(turned), content_of(cache))
    for first, count, is_write in after:
        access = write if is_write else read
        assert access(turned, first * LINE, count * LINE) == access(cache, first * LINE, count * LINE)


def test_in_order_the_line_that_goes_next_comes_first():
    """Line 4 came first and had to go, so that lines 0 and 2 lie in memory as 2, 0."""
    cache = new_l2(SMALL)
    for line in (4, 0, 2):
        read(cache, line * LINE)
    assert cache.lines[0].tolist() == [2, 0]
    assert (content_of(cache)[0] >> 1).tolist() == [0, 2]


def test_a_copy_has_a_life_of_its_own():
    cache = new_l2(SMALL)
    copied = l2_with(content_of(cache), SMALL)
    read(copied, 0)
    assert (cache.lines == EMPTY).all()
    assert read(cache, 0) == LINE
