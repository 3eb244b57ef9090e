"""Sixteen-bit floating point as bit patterns: widen to compute, round on every write."""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _widen(typing_context: Any, bits: Any) -> Any:
    """Reinterpret 16 bits as LLVM's half and extend it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = builder.bitcast(args[0], ir.HalfType())
        return builder.fpext(half, ir.FloatType())

    return types.float32(types.uint16), codegen


def _narrow(typing_context: Any, value: Any) -> Any:
    """Round to LLVM's half and reinterpret it as 16 bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = builder.fptrunc(args[0], ir.HalfType())
        return builder.bitcast(half, ir.IntType(16))

    return types.uint16(types.float32), codegen


widen = cast(Callable[[Any], Any], intrinsic(_widen))
"""Return the float32 value of a float16 bit pattern (exact); for compiled code only."""

narrow = cast(Callable[[Any], Any], intrinsic(_narrow))
"""Return the float16 bit pattern nearest to a float32 value (ties to even); for compiled code only."""
