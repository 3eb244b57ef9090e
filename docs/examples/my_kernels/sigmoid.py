"""A building block of kernels, in a file beside them."""

from kernels.lang import *  # noqa: F403 - the language's words, as a kernel's author writes them


@emits
def sigmoid(core, made: int, x: int, slope: float, n: int):
    """made[n] = 1 / (1 + e ** (-slope * x[n])), fp32 in UB; no flags are needed within one pipe."""
    flat_scale(core, made, x, n, -slope, 0.0, FP32)
    flat_unary(core, EXP, made, made, n, FP32)
    flat_scale(core, made, made, n, 1.0, 1.0, FP32)
    flat_unary(core, REC, made, made, n, FP32)
