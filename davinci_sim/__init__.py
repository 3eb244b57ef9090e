"""The machine: a simulator of Ascend (Da Vinci) AI processors that knows nothing of kernels or networks.

>>> from davinci_sim import platform
>>> platform("ascend910a").ai_cores
32
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from davinci_sim.chip import Chip
    from davinci_sim.errors import DavinciError
    from davinci_sim.platforms import platform

__all__ = ["Chip", "DavinciError", "platform"]

_HOME = {
    "Chip": "davinci_sim.chip",
    "DavinciError": "davinci_sim.errors",
    "platform": "davinci_sim.platforms",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that `import davinci_sim` stays light."""
    if name not in _HOME:
        raise AttributeError(
            f"module 'davinci_sim' has no attribute {name!r}; it offers {', '.join(__all__)}"
        )
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
