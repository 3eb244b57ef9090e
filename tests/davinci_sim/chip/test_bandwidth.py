"""All cores share L2 and, behind it, the device memory: as fast as their bandwidth says, never faster."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip.engine.fluid import fair_rates, land, new_fluid, next_landing, progress, take_off
from davinci_sim.chip.memory import Port
from davinci_sim.chip.simulate import simulate
from davinci_sim.platforms import Platform, platform
from davinci_sim.platforms.figure import assumed

CHIP = platform("ascend910a")
BLOCKS = 4096  # 128 KiB: the head of the transfer is hidden
SIZE = BLOCKS * 32
FIRST = CHIP.dispatch_cycles  # the first instruction starts


class Flight(NamedTuple):
    """A transfer that starts at `start`; `limit` is the width of its path."""

    start: int
    size: int
    limit: int


def changed(**figures: int) -> Platform:
    """Return the 910A with another memory."""
    return CHIP.with_figures(
        "changed", **{name: assumed(n, "B/cycle", "a test") for name, n in figures.items()}
    )


def loads(words, cores: int, blocks: int = BLOCKS):
    """Return a program per core that loads bytes of its own."""
    return [words.program(words.load(blocks, s=core << 20)) for core in range(cores)]


def test_cores_that_share_the_memory_take_as_long_as_its_bandwidth_says(words, engine):
    """One alone is as fast as its path to L2; 32 share 256 bytes a cycle."""
    narrow = changed(hbm_bytes_per_cycle=256)
    alone = simulate(loads(words, 1), narrow, engine=engine).cycles
    together = simulate(loads(words, 32), narrow, engine=engine).cycles
    assert alone - FIRST == CHIP.gm_read_head_cycles + -(-SIZE // CHIP.gm_to_ub_bytes_per_cycle)
    assert together - FIRST == 32 * SIZE // 256


def test_a_core_is_no_faster_than_its_own_path_to_the_memory(words, engine):
    wide_behind = changed(hbm_bytes_per_cycle=100_000, l2_read_bytes_per_cycle=64)
    cycles = simulate(loads(words, 1), wide_behind, engine=engine).cycles
    assert cycles - FIRST == SIZE // 64


def test_what_a_finished_core_leaves_is_divided_among_the_others(words, engine):
    """Two cores at 16 bytes a cycle each; when the short one is through, the long one gets 32."""
    long, short = words.program(words.load(BLOCKS)), words.program(words.load(BLOCKS // 4, s=1 << 20))
    ends = simulate([long, short], changed(hbm_bytes_per_cycle=32), engine=engine).records["end"]
    assert ends[1] - FIRST == 2 * (SIZE // 4) // 32
    assert ends[0] - FIRST == (SIZE + SIZE // 4) // 32


def test_cores_that_read_what_l2_holds_share_the_bandwidth_of_l2(words, engine):
    """One core alone fetches the bytes; the 31 that ask behind it in the same cycle find them in L2."""
    fast_behind = {"hbm_bytes_per_cycle": 100_000, "l2_read_bytes_per_cycle": 100_000}
    narrow = changed(l2_chip_bytes_per_cycle=320, **fast_behind)
    trace = simulate([words.program(words.load(BLOCKS))] * 32, narrow, engine=engine)
    assert trace.records["end"].tolist() == [FIRST + -(-SIZE // (320 // 32))] * 32


def test_reads_and_writes_of_equal_width_get_equal_shares(words, engine):
    """Ten stores and a load share 119 bytes a cycle: ten each; nine stay over, and nobody gets them."""
    widths = {"l2_read_bytes_per_cycle": 100, "l2_write_bytes_per_cycle": 100, "l2_chip_bytes_per_cycle": 119}
    stores = [words.program(words.store(640, d=core << 20)) for core in range(1, 11)]
    trace = simulate([words.program(words.load(64)), *stores], changed(**widths), engine=engine)
    assert trace.records["end"][0] - FIRST == -(-64 * 32 // 10)


def test_a_run_that_begins_at_a_line_is_as_fast_as_the_memory_wherever_it_ends(narrow, words, engine):
    """63.5 lines are fetched as 64; the same bytes from the last quarter of a line on as 65, at 70 %."""
    aligned, beside = (
        simulate([words.program(words.load(1016, s=s))], narrow, engine=engine) for s in (0, 384)
    )
    lines = 64
    assert aligned.cycles - FIRST == lines * 512 // narrow.hbm_bytes_per_cycle
    slowed = (lines + 1) * 512 * 100 // CHIP.gm_unaligned_percent
    assert beside.cycles - FIRST == -(-slowed // narrow.hbm_bytes_per_cycle)


def test_stores_do_not_wait_for_the_memory(words, engine):
    """L2 takes them at the width of the core's own path, however slow the memory behind it is."""
    program = words.program(words.store(BLOCKS))
    (end,) = simulate([program], changed(hbm_bytes_per_cycle=1), engine=engine).records["end"]
    assert end - FIRST == CHIP.gm_write_head_cycles + SIZE // CHIP.ub_to_gm_bytes_per_cycle


