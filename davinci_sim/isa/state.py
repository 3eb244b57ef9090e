"""What an emitting kernel carries: the records so far and a small table of integers.

A kernel runs as machine code or as plain Python on the same two arrays, so that it can be stepped through
in a debugger. The table holds the position in the source, the block that is emitted, what the on-chip
buffers have handed out, the queues and, when an instruction was rejected, what was wrong with it.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.jit import apart

_plain = partial(apart, allocates=False)
SPACE_SHIFT = 48
"""A handle is one integer: the memory space above this bit, the byte address below."""
ADDRESS_MASK = (1 << SPACE_SHIFT) - 1
SPACE_COUNT = 9

COUNT, LOCATION, BLOCK_IDX, BLOCK_DIM = 0, 1, 2, 3
ERROR_KIND, ERROR_WHAT, ERROR_LOCATION, ERROR_NEEDED, ERROR_AVAILABLE = 4, 5, 6, 7, 8
ERROR_VALUES = 9  # up to 28 operands of the rejected instruction
MASK_LO, MASK_HI = 38, 39
TOP = 40  # next free byte of each space
CAPACITY = TOP + SPACE_COUNT
EVENT_IDS = CAPACITY + SPACE_COUNT  # how many the platform has per pipe pair
LACKING = EVENT_IDS + 1  # bits of instructions that the platform lacks and kernels have another way for
QUEUE_COUNT = LACKING + 1
NEXT_EVENT = QUEUE_COUNT + 1  # next free event id of pipe pair (src, dst): 7 x 7
QUEUES = NEXT_EVENT + 49  # rows of QUEUE_WIDTH
QUEUE_WIDTH, MAX_QUEUES = 8, 24
USED_EVENT = QUEUES + QUEUE_WIDTH * MAX_QUEUES  # first event id of each pipe pair that no queue had: 7 x 7
BUFFER_COUNT = USED_EVENT + 49
BUFFERS = BUFFER_COUNT + 1  # rows of BUFFER_WIDTH: space, start, nbytes, slots, location
BUFFER_WIDTH, MAX_BUFFERS = 5, 64
STATE_SIZE = BUFFERS + BUFFER_WIDTH * MAX_BUFFERS

NO_ERROR, REJECTED, NO_SPACE, NO_EVENT_ID, TOO_MANY_QUEUES, TOO_MANY_BUFFERS = 0, 1, 2, 3, 4, 5


class CoreState(NamedTuple):
    """The first argument of every kernel: `words[n, 8]` int64 records and the `state` table int64."""

    words: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]


def new_core_state(capacity: int, spaces: list[int], event_ids: int, lacking: int = 0) -> CoreState:
    """Return an empty state with room for `capacity` records and `spaces[space]` bytes in each space."""
    state = np.zeros(STATE_SIZE, dtype=np.int64)
    state[CAPACITY : CAPACITY + SPACE_COUNT] = spaces
    state[EVENT_IDS], state[LACKING] = event_ids, lacking
    return CoreState(np.empty((capacity, 8), dtype=np.int64), state)


def begin_block(core: CoreState, block_idx: int, block_dim: int) -> None:
    """Forget everything emitted and allocated, and start emitting block `block_idx` of `block_dim`."""
    kept = core.state[CAPACITY : LACKING + 1].copy()
    core.state[:] = 0
    core.state[CAPACITY : LACKING + 1] = kept
    core.state[BLOCK_IDX], core.state[BLOCK_DIM] = block_idx, block_dim
    core.state[MASK_LO : MASK_HI + 1] = -1


def buffers_of(core: CoreState) -> npt.NDArray[np.int64]:
    """Return what the block has allocated on chip: rows of space, start, nbytes, slots and location."""
    count = int(core.state[BUFFER_COUNT])
    rows = core.state[BUFFERS : BUFFERS + BUFFER_WIDTH * count]
    return rows.reshape(count, BUFFER_WIDTH).copy()


def queues_of(core: CoreState) -> npt.NDArray[np.int64]:
    """Return the queues that the block has opened: rows of src, dst, slots, first event id there and back."""
    count = min(int(core.state[QUEUE_COUNT]), MAX_QUEUES)
    rows = core.state[QUEUES : QUEUES + QUEUE_WIDTH * count]
    return rows.reshape(count, QUEUE_WIDTH)[:, :5].copy()


@_plain
def refuse(state: npt.NDArray[np.int64], kind: int, what: int, needed: int, available: int) -> bool:
    """Note the first thing that went wrong during emission; return whether this was the first."""
    if state[ERROR_KIND] != NO_ERROR:
        return False
    state[ERROR_KIND] = kind
    state[ERROR_WHAT] = what
    state[ERROR_LOCATION] = state[LOCATION]
    state[ERROR_NEEDED] = needed
    state[ERROR_AVAILABLE] = available
    return True


@_plain
def mask_lo(state: npt.NDArray[np.int64], lanes: int) -> int:
    """Return the mask of lanes 0..63: the first `lanes`, or the mask register when `lanes` < 0."""
    if lanes < 0:
        return int(state[MASK_LO])
    if lanes >= 64:
        return -1
    return (1 << lanes) - 1


@_plain
def mask_hi(state: npt.NDArray[np.int64], lanes: int) -> int:
    """Return the mask of lanes 64..127: the first `lanes`, or the mask register when `lanes` < 0."""
    if lanes < 0:
        return int(state[MASK_HI])
    if lanes >= 128:
        return -1
    if lanes <= 64:
        return 0
    return (1 << (lanes - 64)) - 1
