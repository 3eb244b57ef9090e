"""All cores share the device memory: as fast as the bandwidth says, and never faster."""

from __future__ import annotations

import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip.port import SharedPort
from davinci_sim.chip.simulate import simulate
from davinci_sim.platforms import platform
from davinci_sim.platforms.figure import assumed

CHIP = platform("ascend910a")
BLOCKS = 4096  # 128 KiB: the head of the transfer is hidden


def with_bandwidth(bytes_per_cycle):
    """Return the 910A with another memory."""
    return CHIP.with_figures("changed", hbm_bytes_per_cycle=assumed(bytes_per_cycle, "B/cycle", "a test"))


def test_cores_that_share_the_memory_take_as_long_as_its_bandwidth_says(words):
    """32 cores of 32 bytes a cycle behind 256 bytes a cycle: an eighth of the speed of one alone."""
    program = words.program(words.load(BLOCKS))
    alone = simulate([program], with_bandwidth(256)).cycles
    together = simulate([program] * 32, with_bandwidth(256)).cycles
    assert alone - 1 == BLOCKS * 32 // 32
    assert together - 1 == 32 * BLOCKS * 32 // 256


def test_a_core_is_no_faster_than_its_own_path(words):
    program = words.program(words.load(BLOCKS))
    assert simulate([program], with_bandwidth(100_000)).cycles - 1 == BLOCKS * 32 // 32


def test_what_a_finished_core_leaves_is_divided_among_the_others(words):
    """Two cores at 16 bytes a cycle each; when the short one is through, the long one gets 32."""
    long, short = words.program(words.load(BLOCKS)), words.program(words.load(BLOCKS // 4))
    trace = simulate([long, short], with_bandwidth(32))
    ends = sorted(trace.records["end"].tolist())
    assert ends[0] - 1 == BLOCKS // 4 * 32 * 2 // 32
    assert ends[1] - 1 == (BLOCKS + BLOCKS // 4) * 32 // 32


@settings(max_examples=40)
@given(
    flights=st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 5000), st.sampled_from([8, 32, 110])), min_size=1
    ),
    bandwidth=st.integers(64, 2000),
)
def test_no_memory_gives_more_than_it_has(flights, bandwidth):
    """Whatever starts when: all bytes fit the time that passed; no transfer is faster than its path."""
    env = simpy.Environment()
    port = SharedPort(env, bandwidth)
    ends = []

    def transfer(start, size, limit):
        yield env.timeout(start)
        yield port.transfer(size, limit)
        ends.append(env.now)
        assert env.now - start >= -(-size // limit)

    for flight in flights:
        env.process(transfer(*flight))
    env.run()
    assert len(ends) == len(flights)
    first = min(start for start, _, _ in flights)
    assert sum(size for _, size, _ in flights) <= (max(ends) - first) * max(bandwidth, len(flights))


@st.composite
def schedules(draw, words):
    """Draw a legal program: loads, sums and stores that wait for each other in a ring of two slots."""
    lines = []
    for step in range(draw(st.integers(1, 5))):
        lines += [words.load(draw(st.integers(1, 300)), d=step * 16384), words.set_flag(5, 2, step % 2)]
        lines += [words.wait_flag(5, 2, step % 2), words.add(draw(st.integers(1, 60)), step * 16384)]
    return words.program(*lines)


@settings(max_examples=25)
@given(data=st.data(), cores=st.integers(1, 6))
def test_more_bandwidth_is_never_slower(words, data, cores):
    programs = [data.draw(schedules(words)) for _ in range(cores)]
    times = [simulate(programs, with_bandwidth(width)).cycles for width in (24, 48, 96, 192, 400)]
    assert times == sorted(times, reverse=True)


@settings(max_examples=25)
@given(data=st.data(), cores=st.integers(1, 6))
def test_utilisation_is_never_above_one(words, data, cores):
    trace = simulate([data.draw(schedules(words)) for _ in range(cores)], CHIP)
    assert all(0 < pipe["utilization"] <= 1 for pipe in trace.pipes().values())
