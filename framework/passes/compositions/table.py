"""The table of compositions, and those that are chosen from it by name."""

from __future__ import annotations

from collections.abc import Iterable

from davinci_sim.errors import unknown
from framework.passes.compositions.activations import ACTIVATIONS
from framework.passes.compositions.losses import LOSSES
from framework.passes.compositions.rows import ROWS
from framework.passes.compositions.updates import OF_OPTIMIZERS, UPDATES

COMPOSITIONS = {each.name: each for each in (*ROWS, *ACTIVATIONS, *LOSSES, *OF_OPTIMIZERS)}
ALL = frozenset(COMPOSITIONS)
__all__ = ["ALL", "COMPOSITIONS", "UPDATES", "chosen"]


def chosen(names: str | Iterable[str]) -> frozenset[str]:
    """Return the compositions of these names; those of the sets `all` and `none`.

    Raises:
        UnknownName: there is no set or no composition of that name.
    """
    if isinstance(names, str):
        sets = {"all": ALL, "none": frozenset[str]()}
        if names not in sets:
            raise unknown("set of compositions", names, sets)
        return sets[names]
    found = frozenset(names)
    for name in sorted(found - ALL):
        raise unknown("composition", name, sorted(ALL))
    return found
