"""The record of a simulation: which instruction ran on which pipe of which core, from when to when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from davinci_sim.errors import unknown

TRACE_DTYPE = np.dtype(
    [
        ("start", "i8"),  # cycles, inclusive
        ("end", "i8"),  # cycles, exclusive: the unit takes the next instruction
        ("ready", "i8"),  # the result is there; flags and barriers wait for it
        ("index", "i4"),  # place in the block's program
        ("location", "u4"),  # key into sources
        ("task", "i4"),  # number of the launch
        ("core", "i2"),
        ("op", "i2"),  # opcode, index into op_names
        ("pipe", "i1"),  # index into pipe_names
    ],
    align=True,
)

SYNC = frozenset({"set_flag", "wait_flag", "pipe_barrier"})
"""Instructions that only order others: recorded, but no work."""


@dataclass(frozen=True, eq=False)
class Trace:
    """When every instruction ran; all times are whole cycles.

    Attributes:
        platform_name: the chip that was simulated.
        clock_hz: what turns cycles into seconds.
        records: one row per instruction, in the order of launches, blocks and programs; from start to end
            rows of one pipe of one core never overlap, their results may.
        op_names: opcode -> instruction name.
        pipe_names: pipe number -> name; a gap in the numbering is "".
        sources: location -> "kernels/matmul.py:41".
        spans: (start, end) of every launch.
    """

    platform_name: str
    clock_hz: float
    records: npt.NDArray[np.void]
    op_names: tuple[str, ...]
    pipe_names: tuple[str, ...]
    sources: Mapping[int, str]
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def cycles(self) -> int:
        """The cycle in which the last result is there; 0 for an empty trace."""
        return int(self.records["ready"].max()) if len(self.records) else 0

    @property
    def us(self) -> float:
        """The time of the whole trace in microseconds."""
        return self.cycles * 1e6 / self.clock_hz

    @property
    def cores(self) -> tuple[int, ...]:
        """The cores that appear, in order."""
        return tuple(np.unique(self.records["core"]).tolist())

    @property
    def work(self) -> npt.NDArray[np.void]:
        """The records without those that only order others."""
        ordering = [op for op, name in enumerate(self.op_names) if name in SYNC]
        return self.records[~np.isin(self.records["op"], ordering)]

    def busy_cycles(self, pipe: str, core: int | None = None) -> int:
        """Return the cycles in which a pipe works, summed over all cores or of one; flags are no work."""
        mine = self.work[self.work["pipe"] == self._number(pipe)]
        if core is not None:
            mine = mine[mine["core"] == core]
        return int((mine["end"] - mine["start"]).sum())

    def utilization(self, pipe: str) -> float:
        """Return busy cycles over all cycles of the cores that appear, between 0 and 1."""
        there_are = self.cycles * len(self.cores)
        return self.busy_cycles(pipe) / there_are if there_are else 0.0

    def pipes(self) -> dict[str, dict[str, int | float]]:
        """Return `{name: {"busy_cycles": ..., "utilization": ...}}` of the pipes that work."""
        names = [self.pipe_names[number] for number in np.unique(self.work["pipe"])]
        return {
            name: {"busy_cycles": self.busy_cycles(name), "utilization": self.utilization(name)}
            for name in names
        }

    def _number(self, pipe: str) -> int:
        """Return the number of a pipe."""
        if not pipe or pipe not in self.pipe_names:
            raise unknown("pipe", pipe, filter(None, self.pipe_names))
        return self.pipe_names.index(pipe)

    def __eq__(self, other: object) -> bool:
        """Compare record for record."""
        if not isinstance(other, Trace):
            return NotImplemented
        return self._plain() == other._plain() and np.array_equal(self.records, other.records)

    def __hash__(self) -> int:
        """Hash what equality compares."""
        return hash((self.platform_name, self.clock_hz, self.records.tobytes()))

    def _plain(self) -> tuple[object, ...]:
        """Return what is not an array."""
        names = (self.platform_name, self.op_names, self.pipe_names)
        return *names, self.clock_hz, dict(self.sources), self.spans

    def __repr__(self) -> str:
        """Print a summary; the records are many."""
        size = f"{len(self.records)} records on {len(self.cores)} cores"
        return f"Trace({self.platform_name}: {size}, {self.cycles} cycles, {self.us:.3f} us)"
