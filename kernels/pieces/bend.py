"""The sigmoid and the hyperbolic tangent of fp32 numbers in UB, for any arguments."""

from typing import Any

from davinci_sim.isa import FP32
from kernels.lang.emits import emits
from kernels.lang.flat import EXP, REC, flat_scale, flat_unary


@emits
def sigmoid(core: Any, x: int, n: int) -> None:
    """Replace x[n] by 1 / (1 + exp(-x)); infinite powers give 0."""
    flat_scale(core, x, x, n, -1.0, 0.0, FP32)
    flat_unary(core, EXP, x, x, n, FP32)
    flat_scale(core, x, x, n, 1.0, 1.0, FP32)
    flat_unary(core, REC, x, x, n, FP32)


@emits
def tanh(core: Any, dst: int, x: int, n: int) -> None:
    """dst[n] = 1 - 2 / (exp(2 x) + 1); infinite powers give 1."""
    flat_scale(core, dst, x, n, 2.0, 0.0, FP32)
    flat_unary(core, EXP, dst, dst, n, FP32)
    flat_scale(core, dst, dst, n, 1.0, 1.0, FP32)
    flat_unary(core, REC, dst, dst, n, FP32)
    flat_scale(core, dst, dst, n, -2.0, 1.0, FP32)
