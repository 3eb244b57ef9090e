"""Memory bandwidth as a fluid: divided fairly among the transfers in flight, in whole bytes per cycle.

All transfers of one class (same limit) always have the same rate, so that it is enough to count what each
of them has been served since the beginning: a transfer ends when that count reaches its own target.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.heap import NEVER, pop, push
from davinci_sim.isa.jit import inlined, jit

Numbers = npt.NDArray[np.int64]
ID_BITS = 16
"""A flight is kept as target << ID_BITS | its number."""
UPDATED = 0


@jit
def fair_rates(limits: Numbers, counts: Numbers, total: int, rates: Numbers) -> None:
    """Fill rates[class] in bytes per cycle and transfer: max-min fair, at most limits[class].

    `limits` are in ascending order. What a narrow class leaves is divided among the wider ones; a transfer
    never starves (at least one byte a cycle).
    """
    left, waiting = total, 0
    for c in range(counts.shape[0]):  # Numba's own sum makes every process that loads this import SciPy
        waiting += counts[c]
    for c in range(limits.shape[0]):
        if counts[c] > 0:
            rates[c] = max(1, min(limits[c], left // waiting))
            left, waiting = left - rates[c] * counts[c], waiting - counts[c]
        else:
            rates[c] = 0


class Fluid(NamedTuple):
    """One memory: `total` bytes per cycle for all, `limits[class]` for one; flights[class] is a heap."""

    limits: Numbers
    counts: Numbers
    rates: Numbers
    served: Numbers
    flights: npt.NDArray[np.int64]
    clock: Numbers
    total: int


def classes_of(limits: list[int]) -> Numbers:
    """Return the class of each limit: equal ones share one, and classes ascend."""
    return np.unique(limits, return_inverse=True)[1].astype(np.int64)


def new_fluid(limits: list[int], total: int, most: int) -> Fluid:
    """Return a memory with nothing in flight; at most `most` transfers at once, each with one of `limits`."""
    different = np.unique(limits).astype(np.int64)
    counts, rates, served = np.zeros((3, different.size), dtype=np.int64)
    flights = np.zeros((different.size, most + 1), dtype=np.int64)
    return Fluid(different, counts, rates, served, flights, np.zeros(1, dtype=np.int64), total)


@inlined
def progress(fluid: Fluid, now: int) -> None:
    """Let the flights advance to the present."""
    elapsed = now - fluid.clock[UPDATED]
    if elapsed > 0:
        for c in range(fluid.rates.shape[0]):
            fluid.served[c] += fluid.rates[c] * elapsed
        fluid.clock[UPDATED] = now


@inlined
def take_off(fluid: Fluid, c: int, size_bytes: int, number: int) -> None:
    """Begin flight `number` of class c; the rates are divided anew by the caller."""
    push(fluid.flights[c], (fluid.served[c] + size_bytes) << ID_BITS | number)
    fluid.counts[c] += 1


@inlined
def land(fluid: Fluid, c: int) -> int:
    """Return the number of a flight of class c that is through, or -1; the caller renews the rates."""
    heap = fluid.flights[c]
    if heap[0] == 0 or heap[1] >> ID_BITS > fluid.served[c]:
        return -1
    fluid.counts[c] -= 1
    return pop(heap) & ((1 << ID_BITS) - 1)


@inlined
def next_landing(fluid: Fluid) -> int:
    """Return the cycle in which the next flight is through."""
    soonest = NEVER
    for c in range(fluid.rates.shape[0]):
        heap = fluid.flights[c]
        if heap[0] > 0:
            left = (heap[1] >> ID_BITS) - fluid.served[c]
            soonest = min(soonest, fluid.clock[UPDATED] + (left + fluid.rates[c] - 1) // fluid.rates[c])
    return int(soonest)
