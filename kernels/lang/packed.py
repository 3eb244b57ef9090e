"""The named tuples of shapes and tilings: a type is known by its field names and made when it is asked for.

Compiled code that is kept on disk refers to these types by name. They can be found by whoever loads it, even
where the kernel for which they were first made is not imported.
"""

from collections import namedtuple
from typing import Any

_PREFIX, _BETWEEN = "integers", "__"


def named(fields: tuple[str, ...]) -> Any:
    """Return the named tuple type with these fields, always the same one.

    >>> named(("m", "k"))(m=1, k=2)
    integers__m__k(m=1, k=2)
    """
    title = _BETWEEN.join((_PREFIX, *fields))
    if title not in globals():
        globals()[title] = namedtuple(title, fields, module=__name__)
    return globals()[title]


def __getattr__(name: str) -> Any:
    """Make the type that a name describes."""
    prefix, *fields = name.split(_BETWEEN)
    if prefix != _PREFIX or not fields:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return named(tuple(fields))
