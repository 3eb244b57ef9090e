"""Square roots while a kernel is emitted, for constants of instructions."""

from typing import Any

from kernels.lang.emits import emits

STEPS = 40
"""Enough for any 32-bit number: half of the steps find the magnitude, few more all the digits."""


@emits
def inverse_root(core: Any, n: int) -> float:
    """Return 1 / sqrt(n) for a positive integer, by Newton's method."""
    root = 1.0 * n
    for _ in range(STEPS):
        root = 0.5 * (root + n / root)
    return 1.0 / root