@st.composite
def classes(draw):
    """Draw widths of paths in ascending order, how many transfers have each, and what there is for all."""
    limits = sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=4)))
    counts = [draw(st.integers(0, 64)) for _ in limits]
    return limits, counts, draw(st.integers(1, 6000))


def rates_of(limits: list[int], counts: list[int], total: int) -> list[int]:
    """Return what `fair_rates` gives each class."""
    rates = np.zeros(len(limits), dtype=np.int64)
    fair_rates(np.array(limits), np.array(counts), total, rates)
    return rates.tolist()


@given(classes())
def test_a_division_gives_no_more_than_there_is(drawn):
    """But a byte a cycle to each, so that none starves."""
    limits, counts, total = drawn
    rates = rates_of(*drawn)
    assert sum(r * n for r, n in zip(rates, counts, strict=True)) <= max(total, sum(counts))
    assert all(1 <= r <= limit for r, n, limit in zip(rates, counts, limits, strict=True) if n)
    assert all(r == 0 for r, n in zip(rates, counts, strict=True) if not n)


@given(classes())
def test_a_division_is_max_min_fair_up_to_whole_bytes(drawn):
    """What is held back by no limit gets as much as any other, less the bytes that division leaves over."""
    limits, counts, _ = drawn
    rates = rates_of(*drawn)
    for limit, rate in zip(limits, rates, strict=True):
        if 0 < rate < limit:
            more = sum(max(0, r - rate) * n for r, n in zip(rates, counts, strict=True))
            assert more < sum(counts)


@given(classes())
def test_a_division_wastes_nothing_but_the_remainder(drawn):
    """Either every transfer runs at the width of its path, or less than a byte each is left."""
    limits, counts, total = drawn
    rates = rates_of(*drawn)
    held_back = [n for r, n, limit in zip(rates, counts, limits, strict=True) if n and r < limit]
    given_away = sum(r * n for r, n in zip(rates, counts, strict=True))
    assert not held_back or total - given_away < held_back[-1]


@given(classes(), st.integers(0, 300))
def test_more_to_divide_takes_nothing_from_the_narrowest(drawn, more):
    """Of wider ones it may take the remainder that they got before."""
    limits, counts, total = drawn
    before, after = rates_of(*drawn), rates_of(limits, counts, total + more)
    narrowest = next((c for c, n in enumerate(counts) if n), 0)
    assert after[narrowest] >= before[narrowest]


def landings_of_port(flights: list[Flight], total: int) -> list[int]:
    """Return when each flight is through by the reference; flights of one cycle are admitted together."""
    env = simpy.Environment()
    port, ends = Port(env, total), [0] * len(flights)

    def land_one(number, through):
        yield through
        ends[number] = int(env.now)

    def admit(start):
        yield env.timeout(start)
        mine = [number for number, flight in enumerate(flights) if flight.start == start]
        through = [port.admit(flights[number].size, flights[number].limit) for number in mine]
        for number, event in zip(mine, through, strict=True):
            env.process(land_one(number, event))

    for start in sorted({flight.start for flight in flights}):
        env.process(admit(start))
    env.run()
    return ends


@numba.njit  # the pieces of the compiled engine cannot be called from Python
def fly(fluid, starts, classes, sizes, ends):
    """Fill ends[flight] for flights in the order of their starts."""
    following, landed = 0, 0
    while landed < len(ends):
        now = next_landing(fluid)
        if following < len(ends):
            now = min(now, starts[following])
        progress(fluid, now)
        for c in range(len(fluid.limits)):
            number = land(fluid, c)
            while number >= 0:
                ends[number] = now
                landed += 1
                number = land(fluid, c)
        while following < len(ends) and starts[following] == now:
            take_off(fluid, classes[following], sizes[following], following)
            following += 1
        fair_rates(fluid.limits, fluid.counts, fluid.total, fluid.rates)


