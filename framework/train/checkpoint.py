"""Checkpoints: safetensors files with a SHA-256 that loading verifies, written atomically."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError, cannot_write
from framework.files import write_atomically

Array = np.ndarray[Any, Any]


class DamagedFile(DavinciError):
    """A file whose content is not what was saved."""


def save_checkpoint(path: str | Path, state: Mapping[str, Array]) -> Path:
    """Write arrays by name to `path`, and their digest to `path.sha256`; return the path.

    Each file appears whole or not at all: it is written beside its place, flushed to the disk and renamed.
    """
    from safetensors.numpy import save

    target = Path(path)
    data = save({name: np.ascontiguousarray(array) for name, array in state.items()})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, data)
        write_atomically(
            _digest_path(target), f"{hashlib.sha256(data).hexdigest()}  {target.name}\n".encode()
        )
    except OSError as error:
        raise cannot_write(target, error) from None
    return target


def load_checkpoint(path: str | Path) -> dict[str, Array]:
    """Return the arrays of a checkpoint by name; a file that is not as it was saved is refused."""
    from safetensors.numpy import load

    source = Path(path)
    try:
        data, digest = source.read_bytes(), _digest_path(source).read_text().split()[0]
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise DavinciError(
            f"cannot read checkpoint {source}: {error}; both the file and {_digest_path(source).name} "
            "are needed, as save_checkpoint wrote them"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise DamagedFile(
            f"checkpoint {source} is damaged: its SHA-256 is {found[:12]}..., {digest[:12]}... was "
            "saved; restore it from a copy"
        )
    arrays: dict[str, Array] = load(data)
    return arrays


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
