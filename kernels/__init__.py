"""Tiled kernels in Numba: each file holds a family; `load` finds them all."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from davinci_sim.errors import unknown

if TYPE_CHECKING:
    from kernels.lang.kernel import Kernel

_NOT_FAMILIES = {
    "bounds", "check", "compiled", "reference_page", "roofline", "rules", "run", "samples", "tolerance",
}  # fmt: skip


class _Kernels(ModuleType):
    """The package, in which the name of a family's main kernel is the kernel and not the file.

    `from kernels import matmul` gives the Kernel whether or not `kernels.matmul` was imported before.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep the kernel where the import system would put the file of the same name."""
        is_family = isinstance(value, ModuleType) and hasattr(getattr(value, name, None), "emit")
        super().__setattr__(name, getattr(value, name) if is_family else value)


sys.modules[__name__].__class__ = _Kernels


def load() -> dict[str, Kernel]:
    """Import every family and return the kernels of the kit by name, without those of users' files."""
    for family in _families():
        importlib.import_module(f"{__name__}.{family}")
    return _loaded()


def _families() -> list[str]:
    """Return the names of the files that hold kernels: all but these few, and none in the packages."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]
    return [name for name in modules if name not in _NOT_FAMILIES]


def _loaded() -> dict[str, Kernel]:
    """Return the kernels of the kit that are loaded."""
    from kernels.lang.kernel import KERNELS

    return {name: each for name, each in sorted(KERNELS.items()) if each.is_of_the_kit}


def find(name: str) -> Kernel:
    """Return a kernel by name; an unknown one is answered with the nearest names."""
    known = _defining(name) or load()
    if name not in known:
        raise unknown("kernel", name, known)
    return known[name]


def is_known(name: str) -> bool:
    """Tell whether there is a kernel of that name."""
    return bool(_defining(name))


def _defining(name: str) -> dict[str, Kernel]:
    """Return a kernel of the kit by its name, if there is one; its family is imported where it is not yet."""
    from kernels.lang.kernel import KERNELS

    known = KERNELS.get(name)
    return {name: known} if known is not None and known.is_of_the_kit else _load_defining(name)


def _load_defining(name: str) -> dict[str, Kernel]:
    """Import the families whose files define a function of that name; return its kernel, if it is one."""
    for family in _families():
        if _defines(family, name):
            importlib.import_module(f"{__name__}.{family}")
    loaded = _loaded()
    return {name: loaded[name]} if name in loaded else {}


def _defines(family: str, name: str) -> bool:
    """Tell whether the source of a family has a function of that name, without importing it."""
    path = Path(__path__[0]) / f"{family}.py"
    return path.is_file() and f"\ndef {name}(" in path.read_text(encoding="utf-8")


def __getattr__(name: str) -> Any:
    """Let `from kernels import matmul` work without importing every family at start."""
    known = {} if name.startswith("_") else load()
    if name not in known:
        raise AttributeError(f"module 'kernels' has no kernel {name!r}")
    return known[name]
