"""What the programs of a kernel are made from, as a digest: times are kept on disk under it."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import davinci_sim
import kernels

if TYPE_CHECKING:
    from kernels.lang.kernel import Kernel


def identity(kernel: Kernel) -> str:
    """Return a digest that changes with everything that a kernel's programs and their times are made from.

    It is empty for a kernel from a file of the user, which may use whatever it imports.
    """
    return _identity(kernel.module)


@cache
def _identity(module: str) -> str:
    """Return the digest for the kernels of a module; generated ones lie outside the kit's folders."""
    if not module.startswith("kernels."):
        return ""
    path = Path(sys.modules[module].__file__ or "")
    if path.is_relative_to(kernels.__path__[0]):
        return kit()
    return hashlib.blake2b(kit().encode() + path.read_bytes(), digest_size=16).hexdigest()


@cache
def kit() -> str:
    """Digest the source of the simulator and of the kernels: after any change, all is simulated anew."""
    digest = hashlib.blake2b(digest_size=16)
    for folder in (*davinci_sim.__path__, *kernels.__path__):
        for path in sorted(Path(folder).rglob("*.py")):
            text = path.read_bytes()
            digest.update(f"{path.relative_to(folder)} {len(text)} ".encode() + text)
    return digest.hexdigest()
