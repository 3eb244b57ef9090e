"""Make sure that results can be written before the work that makes them starts."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from davinci_sim.errors import cannot_write
from davinci_sim.trace.files import refuse_what_is_no_file


def writable_folder(folder: Path) -> Path:
    """Make a folder, try to write in it, and return it.

    Raises:
        CannotWrite: it cannot be made or written.
    """
    try:
        _try_to_write_in(folder)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return folder


def writable_file(path: Path) -> Path:
    """Make sure that a file can be written at `path`, and return the path.

    Raises:
        CannotWrite: its folder cannot be written, or a folder or a device stands in its place.
    """
    try:
        refuse_what_is_no_file(path)
        _try_to_write_in(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from None
    return path


def _try_to_write_in(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # mkdir's word for a file in the place of a folder
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    with tempfile.TemporaryFile(dir=folder):
        pass
