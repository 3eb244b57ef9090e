"""The device memory as all cores share it: a fluid that is divided fairly, in whole bytes per cycle."""

from collections.abc import Generator
from dataclasses import dataclass

import simpy


@dataclass
class _Flight:
    """One transfer on its way."""

    remaining_bytes: int
    limit: int
    done: simpy.Event
    rate: int = 0


class SharedPort:
    """Divide the bandwidth of the memory among the transfers in flight.

    Model: whenever a transfer starts or ends, every one gets the same whole number of bytes per cycle, at
    most the width of its core's path; what narrow ones leave is divided among the others (max-min fair).
    No L2: every transfer goes to the memory behind it.
    """

    def __init__(self, env: simpy.Environment, bytes_per_cycle: int) -> None:
        """Start with nothing in flight."""
        self.env, self.bytes_per_cycle = env, bytes_per_cycle
        self.flights: list[_Flight] = []
        self.updated = 0  # cycle up to which `remaining_bytes` counts
        self.plan = 0  # number of the current plan; older wake-ups are void

    def transfer(self, size_bytes: int, limit_bytes_per_cycle: int) -> simpy.Event:
        """Return the event that happens when `size_bytes` have gone through."""
        self._progress()
        flight = _Flight(size_bytes, limit_bytes_per_cycle, self.env.event())
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
        left, waiting = self.bytes_per_cycle, len(self.flights)
        for flight in sorted(self.flights, key=lambda f: f.limit):
            flight.rate = max(1, min(flight.limit, left // waiting))
            left, waiting = left - flight.rate, waiting - 1
        self.plan += 1
        if self.flights:
            ends = min(-(-flight.remaining_bytes // flight.rate) for flight in self.flights)
            self.env.process(self._wake(self.plan, max(0, ends)))

    def _wake(self, plan: int, cycles: int) -> Generator[simpy.Event, None, None]:
        """End the transfers that are through after `cycles`, unless the plan has changed."""
        yield self.env.timeout(cycles)
        if plan != self.plan:
            return
        self._progress()
        for flight in [f for f in self.flights if f.remaining_bytes <= 0]:
            self.flights.remove(flight)
            flight.done.succeed()
        self._share()
