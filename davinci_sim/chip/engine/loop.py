"""The chip of the compiled engine: transfers, blocks and launches in the order of time.

Cores run ahead on their own (see scoreboard); what they share is handled here, cycle by cycle of those in
which something happens: first what ends, then what begins, in the order of launches, cores and pipes.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.fluid import Fluid, fair_rates, land, next_landing, progress, take_off
from davinci_sim.chip.engine.heap import NEVER, pop, push
from davinci_sim.chip.engine.l2 import L2, pass_through
from davinci_sim.chip.engine.scoreboard import (
    CLEAR,
    CLOCK,
    FREE,
    LAST,
    LEFT_SET,
    NEXT,
    NO_FAULT,
    PUSHED,
    QUEUED,
    READY,
    SERVED,
    SET_TWICE,
    STUCK,
    Cores,
    Records,
    advance,
    arrive,
    begin_program,
    last_ready,
    note_fault,
    travelling,
)
from davinci_sim.core.order import FLAG_COUNT, SET
from davinci_sim.isa.jit import inlined, jit
from davinci_sim.isa.machine import Costs, Transfer
from davinci_sim.isa.pipes import Pipe

Numbers = npt.NDArray[np.int64]
IDLE = -1
FLAG_BITS = 16
BLOCK_BITS = 24
WRITE_BACK = 1 << 15
"""Added to a transfer's number: the lines that had to leave L2 for it, on their way to the device memory."""
_S = int(Pipe.S)
# columns of Launches.state: blocks that have not ended, launches that have to end before
BLOCKS_LEFT, WAITS = range(2)


class Memory(NamedTuple):
    """The memory that the cores share: two fluids in a row and the cache between them."""

    transfers: Numbers  # [row, 6]: the fields of Transfer
    pending: Numbers  # [core << 4 | pipe]: flights that the transfer still waits for
    leaving: Numbers  # [core << 4 | pipe]: bytes to write back when the transfer is through
    writing: Numbers  # [core << 4 | pipe]: 1 while a write-back is on its way
    l2: Fluid
    hbm: Fluid
    class_of: Numbers  # [is_write]: class in both fluids
    cache: L2
    costs: Costs


class Launches(NamedTuple):
    """Tasks and their blocks, and what waits for what."""

    state: Numbers  # [launch, 2]
    first_block: Numbers  # [launch + 1]
    start_cycles: Numbers  # [launch]: from being allowed to the first instruction
    block_cycles: Numbers  # [launch]: from one block to the next
    host_cycle: Numbers  # [launch]: when the host has sent it
    first_follower: Numbers  # [launch + 1]
    followers: Numbers  # launches that wait for this one
    span: Numbers  # [launch, 2]: when it started and ended
    starts: Numbers  # heap of cycle << 20 | launch
    due: Numbers  # heap of cycle << BLOCK_BITS | block: blocks that are to stand in line
    line: Numbers  # [block]: blocks that wait for a core, in order
    line_ends: Numbers  # [2]: first and behind the last of the line


class Blocks(NamedTuple):
    """Programs, and where they run."""

    first_record: Numbers  # [block + 1]
    launch: Numbers  # [block]
    core: Numbers  # [block]: where it ran
    on_core: Numbers  # [core]: the block that runs there, or IDLE
    ends: Numbers  # heap of cycle << 16 | core


class System(NamedTuple):
    """Everything."""

    records: Records
    cores: Cores
    memory: Memory
    launches: Launches
    blocks: Blocks


@inlined
def _go_on(system: System, core: int) -> None:
    """Let a core run ahead; note when its program ends."""
    if advance(system.cores, system.records, core):
        push(system.blocks.ends, last_ready(system.cores, core) << 16 | core)


