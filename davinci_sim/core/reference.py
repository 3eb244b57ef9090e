"""The definition of an AI core, in SimPy.

A scalar unit decodes the program in order and hands each instruction to the queue of its pipe. Every pipe is
a process of its own: it takes instructions in order, one at a time, and pipes run side by side. What a
consumer needs it must wait for with flags; data moves when the simulated move ends, so that a kernel with a
missing flag computes wrong numbers here, as it would on the chip.
"""

from collections import defaultdict
from collections.abc import Callable, Generator
from typing import Any, Protocol

import simpy

from davinci_sim.core.dispatch import count_cycles, execute
from davinci_sim.core.order import BARRIER, SET, WAIT
from davinci_sim.core.program import Program
from davinci_sim.errors import IllegalInstruction
from davinci_sim.isa.machine import Costs, Memory
from davinci_sim.isa.pipes import QUEUED_PIPES, Pipe

Steps = Generator[simpy.Event, Any, None]
Log = Callable[[int, int, int], None]


class MemoryPort(Protocol):
    """The memory outside the core, which it shares with all others."""

    def transfer(self, size_bytes: int, limit_bytes_per_cycle: int) -> simpy.Event:
        """Return the event that happens when `size_bytes` have gone through."""


class Core:
    """One core running one program to its end.

    `log(record, start, end)` is told of every record that has run. Without `memory` no data moves: the
    times are the same, since nothing here depends on a value.
    """

    def __init__(
        self, env: simpy.Environment, program: Program, costs: Costs, port: MemoryPort, log: Log,
        queue_depth: int, dispatch_cycles: int, memory: Memory | None = None,
    ) -> None:  # fmt: skip
        """Take the program in and start the scalar unit and the pipes that it uses."""
        self.env, self.program, self.port, self.log, self.memory = env, program, port, log, memory
        self.dispatch_cycles = dispatch_cycles
        cycles, traffic = count_cycles(program.words, costs)
        self.cycles, self.traffic = cycles.tolist(), traffic.tolist()
        heads = program.words[:, 0]
        self.ops, self.pipes = (heads & 255).tolist(), ((heads >> 8) & 255).tolist()
        self.limits = {Pipe.MTE2: costs.gm_read_bytes_per_cycle, Pipe.MTE3: costs.gm_write_bytes_per_cycle}
        self.queues = {pipe: simpy.Store(env, capacity=queue_depth) for pipe in QUEUED_PIPES}
        self.flags: dict[int, simpy.Store] = defaultdict(lambda: simpy.Store(env))
        self.waiting: dict[Pipe, int] = {}  # pipe -> the wait_flag record that blocks it
        self.unfinished = 0  # instructions handed to a queue that have not ended
        self.idle = env.event()
        self.scalar_unit = env.process(self.decode())
        for pipe in QUEUED_PIPES:
            env.process(self.serve(pipe))

    def decode(self) -> Steps:
        """Hand the instructions to their queues, in order; a full queue stalls everything behind it."""
        for record, pipe in enumerate(self.pipes):
            yield self.env.timeout(self.dispatch_cycles)
            if pipe in self.queues:
                self.unfinished += 1
                yield self.queues[Pipe(pipe)].put(record)
            elif pipe == Pipe.ALL:
                yield from self.drain(record)
            else:
                yield from self.run(record)
        while self.unfinished:
            yield self.idle

    def drain(self, record: int) -> Steps:
        """Wait until every pipe is idle."""
        while self.unfinished:
            yield self.idle
        now = int(self.env.now)
        self.log(record, now, now + self.cycles[record])
        yield self.env.timeout(self.cycles[record])

    def serve(self, pipe: Pipe) -> Steps:
        """Run the instructions of one queue, one after the other."""
        while True:
            record = yield self.queues[pipe].get()
            yield from self.run(record)
            self.unfinished -= 1
            if self.unfinished == 0:
                self.idle.succeed()
                self.idle = self.env.event()

    def run(self, record: int) -> Steps:
        """Run one instruction: wait for its flag, take its time, then let its data move."""
        op = self.ops[record]
        if op == WAIT:
            self.waiting[Pipe(self.pipes[record])] = record
            yield self.flag(record).get()
            del self.waiting[Pipe(self.pipes[record])]
        start = int(self.env.now)
        yield self.env.timeout(self.cycles[record])
        if self.traffic[record]:
            yield self.port.transfer(self.traffic[record], self.limits[Pipe(self.pipes[record])])
        if op == SET:
            self.set(record)
        elif op not in (WAIT, BARRIER) and self.memory is not None:
            self.move(record)
        self.log(record, start, int(self.env.now))

    def flag(self, record: int) -> simpy.Store:
        """Return the flag that a set_flag or wait_flag record names."""
        return self.flags[int(self.program.words[record, 1]) & 0xFFFFFF]

    def set(self, record: int) -> None:
        """Set a flag; setting it twice without a wait is undefined on the chip and refused here."""
        flag = self.flag(record)
        if flag.items:
            raise IllegalInstruction(
                f"{self.program.line(record)}\n"
                f"  rule: a flag must be waited for before it is set again (cycle {self.env.now})\n"
                "  next: wait for it in the destination pipe, or use another event id"
            )
        flag.put(record)

    def move(self, record: int) -> None:
        """Let the data of one instruction take effect."""
        if execute(self.program.words, record, record + 1, self.memory) >= 0:  # type: ignore[arg-type]
            raise out_of_bounds(self.program, record)


def out_of_bounds(program: Program, record: int) -> IllegalInstruction:
    """Build the error for an instruction that leaves its memory space."""
    return IllegalInstruction(
        f"{program.line(record)}\n  rule: every operand must stay inside its memory space\n"
        "  next: check the sizes, strides and the buffer that the operand belongs to"
    )