def landings_of_fluid(flights: list[Flight], total: int) -> list[int]:
    """Return when each flight is through by the compiled engine's memory."""
    limits = sorted({flight.limit for flight in flights})
    order = sorted(range(len(flights)), key=lambda number: flights[number].start)
    starts = np.array([flights[number].start for number in order])
    classes = np.array([limits.index(flights[number].limit) for number in order])
    sizes = np.array([flights[number].size for number in order])
    ends = np.zeros(len(flights), dtype=np.int64)
    fly(new_fluid(limits, total, len(flights)), starts, classes, sizes, ends)
    return ends[np.argsort(order)].tolist()


many_flights = st.lists(
    st.builds(Flight, st.integers(0, 50), st.integers(1, 5000), st.sampled_from([8, 32, 110])), min_size=1
)


@settings(max_examples=60)
@given(flights=many_flights, total=st.integers(1, 2000))
def test_the_memory_of_both_engines_is_one(flights, total):
    """One counts what is left of every flight, the other what each class has been served."""
    assert landings_of_fluid(flights, total) == landings_of_port(flights, total)


@pytest.mark.parametrize("landings", [landings_of_port, landings_of_fluid])
@settings(max_examples=40)
@given(flights=many_flights, total=st.integers(64, 2000))
def test_no_memory_gives_more_than_it_has(landings, flights, total):
    """Whatever starts when: all bytes fit the time that passed; no transfer is faster than its path."""
    ends = landings(flights, total)
    for flight, end in zip(flights, ends, strict=True):
        assert end - flight.start >= -(-flight.size // flight.limit)
    first = min(flight.start for flight in flights)
    assert sum(flight.size for flight in flights) <= (max(ends) - first) * max(total, len(flights))


@pytest.mark.parametrize("landings", [landings_of_port, landings_of_fluid])
def test_flights_of_one_width_that_start_together_land_together(landings):
    """1000 bytes each at 33 of 100 bytes a cycle."""
    assert landings([Flight(5, 1000, 110)] * 3, 100) == [5 + 31] * 3


@pytest.mark.parametrize("landings", [landings_of_port, landings_of_fluid])
def test_narrow_flights_leave_the_rest_to_wide_ones(landings):
    """Of 100 bytes a cycle 8 go to the narrow one, 92 to the wide one."""
    assert landings([Flight(0, 80, 8), Flight(0, 920, 110)], 100) == [10, 10]


@st.composite
def schedules(draw, words, core):
    """Draw a legal program: loads, sums and stores in a ring of two slots, on lines of its own."""
    lines, steps = [], draw(st.integers(1, 5))
    for step in range(steps):
        slot, gm = step % 2, (core << 20) + 4096 * draw(st.integers(0, 20))
        if step >= 2:
            lines.append(words.wait_flag(2, 5, slot))
        lines += [words.load(draw(st.integers(1, 300)), d=slot * 16384, s=gm), words.set_flag(5, 2, slot)]
        lines += [words.wait_flag(5, 2, slot), words.work(draw(st.integers(1, 60)))]
        if step + 2 < steps:
            lines.append(words.set_flag(2, 5, slot))
        lines.append(words.store(draw(st.integers(1, 300)), d=(1 << 19) + gm))
    return words.program(*lines)


@settings(max_examples=40)
@given(data=st.data(), cores=st.integers(1, 6))
def test_more_bandwidth_is_never_slower(words, data, cores):
    """Where no two transfers race for a line of L2: of those that do, the first one pays for all.

    Then a faster memory may let another core come first, and that core may be the one that all wait for.
    """
    programs = [data.draw(schedules(words, core)) for core in range(cores)]
    widths = sorted(data.draw(st.sets(st.integers(16, 400), min_size=2, max_size=5)))
    times = [simulate(programs, changed(hbm_bytes_per_cycle=width)).cycles for width in widths]
    assert times == sorted(times, reverse=True)


@settings(max_examples=25)
@given(data=st.data(), cores=st.integers(1, 6))
def test_utilisation_is_never_above_one(words, data, cores):
    trace = simulate([data.draw(schedules(words, core)) for core in range(cores)], CHIP)
    assert all(0 < pipe["utilization"] <= 1 for pipe in trace.pipes().values())
