"""What the memory that all cores share did, found again from the starts of all transfers.

A trace says when a transfer started and ended. Here its transfers pass L2 and the device memory once more,
through the engine's own functions, so that it is known what each of the two took, and what had to be fetched.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.fluid import (
    Fluid,
    classes_of,
    fair_rates,
    land,
    new_fluid,
    next_landing,
    progress,
    take_off,
)
from davinci_sim.chip.engine.heap import NEVER
from davinci_sim.chip.engine.l2 import L2, pass_through
from davinci_sim.chip.engine.loop import WRITE_BACK
from davinci_sim.core.costs import costs_of
from davinci_sim.isa.jit import inlined, jit
from davinci_sim.isa.machine import Costs, Transfer
from davinci_sim.platforms import Platform

Numbers = npt.NDArray[np.int64]
PLACES = 16
"""A core and a pipe are one number: core << 4 | pipe."""

FETCHED, LEFT, L2_END, HBM_END, BACK_END = range(5)
"""Columns of what is found of a transfer: bytes that it fetched from device memory and drove out to it, and
when it was through L2, through device memory, and the write-back of the one before."""


class Replay(NamedTuple):
    """Transfers in the order of their starts, and the memory that they pass."""

    start: Numbers
    place: Numbers  # core << 4 | pipe
    transfers: Numbers  # [transfer, 6]: the fields of Transfer
    found: Numbers  # [transfer, 5], to be filled
    current: Numbers  # [place]: the transfer that is on its way
    pending: Numbers  # [place]: flights that it waits for
    leaving: Numbers  # [place]: bytes to write back when it is through
    writing: Numbers  # [place]: 1 while a write-back is on its way
    l2: Fluid
    hbm: Fluid
    class_of: Numbers
    cache: L2
    costs: Costs


@inlined
def _arrived(replay: Replay, place: int, column: int, now: int) -> None:
    """Note the end of a flight, and send off what had to leave L2 when the transfer is through."""
    if replay.pending[place] == 0:
        return
    replay.found[replay.current[place], column] = now
    replay.pending[place] -= 1
    if replay.pending[place] == 0 and replay.leaving[place] > 0:
        replay.writing[place] = 1
        take_off(replay.hbm, replay.class_of[1], replay.leaving[place], place | WRITE_BACK)


@inlined
def _land_all(replay: Replay, fluid: Fluid, column: int, now: int) -> bool:
    """End the flights of one fluid that are through; tell whether there were any."""
    landed = False
    for c in range(fluid.limits.shape[0]):
        number = land(fluid, c)
        while number >= 0:
            landed = True
            if number & WRITE_BACK:
                replay.writing[number ^ WRITE_BACK] = 0
                _arrived(replay, number ^ WRITE_BACK, BACK_END, now)
            else:
                _arrived(replay, number, column, now)
            number = land(fluid, c)
    return landed


@inlined
def _admit(replay: Replay, number: int) -> None:
    """Let a transfer in."""
    place, t = replay.place[number], replay.transfers[number]
    transfer = Transfer(t[0], t[1], t[2], t[3], t[4], t[5])
    fetched, replay.leaving[place] = pass_through(replay.cache, transfer, replay.costs)
    replay.current[place] = number
    replay.found[number, FETCHED], replay.found[number, LEFT] = fetched, replay.leaving[place]
    replay.pending[place] = 1 + replay.writing[place]
    take_off(replay.l2, replay.class_of[transfer.is_write], transfer.bus_bytes, place)
    if fetched > 0:
        replay.pending[place] += 1
        take_off(replay.hbm, replay.class_of[transfer.is_write], fetched, place)


@jit
def _run(replay: Replay) -> None:
    """Let all transfers pass, cycle by cycle of those in which something happens."""
    n, count, l2, hbm = 0, replay.start.shape[0], replay.l2, replay.hbm
    while True:
        now = min(next_landing(l2), next_landing(hbm))
        if n < count:
            now = min(now, replay.start[n])
        if now >= NEVER:
            return
        progress(l2, now)
        progress(hbm, now)
        changed = _land_all(replay, l2, L2_END, now)
        changed = _land_all(replay, hbm, HBM_END, now) or changed
        while n < count and replay.start[n] == now:
            _admit(replay, n)
            n += 1
            changed = True
        if changed:
            fair_rates(l2.limits, l2.counts, l2.total, l2.rates)
            fair_rates(hbm.limits, hbm.counts, hbm.total, hbm.rates)


def replay(start: Numbers, place: Numbers, transfers: Numbers, platform: Platform, cache: L2) -> Numbers:
    """Return found[transfer, 5] for transfers in any order; `cache` is left as they leave it."""
    order = np.lexsort((place, start))
    limits = [int(platform.l2_read_bytes_per_cycle), int(platform.l2_write_bytes_per_cycle)]
    most = PLACES * (1 + int(place.max(initial=0)) // PLACES)
    current, pending, leaving, writing = np.zeros((4, most), dtype=np.int64)
    found = np.zeros((len(order), 5), dtype=np.int64)
    _run(
        Replay(
            start[order], place[order], transfers[order], found, current, pending, leaving, writing,
            new_fluid(limits, int(platform.l2_chip_bytes_per_cycle), most),
            new_fluid(limits, int(platform.hbm_bytes_per_cycle), 2 * most),
            classes_of(limits), cache, costs_of(platform),
        )
    )  # fmt: skip
    by_transfer = np.empty_like(found)
    by_transfer[order] = found
    return by_transfer
