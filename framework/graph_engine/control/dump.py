"""A folder with what every step of a session made: texts, pictures, and digests by which damage is found."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from davinci_sim.errors import DavinciError, cannot_write
from davinci_sim.trace.files import to_disk
from framework.graph_engine.control.profile import Profile
from framework.graph_engine.control.session import Session

MANIFEST, RESULT = "manifest.json", "result.json"
FORMAT = "davinci dump 1"


class BadDump(DavinciError):
    """A folder that holds no dump, or a damaged one."""


def write_dump(
    folder: Path, session: Session, profile: Profile, result: Mapping[str, Any]
) -> tuple[str, ...]:
    """Write a text and a picture per step and the result; return the names of the files.

    All are made in a folder beside their places first, so that what stops the writing leaves no half of them,
    and a dump that was there before as it was. Of the renames the manifest with the digests comes last: a
    folder without one is no dump, whenever they stopped.

    Raises:
        CannotWrite: the folder cannot be written.
    """
    made = _texts(session, profile) | _pictures(session, profile)
    made[RESULT] = (json.dumps(result) + "\n").encode()
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    manifest = {"format": FORMAT, "sha256": digests}
    made[MANIFEST] = (json.dumps(manifest, indent=1) + "\n").encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".dump-", dir=folder) as beside:
            _place(made, Path(beside), folder)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return tuple(made)


def _texts(session: Session, profile: Profile) -> dict[str, bytes]:
    """Return what each step tells, by the name of its file."""
    texts = {**session.texts(), "6 execute": profile.whole_text()}
    return {_file(step, "txt"): text.encode() for step, text in texts.items()}


def _pictures(session: Session, profile: Profile) -> dict[str, bytes]:
    """Return the picture of each step, by the name of its file."""
    from framework.graph_engine.pictures import PICTURES

    found = {}
    for step, draw in PICTURES.items():
        drawn = BytesIO()
        draw(session, profile).savefig(drawn, format="png")
        found[_file(step, "png")] = drawn.getvalue()
    return found


def _place(made: Mapping[str, bytes], beside: Path, folder: Path) -> None:
    """Write files beside their folder, and then rename them all; the last one of them vouches for all."""
    for name, data in made.items():
        with (beside / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in made:
        (beside / name).replace(folder / name)
    to_disk(folder)


def read_dump(folder: Path, needed: Collection[str] = ()) -> dict[str, Any]:
    """Return the result in a dump whose files are all as they were written.

    Raises:
        BadDump: there is no dump, a file of it is missing or damaged, or its result lacks what is needed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        digests, known = dict(manifest["sha256"]), manifest["format"]
    except FileNotFoundError:
        raise BadDump(
            f"{folder} holds no whole dump: {MANIFEST} is missing\n  next: write one with --dump {folder}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = "it is no table of digests" if isinstance(error, TypeError | KeyError) else error
        raise BadDump(f"{folder / MANIFEST} cannot be read: {text}\n  next: write the dump anew") from None
    if known != FORMAT:
        raise BadDump(f"{folder} is of format {known!r}\n  rule: this version reads {FORMAT!r}")
    if RESULT not in digests:
        raise BadDump(f"{folder / MANIFEST} names no {RESULT}\n  next: write the dump anew")
    for name, digest in digests.items():
        _check(folder / name, digest)
    return _result(folder / RESULT, needed)


def _result(path: Path, needed: Collection[str]) -> dict[str, Any]:
    """Return the result of a dump, with all that is needed of it."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadDump(f"{path} cannot be read: {error}\n  next: write the dump anew") from None
    lacks = sorted({*needed} - {*found}) if isinstance(found, dict) else sorted(needed)
    if lacks or not isinstance(found, dict):
        raise BadDump(
            f"{path} lacks {', '.join(lacks) or 'everything'}\n"
            "  rule: it is what davinci simulate --json prints\n  next: write the dump anew"
        )
    return found


def _check(path: Path, digest: str) -> None:
    """Refuse a file that is not as it was written."""
    found = _digest(path) if path.is_file() else "nothing"
    if found != digest:
        raise BadDump(
            f"{path} is damaged: its SHA-256 is {found[:12]}, the manifest says {digest[:12]}\n"
            "  next: write the dump anew"
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _file(step: str, ending: str) -> str:
    """Return the name of a file: "1 prepare" becomes 1_prepare.txt."""
    return f"{step.replace(' ', '_')}.{ending}"
