"""Kept tilings: one readable file per chip, those of the kit and the user's own.

An entry is used while its digest is that of the kernel and the chip at hand; a stale one is passed over. One
that was changed since it was written, which its sum tells, is refused.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import kernels.tunings
from davinci_sim.errors import DavinciError
from davinci_sim.memory.dtypes import dtype as dtype_of
from davinci_sim.platforms import Platform
from davinci_sim.trace.files import atomic_file
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.tune.journal import Journal
from kernels.tune.tuned import Tuned, digest_of

FOLDER_VARIABLE = "DAVINCI_TUNINGS"
"""Names the user's folder in the environment; empty: there is none."""
SHIPPED = Path(kernels.tunings.__path__[0])
HEAD = """\
# Tilings found by `davinci kernel tune` for {platform}.
# An entry is used while kernel and chip are those that it was found for (digest). To forget it, delete it.
"""
TEXTS = ("kernel", "shape", "tiling", "default", "digest")
NUMBERS = ("cycles", "default_cycles", "candidates")
Entry = dict[str, Any]


def own_folder() -> Path | None:
    """Return where the user's tilings are kept, or None if nowhere."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "davinci-kit" / "tunings"


@contextmanager
def shipped_only() -> Iterator[None]:
    """Leave the user's own tilings out of what runs in the block, so that it does the same everywhere."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = ""
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before


def file_of(folder: Path, platform: str) -> Path:
    """Return the file of a chip."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', platform)}.toml"


def kept(kernel: Kernel, shape: Shape, platform: Platform) -> Tuned | None:
    """Return what was kept for a kernel, a shape and a chip, the user's own first, or None."""
    found = (kept_in(folder, kernel, shape, platform) for folder in (own_folder(), SHIPPED) if folder)
    return next(filter(None, found), None)


def kept_in(folder: Path, kernel: Kernel, shape: Shape, platform: Platform) -> Tuned | None:
    """Return what was kept in a folder, if it holds."""
    entry = _entries(file_of(folder, platform.name)).get((kernel.name, str(shape)))
    return None if entry is None else _valid(kernel, shape, platform, tuple(sorted(entry.items())))


def keep(tuned: Tuned, folder: Path | None = None) -> Path:
    """Write what a search found into the file of its chip, in the user's folder or another; return the file.

    Raises:
        CannotWrite: the file cannot be written.
        DavinciError: there is no folder, or what stands in the file cannot be read.
    """
    path = file_of(folder_or_own(folder), tuned.platform)
    entries = dict(_entries(path))
    entry: Entry = {name: str(getattr(tuned, name)) for name in TEXTS}
    entry |= {name: int(getattr(tuned, name)) for name in NUMBERS}
    entries[tuned.kernel, tuned.shape] = entry
    with atomic_file(path) as temporary:
        temporary.write_text(text_of(tuned.platform, entries), encoding="utf-8")
    return path


def folder_or_own(folder: Path | None) -> Path:
    """Return a folder, or the user's own if none is given.

    Raises:
        DavinciError: there is neither.
    """
    chosen = folder or own_folder()
    if chosen is None:
        raise DavinciError(
            f"{FOLDER_VARIABLE} is empty\n  rule: tilings are kept in a folder\n  next: name one, or unset it"
        )
    return chosen


def journal_of(folder: Path, platform: str) -> Journal:
    """Return the journal of searches for a chip whose results will be kept in a folder."""
    return Journal(file_of(folder, platform).with_suffix(".journal"))


def stored(folder: Path, platform: str) -> list[tuple[str, str]]:
    """Return the kernels and shapes that the file of a chip has entries of, whether they hold or not."""
    return sorted(_entries(file_of(folder, platform)))


def drop(folder: Path, platform: str, kernel: str, shape: str) -> None:
    """Remove an entry from the file of a chip.

    Raises:
        CannotWrite: the file cannot be written.
    """
    path = file_of(folder, platform)
    left = {key: entry for key, entry in _entries(path).items() if key != (kernel, shape)}
    with atomic_file(path) as temporary:
        temporary.write_text(text_of(platform, left), encoding="utf-8")


