"""The rows of a trace: what every record of every block is, before its times are known."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.launch import Launch
from davinci_sim.core.program import BY_OPCODE, Program, Sources
from davinci_sim.core.trace import TRACE_DTYPE, Trace
from davinci_sim.isa import PIPE_NAMES
from davinci_sim.isa.jit import uncounted_jit
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


@uncounted_jit
def _describe(  # one parameter per column
    words: Words, first: int, owner: int, op: Words, pipe: Words, location: Words, index: Words, task: Words
) -> None:
    """Fill the columns that say what each record is, from row `first` on."""
    for r in range(words.shape[0]):
        head, row = words[r, 0], first + r
        op[row], pipe[row], location[row], index[row] = head & 255, (head >> 8) & 255, head >> 32, r
        task[row] = owner


def new_rows(launches: Sequence[Launch]) -> Rows:
    """Return a row for every record, without times and cores.

    There are two at least: columns of a single row have another memory layout for the compiler, which would
    compile everything once more for them.
    """
    blocks = blocks_of(launches)
    offsets, owners = offsets_of(blocks), launch_of_block(launches)
    rows = np.zeros(max(2, int(offsets[-1])), dtype=TRACE_DTYPE)
    columns = [rows[name] for name in ("op", "pipe", "location", "index", "task")]
    for block, program in enumerate(blocks):
        _describe(program.words, int(offsets[block]), int(owners[block]), *columns)
    return rows


def trace_of(
    rows: Rows, launches: Sequence[Launch], platform: Platform, spans: Sequence[tuple[int, int]]
) -> Trace:
    """Return the trace of finished rows."""
    blocks = blocks_of(launches)
    places = [program.sources for program in blocks]
    sources = Sources(lambda: {at: text for each in places for at, text in each.items()})
    names = ["", *(BY_OPCODE[op].name for op in sorted(BY_OPCODE))]
    pipes = [PIPE_NAMES.get(code, "") for code in range(max(PIPE_NAMES) + 1)]
    return Trace(
        platform_name=platform.name, clock_hz=float(platform.clock_hz),
        records=rows[: sum(map(len, blocks))],
        op_names=tuple(names), pipe_names=tuple(pipes), sources=sources, spans=tuple(spans),
    )  # fmt: skip
