"""The definition of a chip, in SimPy: cores, the memory that they share, and the task scheduler."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from davinci_sim.chip import faults
from davinci_sim.chip.engine.l2 import L2
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.memory import SharedMemory
from davinci_sim.chip.records import Rows, blocks_of, new_rows, offsets_of, trace_of
from davinci_sim.core.costs import costs_of
from davinci_sim.core.local import new_memory
from davinci_sim.core.program import Program
from davinci_sim.core.reference import Core
from davinci_sim.core.trace import Trace
from davinci_sim.isa.machine import Transfer
from davinci_sim.isa.pipes import Pipe
from davinci_sim.platforms import Platform

Steps = simpy.events.ProcessGenerator
Block = tuple[int, Program, simpy.Event]
"""Number, program, and the event of its end."""
AT_THE_END = {"flag": 2, "transfer": 2, "end": 2, "line": 3, "assign": 4}
"""Priorities of what happens at the end of a cycle, after everything else (SimPy: urgent 0, normal 1)."""


class EndOfCycle:
    """Calls that are made at the end of the present cycle, in the order of their keys.

    What happens in one cycle has no order on the chip; here it is looked at in the order of launches, cores
    and pipes, so that the outcome does not depend on who came first.
    """

    def __init__(self, env: simpy.Environment) -> None:
        """Start with nothing to do."""
        self.env = env
        self.calls: dict[str, list[tuple[tuple[int, ...], Any]]] = {}

    def add(self, kind: str, key: tuple[int, ...], what: Any, act: Callable[[list[Any]], None]) -> None:
        """Let `act` have all that is added under `kind` in this cycle, sorted by key."""
        if kind not in self.calls:
            self.calls[kind] = []
            event = self.env.event()
            event._ok, event._value = True, None
            event.callbacks.append(lambda _: act(self._taken(kind)))
            self.env.schedule(event, priority=AT_THE_END[kind])  # type: ignore[arg-type]
        self.calls[kind].append((key, what))

    def _taken(self, kind: str) -> list[Any]:
        return [what for _, what in sorted(self.calls.pop(kind), key=lambda entry: entry[0])]


class ReferenceChip:
    """All launches on their way through one chip."""

    def __init__(
        self, launches: Sequence[Launch], platform: Platform, cache: L2, gm: npt.NDArray[np.uint8] | None
    ) -> None:
        """Start every launch and the scheduler."""
        self.env = simpy.Environment()
        self.platform, self.gm, self.costs = platform, gm, costs_of(platform)
        self.end_of_cycle = EndOfCycle(self.env)
        self.memory = SharedMemory(self.env, platform, self.costs, cache)
        self.rows: Rows = new_rows(launches)
        self.free = list(range(int(platform.ai_cores)))
        self.line: list[Block] = []
        self.running: dict[int, Core] = {}
        self.spans = [(0, 0)] * len(launches)
        self.first_rows, self.ends = offsets_of(blocks_of(launches)), [self.env.event() for _ in launches]
        first_block = 0
        for number, launch in enumerate(launches):
            self.env.process(self.run_launch(number, launch, first_block))
            first_block += len(launch.programs)

    def run_launch(self, number: int, launch: Launch, first_block: int) -> Steps:
        """Run one launch: wait until it may start, line up its blocks, wait for their ends."""
        for earlier in launch.after:
            yield self.ends[earlier] if not self.ends[earlier].processed else self.env.timeout(0)
        yield self.env.timeout(max(0, launch.host_cycle - int(self.env.now)))
        yield self.env.timeout(launch.start_cycles)
        start = int(self.env.now)
        ends = [self.env.event() for _ in launch.programs]
        for index, (program, end) in enumerate(zip(launch.programs, ends, strict=True)):
            self.env.process(self.line_up(index * launch.block_cycles, (first_block + index, program, end)))
        yield self.env.all_of(ends)
        self.spans[number] = (start, int(self.env.now))
        self.ends[number].succeed()

    def line_up(self, cycles: int, block: Block) -> Steps:
        """Put a block in line for a core when the scheduler has come to it."""
        yield self.env.timeout(cycles)
        self.end_of_cycle.add("line", (block[0],), block, self.line.extend)
        self.end_of_cycle.add("assign", (), None, self.assign)

    def assign(self, _: list[Any]) -> None:
        """Give the blocks in line to free cores, the lowest first."""
        while self.free and self.line:
            number = min(self.free)
            self.free.remove(number)
            self.env.process(self.run_block(number, *self.line.pop(0)))

    def run_block(self, number: int, block: int, program: Program, end: simpy.Event) -> Steps:
        """Run one block on a core to its end."""
        memory = None if self.gm is None else new_memory(self.platform, self.gm)
        depth, dispatch = int(self.platform.queue_depth), int(self.platform.dispatch_cycles)
        surroundings = _Surroundings(self, number, int(self.first_rows[block]))
        core = Core(self.env, number, program, self.costs, surroundings, depth, dispatch, memory)
        self.running[number] = core
        yield core.done
        self.end_of_cycle.add("end", (number,), (number, core, end), self.end_blocks)

    def end_blocks(self, ended: list[tuple[int, Core, simpy.Event]]) -> None:
        """Free cores; a flag that is still set is an error."""
        for number, core, end in ended:
            for flag, store in sorted(core.flags.items()):
                if store.items:
                    raise faults.left_set(core.program, flag, int(self.env.now))
            del self.running[number]
            self.free.append(number)
            end.succeed()
        self.end_of_cycle.add("assign", (), None, self.assign)


class _Surroundings:
    """The chip as one core sees it."""

    def __init__(self, chip: ReferenceChip, core: int, first_row: int) -> None:
        self.chip, self.first_row = chip, first_row
        self.gm_bytes = int(chip.platform.gm_bytes)
        self.core = core

    def transfer(self, core: int, pipe: Pipe, transfer: Transfer) -> simpy.Event:
        """Let a transfer into the memory at the end of this cycle; return the event of its end."""
        place, through = (core, int(pipe)), self.chip.env.event()
        self.chip.end_of_cycle.add("transfer", place, (place, transfer, through), self.chip.memory.admit)
        return through

    def set_twice(self, core: int, program: Program, record: int, flag: simpy.Store) -> None:
        """Raise an error at the end of this cycle, unless the flag has been taken by then."""
        found = (program, record, flag)
        self.chip.end_of_cycle.add("flag", (core, record), found, self._refuse)

    def _refuse(self, found: list[tuple[Program, int, simpy.Store]]) -> None:
        for program, record, flag in found:
            if len(flag.items) > 1:
                raise faults.set_twice(program, record, int(self.chip.env.now))

    def log(self, record: int, start: int, end: int, ready: int) -> None:
        """Note the times of a record."""
        row = self.chip.rows[self.first_row + record]
        row["core"], row["start"], row["end"], row["ready"] = self.core, start, end, ready


def simulate(
    launches: Sequence[Launch], platform: Platform, cache: L2, gm: npt.NDArray[np.uint8] | None = None
) -> Trace:
    """Return the trace of launches; with `gm[bytes]` the data moves, too. `cache` is left as they leave it.

    Raises:
        Deadlock: pipes wait for flags that nobody sets.
        IllegalInstruction: a flag is set twice or never waited for, or an operand leaves its memory.
    """
    chip = ReferenceChip(launches, platform, cache, gm)
    chip.env.run()
    if chip.running:
        core = chip.running[min(chip.running)]
        raise faults.stuck(core.program, list(core.waiting.values()))
    return trace_of(chip.rows, launches, platform, chip.spans)
