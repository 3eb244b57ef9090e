"""One core of the compiled engine: when every record starts, ends and delivers.

Nothing here knows the present. Each pipe takes its records in order as far as what they need is known, so
that the order in which pipes are looked at changes no time. Only a transfer through device memory has to
wait for the chip: the core then presents its start and goes on with the other pipes.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.heap import push
from davinci_sim.core.order import BARRIER, FLAG_COUNT, SET, WAIT
from davinci_sim.isa.jit import inlined
from davinci_sim.isa.pipes import QUEUED_PIPES, Pipe

Numbers = npt.NDArray[np.int64]
PIPES = int(Pipe.ALL) + 1
QUEUED = tuple(int(pipe) for pipe in QUEUED_PIPES)
_IS_QUEUED = np.array([pipe in QUEUED for pipe in range(PIPES)])
_ALL = int(Pipe.ALL)
CLEAR = -1

# columns of Cores.scalar: the next record, the end of the program, the clock
NEXT, LAST, CLOCK = range(3)
# columns of Cores.pipes: records handed out, taken from the queue and finished; when the unit is free, when
# its last result is there; whether a transfer is on its way
PUSHED, TAKEN, SERVED, FREE, READY, ON_ITS_WAY = range(6)
# what Cores.fault holds: kind, cycle, core, and the record or flag of the first fault
NO_FAULT, SET_TWICE, LEFT_SET, STUCK = range(4)


class Records(NamedTuple):
    """The columns of all records: what they are, and the times to be found."""

    start: Numbers
    end: Numbers  # holds the unit's cycles until the record has run
    ready: Numbers  # holds the flag of a hand-off, the row of a transfer, until the record has run
    op: npt.NDArray[np.int16]
    pipe: npt.NDArray[np.int8]


class Cores(NamedTuple):
    """What all cores remember; the first axis is the core."""

    scalar: Numbers  # [core, 3]
    pipes: Numbers  # [core, pipe, 6]
    record: Numbers  # [core, pipe, slot]: queued records
    arrival: Numbers  # [core, pipe, slot]
    taken: Numbers  # [core, pipe, slot]: when they left the queue
    flags: Numbers  # [core, flag]: when it was set, or CLEAR
    cleared: Numbers  # [core, flag]: when it was last waited for
    drain: Numbers  # [pipe]
    presented: Numbers  # heap of start << 16 | core << 4 | pipe
    fault: Numbers  # [4]
    depth: int
    dispatch_cycles: int


def new_cores(count: int, depth: int, dispatch_cycles: int, drain: Numbers) -> Cores:
    """Return idle cores."""
    slots = (count, PIPES, depth + 1)
    return Cores(
        scalar=np.zeros((count, 3), dtype=np.int64),
        pipes=np.zeros((count, PIPES, 6), dtype=np.int64),
        record=np.zeros(slots, dtype=np.int64),
        arrival=np.zeros(slots, dtype=np.int64),
        taken=np.zeros(slots, dtype=np.int64),
        flags=np.full((count, FLAG_COUNT), CLEAR, dtype=np.int64),
        cleared=np.full((count, FLAG_COUNT), CLEAR, dtype=np.int64),
        drain=drain,
        presented=np.zeros(count * len(QUEUED) + 2, dtype=np.int64),
        fault=np.zeros(4, dtype=np.int64),
        depth=depth,
        dispatch_cycles=dispatch_cycles,
    )


@inlined
def begin_program(cores: Cores, core: int, first: int, last: int, now: int) -> None:
    """Let an idle core start records first..last at `now`."""
    cores.scalar[core, NEXT], cores.scalar[core, LAST] = first, last
    cores.scalar[core, CLOCK] = now
    cores.pipes[core, :, :] = 0
    cores.pipes[core, :, FREE] = now
    cores.pipes[core, :, READY] = now
    cores.flags[core, :] = CLEAR
    cores.cleared[core, :] = CLEAR


@inlined
def note_fault(cores: Cores, kind: int, cycle: int, core: int, record: int) -> None:
    """Keep the first fault: the earliest, of the lowest core."""
    fault = cores.fault
    if fault[0] == NO_FAULT or cycle < fault[1] or (cycle == fault[1] and core < fault[2]):
        fault[0], fault[1], fault[2], fault[3] = kind, cycle, core, record


@inlined
def _finish(
    cores: Cores, records: Records, core: int, pipe: int, r: int, start: int, end: int, ready: int
) -> None:
    """Note the times of a record and that its pipe may take the next one."""
    records.start[r], records.end[r], records.ready[r] = start, end, ready
    row = cores.pipes[core, pipe]
    row[FREE], row[READY] = end, ready
    row[SERVED] += 1


@inlined
def _set(cores: Cores, core: int, r: int, flag: int, ready: int) -> None:
    """Set a flag that is clear; before its last wait began it was not."""
    if ready < cores.cleared[core, flag]:
        note_fault(cores, SET_TWICE, ready, core, r)
    cores.flags[core, flag] = ready


@inlined
def _take_flag(cores: Cores, core: int, flag: int, since: int) -> int:
    """Clear a flag that is set; return when a pipe that is there `since` then goes on."""
    start = max(since, cores.flags[core, flag])
    cores.flags[core, flag] = CLEAR
    cores.cleared[core, flag] = start
    return int(start)


@inlined
def _serve_one(cores: Cores, records: Records, core: int, pipe: int) -> bool:
    """Run the next record of a queue if all that it needs is known."""
    row = cores.pipes[core, pipe]
    slot = row[SERVED] % (cores.depth + 1)
    r = cores.record[core, pipe, slot]
    op, hold = records.op[r], records.end[r]
    start = max(cores.arrival[core, pipe, slot], row[FREE])
    if row[TAKEN] == row[SERVED]:
        cores.taken[core, pipe, slot] = start
        row[TAKEN] += 1
    if op == SET:
        flag = records.ready[r]
        if cores.flags[core, flag] != CLEAR:
            return False
        ready = max(row[READY], start + hold)
        _set(cores, core, r, flag, ready)
        _finish(cores, records, core, pipe, r, start, start + hold, ready)
        return True
    if op == WAIT:
        flag = records.ready[r]
        if cores.flags[core, flag] == CLEAR:
            return False
        start = _take_flag(cores, core, flag, start)
        _finish(cores, records, core, pipe, r, start, start + hold, max(row[READY], start + hold))
        return True
    if op == BARRIER:
        start = max(start, row[READY])
        _finish(cores, records, core, pipe, r, start, start + hold, max(row[READY], start + hold))
        return True
    if records.ready[r] >= 0:  # a row of the table of transfers
        records.start[r] = start
        row[ON_ITS_WAY] = 1
        push(cores.presented, start << 16 | core << 4 | pipe)
        return False
    ready = max(row[READY], start + hold + cores.drain[pipe])
    _finish(cores, records, core, pipe, r, start, start + hold, ready)
    return True


@inlined
def _serve(cores: Cores, records: Records, core: int, pipe: int) -> bool:
    """Run the records of a queue as far as possible; tell whether anything moved."""
    row = cores.pipes[core, pipe]
    moved = False
    while row[SERVED] < row[PUSHED] and row[ON_ITS_WAY] == 0:
        taken = row[TAKEN]
        if not _serve_one(cores, records, core, pipe):
            return moved or row[TAKEN] > taken
        moved = True
    return moved


@inlined
def is_drained(cores: Cores, core: int) -> bool:
    """Tell whether all that was handed out has run."""
    for pipe in QUEUED:  # noqa: SIM110 - generators cannot be compiled into their callers
        if cores.pipes[core, pipe, SERVED] < cores.pipes[core, pipe, PUSHED]:
            return False
    return True


@inlined
def last_ready(cores: Cores, core: int) -> int:
    """Return when the last result of a core is there."""
    latest = cores.scalar[core, CLOCK]
    for pipe in range(PIPES):
        latest = max(latest, cores.pipes[core, pipe, READY])
    return int(latest)


@inlined
def _push(cores: Cores, core: int, pipe: int, r: int) -> bool:
    """Hand a record to its queue if there is room for it."""
    row, depth = cores.pipes[core, pipe], cores.depth
    n = row[PUSHED]
    arrival = cores.scalar[core, CLOCK] + cores.dispatch_cycles
    if n >= depth:
        if row[TAKEN] <= n - depth:
            return False
        arrival = max(arrival, cores.taken[core, pipe, (n - depth) % (depth + 1)])
    slot = n % (depth + 1)
    cores.record[core, pipe, slot], cores.arrival[core, pipe, slot] = r, arrival
    row[PUSHED] = n + 1
    cores.scalar[core, CLOCK] = arrival
    return True


@inlined
def _run_scalar(cores: Cores, records: Records, core: int, pipe: int, r: int) -> bool:
    """Run a record of the scalar unit itself, or a barrier of all pipes, if all that it needs is known."""
    start = cores.scalar[core, CLOCK] + cores.dispatch_cycles
    op, hold, flag = records.op[r], records.end[r], records.ready[r]
    row = cores.pipes[core, pipe]
    if pipe == _ALL:
        if not is_drained(cores, core):
            return False
        start = max(start, last_ready(cores, core))
    elif op == WAIT:
        if cores.flags[core, flag] == CLEAR:
            return False
        start = _take_flag(cores, core, flag, start)
    elif op == SET:
        if cores.flags[core, flag] != CLEAR:
            return False
        _set(cores, core, r, flag, max(row[READY], start + hold))
    row[PUSHED] += 1
    _finish(cores, records, core, pipe, r, start, start + hold, max(row[READY], start + hold))
    cores.scalar[core, CLOCK] = start + hold
    return True


@inlined
def _dispatch(cores: Cores, records: Records, core: int) -> bool:
    """Hand records to their queues as far as there is room; tell whether anything moved."""
    scalar = cores.scalar[core]
    first = scalar[NEXT]
    while scalar[NEXT] < scalar[LAST]:
        r = scalar[NEXT]
        pipe = records.pipe[r]
        if _IS_QUEUED[pipe]:
            if not _push(cores, core, pipe, r):
                break
        elif not _run_scalar(cores, records, core, pipe, r):
            break
        scalar[NEXT] = r + 1
    return bool(scalar[NEXT] > first)


@inlined
def advance(cores: Cores, records: Records, core: int) -> bool:
    """Let a core go as far as it can; tell whether its program has ended."""
    moved = True
    while moved:
        moved = _dispatch(cores, records, core)
        for pipe in QUEUED:
            if _serve(cores, records, core, pipe):
                moved = True
    return cores.scalar[core, NEXT] == cores.scalar[core, LAST] and is_drained(cores, core)


@inlined
def arrive(cores: Cores, records: Records, core: int, pipe: int, end: int) -> None:
    """End the transfer that a pipe has on its way."""
    row = cores.pipes[core, pipe]
    r = cores.record[core, pipe, row[SERVED] % (cores.depth + 1)]
    row[ON_ITS_WAY] = 0
    _finish(cores, records, core, pipe, r, records.start[r], end, max(row[READY], end))


@inlined
def travelling(cores: Cores, core: int, pipe: int) -> int:
    """Return the record that a pipe has on its way."""
    return int(cores.record[core, pipe, cores.pipes[core, pipe, SERVED] % (cores.depth + 1)])