@inlined
def _through(system: System, number: int, now: int) -> None:
    """End a transfer, and send off what had to leave L2 for it."""
    memory, core, pipe = system.memory, number >> 4, number & 15
    r = travelling(system.cores, core, pipe)
    least = system.records.start[r] + system.records.end[r]
    arrive(system.cores, system.records, core, pipe, max(now, least))
    if memory.leaving[number] > 0:
        memory.writing[number] = 1
        take_off(memory.hbm, memory.class_of[1], memory.leaving[number], number | WRITE_BACK)
    _go_on(system, core)


@inlined
def _land_all(system: System, fluid: Fluid, now: int) -> bool:
    """End the flights of one fluid that are through; tell whether there were any."""
    memory, landed = system.memory, False
    for c in range(fluid.limits.shape[0]):
        number = land(fluid, c)
        while number >= 0:
            landed = True
            if number & WRITE_BACK:
                number ^= WRITE_BACK
                memory.writing[number] = 0
            if memory.pending[number] > 0:
                memory.pending[number] -= 1
                if memory.pending[number] == 0:
                    _through(system, number, now)
            number = land(fluid, c)
    return landed


@inlined
def _admit_all(system: System, now: int) -> bool:
    """Let the transfers that begin now into the memory, by core and pipe; tell whether there were any."""
    memory, presented = system.memory, system.cores.presented
    admitted = False
    while presented[0] > 0 and presented[1] >> 16 == now:
        number = pop(presented) & 0xFFFF
        r = travelling(system.cores, number >> 4, number & 15)
        t = memory.transfers[system.records.ready[r]]
        transfer = Transfer(t[0], t[1], t[2], t[3], t[4], t[5])
        fetched, memory.leaving[number] = pass_through(memory.cache, transfer, memory.costs)
        memory.pending[number] = 1 + memory.writing[number]
        take_off(memory.l2, memory.class_of[transfer.is_write], transfer.bus_bytes, number)
        if fetched > 0:
            memory.pending[number] += 1
            take_off(memory.hbm, memory.class_of[transfer.is_write], fetched, number)
        admitted = True
    return admitted


@inlined
def _share(fluid: Fluid) -> None:
    """Divide the bandwidth anew."""
    fair_rates(fluid.limits, fluid.counts, fluid.total, fluid.rates)


@inlined
def _allow(launches: Launches, launch: int, now: int) -> None:
    """Start a launch that waits for nothing but the host and the scheduler."""
    begin = max(now, launches.host_cycle[launch]) + launches.start_cycles[launch]
    push(launches.starts, begin << 20 | launch)


@inlined
def _end_launch(launches: Launches, launch: int, now: int) -> None:
    """Note the end of a launch and allow those that waited for it only."""
    launches.span[launch, 1] = now
    for f in range(launches.first_follower[launch], launches.first_follower[launch + 1]):
        follower = launches.followers[f]
        launches.state[follower, WAITS] -= 1
        if launches.state[follower, WAITS] == 0:
            _allow(launches, follower, now)


@inlined
def _check_flags(cores: Cores, core: int, block: int, now: int) -> None:
    """Note a flag that was set and never waited for, with the block."""
    for flag in range(FLAG_COUNT):
        if cores.flags[core, flag] != CLEAR:
            note_fault(cores, LEFT_SET, now, core, block << FLAG_BITS | flag)


@inlined
def _end_blocks(system: System, now: int) -> None:
    """Free the cores whose program ends now."""
    blocks, launches = system.blocks, system.launches
    while blocks.ends[0] > 0 and blocks.ends[1] >> 16 == now:
        core = pop(blocks.ends) & 0xFFFF
        block = blocks.on_core[core]
        launch = blocks.launch[block]
        blocks.on_core[core] = IDLE
        _check_flags(system.cores, core, block, now)
        launches.state[launch, BLOCKS_LEFT] -= 1
        if launches.state[launch, BLOCKS_LEFT] == 0:
            _end_launch(launches, launch, now)


