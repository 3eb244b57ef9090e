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

_NOT_CHIPS = {"check", "figure", "instructions", "platform", "user_file"}


def platform_names() -> tuple[str, ...]:
    """Return the names of all chips, sorted; files whose names begin with `_` are parts of chips."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in modules if name not in _NOT_CHIPS and not name.startswith("_")))


def is_file_name(name: str) -> bool:
    """Tell whether a platform is given as a file: it ends in .toml or .py, or has a folder in it.

    >>> is_file_name("ascend910a"), is_file_name("my_chip.toml"), is_file_name("chips/mine")
    (False, True, True)
    """
    return name.endswith((".toml", ".py")) or "/" in name or "\\" in name


def platform(name: str) -> Platform:  # replaces the submodule of the same name as the package's attribute
    """Return the chip called `name`, or that of a user's file; an unknown name is answered with the nearest.

    A name that ends in .toml or .py or has a folder in it is a file. A Python file is code, and is run.

    Raises:
        UnknownName: there is no such chip.
        BadPlatform: the file is missing, is wrong, or says something impossible.
    """
    if is_file_name(name):
        from davinci_sim.platforms.user_file import load

        return load(name)
    if name not in platform_names():
        raise unknown("platform", name, platform_names())
    found: Platform = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return found
