"""A legal order of a program's records, found without time: flags honoured, deadlock named.

Records of one pipe stay in order; a wait goes on once its flag is set. For nearly every program the order
of the program itself is legal; where it is not, the returned one is.
"""

import numpy as np
import numpy.typing as npt

from davinci_sim.core.program import Program
from davinci_sim.errors import Deadlock, IllegalInstruction
from davinci_sim.isa import PIPE_NAMES, pipe_barrier, set_flag, wait_flag
from davinci_sim.isa.jit import inner, jit
from davinci_sim.isa.pipes import Pipe

SET, WAIT, BARRIER = (f.instruction.opcode for f in (set_flag, wait_flag, pipe_barrier))
Words = npt.NDArray[np.int64]
FLAG_COUNT = 11 * 11 * 8
DONE, STUCK, SET_TWICE, LEFT_SET = 0, 1, 2, 3
_ALL = int(Pipe.ALL)


@jit
def flag_of(word: int) -> int:
    """Return the index of flag (src, dst, event_id) from the first payload word of a hand-off."""
    return ((word & 255) * 11 + ((word >> 8) & 255)) * 8 + ((word >> 16) & 255)


@inner
def _may_run(words: Words, record: int, flags: Words, blocked: Words, is_first: bool) -> bool:
    """Tell whether a record may be placed: nothing before it in its pipe waits, and its flag is set."""
    op, pipe = words[record, 0] & 255, (words[record, 0] >> 8) & 255
    if blocked[pipe] > 0 or blocked[_ALL] > 0 or (pipe == _ALL and not is_first):
        return False
    return bool(op != WAIT or flags[flag_of(words[record, 1])] > 0)


@inner
def _place(
    words: Words, waiting: Words, n_waiting: int, flags: Words, order: Words, placed: int
) -> tuple[int, int]:
    """Place what can be placed of `waiting`, keep the rest there; return how many are (kept, placed).

    A flag that is set twice makes `kept` negative: -1 - kept is the place of the record in `waiting`.
    """
    blocked = np.zeros(12, dtype=np.int64)  # how many records of a pipe are kept
    kept = 0
    for index in range(n_waiting):
        record = waiting[index]
        if not _may_run(words, record, flags, blocked, kept == 0):
            blocked[(words[record, 0] >> 8) & 255] += 1
            waiting[kept] = record
            kept += 1
            continue
        op, flag = words[record, 0] & 255, flag_of(words[record, 1])
        if op == WAIT:
            flags[flag] = 0
        elif op == SET:
            if flags[flag] > 0:
                return -1 - index, placed
            flags[flag] = 1
        order[placed] = record
        placed += 1
    return kept, placed


@jit
def _legal_order(words: Words, order: Words) -> tuple[int, int]:
    """Fill `order` with record indices; return (status, record)."""
    n = words.shape[0]
    flags = np.zeros(FLAG_COUNT, dtype=np.int64)
    waiting = np.full(n, -1, dtype=np.int64)  # records put off, in program order
    n_waiting, placed = 0, 0
    for r in range(n):
        waiting[n_waiting] = r
        n_waiting += 1
        before = -1
        while placed != before and n_waiting > 0:  # a flag may free records that were put off
            before = placed
            kept, placed = _place(words, waiting, n_waiting, flags, order, placed)
            if kept < 0:
                return SET_TWICE, waiting[-1 - kept]
            n_waiting = kept
    if n_waiting > 0:
        return STUCK, waiting[0]
    for r in range(n - 1, -1, -1):
        if words[r, 0] & 255 == SET and flags[flag_of(words[r, 1])] > 0:
            return LEFT_SET, r
    return DONE, -1


def legal_order(program: Program) -> npt.NDArray[np.int64]:
    """Return record indices in an order that every pipe and flag of the program allows.

    Raises:
        Deadlock: some pipe waits for a flag that nobody sets.
        IllegalInstruction: a flag is set twice without a wait, or never waited for.
    """
    order = np.empty(len(program), dtype=np.int64)
    status, record = _legal_order(np.ascontiguousarray(program.words), order)
    if status == STUCK:
        raise deadlock(program, stuck_records(program))
    if status == SET_TWICE:
        raise IllegalInstruction(
            f"{program.line(record)}\n  rule: a flag must be waited for before it is set again\n"
            "  next: wait for it in the destination pipe, or use another event id"
        )
    if status == LEFT_SET:
        raise IllegalInstruction(
            f"{program.line(record)}\n"
            "  rule: set_flag and wait_flag must balance; nobody waits for this flag\n"
            "  next: add the wait_flag, or close the queue at the end of the kernel"
        )
    return order


def stuck_records(program: Program) -> list[int]:
    """Return the first record of each pipe that can never run."""
    order = np.full(len(program), -1, dtype=np.int64)
    _legal_order(np.ascontiguousarray(program.words), order)
    done = np.zeros(len(program), dtype=bool)
    done[order[order >= 0]] = True
    first: dict[int, int] = {}
    for record in np.flatnonzero(~done):
        first.setdefault(int(program.words[record, 0]) >> 8 & 255, int(record))
    return [r for r in first.values() if int(program.words[r, 0]) & 255 == WAIT]


def deadlock(program: Program, records: list[int], cycle: int | None = None) -> Deadlock:
    """Build the error that names who waits for which flag, and where in the kernel."""
    where = "" if cycle is None else f" at cycle {cycle}"
    lines = [f"stuck{where}, waiting for flags that nobody sets:"]
    for record in records:
        word = int(program.words[record, 1])
        source, target, event = word & 255, word >> 8 & 255, word >> 16 & 255
        place = f"  ({program.source(record)})" if program.source(record) else ""
        lines.append(
            f"  PIPE_{PIPE_NAMES[target]} waits for flag(src={PIPE_NAMES[source]}, dst={PIPE_NAMES[target]}, "
            f"event_id={event}){place}"
        )
    lines.append("  next: every wait_flag needs one set_flag of the same pipes and event id before it")
    return Deadlock("\n".join(lines))
