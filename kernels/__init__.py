"""Tiled kernels in Numba: each file holds a family; `load` finds them all."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from davinci_sim.errors import unknown

if TYPE_CHECKING:
    from kernels.lang.kernel import Kernel

_NOT_FAMILIES = {"lang", "tiling", "run"}


def load() -> dict[str, Kernel]:
    """Import every family and return all kernels by name."""
    for module in pkgutil.iter_modules(__path__):
        if module.name not in _NOT_FAMILIES:
            importlib.import_module(f"{__name__}.{module.name}")
    from kernels.lang.kernel import KERNELS

    return dict(sorted(KERNELS.items()))


def find(name: str) -> Kernel:
    """Return a kernel by name; an unknown one is answered with the nearest names."""
    known = load()
    if name not in known:
        raise unknown("kernel", name, known)
    return known[name]


def __getattr__(name: str) -> Any:
    """Let `from kernels import matmul` work without importing every family at start."""
    if name.startswith("_"):
        raise AttributeError(name)
    known = load()
    if name in known:
        return known[name]
    raise AttributeError(f"module 'kernels' has no kernel {name!r}")
