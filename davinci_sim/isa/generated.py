"""The named tuples of decoded instructions: declared by `isa.instruction`, made when one is asked for.

They are importable, since compiled code that is kept on disk refers to them by name.
"""

from collections import namedtuple
from typing import Any

FIELDS: dict[str, tuple[str, ...]] = {}
"""Title -> names of the values."""


def __getattr__(title: str) -> Any:
    """Make the type of a title."""
    if title not in FIELDS:
        raise AttributeError(f"module {__name__!r} has no attribute {title!r}")
    return globals().setdefault(title, namedtuple(title, FIELDS[title], module=__name__))
