"""The memory plan never lets two living blocks overlap, and reuses what it can."""

from hypothesis import given
from hypothesis import strategies as st

from framework.graph_engine.data.memory import ALIGN_BYTES, Lifetime, plan

BLOCK = st.tuples(st.integers(1, 5000), st.integers(0, 30), st.integers(0, 10))


@given(st.lists(BLOCK, max_size=30))
def test_blocks_that_live_together_do_not_overlap(rows):
    """Whatever sizes and lifetimes, memory is shared in time only."""
    blocks = [Lifetime(f"b{i}", size, first, first + more) for i, (size, first, more) in enumerate(rows)]
    offsets = plan(blocks).offsets
    for i, a in enumerate(blocks):
        for b in blocks[i + 1 :]:
            if a.meets(b):
                ends = offsets[a.name] + a.nbytes, offsets[b.name] + b.nbytes
                assert ends[0] <= offsets[b.name] or ends[1] <= offsets[a.name]


@given(st.lists(BLOCK, min_size=1, max_size=30))
def test_the_peak_lies_between_what_lives_and_what_there_is(rows):
    """No plan needs less than what is alive at once, or more than no reuse at all."""
    made = plan([Lifetime(f"b{i}", size, first, first + more) for i, (size, first, more) in enumerate(rows)])
    assert made.live_bytes <= made.peak_bytes <= made.unshared_bytes


def test_a_chain_needs_two_blocks_however_long_it_is():
    """Each value of a chain lives until the next is made."""
    made = plan([Lifetime(f"b{i}", 1000, i, i + 1) for i in range(50)])
    assert made.peak_bytes == 2 * 2 * ALIGN_BYTES


@given(st.lists(BLOCK, min_size=1, max_size=30), st.sampled_from([512, 4096, 1 << 21]))
def test_blocks_begin_where_they_are_asked_to(rows, align_bytes):
    """The least that any plan needs is told without the gaps."""
    blocks = [Lifetime(f"b{i}", size, first, first + more) for i, (size, first, more) in enumerate(rows)]
    made = plan(blocks, align_bytes=align_bytes)
    assert all(offset % align_bytes == 0 for offset in made.offsets.values())
    assert made.live_bytes == plan(blocks).live_bytes


def test_a_plan_with_gaps_can_be_made_dense():
    """Blocks that begin far apart lie as close as the allocator lets them afterwards."""
    blocks = [Lifetime("a", 512, 0, 2), Lifetime("b", 1024, 1, 3)]
    apart = plan(blocks, align_bytes=1 << 20)
    assert apart.offsets == {"b": 0, "a": 1 << 20}
    assert apart.dense == plan(blocks)
    assert apart.dense.peak_bytes == 1536


def test_the_text_of_a_plan_tells_what_is_needed_and_what_lies_between():
    """A plan whose blocks are spread does not look as if its values needed so much."""
    blocks = [Lifetime("a", 700, 0, 1), Lifetime("b", 100, 1, 2)]
    needed = "workspace 1,536 bytes; alive at most 1,536; without reuse 1,536"
    assert plan(blocks).text() == needed
    assert plan(blocks, align_bytes=4096).text() == f"{needed}; 3,072 more between blocks that are spread"
