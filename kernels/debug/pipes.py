"""What every pipe of a core is doing in a cycle."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from davinci_sim.core.order import WAIT
from davinci_sim.core.program import BY_OPCODE, Program
from davinci_sim.isa import PIPE_NAMES
from davinci_sim.isa.pipes import QUEUED_PIPES, Pipe

UNKNOWN = -1
Cycles = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Times:
    """When each record of a block held its unit and had its result; UNKNOWN: not within the simulation."""

    start: Cycles
    end: Cycles
    ready: Cycles

    def arrived(self, cycle: int) -> npt.NDArray[np.bool_]:
        """Tell of each record whether its result was there at the end of a cycle."""
        return np.asarray((self.ready != UNKNOWN) & (self.ready <= cycle))


def doing(program: Program, times: Times, cycle: int) -> dict[str, str]:
    """Say, pipe by pipe, what holds it at the end of a cycle, or what it waits for."""
    return {
        pipe.name: _doing(program, times, cycle, pipe)
        for pipe in QUEUED_PIPES
        if ((program.words[:, 0] >> 8 & 255) == int(pipe)).any()
    }


def _doing(program: Program, times: Times, cycle: int, pipe: Pipe) -> str:
    records = np.flatnonzero((program.words[:, 0] >> 8 & 255) == int(pipe))
    ended = (times.end[records] != UNKNOWN) & (times.end[records] <= cycle)
    if ended.all():
        return "has done all its work"
    record = int(records[int(np.argmin(ended))])
    start, end = int(times.start[record]), int(times.end[record])
    if start != UNKNOWN and start <= cycle:
        return f"busy with {told(program, record)} until cycle {end}"
    if int(program.words[record, 0]) & 255 == WAIT:
        until = f" until cycle {start}" if start != UNKNOWN else ""
        return f"waits{until} for {flag_text(program, record)}"
    if start == UNKNOWN:
        return f"at {told(program, record)}"
    return f"idle until cycle {start}, then {told(program, record)}"


def told(program: Program, record: int) -> str:
    """Name a record as `record 12 vmuls (my_kernel.py:57)`."""
    source = program.source(record)
    name = BY_OPCODE[int(program.words[record, 0]) & 255].name
    return f"record {record} {name}{f' ({source})' if source else ''}"


def flag_text(program: Program, record: int) -> str:
    """Name the flag of a hand-off, and its line."""
    word, source = int(program.words[record, 1]), program.source(record)
    pipes = f"src={PIPE_NAMES[word & 255]}, dst={PIPE_NAMES[word >> 8 & 255]}"
    return f"flag({pipes}, event_id={word >> 16 & 255}){f' ({source})' if source else ''}"