def shape_from(kernel: Kernel, text: str) -> Shape:
    """Read a shape as it prints.

    Raises:
        DavinciError: the kernel has no such shape, or none that prints like that.
    """
    values = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        values[name] = dtype_of(value).code if name.endswith("dtype") else int(value)
    return kernel.shape_type.of(kernel.name, values)


def text_of(platform: str, entries: dict[tuple[str, str], Entry]) -> str:
    """Return the file for entries, by kernel and shape."""
    parts = [HEAD.format(platform=platform)]
    for _, entry in sorted(entries.items()):
        keys = ("kernel", "shape", "tiling", "cycles", "default", "default_cycles", "candidates", "digest")
        lines = [*(f"{key} = {json.dumps(entry[key])}" for key in keys), f'sum = "{_sum(entry)}"']
        parts.append("\n".join(["[[tuned]]", *lines]) + "\n")
    return "\n".join(parts)


def _sum(entry: Entry) -> str:
    """Return what tells whether anything of an entry was changed."""
    text = json.dumps([entry[key] for key in (*TEXTS, *NUMBERS)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _entries(path: Path) -> dict[tuple[str, str], Entry]:
    """Return the entries of a file by kernel and shape."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return {}
    return _read(path, changed)


@lru_cache(maxsize=32)
def _read(path: Path, _changed: int) -> dict[tuple[str, str], Entry]:
    """Read a file.

    Raises:
        DavinciError: it is no TOML, or an entry lacks a key, has a value of another kind, or was changed.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("tuned", [])
        entries = [_entry(table) for table in tables]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError, TypeError, KeyError) as error:
        raise DavinciError(
            f"{path} holds no tilings: {type(error).__name__}: {error}\n"
            "  rule: it is written by `davinci kernel tune`\n  next: mend it, or delete it and tune again"
        ) from None
    except Changed as changed:
        raise DavinciError(
            f"{path}: the tiling of {changed} was changed after it was written\n"
            "  rule: what a search has found is used as it was found\n"
            "  next: delete this entry, and tune again; to try a tiling, davinci kernel run --tiling"
        ) from None
    return {(entry["kernel"], entry["shape"]): entry for entry in entries}


class Changed(Exception):
    """An entry whose sum is another one."""


def _entry(table: Entry) -> Entry:
    """Return an entry from a table of a file."""
    entry = {key: table[key] for key in (*TEXTS, *NUMBERS)}
    for key, value in entry.items():
        kind = str if key in TEXTS else int
        if type(value) is not kind:
            raise TypeError(f"{key} is {value!r}, it must be {'a text' if kind is str else 'a whole number'}")
    if table["sum"] != _sum(entry):
        raise Changed(f"{entry['kernel']} {entry['shape']}")
    return entry


@lru_cache(maxsize=4096)
def _valid(
    kernel: Kernel, shape: Shape, platform: Platform, items: tuple[tuple[str, Any], ...]
) -> Tuned | None:
    """Return an entry as a value if it is of this kernel and this chip, else None."""
    entry = dict(items)
    try:
        best, default = (_tiling(kernel, entry[name], shape, platform) for name in ("tiling", "default"))
        holds = digest_of(kernel, shape, platform, default, best) == entry["digest"]
    except (ValueError, DavinciError):  # fields that the kernel no longer has, or that no longer fit
        return None
    made = Tuned(
        kernel.name, str(shape), platform.name, best, entry["cycles"], default, entry["default_cycles"],
        entry["candidates"], entry["digest"],
    )  # fmt: skip
    return made if holds else None


def _tiling(kernel: Kernel, text: str, shape: Shape, platform: Platform) -> Tiling:
    """Read a tiling as it prints."""
    values = {name: int(value) for name, _, value in (part.partition("=") for part in text.split(","))}
    return kernel.tiling_type.of(kernel.name, values, shape, platform)
