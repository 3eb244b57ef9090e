"""Sixteen-bit floating point as bit patterns: widen to compute, round on every write."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from davinci_sim.isa.jit import jit


@intrinsic  # type: ignore[untyped-decorator]
def widen(typing_context: Any, bits: Any) -> Any:
    """Return the float32 value of a float16 bit pattern (exact)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = builder.bitcast(args[0], ir.HalfType())
        return builder.fpext(half, ir.FloatType())

    return types.float32(types.uint16), codegen


@intrinsic  # type: ignore[untyped-decorator]
def narrow(typing_context: Any, value: Any) -> Any:
    """Return the float16 bit pattern nearest to a float32 value (ties to even)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = builder.fptrunc(args[0], ir.HalfType())
        return builder.bitcast(half, ir.IntType(16))

    return types.uint16(types.float32), codegen


@jit
def widen_into(out: np.ndarray, bits: np.ndarray, start: int, count: int) -> None:
    """Fill out[:count] float32 from the float16 patterns bits[start:start + count]."""
    for index in range(count):
        out[index] = widen(bits[start + index])


@jit
def narrow_into(bits: np.ndarray, start: int, values: np.ndarray, count: int) -> None:
    """Fill bits[start:start + count] with the float16 patterns of values[:count] float32."""
    for index in range(count):
        bits[start + index] = narrow(values[index])
