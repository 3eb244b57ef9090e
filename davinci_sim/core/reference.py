"""The definition of an AI core, in SimPy.

A scalar unit decodes the program in order and hands each instruction to the queue of its pipe. Every pipe is
a process of its own: it starts its instructions in order, and pipes run side by side. An instruction holds
its unit for some cycles; then the unit takes the next one, while the result is still on its way. Results of
one pipe arrive in order. What another pipe needs it must wait for with flags, and what the same pipe needs
with a barrier. Data moves when the result arrives, so that a kernel with a missing flag computes wrong
numbers here, as it would on the chip.
"""

from collections import defaultdict
from collections.abc import Generator
from typing import Any, Protocol

import simpy

from davinci_sim.core.dispatch import HAS_TRANSFER, count_cycles, execute, transfer_of
from davinci_sim.core.order import BARRIER, SET, WAIT, flag_of
from davinci_sim.core.program import Program, out_of_bounds
from davinci_sim.isa.machine import Costs, Memory, Transfer, end_of
from davinci_sim.isa.pipes import QUEUED_PIPES, Pipe

Steps = Generator[simpy.Event, Any, None]
HAND_OFFS = (SET, WAIT, BARRIER)


class Surroundings(Protocol):
    """The chip around a core, as far as the core needs it."""

    gm_bytes: int

    def transfer(self, core: int, pipe: Pipe, transfer: Transfer) -> simpy.Event:
        """Return the event that happens when a transfer has passed the memory that all cores share."""

    def set_twice(self, core: int, program: Program, record: int, flag: simpy.Store) -> None:
        """Raise an error, unless the flag is taken before the present cycle is over."""

    def log(self, record: int, start: int, end: int, ready: int) -> None:
        """Note when a record held its unit and when its result was there."""


class Core:
    """One core running one program to its end.

    Without `memory` no data moves: the times are the same, since nothing here depends on a value.
    """

    def __init__(
        self, env: simpy.Environment, number: int, program: Program, costs: Costs, chip: Surroundings,
        queue_depth: int, dispatch_cycles: int, memory: Memory | None = None,
    ) -> None:  # fmt: skip
        """Take the program in and start the scalar unit and the pipes."""
        self.env, self.number, self.program, self.chip, self.memory = env, number, program, chip, memory
        self.costs, self.dispatch_cycles = costs, dispatch_cycles
        self.cycles = count_cycles(program.words, costs).tolist()
        heads = program.words[:, 0]
        self.ops, self.pipes = (heads & 255).tolist(), ((heads >> 8) & 255).tolist()
        self.queues = {pipe: simpy.Store(env, capacity=queue_depth) for pipe in QUEUED_PIPES}
        self.flags: dict[int, simpy.Store] = defaultdict(lambda: simpy.Store(env))
        self.ready: dict[int, int] = defaultdict(lambda: int(env.now))  # pipe -> its last result
        self.waiting: dict[Pipe, int] = {}  # pipe -> the wait_flag record that blocks it
        self.unfinished = 0  # instructions handed out whose result is not there
        self.idle = env.event()
        self.done = env.process(self.decode())
        for pipe in QUEUED_PIPES:
            env.process(self.serve(pipe))

    def decode(self) -> Steps:
        """Hand the instructions to their queues, in order; a full queue stalls everything behind it."""
        for record, pipe in enumerate(self.pipes):
            yield self.env.timeout(self.dispatch_cycles)
            self.unfinished += 1
            if pipe in self.queues:
                yield self.queues[Pipe(pipe)].put(record)
                continue
            if pipe == Pipe.ALL:
                yield from self.drain(but=1)
            yield from self.run(record)
        yield from self.drain()

    def drain(self, but: int = 0) -> Steps:
        """Wait until all results are there, but for those of so many instructions."""
        while self.unfinished > but:
            yield self.idle

    def serve(self, pipe: Pipe) -> Steps:
        """Run the instructions of one queue in order; each holds the unit until the next may start."""
        while True:
            record = yield self.queues[pipe].get()
            yield from self.run(record)

    def run(self, record: int) -> Steps:
        """Run one instruction: wait for what it needs, hold the unit; the result arrives later."""
        op, pipe = self.ops[record], self.pipes[record]
        if op == WAIT:
            self.waiting[Pipe(pipe)] = record
            yield self.flag(record).get()
            del self.waiting[Pipe(pipe)]
        if op == BARRIER:
            yield self.env.timeout(max(0, self.ready[pipe] - self.now))
        start = self.now
        if transfer := self.transfer(record):
            passed = self.chip.transfer(self.number, Pipe(pipe), transfer)
            yield passed & self.env.timeout(self.cycles[record])
        else:
            yield self.env.timeout(self.cycles[record])
        drains = op not in HAND_OFFS and not transfer
        latest = self.now + (int(self.costs.drain_cycles[pipe]) if drains else 0)
        self.ready[pipe] = max(self.ready[pipe], latest)
        self.env.process(self.deliver(record, start, self.now, self.ready[pipe]))

    def deliver(self, record: int, start: int, end: int, ready: int) -> Steps:
        """Let the result of an instruction take effect when it is there."""
        yield self.env.timeout(ready - self.now)
        op = self.ops[record]
        if op == SET:
            self.set(record)
        elif op not in HAND_OFFS and self.memory is not None:
            self.move(record)
        self.chip.log(record, start, end, ready)
        self.unfinished -= 1
        self.idle.succeed()
        self.idle = self.env.event()

    @property
    def now(self) -> int:
        """The present cycle."""
        return int(self.env.now)

    def transfer(self, record: int) -> Transfer | None:
        """Return what a record takes through the memory that all cores share, if anything."""
        if not HAS_TRANSFER[self.ops[record]]:
            return None
        found: Transfer = transfer_of(self.program.words, record, self.costs)
        if found.bus_bytes == 0:
            return None
        if end_of(found) > self.chip.gm_bytes:
            raise out_of_bounds(self.program, record)
        return found

    def flag(self, record: int) -> simpy.Store:
        """Return the flag that a set_flag or wait_flag record names."""
        return self.flags[flag_of(int(self.program.words[record, 1]))]

    def set(self, record: int) -> None:
        """Set a flag; setting it twice without a wait is undefined on the chip and refused here."""
        flag = self.flag(record)
        flag.put(record)
        if len(flag.items) > 1:
            self.chip.set_twice(self.number, self.program, record, flag)

    def move(self, record: int) -> None:
        """Let the data of one instruction take effect."""
        if execute(self.program.words, record, record + 1, self.memory) >= 0:  # type: ignore[arg-type]
            raise out_of_bounds(self.program, record)
