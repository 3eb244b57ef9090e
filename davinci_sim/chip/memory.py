"""The memory that all cores share, in SimPy: L2 and, behind it, HBM; both divided fairly among transfers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simpy

from davinci_sim.chip.engine.fluid import fair_rates
from davinci_sim.chip.engine.l2 import L2, hbm_bytes

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

    def admit(self, sizes_and_limits: Sequence[tuple[int, int]]) -> list[simpy.Event]:
        """Let transfers of (bytes, bytes per cycle) in; return the events that happen at their ends."""
        self._progress()
        flights = [Flight(size, limit, self.env.event()) for size, limit in sizes_and_limits]
        self.flights += flights
        self._share()
        return [flight.done for flight in flights]

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

    All bytes of a transfer pass L2; what L2 does not hold, and what it has to write back for it, passes HBM.
    A transfer is through when both are.
    """

    def __init__(self, env: simpy.Environment, platform: Platform, costs: Costs, cache: L2) -> None:
        """Start with nothing in flight, and with what the cache holds."""
        self.env, self.costs, self.cache = env, costs, cache
        self.l2 = Port(env, int(platform.l2_chip_bytes_per_cycle))
        self.hbm = Port(env, int(platform.hbm_bytes_per_cycle))
        self.l2_limits = (int(platform.l2_read_bytes_per_cycle), int(platform.l2_write_bytes_per_cycle))
        self.hbm_limit = int(platform.gm_read_bytes_per_cycle)

    def admit(self, transfers: Sequence[tuple[Transfer, simpy.Event]]) -> None:
        """Let transfers in, in this order; each event happens when its transfer is through."""
        fetched = [hbm_bytes(self.cache, transfer, self.costs) for transfer, _ in transfers]
        passing = self.l2.admit([(t.bus_bytes, self.l2_limits[t.is_write]) for t, _ in transfers])
        missing = iter(self.hbm.admit([(size, self.hbm_limit) for size in fetched if size > 0]))
        for (_, through), size, passed in zip(transfers, fetched, passing, strict=True):
            waits = passed & next(missing) if size > 0 else passed
            self.env.process(self._announce(waits, through))

    def _announce(self, waits: simpy.Event, through: simpy.Event) -> simpy.events.ProcessGenerator:
        yield waits
        through.succeed()
