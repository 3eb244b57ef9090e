"""The rows of a trace: what every record of every block is, before its times are known."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.launch import Launch
from davinci_sim.core.program import BY_OPCODE, Program
from davinci_sim.core.trace import TRACE_DTYPE, Trace
from davinci_sim.isa import PIPE_NAMES
from davinci_sim.isa.jit import jit
from davinci_sim.platforms import Platform

Rows = npt.NDArray[np.void]
Words = npt.NDArray[np.int64]


def blocks_of(launches: Sequence[Launch]) -> list[Program]:
    """Return the programs of all launches, one after the other."""
    return [program for launch in launches for program in launch.programs]


def offsets_of(blocks: Sequence[Program]) -> npt.NDArray[np.int64]:
    """Return where the rows of each block begin, and behind the last where all end."""
    return np.cumsum([0, *map(len, blocks)], dtype=np.int64)


def launch_of_block(launches: Sequence[Launch]) -> npt.NDArray[np.int64]:
    """Return the number of the launch that each block belongs to."""
    return np.repeat(np.arange(len(launches)), [len(launch.programs) for launch in launches])


@jit
def _describe(words: Words, op: Words, pipe: Words, location: Words, index: Words) -> None:
    """Fill the columns that say what each record is."""
    for r in range(words.shape[0]):
        head = words[r, 0]
        op[r], pipe[r], location[r], index[r] = head & 255, (head >> 8) & 255, head >> 32, r


def new_rows(launches: Sequence[Launch]) -> Rows:
    """Return a row for every record, without times and cores."""
    blocks = blocks_of(launches)
    offsets, owners = offsets_of(blocks), launch_of_block(launches)
    rows = np.zeros(int(offsets[-1]), dtype=TRACE_DTYPE)
    for block, program in enumerate(blocks):
        mine = rows[offsets[block] : offsets[block + 1]]
        _describe(program.words, mine["op"], mine["pipe"], mine["location"], mine["index"])
    rows["task"] = np.repeat(owners, np.diff(offsets))
    return rows


def trace_of(
    rows: Rows, launches: Sequence[Launch], platform: Platform, spans: Sequence[tuple[int, int]]
) -> Trace:
    """Return the trace of finished rows."""
    sources: dict[int, str] = {}
    for program in blocks_of(launches):
        sources.update(program.sources)
    names = ["", *(BY_OPCODE[op].name for op in sorted(BY_OPCODE))]
    pipes = [PIPE_NAMES.get(code, "") for code in range(max(PIPE_NAMES) + 1)]
    return Trace(
        platform_name=platform.name, clock_hz=float(platform.clock_hz), records=rows,
        op_names=tuple(names), pipe_names=tuple(pipes), sources=sources, spans=tuple(spans),
    )  # fmt: skip
