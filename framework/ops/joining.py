"""Tensors put together and taken apart along an axis."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from davinci_sim.errors import DavinciError
from framework.ir.builder import Sym
from framework.ir.types import TensorType
from framework.ops import moving
from framework.ops.array import broadcast_to, reshape
from framework.ops.batching import next_axis, together
from framework.ops.indexing import FULL, index
from framework.ops.op import Array, Call, Op, sample
from framework.ops.shapes import axis_of, normalize_axis, require
from framework.tensor import Tensor


def part(x: Any, axis: int, start: int, stop: int) -> Any:
    """Return x from start to stop along an axis."""
    if (start, stop) == (0, x.shape[axis]):
        return x
    return index(x, spec=(*(FULL,) * axis, ("slice", start, stop, None)))


def _concat_infer(*tensors: TensorType, axis: int = 0) -> TensorType:
    if not tensors:
        raise DavinciError("concat: there is nothing to put together; give it one tensor at least")
    first = tensors[0]
    shapes = {each.shape[:axis] + each.shape[axis + 1 :] for each in tensors}
    require(
        len(shapes) == 1 and len({each.ndim for each in tensors}) == 1,
        f"concat: {' and '.join(map(str, tensors))} differ in more than axis {axis}",
    )
    require(
        len({each.dtype for each in tensors}) == 1,
        f"concat: {' and '.join(map(str, tensors))} differ in dtype; cast some of them",
    )
    length = sum(each.shape[axis] for each in tensors)
    return first.with_shape((*first.shape[:axis], length, *first.shape[axis + 1 :]))


def _concat(*tensors: Array, axis: int) -> Array:
    return np.concatenate(tensors, axis=axis)


def _concat_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    axis = call.attrs["axis"]
    ends = itertools.accumulate(each.shape[axis] for each in call.inputs)
    return tuple(
        part(dy, axis, end - each.shape[axis], end) for each, end in zip(call.inputs, ends, strict=True)
    )


concat = Op(
    "concat",
    "*->*",
    _concat_infer,
    _concat,
    _concat_vjp,
    normalize=lambda types, attrs: normalize_axis(types, attrs) if types else attrs,
    promotes=True,
    samples=(sample((2, 3), (4, 3)), sample((2, 3), (2, 1), (2, 2), axis=-1)),
    batch=together("concat", next_axis),
    lowering=moving.concat,
)


def pack(tensors: Sequence[Any], axis: int = 0) -> Any:
    """Return tensors of one shape as one, along a new axis."""
    if not tensors:
        raise DavinciError("pack: there is nothing to put together; give it one tensor at least")
    return concat([expand_dims(each, axis) for each in tensors], axis=axis)


def expand_dims(x: Any, axis: int) -> Any:
    """Return x with a new axis of length 1."""
    shape = _shape(x)
    at = axis + len(shape) + 1 if axis < 0 else axis
    require(0 <= at <= len(shape), f"expand_dims: axis {axis} is outside a result of {len(shape) + 1} axes")
    return reshape(x, (*shape[:at], 1, *shape[at:]))


def squeeze(x: Any, axes: int | tuple[int, ...] | None = None) -> Any:
    """Return x without axes of length 1: all of them, or those that are named."""
    type_ = TensorType(_shape(x), (x if isinstance(x, (Sym, Tensor)) else Tensor(x)).dtype)
    named = (axes,) if isinstance(axes, int) else axes
    every = tuple(axis for axis, size in enumerate(type_.shape) if size == 1)
    dropped = every if named is None else tuple(axis_of("squeeze", axis, type_) for axis in named)
    for axis in dropped:
        require(type_.shape[axis] == 1, f"squeeze: axis {axis} of {type_} must have length 1")
    return reshape(x, tuple(size for axis, size in enumerate(type_.shape) if axis not in dropped))


def split(x: Any, parts: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """Return x in equal parts along an axis, or in parts of these lengths."""
    shape = _shape(x)
    axis %= len(shape)
    length = shape[axis]
    if isinstance(parts, int):
        require(
            parts > 0 and length % parts == 0,
            f"split: axis {axis} of length {length} does not come apart in {parts} equal parts",
        )
        parts = [length // parts] * parts
    require(
        sum(parts) == length, f"split: parts {list(parts)} have {sum(parts)} of {length} along axis {axis}"
    )
    ends = itertools.accumulate(parts)
    return tuple(part(x, axis, end - size, end) for size, end in zip(parts, ends, strict=True))


def flip(x: Any, axis: int = 0) -> Any:
    """Return x in the opposite order along an axis."""
    return index(x, spec=(*(FULL,) * (axis % len(_shape(x))), ("slice", None, None, -1)))


def tile(x: Any, repeats: int | tuple[int, ...]) -> Any:
    """Return x repeated along each axis, as NumPy does it."""
    times = (repeats,) if isinstance(repeats, int) else tuple(repeats)
    shape = _shape(x)
    rank = max(len(shape), len(times))
    times, shape = (1,) * (rank - len(times)) + times, (1,) * (rank - len(shape)) + shape
    pairs = tuple(zip(times, shape, strict=True))
    spread = broadcast_to(reshape(x, tuple(n for _, size in pairs for n in (1, size))), sum(pairs, ()))
    return reshape(spread, tuple(count * size for count, size in pairs))


def dynamic_slice(x: Any, start: Any, size: int, axis: int = 0) -> Any:
    """Return `size` items of x along an axis; where they start may be known at run time only."""
    axis %= len(_shape(x))
    places = Tensor(np.arange(size)) + start
    return index(x, places, spec=(*(FULL,) * axis, ("at", 0)))


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, (Sym, Tensor)) else tuple(np.shape(x))


def _pad_infer(x: TensorType, /, widths: int | tuple[tuple[int, int], ...], value: float = 0.0) -> TensorType:
    pairs: Any = widths
    require(
        len(pairs) == x.ndim and min((each for pair in pairs for each in pair), default=0) >= 0,
        f"pad: widths {widths} must be (before, after), not negative, for each axis of {x}",
    )
    return x.with_shape(
        tuple(before + size + after for size, (before, after) in zip(x.shape, pairs, strict=True))
    )


def _pad_normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    widths = attrs["widths"]
    if isinstance(widths, int):
        widths = ((widths, widths),) * types[0].ndim
    elif len(widths) == 2 and all(isinstance(each, int) for each in widths):
        widths = (widths,) * types[0].ndim
    return {**attrs, "widths": tuple((each, each) if isinstance(each, int) else each for each in widths)}


def _pad(x: Array, widths: tuple[tuple[int, int], ...], value: float) -> Array:
    return np.pad(x, widths, constant_values=value) if widths else x


def _pad_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    (x,) = call.inputs
    pairs = zip(x.shape, call.attrs["widths"], strict=True)
    spec = tuple(("slice", before, before + size, None) for size, (before, _) in pairs)
    return (index(dy, spec=spec),)


def _next_widths(attrs: dict[str, Any], size: int) -> dict[str, Any]:
    return {**attrs, "widths": ((0, 0), *attrs["widths"])}


pad = Op(
    "pad",
    "*->*",
    _pad_infer,
    _pad,
    _pad_vjp,
    normalize=_pad_normalize,
    samples=(
        sample((2, 3), widths=((1, 0), (0, 2))),
        sample((2, 3, 2), widths=((0, 0), (1, 2), (0, 0))),
        sample((3,), widths=2, value=1.0),
    ),
    batch=together("pad", _next_widths),
    lowering=moving.pad,
)
