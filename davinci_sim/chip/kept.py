"""Remembered times on disk: what one process has simulated, the next one finds.

An entry is a file of its own, named by a digest of everything that the time depends on, and with a digest of
its bytes in front: a damaged one is simulated anew. Files are written beside their place and then renamed, so
that processes may share a folder. Where that grows too large, entries that were not used for longest go.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from davinci_sim.chip.engine.renaming import Entries
from davinci_sim.chip.group import GroupTime, TaskTime

MOST_BYTES = 1 << 30
"""What all entries may take on disk: whole steps of large networks, compiled in many ways, fit."""
BLOCK_BYTES = 1 << 12
"""What the smallest file takes, as usual file systems have it."""
TRIM_BYTES = 1 << 24
"""What a process writes before it looks again at how large the folder is."""
CHECK_BYTES = 16
LEAST_EFFORT = 1
"""Of zlib: runs shrink to a fifth with it, in a tenth of the time of the simulation."""


class Remembered(NamedTuple):
    """What a group takes, and what it leaves in L2 (see engine.renaming), as runs of entries."""

    time: GroupTime
    left: Entries


class Store:
    """Entries in a folder. One that cannot be written keeps nothing, which costs time and nothing else."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        """Use a folder; it is made when there is something to keep."""
        self.folder, self.most_bytes = folder, most_bytes
        self.is_writable = True
        self._unseen_bytes = TRIM_BYTES  # written since the folder was last looked at

    def get(self, key: str) -> bytes | None:
        """Return an entry; None if there is none, or if it is damaged."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        body = data[CHECK_BYTES:]
        if data[:CHECK_BYTES] != _check(body):
            path.unlink(missing_ok=True)
            return None
        if os.access(path, os.W_OK):
            os.utime(path)  # used now: others go before it
        return zlib.decompress(body)

    def put(self, key: str, entry: bytes) -> None:
        """Keep an entry."""
        if not self.is_writable:
            return
        path, body = self._path(key), zlib.compress(entry, LEAST_EFFORT)
        data = _check(body) + body
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
                file.write(data)
            Path(file.name).replace(path)
        except OSError:
            self.is_writable = False
            return
        self._unseen_bytes += _on_disk(len(data))
        if self._unseen_bytes > min(TRIM_BYTES, self.most_bytes):
            self._trim()

    def _trim(self) -> None:
        """Remove what was not used for longest, down to three quarters of what may be, if there is more."""
        self._unseen_bytes = 0
        entries = []
        for path in self.folder.glob("??/*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process removed it
                continue
            entries.append((status.st_mtime_ns, _on_disk(status.st_size), path))
        size = sum(entry[1] for entry in entries)
        if size <= self.most_bytes:
            return
        for _, nbytes, path in sorted(entries):
            if size <= self.most_bytes * 3 // 4:
                break
            path.unlink(missing_ok=True)
            size -= nbytes

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]


def _on_disk(nbytes: int) -> int:
    """Return what a file takes."""
    return -(-nbytes // BLOCK_BYTES) * BLOCK_BYTES


@cache
def store_in(folder: Path) -> Store:
    """Return the one store of a folder for all chips of a process, which looks at its size once for them."""
    return Store(folder)


def packed(known: Remembered) -> bytes:
    """Return an entry as bytes: a line of times, and the runs column by column."""
    return _line([known.time]) + known.left.T.tobytes()


def unpacked(entry: bytes) -> Remembered:
    """Read an entry back."""
    line, _, runs = entry.partition(b"\n")
    left = np.ascontiguousarray(np.frombuffer(runs, dtype=np.int32).reshape(3, -1).T)
    return Remembered(_times(line)[0], left)


def packed_sequence(times: Sequence[GroupTime], content: bytes) -> bytes:
    """Return the times of a sequence of groups, and the digest of what L2 holds then, as bytes."""
    return _line(times) + content


def unpacked_sequence(entry: bytes) -> tuple[tuple[GroupTime, ...], bytes]:
    """Read a sequence back."""
    line, _, content = entry.partition(b"\n")
    return _times(line), content


def _line(times: Sequence[GroupTime]) -> bytes:
    rows = [
        [time.spans, [[task.cycles, dict(task.busy_cycles), task.instructions] for task in time.times]]
        for time in times
    ]
    return json.dumps(rows, separators=(",", ":")).encode() + b"\n"


def _times(line: bytes) -> tuple[GroupTime, ...]:
    return tuple(
        GroupTime(
            tuple((start, end) for start, end in spans),
            tuple(TaskTime(*each) for each in tasks),
        )
        for spans, tasks in json.loads(line)
    )


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=CHECK_BYTES).digest()
