"""synccheck: bring records into an order that pipes and flags allow, and note what is wrong with the flags.

Unlike `davinci_sim.core.order` this goes on after a mistake, so that one run tells all of them and the other
checkers see as many records as can run at all.
"""

import numpy as np
import numpy.typing as npt

from davinci_sim.core.checks.rules import (
    DEADLOCK,
    EVENT_RANGE,
    FOUND_COLUMNS,
    MOST_FOUND,
    NEVER_SET,
    NEVER_WAITED,
    SET_TWICE,
)
from davinci_sim.core.order import FLAG_COUNT, SET, WAIT, flag_of
from davinci_sim.isa.jit import inner, jit, uncounted
from davinci_sim.isa.pipes import Pipe

Words = npt.NDArray[np.int64]
PIPES = 11
_S, _V, _MTE3, _ALL = int(Pipe.S), int(Pipe.V), int(Pipe.MTE3), int(Pipe.ALL)
_NOBODY = -1


@uncounted
def _note(found: Words, count: int, rule: int, first: int, second: int) -> int:
    """Append (rule, first record, second record, ...) while there is room; return the new count."""
    if count < found.shape[0]:
        found[count, :] = 0
        found[count, 0], found[count, 1], found[count, 2] = rule, first, second
        return count + 1
    return count


@uncounted
def _next_of(words: Words, pipe: int, record: int) -> int:
    """Return the first record of a pipe from `record` on, or the end."""
    while record < words.shape[0] and (words[record, 0] >> 8) & 255 != pipe:
        record += 1
    return record


@uncounted
def _next_gate(words: Words, record: int) -> int:
    """Return the first record from `record` on that holds back everything behind it: all pipes, or S."""
    while record < words.shape[0] and (words[record, 0] >> 8) & 255 not in (_ALL, _S):
        record += 1
    return record


@uncounted
def _is_held(words: Words, record: int, setter: Words) -> bool:
    """Tell whether a record waits for a flag that is not set."""
    if words[record, 0] & 255 != WAIT:
        return False
    return bool(setter[flag_of(words[record, 1])] == _NOBODY)


@uncounted
def _run(words: Words, record: int, setter: Words, found: Words, count: int) -> int:
    """Let one record change its flag."""
    op = words[record, 0] & 255
    if op == WAIT:
        setter[flag_of(words[record, 1])] = _NOBODY
    elif op == SET:
        flag = flag_of(words[record, 1])
        if setter[flag] != _NOBODY:
            count = _note(found, count, SET_TWICE, setter[flag], record)
        setter[flag] = record
    return count


@uncounted
def _next_pipe(words: Words, cursors: Words, gate: int, setter: Words, runs_ahead: bool) -> int:
    """Return the pipe whose next record can run and stands first in the program, or -1.

    With `runs_ahead` it is the first pipe that can run at all: another order that the hardware may take.
    """
    best = -1
    for pipe in range(_V, _MTE3 + 1):
        record = cursors[pipe]
        if record < gate and (best < 0 or record < cursors[best]) and not _is_held(words, record, setter):
            best = pipe
            if runs_ahead:
                break
    return best


@inner
def _are_past(cursors: Words, gate: int) -> bool:
    """Tell whether every queued pipe has run what stands before the gate."""
    return bool(np.all(cursors[_V : _MTE3 + 1] >= gate))


@inner
def _place_all(words: Words, setter: Words, order: Words, found: Words, runs_ahead: bool) -> tuple[int, int]:
    """Fill `order` with what can run; return how many records that are and how many findings."""
    cursors, placed, count = np.zeros(PIPES, np.int64), 0, 0
    for pipe in range(_V, _MTE3 + 1):
        cursors[pipe] = _next_of(words, pipe, 0)
    gate = _next_gate(words, 0)
    while True:
        pipe = _next_pipe(words, cursors, gate, setter, runs_ahead)
        if pipe >= 0:
            record = cursors[pipe]
            cursors[pipe] = _next_of(words, pipe, record + 1)
        elif gate < words.shape[0]:
            record = gate
            is_all = (words[gate, 0] >> 8) & 255 == _ALL
            if (is_all and not _are_past(cursors, gate)) or _is_held(words, gate, setter):
                return placed, count
            gate = _next_gate(words, gate + 1)
        else:
            return placed, count
        count = _run(words, record, setter, found, count)
        order[placed] = record
        placed += 1


@inner
def _unpaired(words: Words, ran: npt.NDArray[np.bool_], setter: Words, found: Words, count: int) -> int:
    """Note the waits that never end and the flags that nobody takes."""
    wanted, offered = np.zeros(FLAG_COUNT, np.bool_), np.zeros(FLAG_COUNT, np.bool_)
    for record in range(words.shape[0]):
        if not ran[record]:
            op = words[record, 0] & 255
            if op == WAIT:
                wanted[flag_of(words[record, 1])] = True
            elif op == SET:
                offered[flag_of(words[record, 1])] = True
    is_seen = np.zeros(PIPES, np.bool_)
    for record in range(words.shape[0]):
        op, pipe = words[record, 0] & 255, (words[record, 0] >> 8) & 255
        if not ran[record] and not is_seen[pipe]:
            is_seen[pipe] = True
            if op == WAIT:
                rule = DEADLOCK if offered[flag_of(words[record, 1])] else NEVER_SET
                count = _note(found, count, rule, record, record)
    for flag in range(FLAG_COUNT):
        if setter[flag] != _NOBODY and not wanted[flag]:
            count = _note(found, count, NEVER_WAITED, setter[flag], setter[flag])
    return count


@jit
def _synchronise(
    words: Words, event_ids: int, order: Words, found: Words, runs_ahead: bool
) -> tuple[int, int]:
    """Fill `order` and `found`; return (records that can run, findings)."""
    setter = np.full(FLAG_COUNT, _NOBODY, np.int64)
    placed, count = _place_all(words, setter, order, found, runs_ahead)
    ran = np.zeros(words.shape[0], np.bool_)
    for index in range(placed):
        ran[order[index]] = True
    count = _unpaired(words, ran, setter, found, count)
    for record in range(words.shape[0]):
        op = words[record, 0] & 255
        if op in (SET, WAIT) and (words[record, 1] >> 16) & 255 >= event_ids:
            count = _note(found, count, EVENT_RANGE, record, record)
    return placed, count


def synchronise(words: Words, event_ids: int, runs_ahead: bool = False) -> tuple[Words, Words]:
    """Return the records that can run, in a legal order, and rows of (rule, first record, second record).

    The order is that of the program as far as flags allow; with `runs_ahead` a pipe runs as far as its flags
    let it before the next one does.
    """
    order = np.empty(len(words), dtype=np.int64)
    found = np.zeros((MOST_FOUND, FOUND_COLUMNS), dtype=np.int64)
    placed, count = _synchronise(np.ascontiguousarray(words), event_ids, order, found, runs_ahead)
    return order[:placed], found[:count]
