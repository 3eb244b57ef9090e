"""Operators on truths, and tests of numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework import dtypes
from framework.ir.types import TensorType
from framework.ops.batching import elementwise, next_axes, together
from framework.ops.elementwise import floating
from framework.ops.op import Arg, Array, NoGradient, Op, Sample, sample
from framework.ops.shapes import broadcast, normalize_axes

_TRUTHS = Arg((3, 4), "bool", high=2)
_PAIRS = (sample(_TRUTHS, _TRUTHS), sample(_TRUTHS, Arg((3, 1), "bool", high=2)))


def _require_bool(name: str, *types: TensorType) -> None:
    for each in types:
        if each.dtype != dtypes.bool_:
            raise DavinciError(
                f"{name}: {each} is not boolean\n  rule: it combines truths\n"
                "  next: compare it first, such as x != 0"
            )


def _logical(name: str, function: Callable[..., Any]) -> Op:
    def infer(a: TensorType, b: TensorType, /) -> TensorType:
        _require_bool(name, a, b)
        return TensorType(broadcast(name, a, b), a.dtype)

    return _truth(name, "...,...->...", infer, function, _PAIRS)


def _truth(
    name: str, axes: str, infer: Callable[..., TensorType], function: Callable[..., Any],
    samples: tuple[Sample, ...],
) -> Op:  # fmt: skip
    return Op(
        name, axes, infer, lambda *arrays: np.asarray(function(*arrays)), NoGradient("it gives booleans"),
        samples=samples, batch=elementwise(name),
    )  # fmt: skip


def _not_infer(x: TensorType, /) -> TensorType:
    _require_bool("logical_not", x)
    return x


def _test(name: str, function: Callable[..., Any]) -> Op:
    def infer(x: TensorType, /) -> TensorType:
        return floating(name)(x).with_dtype(dtypes.bool_)

    return _truth(name, "...->...", infer, function, (sample((3, 4)),))


logical_and = _logical("logical_and", np.logical_and)
logical_or = _logical("logical_or", np.logical_or)
logical_xor = _logical("logical_xor", np.logical_xor)
logical_not = _truth("logical_not", "...->...", _not_infer, np.logical_not, (sample(_TRUTHS),))
isfinite = _test("isfinite", np.isfinite)
isinf = _test("isinf", np.isinf)
isnan = _test("isnan", np.isnan)


def _quantifier(name: str, function: Callable[..., Any]) -> Op:
    def infer(x: TensorType, /, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> TensorType:
        _require_bool(name, x)
        dropped = axes or ()
        kept = [(1 if axis in dropped else size) for axis, size in enumerate(x.shape)]
        return x.with_shape(tuple(size for axis, size in enumerate(kept) if keepdims or axis not in dropped))

    def evaluate(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        return np.asarray(function(x, axis=axes, keepdims=keepdims))

    return Op(
        name, "*->*", infer, evaluate, NoGradient("it gives booleans"), normalize=normalize_axes,
        samples=(sample(_TRUTHS, axes=None), sample(_TRUTHS, axes=1, keepdims=True)),
        batch=together(name, next_axes),
    )  # fmt: skip


reduce_all = _quantifier("reduce_all", np.all)
reduce_any = _quantifier("reduce_any", np.any)
