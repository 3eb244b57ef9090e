"""Charge every cycle of every pipe of one block: the compiled heart of the ledger.

The times of a trace say when each record ran. The scalar unit's way through the program follows from them:
an instruction is handed out `dispatch_cycles` after the one before, and when its queue is full as soon as the
one `queue_depth` before it has left. So it is known what a pipe waited for: a record that was not there yet
(and why the scalar unit was late), a flag, a barrier.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.core.order import BARRIER as BARRIER_OP
from davinci_sim.core.order import SET, WAIT
from davinci_sim.isa.jit import inlined, jit
from davinci_sim.isa.pipes import QUEUED_PIPES, Pipe
from davinci_sim.trace.ledger.causes import (
    BARRIER,
    BUFFER_FULL,
    BUSY,
    CONFLICT,
    DISPATCH,
    DRAIN,
    FILL,
    FLAG,
    HAND_OFF,
    QUEUE_FULL,
    RAGGED,
    SCALAR_WAIT,
    UNUSED,
)

Numbers = npt.NDArray[np.int64]
PIPES = int(Pipe.MTE3) + 1
"""Columns by pipe number; 0 stays empty."""
IS_QUEUED = np.array([pipe in QUEUED_PIPES for pipe in range(int(Pipe.ALL) + 1)])
_S, _ALL = int(Pipe.S), int(Pipe.ALL)
CONSISTENT = -1


class Records(NamedTuple):
    """The columns of all records: those of the trace, and what the records are (see Work)."""

    op: npt.NDArray[np.int16]
    pipe: npt.NDArray[np.int8]
    start: Numbers
    end: Numbers
    ready: Numbers
    line: Numbers  # row of Sums.lines
    payload: Numbers  # the flag of a hand-off, the row of a transfer
    cycles: Numbers
    plain: npt.NDArray[np.int32]
    ragged: npt.NDArray[np.int32]
    transfers: npt.NDArray[np.int32]  # [row, cause]


class Sums(NamedTuple):
    """What is filled."""

    pipes: Numbers  # [core, pipe, cause]
    lines: Numbers  # [line, pipe, cause]; line 0 is none
    queues: Numbers  # [pipe, pipe with the full queue]
    waited: Numbers  # [record]: cycles for its flag, where they count
    arrival: Numbers  # [record]: when it was handed to its queue


class Rules(NamedTuple):
    """What of the platform and the program counts."""

    queue_depth: int
    dispatch_cycles: int
    is_hand_back: npt.NDArray[np.bool_]  # [flag]


class Scalar(NamedTuple):
    """The scalar unit's way so far: stretches of time with one reason each."""

    until: Numbers  # [stretch]: its end
    reason: Numbers  # [stretch]: DISPATCH, SCALAR_WAIT, or QUEUE_FULL + the pipe << 8
    used: Numbers  # [1]: how many stretches there are


@inlined
def _charge(sums: Sums, core: int, pipe: int, cause: int, line: int, cycles: int) -> None:
    """Charge cycles of a pipe to a cause and a line."""
    sums.pipes[core, pipe, cause] += cycles
    sums.lines[line, pipe, cause] += cycles


@inlined
def _go_on(scalar: Scalar, until: int, reason: int) -> None:
    """Add a stretch."""
    n = scalar.used[0]
    scalar.until[n], scalar.reason[n] = until, reason
    scalar.used[0] = n + 1


@inlined
def _charge_lateness(
    sums: Sums, scalar: Scalar, core: int, pipe: int, line: int, since: int, begin: int
) -> None:
    """Charge a pipe that stands still from `since` to the present with what the scalar unit did meanwhile."""
    n = scalar.used[0] - 1
    until = scalar.until[n]
    while until > since:
        start = max(since, scalar.until[n - 1] if n > 0 else begin)
        reason = scalar.reason[n] & 255
        _charge(sums, core, pipe, reason, line, until - start)
        if reason == QUEUE_FULL:
            sums.queues[pipe, scalar.reason[n] >> 8] += until - start
        until = start
        n -= 1


@inlined
def _wait_cause(op: int, flag: int, rules: Rules) -> int:
    """Return what a record waits for."""
    if op == WAIT:
        return BUFFER_FULL if rules.is_hand_back[flag] else FLAG
    return BARRIER


@inlined
def _is_hand_off(op: int) -> bool:
    """Tell whether a record only orders others."""
    return bool(op in (SET, WAIT, BARRIER_OP))


@inlined
def _charge_work(records: Records, sums: Sums, core: int, pipe: int, r: int) -> None:
    """Charge the time for which a record holds its unit."""
    line, row = records.line[r], records.payload[r]
    if _is_hand_off(records.op[r]):
        _charge(sums, core, pipe, HAND_OFF, line, records.end[r] - records.start[r])
    elif row < 0:
        _charge(sums, core, pipe, BUSY, line, records.plain[r] - records.ragged[r])
        _charge(sums, core, pipe, RAGGED, line, records.ragged[r])
        _charge(sums, core, pipe, CONFLICT, line, records.cycles[r] - records.plain[r])
    else:
        for cause in range(HAND_OFF):
            _charge(sums, core, pipe, cause, line, records.transfers[row, cause])


