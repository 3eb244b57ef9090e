"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from davinci_sim.errors import cannot_write


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; rename it to `path` when the block has ended well.

    The folder is made if it is missing. A reader sees the old file or the whole new one, also after a crash.
    A link stays one: what it leads to is written.

    Raises:
        CannotWrite: that fails, or a device or a pipe stands at `path`, which must not become a file.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        refuse_what_is_no_file(Path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        to_disk(temporary)
        temporary.replace(target)
        to_disk(target.parent)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        if temporary.exists():
            temporary.unlink()


def refuse_what_is_no_file(path: Path) -> None:
    """Refuse a place where something else than a file stands: whoever may write there would replace it.

    Raises:
        CannotWrite: it is a folder, a device, a pipe or a socket.
    """
    if path.is_dir():
        raise cannot_write(path, "Is a directory")
    if path.exists() and not path.is_file():
        raise cannot_write(path, "it is a device or a pipe, not a file")


def to_disk(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
