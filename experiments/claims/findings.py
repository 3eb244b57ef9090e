"""What the experiment finds out, for tables, pictures and files."""

from __future__ import annotations

from dataclasses import dataclass

from davinci_sim.platforms import Platform
from experiments.claims.classes import Class, Ratios, by_class
from experiments.claims.ledger import Charges
from experiments.claims.ratios import Published, Ratio
from experiments.claims.recipes import Case
from experiments.claims.stages import Waterfall
from experiments.claims.steps import Timed
from experiments.claims.what_if import WhatIf


@dataclass(frozen=True)
class Compared:
    """A step beside a published one: with what the real stack did, and with everything."""

    case: Case
    published: Published
    real: Timed
    whole: Timed

    @property
    def ratio(self) -> float:
        """Simulated over published time, with the optimisations of the real stack."""
        return self.real.ms / self.published.ms

    def classes(self, records: Ratios) -> list[Class]:
        """Return the operators of the step by class, beside records of single ones."""
        return by_class(self.real.rows, self.real.clock_hz, records)

    @property
    def key(self) -> str:
        """Name it in metrics."""
        return f"{self.step}_over_{self.published.software.partition(' ')[2].replace('.', '_')}"

    @property
    def step(self) -> str:
        """Name the step in metrics."""
        return f"{self.case.network}_{self.case.batch}{'_guarded' if self.case.guarded else ''}"


@dataclass(frozen=True)
class Explained:
    """A step on one stream, and its ledger by layer."""

    case: Case
    timed: Timed
    book: dict[str, Charges]

    @property
    def difference(self) -> int:
        """Cycles of the step that the ledger does not have, or has too many."""
        return self.timed.cycles - sum(sum(charges.values()) for charges in self.book.values())


@dataclass(frozen=True)
class Findings:
    """All that was found out, for tables, pictures and files."""

    platform: Platform
    compared: tuple[Compared, ...]
    ratios: tuple[Ratio, ...]
    waterfalls: tuple[Waterfall, ...]
    explained: tuple[Explained, ...]
    records: Ratios
    """Simulated over published time of single operators, by class."""
    what_ifs: tuple[WhatIf, ...]

    @property
    def is_whole(self) -> bool:
        """Tell whether steps were taken apart stage by stage, as the quick form does not."""
        return any(wall.without for wall in self.waterfalls)

    @property
    def best_name(self) -> str:
        """Name what the steps have that are compiled best: the quick form has one stream."""
        return "everything" if self.is_whole else self.waterfalls[0].whole.stage.name
