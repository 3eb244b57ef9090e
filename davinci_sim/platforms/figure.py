"""A hardware number that knows its unit and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Provenance = Literal["published", "measured", "fitted", "assumed"]
PROVENANCES: tuple[Provenance, ...] = ("published", "measured", "fitted", "assumed")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a chip.

    Attributes:
        value: the number; counts, bytes and cycles are integers.
        unit: "B", "cycles", "B/cycle", "Hz", "" for a plain count.
        provenance: published (by the vendor), measured (by a third party), fitted (to measurements that
            `source` names) or assumed (`source` says why).
        source: the document, in words that a reader can follow.
    """

    value: int | float
    unit: str
    provenance: Provenance
    source: str

    def __post_init__(self) -> None:
        """Refuse what could not be checked later."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise TypeError(f"a figure's value is a number, not {self.value!r}")
        if self.provenance not in PROVENANCES:
            raise ValueError(f"provenance {self.provenance!r} is not one of {', '.join(PROVENANCES)}")
        if not self.source.strip():
            raise ValueError(
                f"the figure {self.value} {self.unit} has no source; say where the number comes from"
            )

    def __str__(self) -> str:
        """Print as `262144 B (published: ...)`."""
        number = f"{self.value:g}" if isinstance(self.value, float) else str(self.value)
        return f"{number}{' ' + self.unit if self.unit else ''} ({self.provenance}: {self.source})"


def published(value: int | float, unit: str, source: str) -> Figure:
    """Return a number that the vendor published."""
    return Figure(value, unit, "published", source)


def measured(value: int | float, unit: str, source: str) -> Figure:
    """Return a number that somebody else measured on the chip."""
    return Figure(value, unit, "measured", source)


def fitted(value: int | float, unit: str, source: str) -> Figure:
    """Return a number fitted to measurements; `source` names them."""
    return Figure(value, unit, "fitted", source)


def assumed(value: int | float, unit: str, source: str) -> Figure:
    """Return a number that nobody published for this chip; `source` says why this one."""
    return Figure(value, unit, "assumed", source)
