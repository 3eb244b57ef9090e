"""Queues: a kernel names its hand-offs, nobody numbers events by hand.

A queue has slots that one pipe fills and another uses. Per slot two flags go back and forth: filled and
free. All slots are free at the start; `close` takes the flags back, so that they balance.

    q = queue(core, MTE2, V, 2)          # two slots: double buffering
    for tile in range(tiles):
        slot = fill(core, q)             # MTE2 waits until the slot is free
        data_move(core, ub + slot * size, ...)
        filled(core, q)
        slot = use(core, q)              # V waits until the slot is filled
        vadd(core, ...)
        free(core, q)
    close(core, q)
"""

from typing import Any

from davinci_sim.isa import Pipe, pipe_barrier, set_flag, wait_flag
from davinci_sim.isa.state import (
    EVENT_IDS,
    MAX_QUEUES,
    NEXT_EVENT,
    NO_EVENT_ID,
    QUEUE_COUNT,
    QUEUE_WIDTH,
    QUEUES,
    TOO_MANY_QUEUES,
    USED_EVENT,
    refuse,
)
from kernels.lang.emits import emits

S, V, M, MTE1, MTE2, MTE3 = (int(p) for p in (Pipe.S, Pipe.V, Pipe.M, Pipe.MTE1, Pipe.MTE2, Pipe.MTE3))
ALL = int(Pipe.ALL)
PIPES = 7
# columns of a queue's row in the state
_SRC, _DST, _SLOTS, _FORWARD, _BACKWARD, _FILLED, _USED = range(7)


@emits
def events(core: Any, src: int, dst: int, count: int) -> int:
    """Take `count` event ids of the pipe pair (src, dst); return the first."""
    index = NEXT_EVENT + src * PIPES + dst
    first = core.state[index]
    if first + count > core.state[EVENT_IDS]:
        refuse(core.state, NO_EVENT_ID, src * 16 + dst, count, core.state[EVENT_IDS] - first)
    core.state[index] = first + count
    return int(first)


@emits
def queue(core: Any, src: int, dst: int, slots: int) -> int:
    """Open a queue that pipe `src` fills and pipe `dst` uses; all its slots are free.

    Where event ids of a closed queue are used anew, `dst` first waits until `src` has closed that queue:
    otherwise `dst` might set a flag again that `src` has yet to take.
    """
    number = core.state[QUEUE_COUNT]
    if number >= MAX_QUEUES:
        refuse(core.state, TOO_MANY_QUEUES, number, 1, 0)
        number = 0
    core.state[QUEUE_COUNT] = number + 1
    row = QUEUES + number * QUEUE_WIDTH
    core.state[row + _SRC], core.state[row + _DST], core.state[row + _SLOTS] = src, dst, slots
    core.state[row + _FORWARD] = events(core, src, dst, slots)
    core.state[row + _BACKWARD] = events(core, dst, src, slots)
    core.state[row + _FILLED], core.state[row + _USED] = 0, 0
    used = USED_EVENT + dst * PIPES + src
    if core.state[row + _BACKWARD] < core.state[used]:
        set_flag(core, src, dst, core.state[row + _FORWARD])
        wait_flag(core, src, dst, core.state[row + _FORWARD])
    core.state[used] = max(core.state[used], core.state[row + _BACKWARD] + slots)
    for slot in range(slots):
        set_flag(core, dst, src, core.state[row + _BACKWARD] + slot)
    return int(number)


@emits
def fill(core: Any, q: int) -> int:
    """Wait until the next slot is free; return its number."""
    row = QUEUES + q * QUEUE_WIDTH
    slot = core.state[row + _FILLED] % core.state[row + _SLOTS]
    wait_flag(core, core.state[row + _DST], core.state[row + _SRC], core.state[row + _BACKWARD] + slot)
    return int(slot)


@emits
def filled(core: Any, q: int) -> None:
    """Hand the slot that was filled to the user."""
    row = QUEUES + q * QUEUE_WIDTH
    slot = core.state[row + _FILLED] % core.state[row + _SLOTS]
    core.state[row + _FILLED] += 1
    set_flag(core, core.state[row + _SRC], core.state[row + _DST], core.state[row + _FORWARD] + slot)


@emits
def use(core: Any, q: int, ahead: int = 0) -> int:
    """Wait until the next slot is filled, or the one `ahead` of it; return its number."""
    row = QUEUES + q * QUEUE_WIDTH
    slot = (core.state[row + _USED] + ahead) % core.state[row + _SLOTS]
    wait_flag(core, core.state[row + _SRC], core.state[row + _DST], core.state[row + _FORWARD] + slot)
    return int(slot)


@emits
def free(core: Any, q: int) -> None:
    """Give the slot that was used back."""
    row = QUEUES + q * QUEUE_WIDTH
    slot = core.state[row + _USED] % core.state[row + _SLOTS]
    core.state[row + _USED] += 1
    set_flag(core, core.state[row + _DST], core.state[row + _SRC], core.state[row + _BACKWARD] + slot)


@emits
def filling(core: Any, q: int) -> int:
    """Return the slot that is being filled, or the next one; it does not wait."""
    row = QUEUES + q * QUEUE_WIDTH
    return int(core.state[row + _FILLED] % core.state[row + _SLOTS])


@emits
def is_fresh(core: Any, q: int) -> int:
    """Return 1 if the slot that is being filled was never filled before, else 0."""
    row = QUEUES + q * QUEUE_WIDTH
    return 1 if core.state[row + _FILLED] < core.state[row + _SLOTS] else 0


@emits
def using(core: Any, q: int) -> int:
    """Return the slot that is being used, or the next one; it does not wait."""
    row = QUEUES + q * QUEUE_WIDTH
    return int(core.state[row + _USED] % core.state[row + _SLOTS])


@emits
def close(core: Any, q: int) -> None:
    """Wait until every slot is free again, so that the flags balance.

    Its event ids can be used anew; queues are closed in the opposite order of their opening.
    """
    row = QUEUES + q * QUEUE_WIDTH
    src, dst, slots = core.state[row + _SRC], core.state[row + _DST], core.state[row + _SLOTS]
    for step in range(slots):
        slot = (core.state[row + _FILLED] + step) % slots
        wait_flag(core, dst, src, core.state[row + _BACKWARD] + slot)
    for pair in (src * PIPES + dst, dst * PIPES + src):
        core.state[NEXT_EVENT + pair] -= slots


@emits
def barrier(core: Any) -> None:
    """Let nothing start before everything so far has ended, on all pipes."""
    pipe_barrier(core, ALL)
