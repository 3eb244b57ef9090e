"""The table of bytes that records touch: what the checkers read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from davinci_sim.core.boxes import BATCH_ROWS, EVERY_PIPE, boxes_of
from davinci_sim.core.local import space_bytes
from davinci_sim.core.records import BOX_COLUMNS
from davinci_sim.isa import FP16, FP32, INT8, vadd, vcadd, vconv, vmla, vsel
from davinci_sim.isa import state as st_
from davinci_sim.isa.region import READ, WRITTEN
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

SIZES = {FP16: 2, FP32: 4, INT8: 1}
UB = int(Space.UB) << SPACE_SHIFT
LEFT, RIGHT = UB + 65536, UB + 131072
MASKS = st.one_of(
    st.integers(0, (1 << 128) - 1), st.integers(0, 255), st.sampled_from([0b10, 5 << 62, 1 << 127])
)
EXAMPLES = settings(max_examples=40, deadline=None, phases=(Phase.generate,))


def emitted(emitter, mask: int, **operands) -> np.ndarray:
    """Return the words of one instruction under a mask register of 128 bits."""
    core = st_.new_core_state(1, space_bytes(platform("ascend910a"), 0), 4)
    st_.begin_block(core, 0, 1)
    halves = np.array([mask & (2**64 - 1), mask >> 64], dtype=np.uint64).view(np.int64)
    core.state[st_.MASK_LO : st_.MASK_HI + 1] = halves
    emitter(core, mask=-1, **operands)
    assert core.state[st_.ERROR_KIND] == st_.NO_ERROR
    return core.words


def touched(words: np.ndarray, how: int) -> set[int]:
    """Return the addresses in the rows of one kind."""
    rows, found = np.empty((BATCH_ROWS, BOX_COLUMNS), dtype=np.int64), set()
    _, count = boxes_of(words, 0, len(words), EVERY_PIPE, rows)
    for _, kind, handle, run, inner, inner_step, outer, outer_step in rows[:count].tolist():
        starts = np.arange(outer)[:, None, None] * outer_step + np.arange(inner)[:, None] * inner_step
        if kind == how:
            found |= set((starts + np.arange(run) + (handle & ADDRESS_MASK)).ravel().tolist())
    return found


def lanes_bytes(handle: int, mask: int, size: int, lanes: int, repeat: int, blk: int, rep: int) -> set[int]:
    """Return the addresses of the masked lanes of every repeat."""
    found = set()
    for lane in (lane for lane in range(lanes) if mask >> lane & 1):
        at = (handle & ADDRESS_MASK) + lane * size // 32 * blk * 32 + lane * size % 32
        found |= {at + number * rep * 32 + byte for number in range(repeat) for byte in range(size)}
    return found


@pytest.mark.parametrize("emitter", [vadd, vmla])
@EXAMPLES
@given(mask=MASKS, dtype=st.sampled_from([FP16, FP32]), repeat=st.integers(1, 3), blk=st.integers(0, 2))
def test_a_mask_with_holes_touches_the_lanes_that_it_names(emitter, mask, dtype, repeat, blk):
    """Whatever the strides; vmla also reads where it writes."""
    words = emitted(
        emitter, mask, dst=UB, src0=LEFT, src1=RIGHT, repeat=repeat, dtype=dtype, dst_blk=blk, src0_rep=9
    )
    case = (mask, SIZES[dtype], 256 // SIZES[dtype], repeat)
    written = lanes_bytes(UB, *case, blk, 8)
    sources = lanes_bytes(LEFT, *case, 1, 9) | lanes_bytes(RIGHT, *case, 1, 8)
    assert touched(words, WRITTEN) == written
    assert touched(words, READ) == sources | (written if emitter is vmla else set())


@pytest.mark.parametrize(("source", "to"), [(FP16, FP32), (FP32, FP16), (FP16, INT8)])
@EXAMPLES
@given(mask=MASKS, repeat=st.integers(1, 3))
def test_lanes_of_two_widths(source, to, mask, repeat):
    """The wider type of a conversion says how many lanes there are."""
    words = emitted(vconv, mask, dst=UB, src=LEFT, to=to, repeat=repeat, dtype=source)
    lanes = 256 // max(SIZES[source], SIZES[to])
    assert touched(words, WRITTEN) == lanes_bytes(UB, mask, SIZES[to], lanes, repeat, 1, 8)
    assert touched(words, READ) == lanes_bytes(LEFT, mask, SIZES[source], lanes, repeat, 1, 8)


def test_what_does_not_follow_the_lanes_stays_whole():
    """A sum writes one number a repeat; a selection reads the bits up to its highest lane."""
    words = emitted(vcadd, 0b1010, dst=UB, src=LEFT, repeat=2, dtype=FP32, dst_rep=1)
    assert touched(words, WRITTEN) == set(range(8))
    assert touched(words, READ) == lanes_bytes(LEFT, 0b1010, 4, 64, 2, 1, 8)
    bits = UB + 196608
    words = emitted(vsel, 1 << 20, dst=UB, src0=LEFT, src1=RIGHT, sel=bits, repeat=1, dtype=FP32)
    assert touched(words, READ) & set(range(196608, 262144)) == {196608, 196609, 196610}
