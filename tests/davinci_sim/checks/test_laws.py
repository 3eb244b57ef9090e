"""racecheck and initcheck against a model of a few lines: sets of bytes, and what is done before a record."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.davinci_sim.checks.conftest import OUT, store

PIPES = {"V": 2, "MTE2": 5, "MTE3": 6}
ADD = "PIPE_V vadd dst=UB+0x{d:x} src0=UB+0x{a:x} src1=UB+0x{a:x} mask={mask:032x} repeat={n} dst_blk={blk}"
ADD += " src0_blk=1 src1_blk=1 dst_rep=8 src0_rep=8 src1_rep=8 dtype=fp32"
BLOCKS = st.integers(0, 7).map(lambda block: 32 * block)


def lanes(start: int, mask: int, repeat: int, blk: int = 1) -> set[int]:
    """Return the bytes of the masked fp32 lanes of every repeat."""
    chosen = [lane for lane in range(64) if mask >> lane & 1]
    places = [start + 256 * n + lane // 8 * blk * 32 + lane % 8 * 4 for n in range(repeat) for lane in chosen]
    return {place + byte for place in places for byte in range(4)}


@st.composite
def instructions(draw, words):
    """Draw a load, a store or an addition: (pipe, its text, bytes of UB read, bytes of UB written)."""
    kind, place, blocks = draw(st.sampled_from("lsaaa")), draw(BLOCKS), draw(st.integers(1, 3))
    run = set(range(place, place + 32 * blocks))
    if kind == "l":
        return "MTE2", words.load(blocks, d=place), set(), run
    if kind == "s":
        return "MTE3", store(blocks, d=OUT, s=place), run, set()
    mask, n, blk = (
        draw(st.sampled_from([0xFF, 0xF0, 0x55, 0xFFFF, 1 << 40])),
        draw(st.integers(1, 2)),
        draw(st.integers(1, 2)),
    )
    to = draw(BLOCKS)
    text = ADD.format(d=to, a=place, mask=mask, n=n, blk=blk)
    return "V", text, lanes(place, mask, n), lanes(to, mask, n, blk)


@st.composite
def programs(draw, words):
    """Draw records in an order that the machine may take; each is (pipe, text, read, written, partner).

    The partner of a wait is the position of its set_flag, that of a barrier itself; -1 is none.
    """
    made: list[tuple] = []
    waiting: dict[tuple[str, str], int] = {}
    for _ in range(draw(st.integers(2, 12))):
        choice = draw(st.sampled_from("iiiihhb"))
        if choice == "i":
            made.append((*draw(instructions(words)), -1))
        elif choice == "b":
            pipe = draw(st.sampled_from(["V", "MTE2", "ALL"]))
            text = words.barrier if pipe == "ALL" else words.pipe_barrier(PIPES[pipe])
            made.append((pipe, text, set(), set(), len(made)))
        else:
            pair = tuple(draw(st.permutations(sorted(PIPES)))[:2])
            numbers = PIPES[pair[0]], PIPES[pair[1]]
            if pair in waiting:
                made.append((pair[1], words.wait_flag(*numbers), set(), set(), waiting.pop(pair)))
            else:
                waiting[pair] = len(made)
                made.append((pair[0], words.set_flag(*numbers), set(), set(), -1))
    return made


def done_before(made: list[tuple]) -> list[set[int]]:
    """Return, for each record, the records that are done when it starts."""
    known: list[set[int]] = []
    for place, (pipe, _, _, _, partner) in enumerate(made):
        earlier = range(place)
        done = set().union(*(known[e] for e in earlier if made[e][0] in (pipe, "ALL") or pipe == "ALL"))
        done |= {e for e in earlier if made[e][0] == "ALL" for e in range(e)}
        if partner == place:
            done |= {e for e in earlier if pipe in ("ALL", made[e][0])}
        elif partner >= 0:
            done |= known[partner] | {e for e in range(partner) if made[e][0] == made[partner][0]}
        known.append(done)
    return known


def races(made: list[tuple]) -> set[tuple[int, int]]:
    """Return the pairs of records that share a byte and that nothing orders."""
    known, found = done_before(made), set()
    for late, (pipe, _, reads, writes, _) in enumerate(made):
        for early, (other, _, read, written, _) in enumerate(made[:late]):
            meets = written & reads if pipe == other else (written & (reads | writes)) | (read & writes)
            if meets and early not in known[late]:
                found.add((early, late))
    return found


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_race_is_found_exactly_where_two_records_share_a_byte_unordered(words, findings, data):
    """On random programs; of several races of a byte the first is told, so at least one if there is any."""
    made = data.draw(programs(words))
    expected = races(made)
    found = findings(words.program(*(text for _, text, *_ in made)))
    told = {tuple(sorted(r for _, r in each.records)) for each in found if each.kind == "racecheck"}
    assert told <= expected
    assert bool(told) == bool(expected)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_read_is_told_exactly_where_nobody_wrote_before(words, findings, data):
    """On random programs without races, in which the order of the records is all there is."""
    made = data.draw(programs(words))
    assume(not races(made))
    written: set[int] = set()
    expected = set()
    for place, (_, _, reads, writes, _) in enumerate(made):
        if reads - written:
            expected.add(place)
        written |= writes
    found = findings(words.program(*(text for _, text, *_ in made)))
    assert {each.records[0][1] for each in found if each.kind == "initcheck"} == expected
