"""Operators that move values without changing them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from framework import dtypes
from framework.ir.builder import Sym
from framework.ir.types import TensorType
from framework.ops import moving
from framework.ops.batching import aligned, longer, next_axis, together
from framework.ops.lowering import loss as lowering
from framework.ops.op import Arg, Array, Call, NoGradient, Op, sample
from framework.ops.shapes import broadcast, normalize_axis, require, sum_to


def _reshape_infer(x: TensorType, /, shape: tuple[int, ...]) -> TensorType:
    require(
        math.prod(shape) == x.size and min(shape, default=0) >= 0,
        "reshape: {} has {} elements, shape {} has {}",
        x,
        x.size,
        shape,
        math.prod(shape),
    )
    return x.with_shape(shape)


def _reshape_normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    shape = (attrs["shape"],) if isinstance(attrs["shape"], int) else attrs["shape"]
    known = math.prod(size for size in shape if size != -1)
    if shape.count(-1) == 1 and known > 0:
        shape = tuple(types[0].size // known if size == -1 else size for size in shape)
    return {"shape": shape}


def _reshape(x: Array, shape: tuple[int, ...]) -> Array:
    return x.reshape(shape)


reshape: Op = Op(
    "reshape",
    "*->*",
    _reshape_infer,
    _reshape,
    lambda call, dy: (reshape(dy, call.inputs[0].shape),),
    normalize=_reshape_normalize,
    samples=(sample((3, 4), shape=(2, 6)), sample((3, 4), shape=(-1, 2))),
    batch=together("reshape", longer("shape")),
)


def _transpose_infer(x: TensorType, /, perm: tuple[int, ...]) -> TensorType:
    require(
        sorted(perm) == list(range(x.ndim)),
        "transpose: perm {} is no permutation of the axes of {}",
        perm,
        x,
    )
    return x.with_shape(tuple(x.shape[axis] for axis in perm))


def _transpose(x: Array, perm: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(x.transpose(perm))


def _transpose_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    perm = call.attrs["perm"]
    return (transpose(dy, tuple(perm.index(axis) for axis in range(len(perm)))),)


def _next_perm(attrs: dict[str, Any], size: int) -> dict[str, Any]:
    return {"perm": (0, *(axis + 1 for axis in attrs["perm"]))}


transpose = Op(
    "transpose",
    "*->*",
    _transpose_infer,
    _transpose,
    _transpose_vjp,
    samples=(sample((2, 3, 4), perm=(2, 0, 1)),),
    batch=together("transpose", _next_perm),
    lowering=moving.transpose,
)


def _broadcast_infer(x: TensorType, /, shape: tuple[int, ...]) -> TensorType:
    found = broadcast("broadcast_to", x, x.with_shape(shape))
    require(found == shape, "broadcast_to: {} does not broadcast to {}", x, shape)
    return x.with_shape(shape)


def _broadcast_batch(
    inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int
) -> list[Sym]:
    shape = attrs["shape"]
    return [broadcast_to(aligned(inputs[0], len(shape)), (size, *shape))]


broadcast_to: Op = Op(
    "broadcast_to",
    "...->...",
    _broadcast_infer,
    lambda x, shape: np.ascontiguousarray(np.broadcast_to(x, shape)).reshape(shape),
    lambda call, dy: (sum_to(dy, call.inputs[0].shape),),
    samples=(sample((3, 1), shape=(2, 3, 4)), sample((), shape=(2,))),
    batch=_broadcast_batch,
    lowering=moving.broadcast_to,
)


def _one_hot_infer(indices: TensorType, /, depth: int, dtype: str = "float32") -> TensorType:
    require(not indices.dtype.is_float, f"one_hot: indices {indices} must be integers")
    return TensorType((*indices.shape, depth), dtypes.dtype(dtype))


def _one_hot(indices: Array, depth: int, dtype: str) -> Array:
    hot: Array = indices[..., np.newaxis] == np.arange(depth)
    return hot.astype(dtypes.dtype(dtype).numpy)


one_hot = Op(
    "one_hot",
    "...->...d",
    _one_hot_infer,
    _one_hot,
    NoGradient("its input is an index"),
    samples=(sample(Arg((3,), "int32", high=5), depth=5),),
    batch=together("one_hot"),
    lowering=lowering.one_hot,
)


def _place_infer(x: TensorType, /, axis: int = -1) -> TensorType:
    return TensorType(x.shape[:axis] + x.shape[axis + 1 :], dtypes.int32)


def _place(name: str, function: Callable[..., Any]) -> Op:
    """Return the operator that says where along an axis the first extreme is."""
    return Op(
        name,
        "*->*",
        _place_infer,
        lambda x, axis: np.asarray(function(x, axis=axis), dtype=np.int32),
        NoGradient("its output is an index"),
        normalize=normalize_axis,
        samples=(sample((3, 4), axis=-1), sample((3, 4), axis=0)),
        batch=together(name, next_axis),
    )


argmax = _place("argmax", np.argmax)
argmin = _place("argmin", np.argmin)
