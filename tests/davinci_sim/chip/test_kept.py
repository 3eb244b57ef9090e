"""Times on disk are those of a simulation; a damaged entry is simulated anew, and old ones make room."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.chip.engine.l2 import content_of
from davinci_sim.chip.group import Group, GroupTime, TaskTime
from davinci_sim.chip.kept import BLOCK_BYTES, Remembered, Store, packed, unpacked
from davinci_sim.chip.remembered import Clockwork
from davinci_sim.chip.task import Code, Task, Tensor
from davinci_sim.platforms import platform

CHIP = platform("ascend910a")
ALL = 6
"""Tasks and groups that `run` times, each in another state of L2."""


def tasks(words, source: str = "a test") -> list[Task]:
    """Return a chain of tasks that find in L2 what others left."""
    made = []
    for number, start in enumerate((0, 8192, 0, 1 << 21, 4096)):
        code = Code((words.program(words.load(300, s=start), words.store(100, d=start + 4096)),))
        task = Task.of(f"task {number}", ("kernel",), code, tensors=(Tensor("x", start, 16384),))
        task.source = source
        made.append(task)
    return made


def run(words, store: Store | None, **named) -> tuple[Clockwork, list[GroupTime], bytes]:
    """Time the chain with a store; return the clockwork, the times and what is in L2 at the end."""
    clockwork = Clockwork(CHIP, "fast", store is not None, store)
    chain = tasks(words, **named)
    groups = [*(Group((task,)) for task in chain), Group((chain[0], chain[3]), ((), ()), 100)]
    times = [clockwork.time_of_group(group) for group in groups]
    return clockwork, times, content_of(clockwork.cache).tobytes()


def test_what_one_process_has_simulated_the_next_one_finds(words, tmp_path):
    """Both find what a simulation finds, and leave L2 so."""
    _, expected, content = run(words, None)
    for simulated in (ALL, 0):
        clockwork, times, left = run(words, Store(tmp_path))
        assert (times, left) == (expected, content)
        assert clockwork.simulated == simulated


def test_other_source_is_simulated_anew_and_unknown_source_is_not_kept(words, tmp_path):
    assert run(words, Store(tmp_path))[0].simulated == ALL
    assert run(words, Store(tmp_path), source="changed")[0].simulated == ALL
    kept = len(list(tmp_path.glob("??/*")))
    assert run(words, Store(tmp_path), source="")[0].simulated == ALL
    assert len(list(tmp_path.glob("??/*"))) == kept == 2 * ALL


def test_a_sequence_is_found_as_a_whole_and_what_it_left_in_l2_when_that_is_asked_for(words, tmp_path):
    """A second step begins where the first one ended."""
    groups = [Group((task,)) for task in tasks(words)]
    fresh = Clockwork(CHIP, "fast", False)
    expected = [fresh.times(groups) for _ in range(3)]
    for _ in range(2):
        clockwork = Clockwork(CHIP, "fast", True, Store(tmp_path))
        assert [clockwork.times(groups) for _ in range(3)] == expected
    assert clockwork.simulated == 0
    assert np.array_equal(content_of(clockwork.cache), content_of(fresh.cache))


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_a_damaged_entry_is_simulated_anew_and_replaced(words, tmp_path, damage):
    _, expected, content = run(words, Store(tmp_path))
    for path in tmp_path.glob("??/*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes({"cut": data[:-1], "changed": data, "emptied": b""}[damage])
    for simulated in (ALL, 0):
        clockwork, times, left = run(words, Store(tmp_path))
        assert (times, left, clockwork.simulated) == (expected, content, simulated)


def entry(size: int) -> bytes:
    """Return an entry that takes about `size` bytes on disk."""
    return np.random.default_rng(0).bytes(size)


def test_what_was_not_used_for_longest_makes_room(tmp_path):
    store = Store(tmp_path, most_bytes=100_000)
    for number in range(8):
        store.put(f"{number:040}", entry(10_000))
    for number, path in enumerate(sorted(tmp_path.glob("??/*"))):
        os.utime(path, (number, number))
    assert store.get(f"{0:040}") is not None  # used now
    for number in range(8, 12):
        store.put(f"{number:040}", entry(10_000))
    left = [number for number in range(12) if store.get(f"{number:040}") is not None]
    assert {0, 10, 11} <= set(left)
    assert 1 not in left
    assert sum(path.stat().st_size for path in tmp_path.glob("??/*")) <= 100_000


def test_the_smallest_entries_count_as_what_they_take_on_disk(tmp_path):
    store = Store(tmp_path, most_bytes=50 * BLOCK_BYTES)
    for number in range(200):
        store.put(f"{number:040}", b"1")
    assert len(list(tmp_path.glob("??/*"))) <= 100  # it looks again after as many bytes


def test_chips_share_the_store_of_a_folder():
    """Trials make thousands of chips; how large the folder is, is looked up for all of them once."""
    chips = [Chip("ascend910a", data=False), Chip("ascend310", data=False)]
    assert chips[0].clockwork.store is chips[1].clockwork.store is not None
    assert Chip("ascend910a", data=False, keep_times=False).clockwork.store is None


def test_a_folder_that_cannot_be_written_keeps_nothing(words, tmp_path):
    place = tmp_path / "a file"
    place.write_text("no folder")
    clockwork, times, _ = run(words, Store(place))
    assert times == run(words, None)[1]
    assert clockwork.simulated == ALL


@given(st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3), max_size=5), st.integers(0, 2**60))
def test_an_entry_comes_back_as_it_was_written(rows, cycles):
    runs = np.array(rows, dtype=np.int32).reshape(-1, 3)
    times = (TaskTime(cycles, {"V": 3}, 7), TaskTime(1, {}))
    known = Remembered(GroupTime(((0, 1), (1, cycles)), times), runs)
    found = unpacked(packed(known))
    assert found.time == known.time
    assert np.array_equal(found.left, runs)
