"""Source for Numba in files, and the machine code that Numba keeps beside them."""

from __future__ import annotations

import getpass
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from davinci_sim.errors import InternalError
from framework.host.native.source import NativeSource

_HEAD = '''"""A loop of scalars, written by framework.host.native."""

import numpy as np
from numba import njit

from framework.host.native.parts import (
    binary,
    extended,
    grown,
    grown_ranges,
    is_interrupted,
    summed,
    unary,
)


@njit("{signature}", error_model="numpy", cache=True)
'''


def compiled(source: NativeSource) -> Callable[..., Any]:
    """Return the machine code of a loop: from the disk, if it was compiled before."""
    text = _HEAD.format(signature=source.signature) + source.text + "\n"
    name = f"loop_{hashlib.sha256((text + _parts()).encode()).hexdigest()[:16]}"
    path = _folder() / f"{name}.py"
    if not path.exists():
        _write(path, text)
    module = f"davinci_{name}"
    if module not in sys.modules:
        spec = importlib.util.spec_from_file_location(module, path)
        if spec is None or spec.loader is None:
            raise InternalError(f"{path} is no module")
        sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module])
    found: Callable[..., Any] = sys.modules[module].loop
    return found


@cache
def _parts() -> str:
    """Return the source of what is compiled into every loop: with another one, old machine code is left."""
    return Path(__file__).with_name("parts.py").read_text()


@cache
def _folder() -> Path:
    """Return where loops are kept: where the environment says, in the user's cache, or a temporary folder."""
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("DAVINCI_CACHE")
    folder = (Path(root) if root else Path.home() / ".cache" / "davinci-kit") / "loops"
    if not _can_write(folder):  # no home, or one that is read only
        folder = Path(tempfile.gettempdir()) / f"davinci-kit-{getpass.getuser()}" / "loops"
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _can_write(folder: Path) -> bool:
    """Tell whether a folder is there, or could be made, and takes files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _write(path: Path, text: str) -> None:
    """Write a file at once, so that no other process sees half of it."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)
