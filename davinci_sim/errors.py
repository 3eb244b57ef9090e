"""What can go wrong, one class per kind of mistake.

`DavinciError` is the root of the mistakes that a user can make and mend; the command line turns it into one
message and exit code 2. `InternalError` is a mistake of ours and is never caught on the way.
A message names the object, the rule, the numbers and the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LIST_AT_MOST = 24  # names; a longer list hides the answer that it should show


class DavinciError(Exception):
    """A mistake of the user, told in one message that says what to do next."""


class UnknownName(DavinciError):
    """A name that no registry holds; build it with `unknown`."""


class IllegalInstruction(DavinciError):
    """An instruction whose operands break a rule of the instruction set."""


class OutOfSpace(DavinciError):
    """A buffer that outgrows its memory space; build it with `out_of_space`."""


class Deadlock(DavinciError):
    """A program in which every pipe waits for a flag that nobody sets."""


class ShapeMismatch(DavinciError):
    """Two shapes that should agree and do not."""


class BadShape(DavinciError):
    """A shape that is not legal by itself: wrong number of axes, a negative length."""


class BadTiling(DavinciError):
    """A tiling that breaks a rule of its kernel."""


class CannotWrite(DavinciError):
    """A file or folder that cannot be written; build it with `cannot_write`."""


class InternalError(Exception):
    """A broken promise inside the kit: our mistake, not the user's."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the known names most like `name`, best first.

    >>> nearest("ascend910", ["ascend910a", "ascend310", "tiny"])
    ['ascend910a', 'ascend310']
    """
    spelled = {candidate.lower(): candidate for candidate in known}
    return [spelled[key] for key in difflib.get_close_matches(str(name).lower(), spelled, n=count)]


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownName:
    """Build the error for a name that is in no registry: the nearest names, and all of them if they are few.

    >>> print(unknown("dtype", "fp61", ["fp16", "fp32", "int8"]))
    unknown dtype 'fp61': did you mean fp16? Known: fp16, fp32, int8
    """
    names = sorted(known)
    close = nearest(str(name), names)
    guess = f": did you mean {' or '.join(close)}? Known" if close else "; known"
    listing = ", ".join(names) if len(names) <= _LIST_AT_MOST else f"{len(names)} names"
    return UnknownName(f"unknown {kind} {name!r}{guess}: {listing or 'none'}")


def out_of_space(
    buffer: object, space: str, needed_bytes: int, available_bytes: int, step: str = ""
) -> OutOfSpace:
    """Build the error for a buffer that does not fit: which buffer, the bytes needed and the bytes there are.

    >>> print(out_of_space("a0@L0A[256, 256] fp16 ZZ", "L0A", 131072, 65536, step="halve m0 or k0"))
    a0@L0A[256, 256] fp16 ZZ does not fit L0A: needs 131072 bytes, available 65536; halve m0 or k0
    """
    message = f"{buffer} does not fit {space}: needs {needed_bytes} bytes, available {available_bytes}"
    return OutOfSpace(f"{message}; {step or 'use a smaller tile'}")


def cannot_write(path: object, reason: object) -> CannotWrite:
    """Build the error for a file or folder that cannot be written.

    >>> print(cannot_write("results/demo", "Permission denied"))
    cannot write results/demo: Permission denied; choose another folder or change its permissions
    """
    text = getattr(reason, "strerror", None) or reason
    return CannotWrite(f"cannot write {path}: {text}; choose another folder or change its permissions")
