"""Which set_flag a wait_flag waited for, and which flags hand buffers back."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.core.order import FLAG_COUNT, SET, WAIT, flag_of
from davinci_sim.core.program import Program
from davinci_sim.isa.jit import jit
from davinci_sim.isa.pipes import Pipe

Numbers = npt.NDArray[np.int64]
_STEPS = {Pipe.MTE2: 1, Pipe.MTE1: 2, Pipe.M: 3, Pipe.V: 4, Pipe.MTE3: 5}
"""The way of data through a core; the scalar unit has no place in it."""


class Flag(NamedTuple):
    """Flag (src, dst, event_id): pipe `src` sets it, pipe `dst` waits for it."""

    src: int
    dst: int
    event_id: int

    @property
    def number(self) -> int:
        """The index of the flag, as `flag_of` gives it."""
        return (self.src * 11 + self.dst) * 8 + self.event_id

    @property
    def is_against_the_flow(self) -> bool:
        """Tell whether the flag goes from a later step of the data's way to an earlier one."""
        if self.src not in _STEPS or self.dst not in _STEPS:
            return False
        return _STEPS[Pipe(self.src)] > _STEPS[Pipe(self.dst)]


def flag(number: int) -> Flag:
    """Return the flag of an index.

    >>> flag(Flag(5, 2, 3).number)
    Flag(src=5, dst=2, event_id=3)
    """
    return Flag(number // 88, number // 8 % 11, number % 8)


@jit
def _pair(words: Numbers, partner: Numbers) -> None:
    """Fill partner[record] of sets and waits: the n-th set of a flag goes with its n-th wait."""
    first, last = np.full(FLAG_COUNT, -1, dtype=np.int64), np.full(FLAG_COUNT, -1, dtype=np.int64)
    after = np.full(words.shape[0], -1, dtype=np.int64)  # records of a flag without a partner, in a chain
    for r in range(words.shape[0]):
        partner[r] = -1
        op = words[r, 0] & 255
        if op not in (SET, WAIT):
            continue
        f = flag_of(words[r, 1])
        other = first[f]
        if other >= 0 and words[other, 0] & 255 != op:
            partner[r], partner[other] = other, r
            first[f] = after[other]
        elif other < 0:
            first[f], last[f] = r, r
        else:
            after[last[f]] = r
            last[f] = r


def partners(program: Program) -> Numbers:
    """Return [record] the wait_flag that goes with a set_flag, the set_flag of a wait_flag, or -1."""
    found = np.empty(len(program), dtype=np.int64)
    _pair(np.ascontiguousarray(program.words), found)
    return found


def hand_backs(queues: Sequence[Numbers]) -> npt.NDArray[np.bool_]:
    """Return [flag] whether a wait for it waits for a free buffer.

    The `queues` of the language know (rows of src, dst, slots, first event id forward and back; see Task).
    Other flags, and those that were used both ways one after the other, hand back when they go against the
    flow of data.
    """
    forward, backward = set[int](), set[int]()
    for src, dst, slots, first, first_back in {tuple(row) for rows in queues for row in rows.tolist()}:
        forward |= {Flag(src, dst, first + slot).number for slot in range(slots)}
        backward |= {Flag(dst, src, first_back + slot).number for slot in range(slots)}
    found = np.array([flag(number).is_against_the_flow for number in range(FLAG_COUNT)])
    found[list(backward - forward)] = True
    found[list(forward - backward)] = False
    return found