@inlined
def _find_work(records: Records, first: int, last: int, work: Numbers) -> None:
    """Fill work[pipe] with the first and the last record of each pipe that is work, or -1."""
    work[:, :] = -1
    for r in range(first, last):
        if not _is_hand_off(records.op[r]):
            pipe = records.pipe[r]
            if work[pipe, 0] < 0:
                work[pipe, 0] = r
            work[pipe, 1] = r


@inlined
def _run_scalar(
    records: Records, sums: Sums, rules: Rules, scalar: Scalar, core: int, r: int, clock: int
) -> int:
    """Charge a record that the scalar unit runs itself; return when it goes on, or -1."""
    arrival = clock + rules.dispatch_cycles
    start, end, line = records.start[r], records.end[r], records.line[r]
    if start < arrival:
        return -1
    _charge(sums, core, _S, DISPATCH, line, arrival - clock)
    _go_on(scalar, arrival, DISPATCH)
    if start > arrival:
        waited = _wait_cause(records.op[r], records.payload[r], rules)
        _charge(sums, core, _S, waited, line, start - arrival)
        if records.op[r] == WAIT:
            sums.waited[r] = start - arrival
    _charge_work(records, sums, core, _S, r)
    _go_on(scalar, end, SCALAR_WAIT)
    return int(end)


@inlined
def _hand_out(
    records: Records, sums: Sums, rules: Rules, scalar: Scalar, core: int, r: int, clock: int, room: int
) -> int:
    """Charge the scalar unit for handing a record to its queue, where there is `room` from; return when."""
    arrival, line = clock + rules.dispatch_cycles, records.line[r]
    _charge(sums, core, _S, DISPATCH, line, arrival - clock)
    _go_on(scalar, arrival, DISPATCH)
    if room > arrival:
        _charge(sums, core, _S, QUEUE_FULL, line, room - arrival)
        sums.queues[_S, records.pipe[r]] += room - arrival
        _go_on(scalar, room, QUEUE_FULL | records.pipe[r] << 8)
    return int(max(arrival, room))


@inlined
def _charge_edges(
    records: Records, sums: Sums, work: Numbers, core: int, begin: int, clock: int, end: int
) -> None:
    """Charge what lies before the first and behind the last work of each pipe of a block."""
    _charge(sums, core, _S, DRAIN, 0, end - clock)
    for pipe in range(_S + 1, PIPES):
        if work[pipe, 0] < 0:
            _charge(sums, core, pipe, UNUSED, 0, end - begin)
        else:
            _charge(sums, core, pipe, FILL, 0, records.start[work[pipe, 0]] - begin)
            _charge(sums, core, pipe, DRAIN, 0, end - records.end[work[pipe, 1]])


@jit
def charge_block(
    records: Records, sums: Sums, rules: Rules, core: int, first: int, last: int, begin: int
) -> tuple[int, int]:
    """Charge a block that ran records first..last on a core from cycle `begin`; return (end, CONSISTENT).

    Where the times cannot be those of the records, the second is the first such record.
    """
    depth = rules.queue_depth
    length = 2 * (last - first) + 1
    scalar = Scalar(np.empty(length, np.int64), np.empty(length, np.int64), np.zeros(1, np.int64))
    work, taken = np.empty((_ALL + 1, 2), np.int64), np.empty((PIPES, depth + 1), np.int64)
    pushed, free = np.zeros(PIPES, np.int64), np.full(PIPES, begin, np.int64)
    _find_work(records, first, last, work)
    clock, block_end = begin, begin
    for r in range(first, last):
        pipe, start, end = records.pipe[r], records.start[r], records.end[r]
        block_end = max(block_end, records.ready[r])
        if not IS_QUEUED[pipe]:
            clock = _run_scalar(records, sums, rules, scalar, core, r, clock)
            if clock < 0:
                return begin, r
            continue
        n = pushed[pipe]
        room = taken[pipe, (n - depth) % (depth + 1)] if n >= depth else begin
        clock = _hand_out(records, sums, rules, scalar, core, r, clock, room)
        sums.arrival[r] = clock
        since = max(clock, free[pipe])
        taken[pipe, n % (depth + 1)], pushed[pipe] = since, n + 1
        if start < since:
            return begin, r
        if work[pipe, 0] < r <= work[pipe, 1]:
            _charge_lateness(sums, scalar, core, pipe, records.line[r], free[pipe], begin)
            if start > since:
                cause = _wait_cause(records.op[r], records.payload[r], rules)
                _charge(sums, core, pipe, cause, records.line[r], start - since)
                if records.op[r] == WAIT:
                    sums.waited[r] = start - since
        if work[pipe, 0] <= r <= work[pipe, 1]:
            _charge_work(records, sums, core, pipe, r)
        free[pipe] = end
    block_end = max(block_end, clock)
    _charge_edges(records, sums, work, core, begin, clock, block_end)
    return block_end, CONSISTENT
