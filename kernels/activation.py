"""Activation functions of neural networks, and their gradients, element by element.

Half precision is computed in fp32, except for straight pieces (and on chips without exponentials of fp32).
All kernels are one stream with a curve of `kernels.pieces.curves`; a gradient is dy times the curve's
derivative, at the argument x or, where that is cheaper, at the value y.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.lang import (
    FP16,
    FP32,
    MUL,
    UB,
    Operand,
    alloc,
    emits,
    flat_binary,
    flat_convert,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
)
from kernels.pieces.curves import (
    CUBIC,
    ELU,
    ELU_SLOPE,
    GELU,
    GELU_ERF,
    GELU_ERF_SLOPE,
    GELU_SLOPE,
    HSIGMOID,
    HSIGMOID_SLOPE,
    HSWISH,
    HSWISH_SLOPE,
    LEAKY_RELU,
    LEAKY_RELU_SLOPE,
    RELU6,
    RELU6_SLOPE,
    ROOT_8_BY_PI,
    ROOT_HALF_BY_PI,
    SIGMOID,
    SIGMOID_SLOPE,
    SMALL_SQUARE,
    SOFTPLUS,
    SWISH,
    SWISH_SLOPE,
    TANH,
    TANH_SLOPE,
    Curve,
    bench,
    curve,
    work_dtype,
)
from kernels.pieces.stream import bring, close_stream, open_stream, release, room, send
from kernels.rules import item_bytes, require
from kernels.tiling.flat import FlatShape, FlatTiling

Array = npt.NDArray[Any]
WIDE_ARRAYS = 4
"""Arrays of fp32 beside a tile of fp16: argument, result and two more; a tile of fp32 needs the two."""


@dataclass(frozen=True)
class ActivationShape(FlatShape):
    """n elements of type `dtype`."""

    SOURCES: ClassVar[int] = 1

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot, half of the arrays without slots among them."""
        size = item_bytes(self.dtype)
        return (self.SOURCES + 1) * size + (WIDE_ARRAYS if size == 2 else 2) * 2


