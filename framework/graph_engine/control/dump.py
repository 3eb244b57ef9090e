"""A folder with what every step of a session made: texts, pictures, and digests by which damage is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from davinci_sim.errors import DavinciError
from davinci_sim.trace.files import atomic_file
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

    The manifest with the digests comes last: a folder without one is no dump, whenever the writing stopped.

    Raises:
        CannotWrite: the folder cannot be written.
    """
    from framework.graph_engine.pictures import PICTURES

    (folder / MANIFEST).unlink(missing_ok=True)
    texts = {**session.texts(), "6 execute": profile.text() + profile.timeline.text()}
    for step, text in texts.items():
        with atomic_file(folder / _file(step, "txt")) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for step, draw in PICTURES.items():
        with atomic_file(folder / _file(step, "png")) as temporary:
            draw(session, profile).savefig(temporary, format="png")
    with atomic_file(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(result) + "\n", encoding="utf-8")
    names = (*(_file(step, ending) for step in texts for ending in ("txt", "png")), RESULT)
    manifest = {"format": FORMAT, "sha256": {name: _digest(folder / name) for name in names}}
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return (*names, MANIFEST)


def read_dump(folder: Path) -> dict[str, Any]:
    """Return the result in a dump whose files are all as they were written.

    Raises:
        BadDump: there is no dump, or a file of it is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        digests, known = dict(manifest["sha256"]), manifest["format"]
    except FileNotFoundError:
        raise BadDump(
            f"{folder} holds no whole dump: {MANIFEST} is missing\n  next: write one with --dump {folder}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadDump(f"{folder / MANIFEST} cannot be read: {error}\n  next: write the dump anew") from None
    if known != FORMAT:
        raise BadDump(f"{folder} is of format {known!r}\n  rule: this version reads {FORMAT!r}")
    if RESULT not in digests:
        raise BadDump(f"{folder / MANIFEST} names no {RESULT}\n  next: write the dump anew")
    for name, digest in digests.items():
        _check(folder / name, digest)
    found: dict[str, Any] = json.loads((folder / RESULT).read_bytes())
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
