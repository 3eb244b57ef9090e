"""The memory that all cores share, in SimPy: L2 and, behind it, HBM; both divided fairly among transfers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simpy

from davinci_sim.chip.engine.fluid import fair_rates
from davinci_sim.chip.engine.l2 import L2, pass_through

if TYPE_CHECKING:
    from collections.abc import Sequence

    from davinci_sim.isa.machine import Costs, Transfer
    from davinci_sim.platforms import Platform


@dataclass
class Flight:
    """One transfer on its way through one memory."""

    remaining_bytes: int
    limit: int
    done: simpy.Event
    rate: int = 0


class Port:
    """One memory: its bandwidth is divided among the transfers in flight.

    Model: whenever a transfer starts or ends, every one gets the same whole number of bytes per cycle, at
    most the width of its core's path; what narrow ones leave is divided among the others (max-min fair).
    """

    def __init__(self, env: simpy.Environment, bytes_per_cycle: int) -> None:
        """Start with nothing in flight."""
        self.env, self.bytes_per_cycle = env, bytes_per_cycle
        self.flights: list[Flight] = []
        self.updated = 0  # cycle up to which `remaining_bytes` counts
        self.plan = 0  # number of the current plan; older wake-ups are void

    def admit(self, size_bytes: int, limit_bytes_per_cycle: int) -> simpy.Event:
        """Let a transfer in; return the event that it is through."""
        self._progress()
        flight = Flight(size_bytes, limit_bytes_per_cycle, self.env.event())
        self.flights.append(flight)
        self._share()
        return flight.done

    def _progress(self) -> None:
        """Let the flights advance to the present."""
        now = int(self.env.now)
        for flight in self.flights:
            flight.remaining_bytes -= flight.rate * (now - self.updated)
        self.updated = now

    def _share(self) -> None:
        """Divide the bandwidth anew and wake up at the next end."""
        limits = np.array(sorted({flight.limit for flight in self.flights}), dtype=np.int64)
        counts = np.array([sum(f.limit == limit for f in self.flights) for limit in limits], dtype=np.int64)
        rates = np.zeros(len(limits), dtype=np.int64)
        fair_rates(limits, counts, self.bytes_per_cycle, rates)
        rate_of = dict(zip(limits.tolist(), rates.tolist(), strict=True))
        for flight in self.flights:
            flight.rate = rate_of[flight.limit]
        self.plan += 1
        if self.flights:
            ends = min(-(-flight.remaining_bytes // flight.rate) for flight in self.flights)
            self.env.process(self._wake(self.plan, max(0, ends)))

    def _wake(self, plan: int, cycles: int) -> simpy.events.ProcessGenerator:
        """End the transfers that are through after `cycles`, unless the plan has changed."""
        yield self.env.timeout(cycles)
        if plan != self.plan:
            return
        self._progress()
        for flight in [f for f in self.flights if f.remaining_bytes <= 0]:
            self.flights.remove(flight)
            flight.done.succeed()
        self._share()


class SharedMemory:
    """L2 and HBM behind it.

    All bytes of a transfer pass L2; what L2 does not hold is fetched from HBM, and a transfer is through when
    both are. Modified lines that had to leave for it go to HBM afterwards: the transfer does not wait for
    them, the next one of the same pipe does (a write buffer of one transfer per pipe).
    """

    def __init__(self, env: simpy.Environment, platform: Platform, costs: Costs, cache: L2) -> None:
        """Start with nothing in flight, and with what the cache holds."""
        self.env, self.costs, self.cache = env, costs, cache
        self.l2 = Port(env, int(platform.l2_chip_bytes_per_cycle))
        self.hbm = Port(env, int(platform.hbm_bytes_per_cycle))
        self.limits = (int(platform.l2_read_bytes_per_cycle), int(platform.l2_write_bytes_per_cycle))
        self.write_backs: dict[tuple[int, int], simpy.Event] = {}  # the last one, by core and pipe

    def admit(self, arrivals: Sequence[tuple[tuple[int, int], Transfer, simpy.Event]]) -> None:
        """Let transfers in, in this order: (core, pipe), transfer, and the event that it is through."""
        for place, transfer, through in arrivals:
            fetched, leaving = pass_through(self.cache, transfer, self.costs)
            waits = [self.l2.admit(transfer.bus_bytes, self.limits[transfer.is_write])]
            if fetched > 0:
                waits.append(self.hbm.admit(fetched, self.limits[transfer.is_write]))
            if place in self.write_backs:
                waits.append(self.write_backs.pop(place))
            self.env.process(self._pass(place, waits, leaving, through))

    def _pass(
        self, place: tuple[int, int], waits: list[simpy.Event], leaving: int, through: simpy.Event
    ) -> simpy.events.ProcessGenerator:
        yield self.env.all_of(waits)
        through.succeed()
        if leaving > 0:
            self.write_backs[place] = self.hbm.admit(leaving, self.limits[1])