@inlined
def _start_launches(launches: Launches, now: int) -> None:
    """Start the launches that are to start now, and put the blocks that are due in line."""
    while launches.starts[0] > 0 and launches.starts[1] >> 20 == now:
        launch = pop(launches.starts) & 0xFFFFF
        launches.span[launch, 0] = now
        first = launches.first_block[launch]
        for block in range(first, launches.first_block[launch + 1]):
            push(launches.due, (now + (block - first) * launches.block_cycles[launch]) << BLOCK_BITS | block)
        if launches.state[launch, BLOCKS_LEFT] == 0:
            _end_launch(launches, launch, now)
    while launches.due[0] > 0 and launches.due[1] >> BLOCK_BITS == now:
        launches.line[launches.line_ends[1]] = pop(launches.due) & ((1 << BLOCK_BITS) - 1)
        launches.line_ends[1] += 1


@inlined
def _assign(system: System, now: int) -> None:
    """Give the blocks in line to free cores, the lowest first."""
    blocks, line, ends = system.blocks, system.launches.line, system.launches.line_ends
    for core in range(blocks.on_core.shape[0]):
        if ends[0] == ends[1]:
            return
        if blocks.on_core[core] == IDLE:
            block = line[ends[0]]
            ends[0] += 1
            blocks.on_core[core], blocks.core[block] = block, core
            begin_program(system.cores, core, blocks.first_record[block], blocks.first_record[block + 1], now)
            _go_on(system, core)


@inlined
def _least(heap: Numbers, shift: int) -> int:
    """Return the cycle of the first key of a heap."""
    return int(heap[1] >> shift) if heap[0] > 0 else NEVER


@inlined
def _next_cycle(system: System) -> int:
    """Return the next cycle in which something happens."""
    shared = min(next_landing(system.memory.l2), next_landing(system.memory.hbm))
    own = min(_least(system.cores.presented, 16), _least(system.blocks.ends, 16))
    return min(shared, own, _least(system.launches.starts, 20), _least(system.launches.due, BLOCK_BITS))


@inlined
def _note_stuck(system: System) -> None:
    """Find what keeps cores from ending: a flag set twice, or a deadlock."""
    cores, records, blocks = system.cores, system.records, system.blocks
    for core in range(blocks.on_core.shape[0]):
        if blocks.on_core[core] == IDLE:
            continue
        for pipe in QUEUED:
            row = cores.pipes[core, pipe]
            slot = row[SERVED] % (cores.depth + 1)
            r = cores.record[core, pipe, slot]
            if row[SERVED] < row[PUSHED] and records.op[r] == SET:
                start = max(cores.arrival[core, pipe, slot], row[FREE])
                note_fault(cores, SET_TWICE, max(row[READY], start + records.end[r]), core, r)
        r = cores.scalar[core, NEXT]
        if r < cores.scalar[core, LAST] and records.pipe[r] == _S and records.op[r] == SET:
            start = cores.scalar[core, CLOCK] + cores.dispatch_cycles
            note_fault(cores, SET_TWICE, max(cores.pipes[core, _S, READY], start + records.end[r]), core, r)
    if cores.fault[0] == NO_FAULT:
        for core in range(blocks.on_core.shape[0]):
            if blocks.on_core[core] != IDLE:
                note_fault(cores, STUCK, 0, core, blocks.on_core[core])


@jit
def run(system: System) -> None:
    """Run all launches to their end; the times are in the records, a fault in `cores.fault`."""
    launches, memory = system.launches, system.memory
    for launch in range(launches.state.shape[0]):
        if launches.state[launch, WAITS] == 0:
            _allow(launches, launch, 0)
    now = _next_cycle(system)
    while now < NEVER:
        progress(memory.l2, now)
        progress(memory.hbm, now)
        through = _land_all(system, memory.l2, now)
        landed = _land_all(system, memory.hbm, now)
        _end_blocks(system, now)
        _start_launches(launches, now)
        _assign(system, now)
        if _admit_all(system, now) or through or landed:
            _share(memory.l2)
            _share(memory.hbm)
        now = _next_cycle(system)
    for core in range(system.blocks.on_core.shape[0]):
        if system.blocks.on_core[core] != IDLE:
            _note_stuck(system)
            return
