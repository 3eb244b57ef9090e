"""Where time goes in the source: charges gathered by line, with the text of the line."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from davinci_sim.trace.ledger import NAMES, Ledger
from davinci_sim.trace.ledger.causes import WAITS, WORK
from kernels.lang import rewrite

_WORK, _WAITING = frozenset(NAMES[WORK]), frozenset(NAMES[number] for number in WAITS)


@dataclass(frozen=True)
class LineHeat:
    """What instructions of one source line cost, in cycles of all cores together.

    Attributes:
        source: `kernels/matmul.py:41`.
        text: the line.
        pipes: {pipe: {cause: cycles}}.
    """

    source: str
    text: str
    pipes: dict[str, dict[str, int]]

    @property
    def busy_cycles(self) -> int:
        """Cycles in which units held instructions of this line."""
        return self._sum(_WORK)

    @property
    def waiting_cycles(self) -> int:
        """Cycles in which pipes (the scalar unit aside) stood still before an instruction of this line."""
        return self._sum(_WAITING)

    def _sum(self, causes: frozenset[str]) -> int:
        return sum(
            cycles
            for pipe, charges in self.pipes.items()
            for cause, cycles in charges.items()
            if cause in causes and pipe != "S"
        )

    @property
    def chief(self) -> tuple[str, str]:
        """The pipe and the cause with the most cycles, the scalar unit aside if it can be."""
        charges = {
            (pipe != "S", cycles, pipe, cause)
            for pipe, causes in self.pipes.items()
            for cause, cycles in causes.items()
        }
        return max(charges)[2:]

    def as_json(self) -> dict[str, Any]:
        """Return keys `source`, `text`, `busy_cycles`, `waiting_cycles`, `pipes`: {pipe: {cause: cycles}}."""
        return {
            "source": self.source, "text": self.text, "busy_cycles": self.busy_cycles,
            "waiting_cycles": self.waiting_cycles, "pipes": self.pipes,
        }  # fmt: skip


def hottest(book: Ledger) -> tuple[LineHeat, ...]:
    """Return the lines of a ledger, those with the most busy and waiting cycles first."""
    by_location: dict[int, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    sources = {}
    for charge in book.lines:
        if charge.source:
            by_location[charge.location][charge.pipe][charge.cause] = charge.cycles
            sources[charge.location] = charge.source
    heats = [
        LineHeat(
            sources[location], rewrite.source_line(location), {pipe: dict(c) for pipe, c in pipes.items()}
        )
        for location, pipes in by_location.items()
    ]
    return tuple(sorted(heats, key=lambda heat: (-heat.busy_cycles - heat.waiting_cycles, heat.source)))
