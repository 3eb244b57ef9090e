"""What happened when: the record of a simulation and its views.

`Trace` is data. The views (`write_chrome_trace`, `draw_timeline`) are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from davinci_sim.core.trace import TRACE_DTYPE, Trace

if TYPE_CHECKING:
    from davinci_sim.trace.perfetto import write_chrome_trace
    from davinci_sim.trace.timeline import draw_timeline

__all__ = ["TRACE_DTYPE", "Trace", "draw_timeline", "write_chrome_trace"]

_VIEWS = {"write_chrome_trace": "perfetto", "draw_timeline": "timeline"}


def __getattr__(name: str) -> object:
    """Import a view when it is first asked for (matplotlib takes its time)."""
    if name not in _VIEWS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_VIEWS[name]}"), name)
