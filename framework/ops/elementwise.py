"""Element-wise operators; binary ones broadcast by NumPy's rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework import dtypes
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.batching import elementwise, together
from framework.ops.op import Arg, Array, Call, NoGradient, Op, Rule, sample
from framework.ops.shapes import broadcast, require, sum_to

_BINARY_SAMPLES = (sample((3, 4), (3, 4)), sample((2, 3, 4), (3, 1)), sample((4,), ()))


def _same(x: TensorType, /) -> TensorType:
    return x


def floating(name: str) -> Callable[[TensorType], TensorType]:
    """Return the inference of an operator that takes floats and keeps their type."""

    def infer(x: TensorType, /) -> TensorType:
        if not x.dtype.is_float:
            raise DavinciError(f"{name}: {x} is not of a float dtype; cast it first")
        return x

    return infer


def meeting(name: str, result: str | None = None) -> Callable[[TensorType, TensorType], TensorType]:
    """Return the inference of an operator that broadcasts two inputs; `result` is a dtype of its own."""

    def infer(a: TensorType, b: TensorType, /) -> TensorType:
        require(a.dtype == b.dtype, "{}: {} and {} differ in dtype; cast one of them", name, a, b)
        shape = broadcast(name, a, b)
        return TensorType(shape, a.dtype if result is None else dtypes.dtype(result))

    return infer


_meeting_of_div = meeting("div")


def _quotient(a: TensorType, b: TensorType, /) -> TensorType:
    require(a.dtype.is_float, "div: {} is not of a float dtype; cast it first, or use floor_div", a)
    return _meeting_of_div(a, b)


def keeping(function: Callable[..., Any]) -> Callable[..., Array]:
    """Return the NumPy function with its result in the dtype of the first input."""

    def evaluate(*arrays: Array) -> Array:
        return np.asarray(function(*arrays)).astype(arrays[0].dtype, copy=False)

    return evaluate


def _add_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    a, b = call.inputs
    return sum_to(dy, a.shape), sum_to(dy, b.shape)


def _sub_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    a, b = call.inputs
    return sum_to(dy, a.shape), sum_to(-dy, b.shape)


def _mul_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    a, b = call.inputs
    return sum_to(dy * b, a.shape), sum_to(dy * a, b.shape)


def _div_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    a, b = call.inputs
    (y,) = call.outputs
    da = dy / b
    return sum_to(da, a.shape), sum_to(-(da * y), b.shape)


def _maximum_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    a, b = call.inputs
    return _route(less(a, b), dy, call)


def _minimum_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    a, b = call.inputs
    return _route(greater(a, b), dy, call)


def _route(to_b: Any, dy: Any, call: Call) -> tuple[Any, ...]:
    """Return dy for a where `to_b` is false and for b where it is true."""
    a, b = call.inputs
    zero = dy.builder.constant(0.0, dy.dtype)
    return sum_to(select(to_b, zero, dy), a.shape), sum_to(select(to_b, dy, zero), b.shape)


add = Op(
    "add",
    "...,...->...",
    meeting("add"),
    keeping(np.add),
    _add_vjp,
    lowering=lowering.binary("add", True),
    samples=_BINARY_SAMPLES,
    promotes=True,
    batch=elementwise("add"),
    counts=True,
)
sub = Op(
    "sub",
    "...,...->...",
    meeting("sub"),
    keeping(np.subtract),
    _sub_vjp,
    lowering=lowering.binary("sub", False),
    samples=_BINARY_SAMPLES,
    promotes=True,
    batch=elementwise("sub"),
    counts=True,
)
mul = Op(
    "mul",
    "...,...->...",
    meeting("mul"),
    keeping(np.multiply),
    _mul_vjp,
    lowering=lowering.binary("mul", True, scales=True),
    samples=_BINARY_SAMPLES,
    promotes=True,
    batch=elementwise("mul"),
    counts=True,
)
div = Op(
    "div",
    "...,...->...",
    _quotient,
    keeping(np.divide),
    _div_vjp,
    promotes=True,
    batch=elementwise("div"),
    floats=True,
    lowering=lowering.binary("div", False, keeps_zero=False),
    samples=(
        sample((3, 4), Arg((4,), low=0.5)),
        sample((4,), Arg((3, 4), low=0.5)),
        sample((), Arg((2,), low=1.0)),
    ),
)
maximum = Op(
    "maximum",
    "...,...->...",
    meeting("maximum"),
    keeping(np.maximum),
    _maximum_vjp,
    lowering=lowering.binary("maximum", True),
    samples=_BINARY_SAMPLES,
    promotes=True,
    batch=elementwise("maximum"),
)
minimum = Op(
    "minimum",
    "...,...->...",
    meeting("minimum"),
    keeping(np.minimum),
    _minimum_vjp,
    lowering=lowering.binary("minimum", True),
    samples=_BINARY_SAMPLES,
    promotes=True,
    batch=elementwise("minimum"),
)


def _comparison(name: str, function: Callable[..., Any]) -> Op:
    return Op(
        name,
        "...,...->...",
        meeting(name, "bool"),
        lambda a, b: np.asarray(function(a, b)),
        NoGradient("a comparison gives booleans"),
        samples=_BINARY_SAMPLES,
        promotes=True,
        batch=elementwise(name),
    )


equal = _comparison("equal", np.equal)
not_equal = _comparison("not_equal", np.not_equal)
greater = _comparison("greater", np.greater)
greater_equal = _comparison("greater_equal", np.greater_equal)
less = _comparison("less", np.less)
less_equal = _comparison("less_equal", np.less_equal)


def _unary(
    name: str, function: Callable[..., Any], vjp: Rule, low: float = -2.0, keeps_zero: bool = False
) -> Op:
    samples, lower = (sample(Arg((3, 4), low=low)),), lowering.unary(name, keeps_zero)
    return Op(
        name,
        "...->...",
        floating(name),
        keeping(function),
        vjp,
        lowering=lower,
        samples=samples,
        floats=True,
        batch=elementwise(name),
    )


def _abs_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    (x,) = call.inputs
    zero = dy.builder.constant(0.0, dy.dtype)
    return (select(less(x, 0), -dy, select(greater(x, 0), dy, zero)),)


neg = Op(
    "neg",
    "...->...",
    _same,
    np.negative,
    lambda call, dy: (-dy,),
    lowering=lowering.unary("neg"),
    samples=(sample((3, 4)),),
    counts=True,
    batch=elementwise("neg"),
)
exp = _unary("exp", np.exp, lambda call, dy: (dy * call.outputs[0],))
log = _unary("log", np.log, lambda call, dy: (dy / call.inputs[0],), low=0.5)
sqrt = _unary("sqrt", np.sqrt, lambda call, dy: (dy * 0.5 / call.outputs[0],), low=0.5)
rsqrt = _unary(
    "rsqrt", lambda x: 1 / np.sqrt(x), lambda call, dy: (dy * -0.5 * call.outputs[0] ** 3,), low=0.5
)
reciprocal = _unary("reciprocal", lambda x: 1 / x, lambda call, dy: (-(dy * call.outputs[0] ** 2),), low=0.5)
abs = Op(
    "abs",
    "...->...",
    _same,
    np.abs,
    _abs_vjp,
    lowering=lowering.unary("abs"),
    samples=(sample((3, 4)),),
    counts=True,
    batch=elementwise("abs"),
)


def _relu_grad_infer(dy: TensorType, y: TensorType, /) -> TensorType:
    require(dy == y, "relu_grad: dy {} and y {} must have one type", dy, y)
    return dy


relu = Op(
    "relu",
    "...->...",
    _same,
    lambda x: np.maximum(x, x.dtype.type(0)),
    lambda call, dy: (relu_grad(dy.astype(call.inputs[0].dtype), call.outputs[0]),),
    lowering=lowering.unary("relu"),
    samples=(sample((3, 4)),),
    batch=elementwise("relu"),
)
relu_grad: Op = Op(
    "relu_grad",
    "...,...->...",
    _relu_grad_infer,
    lambda dy, y: np.where(y > 0, dy, dy.dtype.type(0)),
    lambda call, d: (relu_grad(d.astype(call.inputs[1].dtype), call.inputs[1]), None),
    lowering=lowering.elements("relu_grad", 2),
    samples=(sample((3, 4), (3, 4)),),
    batch=together("relu_grad"),
)


def _select_infer(cond: TensorType, x: TensorType, y: TensorType, /) -> TensorType:
    require(cond.dtype == dtypes.bool_, "select: the condition is {}, it must be boolean", cond)
    require(x.dtype == y.dtype, "select: {} and {} differ in dtype; cast one of them", x, y)
    return TensorType(broadcast("select", cond, x, y), x.dtype)


def _select_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    cond, x, y = call.inputs
    zero = dy.builder.constant(0.0, dy.dtype)
    return None, sum_to(select(cond, dy, zero), x.shape), sum_to(select(cond, zero, dy), y.shape)


select = Op(
    "select",
    "...,...,...->...",
    _select_infer,
    np.where,
    _select_vjp,
    samples=(sample(Arg((3, 4), "bool", high=2), (3, 4), (4,)),),
    promotes=(1, 2),
    batch=elementwise("select"),
)


def _cast_infer(x: TensorType, /, dtype: str) -> TensorType:
    return x.with_dtype(dtype)


def _cast_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    (x,) = call.inputs
    return (cast(dy, x.dtype) if x.dtype.is_float else None,)


def _named(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    return {**attrs, "dtype": dtypes.dtype(attrs["dtype"]).name}


def _cast(x: Array, dtype: str) -> Array:
    return x.astype(dtypes.dtype(dtype).numpy)


cast = Op(
    "cast",
    "...->...",
    _cast_infer,
    _cast,
    _cast_vjp,
    normalize=_named,
    lowering=lowering.cast,
    samples=(sample((3, 4), dtype="float64"),),
    batch=elementwise("cast"),
)
zeros_like = Op(
    "zeros_like",
    "...->...",
    _same,
    np.zeros_like,
    NoGradient("its output is always zero"),
    samples=(sample((3, 4)),),
    batch=elementwise("zeros_like"),
)
stop_gradient = Op(
    "stop_gradient",
    "...->...",
    _same,
    lambda x: x,
    NoGradient("it is there to stop cotangents"),
    samples=(sample((3, 4)),),
    batch=elementwise("stop_gradient"),
)
