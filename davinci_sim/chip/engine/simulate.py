"""Prepare launches for the compiled engine, run them, and bring the times back."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from davinci_sim.chip import faults
from davinci_sim.chip.engine.fluid import classes_of, new_fluid
from davinci_sim.chip.engine.l2 import L2
from davinci_sim.chip.engine.loop import FLAG_BITS, IDLE, Blocks, Launches, Memory, System, run
from davinci_sim.chip.engine.scoreboard import (
    LAST,
    LEFT_SET,
    NEXT,
    NO_FAULT,
    PUSHED,
    QUEUED,
    SERVED,
    SET_TWICE,
    Records,
    new_cores,
)
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.records import Rows, blocks_of, launch_of_block, new_rows, offsets_of, trace_of
from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import HAS_TRANSFER, count_cycles, transfer_of
from davinci_sim.core.order import SET, WAIT, flag_of
from davinci_sim.core.program import Program, out_of_bounds
from davinci_sim.core.trace import Trace
from davinci_sim.isa.jit import uncounted_jit
from davinci_sim.isa.machine import Costs, end_of
from davinci_sim.isa.pipes import Pipe
from davinci_sim.platforms import Platform

Numbers = npt.NDArray[np.int64]
PIPE_SLOTS = 16
BATCH = 1 << 14
"""Records from which on a block is looked at by itself: a call costs as much as some hundred records."""
_MTE2, _MTE3 = int(Pipe.MTE2), int(Pipe.MTE3)  # the pipes that reach device memory


@uncounted_jit
def _payload(
    words: Numbers, costs: Costs, has_transfer: npt.NDArray[np.bool_], first: int, ready: Numbers,
    table: Numbers, known: int, gm_bytes: int,
) -> int:  # fmt: skip
    """Fill ready[first + r] with a hand-off's flag, a transfer's row (`known` are before these), or -1.

    Returns the rows of `table` used, or -1 - r if record r leaves the device memory.
    """
    rows = 0
    for r in range(words.shape[0]):
        op, pipe = words[r, 0] & 255, (words[r, 0] >> 8) & 255
        ready[first + r] = -1
        if op in (SET, WAIT):
            ready[first + r] = flag_of(words[r, 1])
        elif pipe in (_MTE2, _MTE3) and has_transfer[op]:
            t = transfer_of(words, r, costs)
            if t.bus_bytes > 0:
                if end_of(t) > gm_bytes:
                    return -1 - r
                table[rows, 0], table[rows, 1], table[rows, 2] = t.address, t.run_bytes, t.runs
                table[rows, 3], table[rows, 4], table[rows, 5] = t.stride_bytes, t.bus_bytes, t.is_write
                ready[first + r] = known + rows
                rows += 1
    return rows


def simulate(launches: Sequence[Launch], platform: Platform, cache: L2) -> Trace:
    """Return the trace of launches; `cache` is left as they leave it.

    Raises:
        Deadlock: pipes wait for flags that nobody sets.
        IllegalInstruction: a flag is set twice, or never waited for.
    """
    system, rows = _prepared(launches, platform, cache)
    run(system)
    blocks = blocks_of(launches)
    if system.cores.fault[0] != NO_FAULT:
        raise _error(system, blocks)
    for core, (first, last) in zip(system.blocks.core, pairwise(system.blocks.first_record), strict=True):
        rows["core"][first:last] = core
    spans = [(int(start), int(end)) for start, end in system.launches.span]
    return trace_of(rows, launches, platform, spans)


def _prepared(launches: Sequence[Launch], platform: Platform, cache: L2) -> tuple[System, Rows]:
    """Return everything that the loop works on, and the rows that it fills."""
    rows, costs, blocks = new_rows(launches), costs_of(platform), blocks_of(launches)
    offsets = offsets_of(blocks)
    table = described(blocks, rows, costs, int(platform.gm_bytes))
    records = Records(rows["start"], rows["end"], rows["ready"], rows["op"], rows["pipe"])
    cores = max(int(platform.ai_cores), 1)
    busy = min(cores, max(1, len(blocks)))
    system = System(
        records,
        new_cores(busy, int(platform.queue_depth), int(platform.dispatch_cycles), costs.drain_cycles),
        _memory(platform, costs, table, cache, busy),
        _launches(launches),
        Blocks(offsets, launch_of_block(launches), np.zeros(len(blocks), dtype=np.int64),
               np.full(busy, IDLE, dtype=np.int64), np.zeros(busy + 2, dtype=np.int64)),
    )  # fmt: skip
    return system, rows


def described(blocks: Sequence[Program], rows: Rows, costs: Costs, gm_bytes: int) -> Numbers:
    """Fill what the loop needs of each record into its times, and return the table of transfers.

    `end` becomes the cycles of the unit, `ready` the flag or the row of the table.
    """
    tables, known = [np.empty((0, 6), dtype=np.int64)], 0
    for first, words in batches(blocks):
        table = np.empty((len(words), 6), dtype=np.int64)
        rows["end"][first : first + len(words)] = count_cycles(words, costs)
        used = _payload(words, costs, HAS_TRANSFER, first, rows["ready"], table, known, gm_bytes)
        if used < 0:
            raise _beyond_memory(blocks, first - 1 - used)
        tables.append(table[:used].copy())
        known += used
    return np.concatenate(tables)


def batches(blocks: Sequence[Program]) -> Iterator[tuple[int, Numbers]]:
    """Yield the number of a first record, and words from there on: of one block, or of several small ones."""
    first, waiting, count = 0, [], 0
    for program in blocks:
        waiting.append(program.words)
        count += len(program)
        if count >= BATCH:
            yield first, waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            first, waiting, count = first + count, [], 0
    if count:
        yield first, np.concatenate(waiting)


def _beyond_memory(blocks: Sequence[Program], record: int) -> Exception:
    """Return the error for a record, counted over all blocks, that leaves the device memory."""
    offsets = offsets_of(blocks)
    block = int(np.searchsorted(offsets, record, side="right")) - 1
    return out_of_bounds(blocks[block], record - int(offsets[block]))


def _memory(platform: Platform, costs: Costs, table: Numbers, cache: L2, cores: int) -> Memory:
    limits = [int(platform.l2_read_bytes_per_cycle), int(platform.l2_write_bytes_per_cycle)]
    most = cores * PIPE_SLOTS
    pending, leaving, writing = np.zeros((3, most), dtype=np.int64)
    return Memory(
        transfers=table,
        pending=pending,
        leaving=leaving,
        writing=writing,
        l2=new_fluid(limits, int(platform.l2_chip_bytes_per_cycle), most),
        hbm=new_fluid(limits, int(platform.hbm_bytes_per_cycle), 2 * most),
        class_of=classes_of(limits),
        cache=cache,
        costs=costs,
    )


def _launches(launches: Sequence[Launch]) -> Launches:
    """Return the table of launches with who follows whom."""
    count = len(launches)
    blocks = [len(launch.programs) for launch in launches]
    followers: list[list[int]] = [[] for _ in launches]
    for number, launch in enumerate(launches):
        for earlier in set(launch.after):
            followers[earlier].append(number)
    states = [(n, len(set(launch.after))) for n, launch in zip(blocks, launches, strict=True)]
    return Launches(
        state=np.array(states, dtype=np.int64).reshape(-1, 2),
        first_block=np.cumsum([0, *blocks], dtype=np.int64),
        start_cycles=np.array([launch.start_cycles for launch in launches], dtype=np.int64),
        block_cycles=np.array([launch.block_cycles for launch in launches], dtype=np.int64),
        host_cycle=np.array([launch.host_cycle for launch in launches], dtype=np.int64),
        first_follower=np.cumsum([0, *map(len, followers)], dtype=np.int64),
        followers=np.array([f for each in followers for f in each], dtype=np.int64),
        span=np.zeros((count, 2), dtype=np.int64),
        starts=np.zeros(count + 2, dtype=np.int64),
        due=np.zeros(sum(blocks) + 2, dtype=np.int64),
        line=np.zeros(sum(blocks), dtype=np.int64),
        line_ends=np.zeros(2, dtype=np.int64),
    )


def _error(system: System, blocks: Sequence[Program]) -> Exception:
    """Return the error that tells the fault found."""
    kind, cycle, core, what = (int(number) for number in system.cores.fault)
    if kind == SET_TWICE:
        block = int(np.searchsorted(system.blocks.first_record, what, side="right")) - 1
        return faults.set_twice(blocks[block], what - int(system.blocks.first_record[block]), cycle)
    if kind == LEFT_SET:
        return faults.left_set(blocks[what >> FLAG_BITS], what & ((1 << FLAG_BITS) - 1), cycle)
    return faults.stuck(blocks[what], _waiting(system, core, what))


def _waiting(system: System, core: int, block: int) -> list[int]:
    """Return the wait_flag records of a block that keep its pipes, by place in its program."""
    cores, records = system.cores, system.records
    first, heads = int(system.blocks.first_record[block]), []
    for pipe in QUEUED:
        pushed, served = (int(cores.pipes[core, pipe, column]) for column in (PUSHED, SERVED))
        if served < pushed:
            heads.append(int(cores.record[core, pipe, served % (cores.depth + 1)]))
    following, last = (int(cores.scalar[core, column]) for column in (NEXT, LAST))
    if following < last and records.pipe[following] == int(Pipe.S):
        heads.append(following)
    return [r - first for r in heads if records.op[r] == WAIT]
