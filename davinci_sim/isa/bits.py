"""Sixteen-bit floating point as bit patterns: widen to compute, round on every write.

Compiled code has no such numbers: `davinci_sim.isa.lowering` says what machine instructions these two are.
"""

from typing import Any

import numpy as np


def widen(bits: Any) -> Any:
    """Return the float32 value of a float16 bit pattern (exact)."""
    return np.float32(np.uint16(bits).view(np.float16))


def narrow(value: Any) -> Any:
    """Return the float16 bit pattern nearest to a float32 value (ties to even)."""
    with np.errstate(over="ignore"):
        return np.float32(value).astype(np.float16).view(np.uint16)
