"""What several families check and round alike, in plain Python."""

import math

from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import DTYPE_NAMES, FP16, INT8, UINT8


def require(kernel: str, holds: bool, rule: str, numbers: str) -> None:
    """Raise BadShape unless a rule of a kernel's shape holds."""
    if not holds:
        raise BadShape(f"kernel {kernel}: {numbers}\n  rule: {rule}\n  next: change the shape")


def require_dtype(kernel: str, dtype: int, *legal: int, name: str = "dtype") -> None:
    """Raise BadShape unless an element type, given as its code, is one of the legal ones."""
    names = " or ".join(DTYPE_NAMES[code] for code in legal)
    require(kernel, dtype in legal, f"{name} is {names}", f"{name}={DTYPE_NAMES[dtype]}")


def round_up(value: int, unit: int) -> int:
    """Return the least multiple of `unit` that is not below `value`.

    >>> round_up(17, 16)
    32
    """
    return -(-value // unit) * unit


def item_bytes(dtype: int) -> int:
    """Return the size of an element of type code `dtype`."""
    return {FP16: 2, INT8: 1, UINT8: 1}.get(dtype, 4)


def overlapped(one: float, other: float) -> float:
    """Return the time of two things that run side by side, and hinder each other where they take alike.

    It is the norm of degree 4: near the longer of unequal times, 19 % above equal ones. Products and square
    roots are rounded alike on every machine, powers are not, and a tiling must not depend on the machine.

    >>> round(overlapped(100.0, 50.0), 3), overlapped(0.0, 7.0)
    (101.527, 7.0)
    """
    first, second = one * one, other * other
    return math.sqrt(math.sqrt(first * first + second * second))