@dataclass(frozen=True)
class GeluShape(ActivationShape):
    """n elements; `erf` 0: the tanh form, which MindSpore's GELU has by default, 1: the exact one."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("erf",)
    erf: int = 0

    def check(self, kernel: str) -> None:
        """Refuse other types and forms."""
        super().check(kernel)
        require(kernel, self.erf in (0, 1), "erf is 0 (the tanh form) or 1", f"erf={self.erf}")


@dataclass(frozen=True)
class LeakyShape(ActivationShape):
    """n elements; negative ones are multiplied by `percent` hundredths."""

    OPTIONS: ClassVar[tuple[str, ...]] = ("percent",)
    percent: int = 20

    def check(self, kernel: str) -> None:
        """Refuse other types, and slopes that are not between 0 and 1."""
        super().check(kernel)
        rule = "percent is from 0 to 100, the slope of negative numbers in hundredths"
        require(kernel, 0 <= self.percent <= 100, rule, f"percent={self.percent}")


@dataclass(frozen=True)
class ActivationGradShape(ActivationShape):
    """n elements of type `dtype`, two sources."""

    SOURCES: ClassVar[int] = 2


@dataclass(frozen=True)
class GeluGradShape(GeluShape):
    """n elements, two sources; `erf` as for gelu."""

    SOURCES: ClassVar[int] = 2


@dataclass(frozen=True)
class LeakyGradShape(LeakyShape):
    """n elements, two sources; `percent` as for leaky_relu."""

    SOURCES: ClassVar[int] = 2


@dataclass(frozen=True)
class ActivationTiling(FlatTiling):
    """Elements of a tile and buffers of each hand-off; long tiles, in which instructions wait less."""

    LONGEST_BYTES: ClassVar[int] = 40 * 1024


@emits
def activate(core: Any, c: Curve, sources: int, a: int, x: int, y: int, shape: Any, tiling: Any) -> None:
    """Compute y[n] = curve(x[n]), times a[n] with two sources, for this block's share."""
    size = size_of(core, shape.dtype)
    s = open_stream(core, sources, tiling.tile, size, tiling.slots)
    work = work_dtype(core, c.op, shape.dtype)
    is_wide = work != shape.dtype
    wide_bytes = s.tile * 4 if is_wide else 0
    wide_x, wide_y = alloc(core, UB, wide_bytes), alloc(core, UB, wide_bytes)
    b = bench(core, s.tile * size_of(core, work), c, work)
    end = share_end(core, shape.n, 512 // size)
    for i in range(share_start(core, shape.n, 512 // size), end, s.tile):
        n = min(s.tile, end - i)
        taken = bring(core, s, x, a, a, i, n)
        made = room(core, s)
        if is_wide:
            flat_convert(core, wide_x, FP32, taken, FP16, n)
            curve(core, b, c.op, wide_y, wide_x, n, 0)
            if sources > 1:
                flat_convert(core, wide_x, FP32, taken + s.pitch, FP16, n)
                flat_binary(core, MUL, wide_y, wide_y, wide_x, n, FP32)
            flat_convert(core, made, FP16, wide_y, FP32, n)
        else:
            curve(core, b, c.op, made, taken, n, work)
            if sources > 1:
                flat_binary(core, MUL, made, made, taken + s.pitch, n, work)
        release(core, s)
        send(core, s, y, made, i, n)
    close_stream(core, s)


def _activation(function: Callable[..., Array], shape: type[FlatShape] = ActivationShape) -> Any:
    def reference(shape: Any, x: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            return (function(shape, x.astype(np.float64)).astype(x.dtype),)

    def operands(shape: FlatShape) -> tuple[Operand, ...]:
        return Operand("x", (shape.n,), shape.dtype), output("y", (shape.n,), shape.dtype)

    return kernel(shape, ActivationTiling, operands, reference)


def _gradient(
    slope: Callable[..., Array],
    shape: type[FlatShape] = ActivationGradShape,
    values: tuple[float, float] | None = None,
) -> Any:
    """Declare dx = dy * slope(x), or of the curve's value y, drawn from its range `values`."""
    at = "x" if values is None else "y"

    def reference(shape: Any, dy: Array, x: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            return ((dy.astype(np.float64) * slope(shape, x.astype(np.float64))).astype(x.dtype),)

    def operands(shape: FlatShape) -> tuple[Operand, ...]:
        n, dtype = (shape.n,), shape.dtype
        return Operand("dy", n, dtype), Operand(at, n, dtype, between=values), output("dx", n, dtype)

    return kernel(shape, ActivationTiling, operands, reference)


def _logistic(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _normal(x: Array) -> Array:
    """Return the probability that a normal number lies below x."""
    return np.asarray([0.5 * math.erfc(-v / math.sqrt(2.0)) for v in x.ravel()]).reshape(x.shape)


def _gelu(shape: Any, x: Array) -> Array:
    finite = np.maximum(x, -1e4)
    if shape.erf:
        return finite * _normal(finite)
    return finite * _logistic(ROOT_8_BY_PI * (finite + CUBIC * finite**3))


def _gelu_slope(shape: Any, x: Array) -> Array:
    x = np.clip(x, -100.0, 100.0)
    if shape.erf:
        return _normal(x) + x * ROOT_HALF_BY_PI * np.exp(-x * x / 2)
    s = _logistic(ROOT_8_BY_PI * (x + CUBIC * x**3))
    return np.asarray(s + x * s * (1 - s) * ROOT_8_BY_PI * (1 + 3 * CUBIC * x * x))


def _swish_slope(shape: Any, x: Array) -> Array:
    x = np.clip(x, -1e4, 1e4)
    s = _logistic(x)
    return np.asarray(s * (1 + x * (1 - s)))


def _hswish_slope(shape: Any, x: Array) -> Array:
    return np.where(x > -3, np.where(x < 3, x / 3 + 0.5, 1.0), 0.0)


@_activation(lambda shape, x: _logistic(x))
def sigmoid(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = 1 / (1 + e ** -x[n])."""
    activate(core, Curve(SIGMOID, 0.0, 0.0, 0.0), 1, x, x, y, shape, tiling)


@_activation(lambda shape, x: np.tanh(x))
def tanh(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = the hyperbolic tangent of x[n]; small ones in fp32 to 2e-6 of their value."""
    activate(core, Curve(TANH, 0.0, SMALL_SQUARE, 0.0), 1, x, x, y, shape, tiling)


@_activation(_gelu, GeluShape)
def gelu(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n] times the probability that a normal number is below it, exactly or in the tanh form."""
    if shape.erf != 0:
        activate(core, Curve(GELU_ERF, 0.0, 20.0, 0.0), 1, x, x, y, shape, tiling)
    else:
        activate(core, Curve(GELU, -30.0, 0.0, 0.0), 1, x, x, y, shape, tiling)


@_activation(lambda shape, x: np.maximum(x, -1e4) * _logistic(x))
def swish(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n] * sigmoid(x[n]), also called silu."""
    activate(core, Curve(SWISH, -105.0, 0.0, 0.0), 1, x, x, y, shape, tiling)


@_activation(lambda shape, x: np.clip(x, 0, 6))
def relu6(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n], at least 0 and at most 6."""
    activate(core, Curve(RELU6, 0.0, 6.0, 0.0), 1, x, x, y, shape, tiling)


@_activation(lambda shape, x: np.clip(x / 6 + 0.5, 0, 1))
def hsigmoid(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = relu6(x[n] + 3) / 6."""
    activate(core, Curve(HSIGMOID, 0.0, 1.0, 0.0), 1, x, x, y, shape, tiling)


@_activation(lambda shape, x: np.maximum(x, -3) * np.clip(x / 6 + 0.5, 0, 1))
def hswish(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n] * relu6(x[n] + 3) / 6."""
    activate(core, Curve(HSWISH, -3.0, 1.0, 0.0), 1, x, x, y, shape, tiling)


@_activation(lambda shape, x: np.maximum(x, 0) + np.expm1(np.minimum(x, 0)))
def elu(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n] where it is positive, else e ** x[n] - 1."""
    activate(core, Curve(ELU, 0.0, 0.0, 0.0), 1, x, x, y, shape, tiling)


@_activation(lambda shape, x: np.maximum(x, x * shape.percent / 100), LeakyShape)
def leaky_relu(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = x[n] where it is positive, else x[n] * percent / 100."""
    activate(core, Curve(LEAKY_RELU, 0.0, 0.0, shape.percent / 100), 1, x, x, y, shape, tiling)


@_activation(lambda shape, x: np.logaddexp(x, 0))
def softplus(core: Any, x: int, y: int, shape: Any, tiling: Any) -> None:
    """y[n] = ln(1 + e ** x[n])."""
    activate(core, Curve(SOFTPLUS, 0.0, 0.0, 0.0), 1, x, x, y, shape, tiling)


@_gradient(lambda shape, y: y * (1 - y), values=(0.0, 1.0))
def sigmoid_grad(core: Any, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] * y[n] * (1 - y[n]) where y = sigmoid(x)."""
    activate(core, Curve(SIGMOID_SLOPE, 0.0, 0.0, 0.0), 2, dy, y, dx, shape, tiling)


@_gradient(lambda shape, y: 1 - y * y, values=(-1.0, 1.0))
def tanh_grad(core: Any, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] * (1 - y[n] ** 2) where y = tanh(x)."""
    activate(core, Curve(TANH_SLOPE, 0.0, 0.0, 0.0), 2, dy, y, dx, shape, tiling)


@_gradient(_gelu_slope, GeluGradShape)
def gelu_grad(core: Any, dy: int, x: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] times the derivative of gelu at x[n]."""
    if shape.erf != 0:
        activate(core, Curve(GELU_ERF_SLOPE, 0.0, 20.0, 0.0), 2, dy, x, dx, shape, tiling)
    else:
        activate(core, Curve(GELU_SLOPE, -10.0, 10.0, 0.0), 2, dy, x, dx, shape, tiling)


@_gradient(_swish_slope)
def swish_grad(core: Any, dy: int, x: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] times the derivative of swish at x[n]."""
    activate(core, Curve(SWISH_SLOPE, -105.0, 105.0, 0.0), 2, dy, x, dx, shape, tiling)


@_gradient(lambda shape, x: np.where((x > 0) & (x < 6), 1.0, 0.0))
def relu6_grad(core: Any, dy: int, x: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] where 0 < x[n] < 6, else 0; x is the argument or the result of relu6."""
    activate(core, Curve(RELU6_SLOPE, 0.0, 6.0, 0.0), 2, dy, x, dx, shape, tiling)


@_gradient(lambda shape, x: np.where(np.abs(x) < 3, 1 / 6, 0.0))
def hsigmoid_grad(core: Any, dy: int, x: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] / 6 where -3 < x[n] < 3, else 0."""
    activate(core, Curve(HSIGMOID_SLOPE, -3.0, 3.0, 0.0), 2, dy, x, dx, shape, tiling)


@_gradient(_hswish_slope)
def hswish_grad(core: Any, dy: int, x: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] * (x[n] / 3 + 0.5) where -3 < x[n] < 3, 0 below, dy[n] above."""
    activate(core, Curve(HSWISH_SLOPE, -3.0, 3.0, 0.0), 2, dy, x, dx, shape, tiling)


@_gradient(lambda shape, y: np.minimum(y + 1, 1), values=(-1.0, 2.0))
def elu_grad(core: Any, dy: int, y: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] where y[n] is positive, else dy[n] * (y[n] + 1), where y = elu(x)."""
    activate(core, Curve(ELU_SLOPE, 0.0, 1.0, 0.0), 2, dy, y, dx, shape, tiling)


@_gradient(lambda shape, x: np.where(x > 0, 1.0, shape.percent / 100), LeakyGradShape)
def leaky_relu_grad(core: Any, dy: int, x: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] where x[n] is positive, else dy[n] * percent / 100; x may be the result."""
    activate(core, Curve(LEAKY_RELU_SLOPE, 0.0, 0.0, shape.percent / 100), 2, dy, x, dx, shape, tiling)


@_gradient(lambda shape, x: _logistic(x))
def softplus_grad(core: Any, dy: int, x: int, dx: int, shape: Any, tiling: Any) -> None:
    """dx[n] = dy[n] * sigmoid(x[n])."""
    activate(core, Curve(SIGMOID, 0.0, 0.0, 0.0), 2, dy, x, dx, shape, tiling)
