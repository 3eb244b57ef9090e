"""How busy parts of the chip are over time: curves beside the instructions of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from davinci_sim.core.columns import column
from davinci_sim.core.program import Program
from davinci_sim.core.trace import Trace
from davinci_sim.isa import data_move
from davinci_sim.isa.state import SPACE_SHIFT
from davinci_sim.memory.spaces import Space

INTERVALS = 500
"""Equal parts of the time; a curve has the mean of each."""
BLOCK_BYTES = 32
_UNITS = {"cube": "M", "vector": "V"}
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counter:
    """A curve: `values[n]` from cycle `starts[n]` on, in `unit`."""

    name: str
    unit: str
    starts: Numbers
    values: npt.NDArray[np.float64]


def counters(trace: Trace, programs: Sequence[Program] = ()) -> list[Counter]:
    """Return how many cores' cubes and vector units work and, of programs, the bytes a cycle from and to GM.

    `programs` are those of the trace, in its order. A move's bytes are spread evenly over its time.
    """
    edges = np.unique(np.linspace(0, trace.cycles, INTERVALS + 1).astype(np.int64))
    if len(edges) < 2:
        return []
    found = []
    for unit, pipe in _UNITS.items():
        work = trace.work[trace.work["pipe"] == trace.pipe_names.index(pipe)]
        values = level(work["start"], work["end"], work["end"] - work["start"], edges)
        found.append(Counter(f"{unit} units at work", "cores", edges[:-1], values))
    moves = trace.records[trace.records["op"] == data_move.instruction.opcode]
    for way, sizes in _moved(programs).items():
        values = level(moves["start"], moves["end"], sizes, edges)
        found.append(Counter(f"GM {way}", "bytes a cycle", edges[:-1], values))
    return found


def level(starts: Numbers, ends: Numbers, amounts: Numbers, edges: Numbers) -> npt.NDArray[np.float64]:
    """Return the mean a cycle in each interval between `edges` of amounts that come evenly in their spans.

    >>> level(np.array([0]), np.array([4]), np.array([8]), np.array([0, 2, 6]))
    array([2., 1.])
    """
    rates = amounts / np.maximum(1, ends - starts)
    times, change = np.concatenate([starts, ends]), np.concatenate([rates, -rates])
    order = np.argsort(times, kind="stable")
    times, rate = times[order], np.cumsum(change[order])
    came = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(times))]) if len(times) else np.zeros(1)
    total = np.interp(edges, times, came) if len(times) else np.zeros(len(edges))
    mean: npt.NDArray[np.float64] = np.maximum(0.0, np.diff(total)) / np.diff(edges)
    return mean


def _moved(programs: Sequence[Program]) -> dict[str, Numbers]:
    """Return the bytes that each data_move of programs reads from and writes to device memory."""
    if not programs:
        return {}
    words = np.concatenate([program.words for program in programs])
    moves = words[words[:, 0] & 255 == data_move.instruction.opcode]
    size = column(moves, "nburst") * column(moves, "burst_len") * BLOCK_BYTES
    sides = {"reads": "src", "writes": "dst"}
    return {
        way: np.where(column(moves, side) >> SPACE_SHIFT == int(Space.GM), size, 0)
        for way, side in sides.items()
    }
