"""The ledger: every cycle of every pipe of every core, charged to exactly one cause.

    trace = simulate_launches([launch], platform, "fast", new_l2(platform))
    book = ledger([launch], platform, trace, new_l2(platform))
    book.cycles_of("MTE2", "buffer_full", core=3)
    book.as_json()

Each column (a pipe of a core) sums to the cycles of the launch, exactly: cycles are integers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from davinci_sim.trace.ledger.causes import CAUSES, NAMES, Cause

if TYPE_CHECKING:
    from davinci_sim.trace.ledger.book import PIPE_NAMES, FlagWait, Ledger, LineCharge, ledger
    from davinci_sim.trace.ledger.flags import Flag, hand_backs, partners

__all__ = [
    "CAUSES", "NAMES", "PIPE_NAMES", "Cause", "Flag", "FlagWait", "Ledger", "LineCharge", "hand_backs",
    "ledger", "partners",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Import what is first asked for (compiled code takes its time)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    home = "flags" if name in {"Flag", "hand_backs", "partners"} else "book"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
