"""On-chip buffers and the block that is being emitted."""

from typing import Any

from davinci_sim.isa.state import (
    BLOCK_DIM,
    BLOCK_IDX,
    BUFFER_COUNT,
    BUFFER_WIDTH,
    BUFFERS,
    CAPACITY,
    LOCATION,
    MAX_BUFFERS,
    NO_SPACE,
    SPACE_SHIFT,
    TOO_MANY_BUFFERS,
    TOP,
    refuse,
)
from davinci_sim.memory.spaces import Space
from kernels.lang.emits import emits

GM, L1, L0A, L0B, L0C, UB = (int(s) for s in (Space.GM, Space.L1, Space.L0A, Space.L0B, Space.L0C, Space.UB))
L0C_ALIGN, L0_ALIGN, BLOCK = 1024, 512, 32
FAST_BYTES = 512
"""Shares of cores and tiles begin at multiples of this many bytes: transfers from there are fastest."""
REPEAT_BYTES = 256
UB_GAP = 2 * REPEAT_BYTES
"""Less than this stays unused before a buffer in UB, so that two neighbours begin in different banks."""


@emits
def note_buffer(core: Any, space: int, start: int, nbytes: int, slots: int) -> None:
    """Write a buffer into the table that the checkers read; an empty one is left out."""
    number = core.state[BUFFER_COUNT]
    if nbytes <= 0:
        return
    if number >= MAX_BUFFERS:
        refuse(core.state, TOO_MANY_BUFFERS, space, number, 0)
        return
    core.state[BUFFER_COUNT] = number + 1
    row = BUFFERS + number * BUFFER_WIDTH
    core.state[row], core.state[row + 1], core.state[row + 2] = space, start, nbytes
    core.state[row + 3], core.state[row + 4] = slots, core.state[LOCATION]


@emits
def start_in_ub(core: Any, top: int) -> int:
    """Return the next start in UB from `top` on: a multiple of 256 bytes, alternately an even and an odd one.

    Repeats of two sources that begin so do not meet in one group of banks: they cost one cycle, not two.
    """
    wanted = 0
    for number in range(core.state[BUFFER_COUNT]):
        row = BUFFERS + number * BUFFER_WIDTH
        if core.state[row] == UB:
            wanted = core.state[row + 1] + REPEAT_BYTES
    return int(top + (wanted - top) % UB_GAP)


@emits
def alloc(core: Any, space: int, nbytes: int, slots: int = 1) -> int:
    """Hand out the next `nbytes` of a space, aligned as the space wants it; return the handle.

    When the space is full the kernel is refused: the error names the buffer, needed and available bytes.
    In UB neighbours begin in different groups of banks: allocate what an instruction reads together one after
    the other. The checkers hold every instruction to one buffer, or to one of the `slots` equal parts of it.
    """
    align = BLOCK
    if space == L0C:
        align = L0C_ALIGN
    elif space in (L0A, L0B):
        align = L0_ALIGN
    start = (core.state[TOP + space] + align - 1) // align * align
    if space == UB:
        start = start_in_ub(core, start)
    end = start + nbytes
    if end > core.state[CAPACITY + space]:
        refuse(core.state, NO_SPACE, space, nbytes, core.state[CAPACITY + space] - start)
    core.state[TOP + space] = end
    note_buffer(core, space, start, nbytes, slots)
    return int((space << SPACE_SHIFT) | start)


@emits
def block_idx(core: Any) -> int:
    """Return which share of the kernel this is, from 0."""
    return int(core.state[BLOCK_IDX])


@emits
def block_dim(core: Any) -> int:
    """Return how many shares the kernel has."""
    return int(core.state[BLOCK_DIM])


@emits
def share_start(core: Any, items: int, unit: int) -> int:
    """Return the first of `items` that this block works on; shares are whole multiples of `unit`."""
    units = (items + unit - 1) // unit
    return int(min(items, units * core.state[BLOCK_IDX] // core.state[BLOCK_DIM] * unit))


@emits
def share_end(core: Any, items: int, unit: int) -> int:
    """Return the end of this block's share of `items`."""
    units = (items + unit - 1) // unit
    return int(min(items, units * (core.state[BLOCK_IDX] + 1) // core.state[BLOCK_DIM] * unit))


@emits
def room_in_ub(core: Any) -> int:
    """Return the bytes of UB that a few more buffers may take."""
    return int(core.state[CAPACITY + UB] - core.state[TOP + UB] - 4 * UB_GAP)
