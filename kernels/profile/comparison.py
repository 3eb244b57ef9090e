"""The difference of two profiles, cause by cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from davinci_sim.errors import unknown
from davinci_sim.trace.ledger import NAMES, PIPE_NAMES
from kernels.profile.profile import Profile


@dataclass(frozen=True)
class Comparison:
    """What the second of two profiles takes longer than the first.

    The columns are those of the core that ends last in each. Per pipe the terms sum to `cycles`, exactly:
    each column of each ledger sums to the time of its launch.
    """

    one: Profile
    other: Profile

    @property
    def cycles(self) -> int:
        """Cycles of the other less cycles of the one."""
        return self.other.cycles - self.one.cycles

    def terms(self, pipe: str) -> dict[str, int]:
        """Return by cause what a pipe of the other takes longer; causes without a difference are left out.

        Raises:
            UnknownName: there is no such pipe.
        """
        if pipe not in PIPE_NAMES:
            raise unknown("pipe", pipe, PIPE_NAMES)
        before, after = (
            found.ledger.table[found.ledger.critical_core, PIPE_NAMES.index(pipe)].tolist()
            for found in (self.one, self.other)
        )
        differences = zip(NAMES, before, after, strict=True)
        return {name: theirs - ours for name, ours, theirs in differences if theirs != ours}

    @property
    def pipe(self) -> str:
        """The pipe that limits the slower of the two: its column explains most."""
        return (self.other if self.cycles > 0 else self.one).limiting_pipe

    def as_json(self) -> dict[str, Any]:
        """Return keys `cycles`, `pipe`, `terms`: {pipe: {cause: cycles}}, `one`, `other`.

        `one` and `other` say what was compared: `kernel`, `platform`, `shape`, `tiling`, `cycles`, `us`,
        `critical_core`.
        """
        return {
            "cycles": self.cycles,
            "pipe": self.pipe,
            "terms": {pipe: self.terms(pipe) for pipe in PIPE_NAMES},
            "one": _described(self.one),
            "other": _described(self.other),
        }


def _described(found: Profile) -> dict[str, Any]:
    return {
        "kernel": found.kernel.name, "platform": found.platform.name, "shape": str(found.shape),
        "tiling": str(found.tiling), "cycles": found.cycles, "us": found.us,
        "critical_core": found.ledger.critical_core,
    }  # fmt: skip


def compare(one: Profile, other: Profile) -> Comparison:
    """Return what `other` takes longer than `one`, and why."""
    return Comparison(one, other)
