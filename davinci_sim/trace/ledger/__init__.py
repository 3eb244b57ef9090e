"""The ledger: every cycle of every pipe of every core, charged to exactly one cause.

    trace = simulate_launches([launch], platform, "fast", new_l2(platform))
    book = ledger([launch], platform, trace, new_l2(platform))
    book.cycles_of("MTE2", "buffer_full", core=3)
    book.as_json()

Each column (a pipe of a core) sums to the cycles of the launch, exactly: cycles are integers.
"""

from davinci_sim.trace.ledger.causes import CAUSES, NAMES, Cause
from davinci_sim.trace.ledger.flags import Flag, hand_backs, partners
from davinci_sim.trace.ledger.ledger import PIPE_NAMES, FlagWait, Ledger, LineCharge, ledger

__all__ = [
    "CAUSES",
    "NAMES",
    "PIPE_NAMES",
    "Cause",
    "Flag",
    "FlagWait",
    "Ledger",
    "LineCharge",
    "hand_backs",
    "ledger",
    "partners",
]
