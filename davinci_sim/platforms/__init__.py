"""The chips, one file of numbers each; a file in this folder is a platform, nothing else registers it.

>>> platform("ascend910a").figure("ub_bytes").unit
'B'
"""

from __future__ import annotations

import importlib
import pkgutil

from davinci_sim.errors import unknown
from davinci_sim.platforms.figure import Figure, assumed, fitted, measured, published
from davinci_sim.platforms.platform import Platform

__all__ = ["Figure", "Platform", "assumed", "fitted", "measured", "platform", "platform_names", "published"]

_NOT_CHIPS = {"figure", "platform"}


def platform_names() -> tuple[str, ...]:
    """Return the names of all chips, sorted."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_CHIPS))


def platform(name: str) -> Platform:  # replaces the submodule of the same name as the package's attribute
    """Return the chip called `name`; an unknown name is answered with the nearest ones."""
    if name not in platform_names():
        raise unknown("platform", name, platform_names())
    found: Platform = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return found
