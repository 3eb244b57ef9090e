"""The critical path: what the end of a block waited for, step by step back to its beginning.

An instruction started when the last of what it needed was there: the unit (the instruction in front), the
flag, the results that a barrier waits for, or the instruction itself, which the scalar unit had to hand out.
Where two were there in the same cycle, the unit counts. The steps follow each other without a gap, so that
their cycles sum to the time of the block.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.core.order import BARRIER as BARRIER_OP
from davinci_sim.core.order import SET, WAIT
from davinci_sim.isa.jit import inlined, jit
from davinci_sim.isa.pipes import Pipe
from davinci_sim.trace.ledger.causes import BUSY, CONFLICT, HAND_OFF, NAMES, RAGGED, WORK
from davinci_sim.trace.ledger.charge import IS_QUEUED, Records

Numbers = npt.NDArray[np.int64]
LATENCY = HAND_OFF + 1
"""The column of cycles from the end of a unit's work to its result; the columns before are causes of work."""
HANDED_OUT = LATENCY + 1
"""The column of cycles in which the scalar unit hands instructions out, one after the other."""
STEPS = (*NAMES[WORK], "hand_off", "latency", "dispatch")
"""What the columns are."""
_S = int(Pipe.S)
READY, END, START, OUT, BEGUN = range(5)


class Block(NamedTuple):
    """A block's records, and what is known of each besides its times."""

    first: int
    begin: int
    queue_depth: int
    dispatch_cycles: int
    arrival: Numbers  # [record]: when it was handed out
    partner: Numbers  # [record - first]: of a wait the set, counted from the first
    before: Numbers  # [record - first]: the record in front of it in its pipe, or -1


class Step(NamedTuple):
    """Where the way back has come: to an event of a record, and its cycle."""

    event: int
    record: int


@inlined
def _charge(found: Numbers, records: Records, r: int, pipe: int, column: int, cycles: int) -> None:
    """Charge cycles to a column of a pipe and the line of a record."""
    found[records.line[r], pipe, column] += cycles


@inlined
def _pipe_of(records: Records, r: int) -> int:
    """Return the pipe that a record's time is charged to."""
    return int(records.pipe[r]) if IS_QUEUED[records.pipe[r]] else _S


@inlined
def _before(block: Block, r: int) -> int:
    """Return the record in front of one in its pipe, or -1."""
    before = block.before[r - block.first]
    return int(before) if before >= 0 else -1


@inlined
def _clock(records: Records, block: Block, r: int) -> int:
    """Return when the scalar unit was done with the record in front of one in the program."""
    if r == block.first:
        return block.begin
    return int(block.arrival[r - 1] if IS_QUEUED[records.pipe[r - 1]] else records.end[r - 1])


@inlined
def _from_ready(found: Numbers, records: Records, block: Block, r: int) -> Step:
    """Go from a result to the end of the unit's work on the instruction that it is of."""
    before = _before(block, r)
    if records.ready[r] > records.end[r] and before >= 0 and records.ready[before] == records.ready[r]:
        return Step(READY, before)  # results arrive in order: it waited for the one in front
    _charge(found, records, r, _pipe_of(records, r), LATENCY, records.ready[r] - records.end[r])
    return Step(END, r)


@inlined
def _from_end(found: Numbers, records: Records, r: int) -> Step:
    """Go through the time for which an instruction held its unit."""
    pipe, row = _pipe_of(records, r), records.payload[r]
    if records.op[r] in (SET, WAIT, BARRIER_OP):
        _charge(found, records, r, pipe, HAND_OFF, records.end[r] - records.start[r])
    elif row < 0:
        _charge(found, records, r, pipe, BUSY, records.plain[r] - records.ragged[r])
        _charge(found, records, r, pipe, RAGGED, records.ragged[r])
        _charge(found, records, r, pipe, CONFLICT, records.cycles[r] - records.plain[r])
    else:
        for cause in range(HAND_OFF):
            _charge(found, records, r, pipe, cause, records.transfers[row, cause])
    return Step(START, r)


@inlined
def _latest(records: Records, block: Block, r: int) -> int:
    """Return the last record before a barrier of all pipes whose result is there when it starts."""
    for other in range(r - 1, block.first - 1, -1):
        if records.ready[other] == records.start[r]:
            return other
    return -1


@inlined
def _from_start(records: Records, block: Block, r: int) -> Step:
    """Go from the start of an instruction to what it waited for last."""
    start, before = records.start[r], _before(block, r)
    is_queued = IS_QUEUED[records.pipe[r]]
    there = block.arrival[r] if is_queued else _clock(records, block, r) + block.dispatch_cycles
    if is_queued and before >= 0:
        there = max(there, records.end[before])
    if start > there and records.op[r] == WAIT:
        return Step(READY, block.first + block.partner[r - block.first])
    if start > there:
        return Step(READY, before if is_queued else _latest(records, block, r))
    if is_queued and before >= 0 and records.end[before] == start:
        return Step(END, before)
    return Step(OUT, r)


@inlined
def _from_out(found: Numbers, records: Records, block: Block, r: int) -> Step:
    """Go from handing an instruction out to what the scalar unit did before, or to what made room for it."""
    clock, is_queued = _clock(records, block, r), IS_QUEUED[records.pipe[r]]
    out = block.arrival[r] if is_queued else records.start[r]
    if out > clock + block.dispatch_cycles:  # the queue was full
        gone = r
        for _ in range(block.queue_depth):
            gone = _before(block, gone)
        before = _before(block, gone)
        if before >= 0 and records.end[before] == out:
            return Step(END, before)
        return Step(OUT, gone)
    _charge(found, records, r, _S, HANDED_OUT, out - clock)
    if r == block.first:
        return Step(BEGUN, r)
    return Step(OUT if IS_QUEUED[records.pipe[r - 1]] else END, r - 1)


@inlined
def _put_before(records: Records, block: Block, last: int, latest: Numbers) -> None:
    """Fill in which record is in front of each in its pipe; `latest` is -1 for every pipe."""
    for r in range(block.first, last):
        block.before[r - block.first] = latest[records.pipe[r]]
        latest[records.pipe[r]] = r


@jit
def walk_back(records: Records, block: Block, last: int, end: int, found: Numbers) -> int:
    """Fill found[line, pipe, column] with the steps of a block that ended at `end`; return their cycles."""
    _put_before(records, block, last, np.full(IS_QUEUED.shape[0], -1, np.int64))
    r = last - 1
    while records.ready[r] < end and r > block.first:
        r -= 1
    step = Step(READY, r)
    while step.event != BEGUN:
        r = step.record
        if step.event == READY:
            step = _from_ready(found, records, block, r)
        elif step.event == END:
            step = _from_end(found, records, r)
        elif step.event == START:
            step = _from_start(records, block, r)
        else:
            step = _from_out(found, records, block, r)
    return int(found.sum())
