"""Tilings near that of a profile, simulated to know what they would change."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

from davinci_sim.chip.task import Task
from davinci_sim.errors import DavinciError
from davinci_sim.memory.spaces import Space
from kernels.lang.shapes import Tiling
from kernels.profile.profile import Profile, alone

MOST_TRIALS, TRIALS_EACH = 8, 3
DEEPER, WIDER, LONGER, SHORTER = "deeper", "wider", "longer", "shorter"


@dataclass(frozen=True)
class Trial:
    """A tiling that differs in `change`, and what it takes; None where it does not fit, for a reason.

    `grown` are the on-chip memories of which it takes more.
    """

    tiling: Tiling
    change: str
    cycles: int | None
    refusal: str = ""
    grown: tuple[str, ...] = ()


class Trials:
    """The trials of one profile: each tiling is simulated once, when it is first asked for.

    At most MOST_TRIALS, each on the same problem, alone on the chip and from an empty L2.
    """

    def __init__(self, found: Profile) -> None:
        """Try nothing yet."""
        self.found, self.all_cores = found, int(found.platform.ai_cores)
        self.known: dict[Tiling, Trial] = {}

    def toward(self, kinds: tuple[str, ...]) -> Iterator[Trial]:
        """Yield trials of more slots (DEEPER), of more cores (WIDER), of longer and of shorter pieces."""
        wanted = dict.fromkeys(tiling for kind in kinds for tiling in self._changed(kind))
        for tiling in islice(wanted, TRIALS_EACH):
            if tiling not in self.known and len(self.known) < MOST_TRIALS:
                self.known[tiling] = self._tried(tiling)
            if tiling in self.known:
                yield self.known[tiling]

    def _changed(self, kind: str) -> Iterator[Tiling]:
        """Yield tilings in a direction, what the kernel's own space offers last."""
        tiling = self.found.tiling
        values = dict(zip(tiling.names(), dataclasses.astuple(tiling), strict=True))
        if kind == DEEPER and "slots" in values:
            yield _with(tiling, "slots", values["slots"] + 1)
        if kind == WIDER and values.get("cores", self.all_cores) < self.all_cores:
            yield _with(tiling, "cores", self.all_cores)
        if kind not in (LONGER, SHORTER):
            return
        for name in tiling.LENGTHS:
            length = int(getattr(tiling, name))
            if kind == LONGER:
                yield _with(tiling, name, 2 * length)
            elif length > 1:
                yield _with(tiling, name, length // 2)
        yield from self._offered(kind)

    def _offered(self, kind: str) -> list[Tiling]:
        """Return the tilings of the kernel's space in a direction, those with fewest changes first."""
        tiling, found = self.found.tiling, self.found
        offered = [
            other
            for other in type(tiling).space(found.shape, found.platform)
            if (_size(other) > _size(tiling) if kind == LONGER else _size(other) < _size(tiling))
        ]
        return sorted(offered, key=lambda other: len(_difference(tiling, other)))

    def _tried(self, tiling: Tiling) -> Trial:
        """Simulate a tiling, if it fits."""
        found, cores = self.found, self.all_cores
        changes = _difference(found.tiling, tiling).items()
        change = ", ".join(f"{name}={value}" for name, value in changes)
        blocks = tiling.blocks(found.shape, found.platform)
        if not 1 <= blocks <= cores:
            return Trial(tiling, change, None, f"it wants {blocks} cores, there are {cores}")
        try:
            task = found.kernel.emitted(found.shape, found.task.operands, found.platform, tiling)
            return Trial(tiling, change, alone(task, found.platform).cycles, grown=_grown(found.task, task))
        except DavinciError as refusal:
            return Trial(tiling, change, None, str(refusal).splitlines()[0].rpartition(": ")[2])


def _with(tiling: Tiling, name: str, value: int) -> Tiling:
    changed: dict[str, Any] = {name: value}
    return dataclasses.replace(tiling, **changed)


def _difference(one: Tiling, other: Tiling) -> dict[str, int]:
    """Return the fields of another tiling that differ."""
    return {name: getattr(other, name) for name in one.names() if getattr(one, name) != getattr(other, name)}


def _size(tiling: Tiling) -> int:
    """Return the product of all fields but slots and cores: how large the pieces are."""
    lengths = (int(getattr(tiling, name)) for name in tiling.names() if name not in {"slots", "cores"})
    return prod(max(1, length) for length in lengths)


def _grown(before: Task, after: Task) -> tuple[str, ...]:
    """Return the on-chip memories of which the first block allocates more after than before."""
    old, new = _allocated(before), _allocated(after)
    return tuple(Space(space).name for space in new if new[space] > old[space])


def _allocated(task: Task) -> Counter[int]:
    """Return by space the bytes that the first block of a task allocates."""
    found: Counter[int] = Counter()
    for space, _, nbytes, _, _ in task.buffers[0].tolist():
        found[space] += nbytes
    return found
