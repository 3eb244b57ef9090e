"""The ledger of a trace, and how it is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.l2 import L2, new_l2
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.records import Rows, blocks_of, offsets_of
from davinci_sim.core.order import FLAG_COUNT
from davinci_sim.core.program import Program
from davinci_sim.core.trace import Trace
from davinci_sim.errors import DavinciError, unknown
from davinci_sim.isa.pipes import Pipe
from davinci_sim.platforms import Platform
from davinci_sim.trace.ledger.causes import BLOCK_START, CAUSES, IMBALANCE, NAMES, NO_BLOCK, WORK
from davinci_sim.trace.ledger.charge import CONSISTENT, PIPES, Records, Rules, Sums, charge_block
from davinci_sim.trace.ledger.flags import Flag, flag, hand_backs, partners
from davinci_sim.trace.ledger.path import STEPS, Block, walk_back
from davinci_sim.trace.ledger.work import LEAST_ROWS, Work, work_of

Numbers = npt.NDArray[np.int64]
PIPE_NAMES = tuple(Pipe(number).name for number in range(1, PIPES))
"""The columns of a ledger, in the order of its table: S, V, M, MTE1, MTE2, MTE3."""


@dataclass(frozen=True)
class LineCharge:
    """Cycles of a pipe, summed over all cores, charged to a source line (`file.py:41`, or "" for none)."""

    pipe: str
    cause: str
    location: int
    source: str
    cycles: int

    def as_json(self) -> dict[str, Any]:
        """Return keys `pipe`, `cause`, `source`, `cycles`."""
        return {"pipe": self.pipe, "cause": self.cause, "source": self.source, "cycles": self.cycles}


@dataclass(frozen=True)
class FlagWait:
    """Cycles, summed over all cores, that waits of one line took for a flag that another line sets.

    `is_hand_back`: the flag tells that a buffer may be filled again; otherwise that data is there.
    """

    flag: Flag
    is_hand_back: bool
    wait: str
    set: str
    count: int
    cycles: int

    @property
    def cause(self) -> str:
        """What the wait is charged to: "buffer_full" or "flag"."""
        return "buffer_full" if self.is_hand_back else "flag"


@dataclass(frozen=True, eq=False)
class Ledger:
    """Where the cycles of a trace went.

    Attributes:
        cycles: what every column sums to: from the start of the first launch to the end of the last.
        clock_hz: what turns cycles into seconds.
        table: [core, pipe, cause] cycles, for all cores of the chip; pipes as PIPE_NAMES, causes as CAUSES.
        critical_core: the core whose work ends last; of several the lowest.
        blocks: how many blocks ran.
        hbm_bytes: fetched from device memory for lines that L2 lacked, and written back to it.
        queues: [pipe, pipe] cycles of all cores in which the first stood still because the scalar unit was
            held by the full queue of the second.
        lines: charges by source line, the greatest first.
        flags: waits by flag and by the lines that wait and set, the longest first.
        path: the critical path of the block that ended last, by line, pipe and cause ("latency" is from the
            end of a unit's work to its result), the greatest first; it sums to the time of the block.
    """

    cycles: int
    clock_hz: float
    table: Numbers
    critical_core: int
    blocks: int
    hbm_bytes: tuple[int, int]
    queues: Numbers
    lines: tuple[LineCharge, ...]
    flags: tuple[FlagWait, ...]
    path: tuple[LineCharge, ...]

    def cycles_of(self, pipe: str, cause: str, core: int | None = None) -> int:
        """Return the cycles of a pipe that a cause is charged with, on a core or summed over all.

        Raises:
            UnknownName: there is no such pipe or cause.
        """
        if pipe not in PIPE_NAMES:
            raise unknown("pipe", pipe, PIPE_NAMES)
        if cause not in NAMES:
            raise unknown("cause", cause, NAMES)
        cores = slice(None) if core is None else slice(core, core + 1)
        return int(self.table[cores, PIPE_NAMES.index(pipe), NAMES.index(cause)].sum())

    def work_cycles(self, pipe: str, core: int | None = None) -> int:
        """Return the cycles in which a unit holds instructions that are work: Trace.busy_cycles."""
        return sum(self.cycles_of(pipe, name, core) for name in NAMES[WORK])

    @cached_property
    def mean(self) -> npt.NDArray[np.float64]:
        """[pipe, cause] cycles, the mean over the cores that the launch has blocks for."""
        working = self.table[:, 0, NO_BLOCK] < self.cycles
        if not working.any():
            return np.zeros(self.table.shape[1:])
        return np.asarray(self.table[working].mean(axis=0))

    def share(self, pipe: str, cause: str) -> float:
        """Return the part of a pipe's time that a cause is charged with, the mean over cores with blocks."""
        cycles = self.mean[PIPE_NAMES.index(pipe), NAMES.index(cause)]
        return float(cycles) / self.cycles if self.cycles else 0.0

    @property
    def used_causes(self) -> tuple[str, ...]:
        """The causes that have cycles, in the order of CAUSES."""
        return tuple(name for name, total in zip(NAMES, self.table.sum(axis=(0, 1)), strict=True) if total)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it.

        Keys: `cycles`, `clock_hz`, `cores`, `blocks`, `hbm_bytes`: [fetched, written back], `critical_core`;
        `causes`: [{name, meaning}] in the order of the columns; `pipes`: [name]; `mean`: {pipe: {cause:
        cycles}} over the cores that have blocks; `critical`: the same of the critical core; `table`:
        [core][pipe][cause]; `queues`: [pipe][pipe with the full queue]; `lines` and `path`: [{pipe, cause,
        source, cycles}]; `flags`: [{src, dst, event_id, cause, wait, set, count, cycles}], where `cause` is
        "flag" or "buffer_full". In `mean` and `critical` causes without cycles are left out.
        """
        return {
            "cycles": self.cycles,
            "clock_hz": self.clock_hz,
            "cores": len(self.table),
            "blocks": self.blocks,
            "hbm_bytes": list(self.hbm_bytes),
            "critical_core": self.critical_core,
            "causes": [{"name": cause.name, "meaning": cause.meaning} for cause in CAUSES],
            "pipes": list(PIPE_NAMES),
            "mean": _by_name(self.mean),
            "critical": _by_name(self.table[self.critical_core]),
            "table": self.table.tolist(),
            "queues": self.queues.tolist(),
            "lines": [line.as_json() for line in self.lines],
            "path": [step.as_json() for step in self.path],
            "flags": [
                {
                    "src": Pipe(wait.flag.src).name, "dst": Pipe(wait.flag.dst).name,
                    "event_id": wait.flag.event_id, "cause": wait.cause,
                    "wait": wait.wait, "set": wait.set, "count": wait.count, "cycles": wait.cycles,
                }
                for wait in self.flags
            ],
        }  # fmt: skip


def _by_name(table: npt.NDArray[Any]) -> dict[str, dict[str, int | float]]:
    """Return {pipe: {cause: cycles}} of [pipe, cause]."""
    return {
        pipe: {name: cycles for name, cycles in zip(NAMES, row, strict=True) if cycles}
        for pipe, row in zip(PIPE_NAMES, table.tolist(), strict=True)
    }


class Ran(NamedTuple):
    """When the last block of each core ended, and which block ended last of all (-1: none) and began when."""

    ends: Numbers
    block: int
    begin: int


def ledger(
    launches: Sequence[Launch], platform: Platform, trace: Trace, cache: L2 | None = None, *,
    macs: int = 0, queues: Sequence[Numbers] = (),
) -> Ledger:  # fmt: skip
    """Charge every cycle of every pipe of a trace of these launches to one cause.

    `cache` is what L2 held before the launches (nothing, if it is not given); it is changed as they change
    it. `macs` are the multiplications that the problem needs; without it each cube instruction is asked for
    its own. `queues` are those of the tasks (Task.queues); what flags they do not know is told by the flow
    of data (see `hand_backs`).

    Raises:
        DavinciError: the trace is not one of these launches from that content of L2.
    """
    blocks, rows = blocks_of(launches), trace.records
    count = sum(map(len, blocks))
    if count != len(rows):
        raise _foreign(f"the trace has {len(rows)} records, the launches have {count}")
    locations, line = np.unique(rows["location"], return_inverse=True)
    work, hbm_bytes = work_of(blocks, rows, platform, new_l2(platform) if cache is None else cache, macs)
    records = _records(rows, line + 1, work)
    is_hand_back = hand_backs(queues)
    sums = _empty_sums(int(platform.ai_cores), len(locations) + 1, count)
    rules = Rules(int(platform.queue_depth), int(platform.dispatch_cycles), is_hand_back)
    window = _window(trace)
    ran = _charge_blocks(launches, trace, records, sums, rules, window)
    sources = ["", *(trace.sources.get(int(location), "") for location in locations)]
    return Ledger(
        cycles=window[1] - window[0],
        clock_hz=trace.clock_hz,
        table=sums.pipes[:, 1:].copy(),
        critical_core=int(ran.ends.argmax()),
        blocks=len(blocks),
        hbm_bytes=(int(hbm_bytes[0]), int(hbm_bytes[1])),
        queues=sums.queues[1:, 1:].copy(),
        lines=tuple(_lines(sums.lines, NAMES, sources, [0, *locations.tolist()])),
        path=tuple(
            _lines(_path(blocks, records, sums, rules, ran), STEPS, sources, [0, *locations.tolist()])
        ),
        flags=tuple(_flag_waits(blocks, records, sums.waited, sources, is_hand_back)),
    )


def _window(trace: Trace) -> tuple[int, int]:
    """Return when the first launch started and when the last one ended."""
    spans = trace.spans or ((0, trace.cycles),)
    return min(start for start, _ in spans), max(end for _, end in spans)


def _records(rows: Rows, line: Numbers, work: Work) -> Records:
    """Return the columns that charging reads."""
    if len(rows) < LEAST_ROWS:
        rows, line = np.resize(rows, LEAST_ROWS), np.resize(line, LEAST_ROWS)
    op, pipe, start, end, ready = (rows[name] for name in ("op", "pipe", "start", "end", "ready"))
    return Records(op, pipe, start, end, ready, line, *work)


def _empty_sums(cores: int, lines: int, records: int) -> Sums:
    """Return sums of nothing."""
    return Sums(
        np.zeros((max(1, cores), PIPES, len(CAUSES)), dtype=np.int64),
        np.zeros((lines, PIPES, len(CAUSES)), dtype=np.int64),
        np.zeros((PIPES, PIPES), dtype=np.int64),
        np.zeros(records, dtype=np.int64),
        np.zeros(records, dtype=np.int64),
    )


def _charge_blocks(
    launches: Sequence[Launch], trace: Trace, records: Records, sums: Sums, rules: Rules,
    window: tuple[int, int],
) -> Ran:  # fmt: skip
    """Charge all blocks as they ran, and what lies around them."""
    offsets, due = offsets_of(blocks_of(launches)).tolist(), _due(launches, trace.spans or (window,))
    core_of, starts = trace.records["core"], trace.records["start"]
    ends = np.full(len(sums.pipes), window[0], dtype=np.int64)
    last_of, begins = [-1] * len(ends), [0] * len(due)
    ran = [block for block in range(len(due)) if offsets[block] < offsets[block + 1]]
    for block in sorted(ran, key=lambda block: (int(starts[offsets[block]]), block)):
        first, last = offsets[block], offsets[block + 1]
        core = int(core_of[first])
        last_of[core], begins[block] = block, max(due[block], int(ends[core]))
        sums.pipes[core, 1:, BLOCK_START] += begins[block] - ends[core]
        end, wrong = charge_block(records, sums, rules, core, first, last, begins[block])
        if wrong != CONSISTENT:
            raise _foreign(f"record {wrong - first} of block {block} starts before it could")
        ends[core] = end
    for core, block in enumerate(last_of):
        sums.pipes[core, 1:, NO_BLOCK if block < 0 else IMBALANCE] += window[1] - ends[core]
    block = last_of[int(ends.argmax())]
    return Ran(ends, block, begins[block] if block >= 0 else window[0])


def _path(blocks: Sequence[Program], records: Records, sums: Sums, rules: Rules, ran: Ran) -> Numbers:
    """Return [line, pipe, step] cycles of the critical path of the block that ended last."""
    found = np.zeros((*sums.lines.shape[:2], len(STEPS)), dtype=np.int64)
    if ran.block >= 0:
        first, last = offsets_of(blocks)[ran.block : ran.block + 2].tolist()
        places = np.zeros(last - first, dtype=np.int64)
        mates = partners(blocks[ran.block])
        block = Block(first, ran.begin, rules.queue_depth, rules.dispatch_cycles, sums.arrival, mates, places)
        walk_back(records, block, last, int(ran.ends.max()), found)
    return found


def _due(launches: Sequence[Launch], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Return when each block stands in line for a core."""
    return [
        start + number * launch.block_cycles
        for launch, (start, _) in zip(launches, spans, strict=True)
        for number in range(len(launch.programs))
    ]


def _foreign(found: str) -> DavinciError:
    """Return the error for a trace that is not one of the launches."""
    return DavinciError(
        f"the trace is not one of these launches: {found}\n"
        "  rule: a ledger is made from launches and from the trace of the same launches\n"
        "  next: simulate the launches and give the ledger that trace"
    )


def _lines(
    table: Numbers, names: Sequence[str], sources: Sequence[str], locations: Sequence[int]
) -> Iterator[LineCharge]:
    """Yield the charges of [line, pipe, cause] that are not zero, the greatest first."""
    places = np.argwhere(table > 0)
    cycles = table[tuple(places.T)]
    for at in np.argsort(-cycles, kind="stable").tolist():
        line, pipe, why = (int(number) for number in places[at])
        source = sources[line]
        yield LineCharge(Pipe(pipe).name, names[why], locations[line], source, int(cycles[at]))


def _flag_waits(
    blocks: Sequence[Program], records: Records, waited: Numbers, sources: Sequence[str],
    is_hand_back: npt.NDArray[np.bool_],
) -> Iterator[FlagWait]:  # fmt: skip
    """Yield the waits that took cycles, by flag and lines, the longest first."""
    waits = np.flatnonzero(waited)
    setters = np.concatenate(
        [partners(block) + first for block, first in zip(blocks, offsets_of(blocks), strict=False)]
        or [np.zeros(0, dtype=np.int64)]
    )[waits]
    lines = len(sources)
    key = (records.line[waits] * lines + records.line[setters]) * FLAG_COUNT + records.payload[waits]
    kinds, place, counts = np.unique(key, return_inverse=True, return_counts=True)
    totals = np.zeros(len(kinds), dtype=np.int64)
    np.add.at(totals, place, waited[waits])
    for at in np.argsort(-totals, kind="stable").tolist():
        number = int(kinds[at])
        pair, of = number // FLAG_COUNT, number % FLAG_COUNT
        wait, setter = sources[pair // lines], sources[pair % lines]
        yield FlagWait(flag(of), bool(is_hand_back[of]), wait, setter, int(counts[at]), int(totals[at]))
