"""Compile functions of numbers to machine code once, and keep the result on disk."""

import getpass
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_NO_WAY_IN: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

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
    """Return where machine code is kept: in the user's cache, or where the environment says.

    Where that cannot be written, a folder for temporary files takes its place, so that a read-only home
    costs a compilation after every restart of the machine, and nothing else.
    """
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("DAVINCI_CACHE")
    base = Path(root) if root else Path.home() / ".cache" / "davinci-kit"
    try:
        base.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(base, os.W_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        base = Path(tempfile.gettempdir()) / f"davinci-kit-{getpass.getuser()}"
    return base / f"numba-{_digest_of_sources()}"


CACHE_FOLDER = str(_cache_folder())
"""Where machine code is kept; it changes with every source that other code is compiled from."""
vars(numba.config)["CACHE_DIR"] = CACHE_FOLDER


def jit(function: F) -> F:
    """Compile `function` with Numba on first use and cache the machine code on disk.

    No fast maths and no parallel loops, so that results are the same bits everywhere; the lock of the
    interpreter is released, so that cores can be executed side by side.
    """
    return cast(F, numba.njit(**_OPTIONS)(function))


def inner(function: F) -> F:
    """Compile a function that only compiled code calls; leaving out Python's way in saves compile time."""
    return cast(F, numba.njit(**_OPTIONS, **_NO_WAY_IN)(function))


def inlined(function: F) -> F:
    """Compile a function into each of its callers: for short ones that get many arrays, in hot loops."""
    return cast(F, numba.njit(**_OPTIONS, **_NO_WAY_IN, forceinline=True, _nrt=False)(function))
