"""Matrix product and bias; half precision is multiplied and summed in float32, rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np

from framework.dtypes import accumulator, dtype
from framework.ir.builder import Sym
from framework.ir.registry import operator
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.array import reshape
from framework.ops.batching import elementwise
from framework.ops.creation import filled
from framework.ops.op import Array, Call, Op, sample
from framework.ops.shapes import axis_of, broadcast, normalize_axis, require, sum_to

MATRIX = 2  # axes


def with_out_dtype(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with `out_dtype` spelled out; None means the dtype of the first input."""
    wanted = types[0].dtype if attrs["out_dtype"] is None else dtype(attrs["out_dtype"])
    return {**attrs, "out_dtype": wanted.name}


def product(a: Array, b: Array, out_dtype: str) -> Array:
    """Return a @ b accumulated in the accumulator's dtype and rounded once."""
    wide = accumulator(a.dtype)
    exact: Array = np.matmul(a.astype(wide, copy=False), b.astype(wide, copy=False))
    return exact.astype(dtype(out_dtype).numpy, copy=False)


def _infer(
    a: TensorType,
    b: TensorType,
    /,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out_dtype: str | None = None,
) -> TensorType:
    require(min(a.ndim, b.ndim) >= MATRIX, "matmul: {} and {} must be matrices, or batches of matrices", a, b)
    batch = broadcast("matmul: the batches", a.with_shape(a.shape[:-2]), b.with_shape(b.shape[:-2]))
    require(a.dtype == b.dtype, "matmul: {} and {} differ in dtype; cast one of them", a, b)
    m, k_of_a = reversed(a.shape[-2:]) if transpose_a else a.shape[-2:]
    k_of_b, n = reversed(b.shape[-2:]) if transpose_b else b.shape[-2:]
    require(
        k_of_a == k_of_b,
        "matmul: {}{} and {}{} do not match: k is {} on the left and {} on the right",
        a,
        " transposed" * transpose_a,
        b,
        " transposed" * transpose_b,
        k_of_a,
        k_of_b,
    )
    return TensorType((*batch, m, n), dtype(out_dtype or a.dtype))


def _evaluate(a: Array, b: Array, transpose_a: bool, transpose_b: bool, out_dtype: str) -> Array:
    return product(
        a.swapaxes(-1, -2) if transpose_a else a, b.swapaxes(-1, -2) if transpose_b else b, out_dtype
    )


def _vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    """Return da in a's dtype, and db (the weight's) in the one that the weight is kept in."""
    a, b = call.inputs
    ta, tb = call.attrs["transpose_a"], call.attrs["transpose_b"]
    wide = call.cotangent_dtype(1).name
    dy = dy.astype(a.dtype)
    da = matmul(b, dy, tb, True, a.dtype) if ta else matmul(dy, b, False, not tb, a.dtype)
    db = matmul(dy, a, True, ta, wide) if tb else matmul(a, dy, not ta, False, wide)
    return sum_to(da, a.shape), sum_to(db, b.shape)


matmul: Op = Op(
    "matmul",
    "...mk,...kn->...mn",
    _infer,
    _evaluate,
    _vjp,
    normalize=with_out_dtype,
    promotes=True,
    lowering=lowering.matmul,
    samples=(
        sample((2, 3), (3, 4)),
        sample((3, 2), (3, 4), transpose_a=True),
        sample((2, 3), (4, 3), transpose_b=True),
        sample((3, 2), (4, 3), transpose_a=True, transpose_b=True),
        sample((2, 2, 3), (2, 3, 4)),
        sample((2, 1, 2, 3), (4, 3), transpose_b=True),
    ),
    batch=elementwise("matmul"),
)


def _bias_infer(x: TensorType, b: TensorType, /, axis: int = -1) -> TensorType:
    """Return x: a bias is added as wide as sums are, so that one of that dtype goes with half precision."""
    is_wide = x.dtype.is_float and b.dtype.numpy == accumulator(x.dtype)
    wanted = TensorType((x.shape[axis_of("bias_add", axis, x)],), b.dtype if is_wide else x.dtype)
    require(b == wanted, "bias_add: bias {} must be {} to add to axis {} of {}", b, wanted, axis, x)
    return x


def _bias_add(x: Array, b: Array, axis: int) -> Array:
    return np.asarray(x + b.reshape(b.shape + (1,) * (x.ndim - 1 - axis))).astype(x.dtype, copy=False)


def _bias_vjp(call: Call, dy: Sym) -> tuple[Any, ...]:
    return dy, bias_add_grad(dy, call.attrs["axis"], call.cotangent_dtype(1))


def _bias_batch(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
    x, b = inputs
    if not is_batched[1]:
        return [bias_add(x, b, attrs["axis"] + 1)]
    lead, tail = (1,) * attrs["axis"], (1,) * (x.ndim - is_batched[0] - attrs["axis"] - 1)
    return [(x + reshape(b, (size, *lead, b.shape[1], *tail))).astype(x.dtype)]


bias_add: Op = Op(
    "bias_add",
    "*,n->*",
    _bias_infer,
    _bias_add,
    _bias_vjp,
    normalize=normalize_axis,
    lowering=lowering.bias_add,
    samples=(sample((3, 4), (4,)), sample((2, 3, 2, 2), (3,), axis=1)),
    batch=_bias_batch,
)


def _bias_grad_infer(dy: TensorType, /, axis: int = -1, out_dtype: str | None = None) -> TensorType:
    return TensorType((dy.shape[axis],), dy.dtype if out_dtype is None else dtype(out_dtype))


def _bias_grad_normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    return with_out_dtype(types, normalize_axis(types, attrs))


def _bias_grad(dy: Array, axis: int, out_dtype: str) -> Array:
    others = tuple(each for each in range(dy.ndim) if each != axis)
    summed: Array = dy.sum(axis=others, dtype=accumulator(dy.dtype))
    return summed.astype(dtype(out_dtype).numpy, copy=False)


def _bias_grad_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    (dy,) = call.inputs
    zeros = filled(d.builder, dy.type.with_dtype(d.dtype), 0)
    return (bias_add(zeros, d, call.attrs["axis"]),)


def _bias_grad_batch(
    inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int
) -> list[Sym]:
    (dy,) = inputs
    others = tuple(axis for axis in range(1, dy.ndim) if axis != attrs["axis"] + 1)
    summed: Sym = operator("reduce_sum")(dy.astype(attrs["out_dtype"]), others)
    return [summed]


bias_add_grad: Op = Op(
    "bias_add_grad",
    "*->n",
    _bias_grad_infer,
    _bias_grad,
    _bias_grad_vjp,
    normalize=_bias_grad_normalize,
    lowering=lowering.bias_add_grad,
    samples=(sample((3, 4)), sample((2, 3, 2, 2), axis=1)),
    batch=_bias_grad_batch,
)
