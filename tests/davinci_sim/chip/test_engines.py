"""The compiled engine gives the trace of the SimPy reference: every record of every pipe of every core."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip.engine.l2 import content_of, l2_with, new_l2
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.errors import DavinciError
from davinci_sim.platforms import assumed, platform
from tests.davinci_sim.chip.programs import programs

CHIP = platform("ascend910a")
NARROW = CHIP.with_figures(
    "narrow",
    queue_depth=assumed(2, "", "so that queues fill up"),
    hbm_bytes_per_cycle=assumed(50, "B/cycle", "so that cores contend"),
    l2_chip_bytes_per_cycle=assumed(130, "B/cycle", "so that cores contend"),
    l2_bytes=assumed(1 << 17, "B", "so that lines have to go"),
    ai_cores=assumed(3, "", "so that blocks stand in line"),
    dispatch_cycles=assumed(3, "cycles", "so that the scalar unit matters"),
)


def both(launches, chip, cache=None):
    """Run launches on both engines; return (trace or message, content of L2) of each."""
    found = []
    for engine in ("reference", "fast"):
        content = new_l2(chip) if cache is None else l2_with(content_of(cache), chip)
        try:
            outcome = simulate_launches(launches, chip, engine, content)
        except DavinciError as error:
            outcome = f"{type(error).__name__}: {error}"
        found.append((outcome, content_of(content).tobytes()))
    return found


def assert_alike(launches, chip, cache=None):
    """Fail with the first record that differs."""
    (reference, content), (fast, fast_content) = both(launches, chip, cache)
    if isinstance(reference, str) or isinstance(fast, str):
        assert fast == reference
        return
    differing = np.flatnonzero(reference.records != fast.records)
    assert not len(differing), (reference.records[differing[:3]], fast.records[differing[:3]])
    assert fast == reference
    assert fast_content == content


@settings(max_examples=60, deadline=None)
@given(st.lists(programs(), min_size=1, max_size=6), st.sampled_from([CHIP, NARROW]))
def test_random_programs_have_one_trace(blocks, chip):
    """Whatever the pipes, flags, barriers and transfers."""
    assert_alike([Launch(tuple(blocks))], chip)


@settings(max_examples=10, deadline=None)
@given(programs(most=30), programs(most=30))
def test_thirty_two_cores_have_one_trace(first, second):
    """All cores contend for L2 and HBM."""
    assert_alike([Launch((first, second) * 16)], CHIP)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(programs(most=12), max_size=4),
            st.integers(0, 500),
            st.sampled_from([0, 0, 7, 82]),
            st.sets(st.integers(0, 5)),
            st.integers(0, 900),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_launches_in_streams_have_one_trace(drawn):
    """Blocks stand in line for cores, launches wait for each other and for the host."""
    launches = [
        Launch(tuple(blocks), start, spacing, tuple(sorted(e for e in after if e < number)), host)
        for number, (blocks, start, spacing, after, host) in enumerate(drawn)
    ]
    assert_alike(launches, NARROW)


@settings(max_examples=60, deadline=None)
@given(st.lists(programs(most=20), min_size=1, max_size=3), st.data())
def test_broken_programs_are_refused_alike(blocks, data):
    """A record is left out: a missing set deadlocks, a missing wait leaves a flag set or sets it twice."""
    block = data.draw(st.integers(0, len(blocks) - 1))
    program = blocks[block]
    hand_offs = [r for r in range(len(program)) if "_flag" in program.line(r)]
    if not hand_offs:
        return
    gone = data.draw(st.sampled_from(hand_offs))
    blocks[block] = type(program)(np.delete(program.words, gone, axis=0), {})
    assert_alike([Launch(tuple(blocks))], CHIP)


def test_what_l2_holds_changes_the_time_and_survives(narrow, words):
    """The same load is quicker when L2 holds its bytes."""
    program = words.program(words.load(4000))
    cache = new_l2(narrow)
    cold, warm = (simulate_launches([Launch((program,))], narrow, "fast", cache).cycles for _ in range(2))
    assert cold == 1 + -(-128000 // 512) * 512 // narrow.hbm_bytes_per_cycle
    assert warm == 1 + narrow.gm_read_head_cycles + -(-128000 // narrow.gm_to_ub_bytes_per_cycle)
    assert_alike([Launch((program,))], narrow, cache)


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_launch_that_waits_for_a_later_one_is_refused(engine):
    with pytest.raises(DavinciError) as error:
        simulate_launches([Launch(()), Launch((), after=(1,))], CHIP, engine)
    assert str(error.value) == (
        "launch 1 waits for launch 1\n  rule: a launch waits for earlier ones, numbered 0 to 0\n"
        "  next: record the event before the launch that waits for it"
    )
