"""Compile functions of numbers to machine code once, and keep the result on disk."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).resolve().parents[1]
_EMISSION = _PACKAGE.parent / "kernels" / "lang"


def _digest_of_sources() -> str:
    """Digest every source that generated code or inlined code depends on.

    Numba renews a cached function when its own file changes, but not when a function that it calls does.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    folders = [_PACKAGE / "isa", _PACKAGE / "core", _EMISSION]
    for path in sorted(file for folder in folders for file in folder.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path:
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("DAVINCI_CACHE")
    base = Path(root) if root else Path.home() / ".cache" / "davinci-kit"
    return base / f"numba-{_digest_of_sources()}"


numba.config.CACHE_DIR = str(_cache_folder())


def jit(function: F) -> F:
    """Compile `function` with Numba on first use and cache the machine code on disk.

    No fast maths and no parallel loops, so that results are the same bits everywhere; the lock of the
    interpreter is released, so that cores can be executed side by side.
    """
    compiled: F = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled
