"""What happened when: the record of a simulation and its views.

`Trace` is data; `write_chrome_trace` and `draw_timeline` are views, `ledger` says where the time went. All
are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from davinci_sim.core.trace import TRACE_DTYPE, Trace
    from davinci_sim.trace.perfetto import write_chrome_trace
    from davinci_sim.trace.timeline import draw_timeline

__all__ = ["TRACE_DTYPE", "Trace", "draw_timeline", "write_chrome_trace"]

_HOMES = {
    "TRACE_DTYPE": "davinci_sim.core.trace",
    "Trace": "davinci_sim.core.trace",
    "draw_timeline": "davinci_sim.trace.timeline",
    "write_chrome_trace": "davinci_sim.trace.perfetto",
}


def __getattr__(name: str) -> object:
    """Import what is first asked for (NumPy and matplotlib take their time)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)
