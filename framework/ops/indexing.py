"""Parts of tensors: `x[i, ..., None]`, and the functional `x[i] = v` and `x[i] += v`.

What an index means is NumPy's affair, except that masks are refused: their results have no shape that is
known when compiling. See `framework.ir.subscript` for specs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from davinci_sim.errors import DavinciError, ShapeMismatch
from framework.dtypes import accumulator
from framework.ir.builder import Sym
from framework.ir.registry import operator
from framework.ir.types import TensorType
from framework.ops import moving
from framework.ops.array import broadcast_to, reshape, transpose
from framework.ops.batching import batched, item_type
from framework.ops.creation import filled
from framework.ops.elementwise import equal, select
from framework.ops.op import Arg, Array, Call, Op, Sample, sample
from framework.ops.shapes import broadcast, require, sum_to

FULL = ("slice", None, None, None)
REST = "..."
"""In a normalized spec: it stands for no axis, and keeps points apart that are not side by side then."""
Spec = tuple[Any, ...]
Types = Sequence[TensorType]


class OutsideAxis(DavinciError):
    """An index that points behind the end of its axis, or before its start."""


class Layout(NamedTuple):
    """The shape of what an index chooses; the axes from `start` on are those of its tensors of integers."""

    shape: tuple[int, ...]
    start: int
    chosen: tuple[int, ...]


def is_point(item: Any) -> bool:
    """Tell whether an item of a spec is an int or a tensor of them."""
    return isinstance(item, int) or (isinstance(item, tuple) and item[0] == "at")


def layout(spec: Spec, x: TensorType, indices: Types) -> Layout:
    """Return the layout of x[spec], by NumPy's rule: points side by side stay, others come first."""
    points = [position for position, item in enumerate(spec) if is_point(item)]
    chosen = broadcast("index", *(_index_type(spec[at], indices) for at in points)) if points else ()
    has_tensors = any(isinstance(spec[at], tuple) for at in points)
    are_neighbours = bool(points) and points[-1] - points[0] == len(points) - 1
    shape: list[int] = []
    start, axis = 0, 0
    for position, item in enumerate(spec):
        if points and position == points[0] and are_neighbours and has_tensors:
            start = len(shape)
        if item is None or item == REST:
            shape += [1] if item is None else []
            continue
        if not is_point(item):
            shape.append(len(range(*slice(*item[1:]).indices(x.shape[axis]))))
        axis += 1
    return Layout((*shape[:start], *chosen, *shape[start:]), start, chosen)


def _index_type(item: Any, indices: Types) -> TensorType:
    return indices[item[1]] if isinstance(item, tuple) else _NUMBER


_NUMBER = TensorType.of(np.zeros((), np.int64))


def normalized(name: str, spec: Any, x: TensorType, indices: Types) -> Spec:
    """Return a spec with an item per axis, ints counted from the left and slices cut to the axis.

    An ellipsis gives way to the axes that it stands for. One that stands for none is left between points: it
    keeps them apart.
    """
    used = sum(item is not None and item != REST for item in spec)
    message = "{}: {} indices for {}, which has {} axes\n  next: leave out {}"
    require(used <= x.ndim, message, name, used, x, x.ndim, used - x.ndim)
    rests = spec.count(REST)
    require(rests <= 1, "{}: an index has one `...` at most, found {}", name, rests)
    at = spec.index(REST) if rests else len(spec)
    before, behind = spec[:at], spec[at + 1 :]
    covered = (FULL,) * (x.ndim - used)
    is_between = bool(before) and bool(behind) and is_point(before[-1]) and is_point(behind[0])
    if not covered and is_between and any(each.ndim for each in indices):
        covered = (REST,)
    axes = iter(range(x.ndim))
    return tuple(
        item if item is None or item == REST else _normal(name, item, x, next(axes))
        for item in (*before, *covered, *behind)
    )


def _normal(name: str, item: Any, x: TensorType, axis: int) -> Any:
    length = x.shape[axis]
    if isinstance(item, int):
        if not -length <= item < length:
            raise OutsideAxis(_outside(name, item, axis, x.shape))
        return item % length
    if item[0] == "at":
        return item
    require(item[3] != 0, "{}: a slice of {} has step 0; it must go forward or backward", name, x)
    start, stop, step = slice(*item[1:]).indices(length)
    if len(range(start, stop, step)) == length and step == 1:
        return FULL
    return ("slice", start, None if stop < 0 else stop, step) if start >= 0 else ("slice", 0, 0, 1)


def _outside(name: str, index: int, axis: int, shape: tuple[int, ...]) -> str:
    length = shape[axis]
    told = (
        f"  rule: from {-length} to {length - 1}\n  next: ops.clip(i, 0, {length - 1}) keeps an index inside"
        if length
        else "  rule: an axis of length 0 has no position\n  next: use a tensor that has elements there"
    )
    return f"{name}: position {index} is outside axis {axis} of [{', '.join(map(str, shape))}]\n{told}"


def _key(name: str, x: Array, spec: Spec, indices: Sequence[Array]) -> tuple[Any, ...]:
    """Return the index in NumPy's words."""
    key: list[Any] = []
    axis = 0
    for item in spec:
        if item is None or isinstance(item, int):
            key.append(item)
        elif item == REST:
            key.append(...)
        elif item[0] == "slice":
            key.append(slice(*item[1:]))
        else:
            index = indices[item[1]]
            _check_inside(name, index, axis, x.shape)
            key.append(int(index) if index.ndim == 0 else index)
        axis += item is not None and item != REST
    return tuple(key)


def _check_inside(name: str, index: Array, axis: int, shape: tuple[int, ...]) -> None:
    if not index.size:
        return
    low, high = (int(index.min()), int(index.max())) if index.ndim else (int(index),) * 2
    if low < -shape[axis] or high >= shape[axis]:
        raise OutsideAxis(_outside(name, high if high >= shape[axis] else low, axis, shape))


def _check_indices(name: str, indices: Types) -> None:
    for each in indices:
        is_whole = not each.dtype.is_float and each.dtype.name != "bool"
        require(is_whole, "{}: an index is {}, it must be integers", name, each)


def _index_infer(x: TensorType, /, *indices: TensorType, spec: Spec) -> TensorType:
    _check_indices("index", indices)
    return x.with_shape(layout(spec, x, indices).shape)


def _index_normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    return {"spec": normalized("index", attrs["spec"], types[0], types[1:])}


def _index(x: Array, *indices: Array, spec: Spec) -> Array:
    return np.asarray(x[_key("index", x, spec, indices)])


def _index_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    x, *indices = call.inputs
    spec = call.attrs["spec"]
    if all(map(_is_plain, spec)):
        return (_with_zeros_around(x.type, spec, dy),)
    zeros = filled(dy.builder, x.type.with_dtype(dy.dtype), 0)
    return (index_add(zeros, dy, *indices, **call.attrs), *(None for _ in indices))


def _is_plain(item: Any) -> bool:
    """Tell whether an item takes one element, or all from one to another."""
    return item is None or isinstance(item, int) or (item[0] == "slice" and item[3] in {None, 1})


def _with_zeros_around(x: TensorType, spec: Spec, dy: Any) -> Any:
    """Return a part of x with zeros in the place of the rest, an axis at a time."""
    items = [item for item in spec if item is not None]
    parts = [
        range(item, item + 1) if isinstance(item, int) else range(*slice(*item[1:]).indices(size))
        for item, size in zip(items, x.shape, strict=True)
    ]
    found = reshape(dy, tuple(map(len, parts)))
    for axis, (part, size) in enumerate(zip(parts, x.shape, strict=True)):
        if len(part) < size:
            widths = [(0, 0)] * len(parts)
            start = part.start if len(part) else 0
            widths[axis] = (start, size - start - len(part))
            found = operator("pad")(found, tuple(widths))
    return found


def _update_infer(name: str) -> Any:
    def infer(x: TensorType, y: TensorType, /, *indices: TensorType, spec: Spec) -> TensorType:
        _check_indices(name, indices)
        part = x.with_shape(layout(spec, x, indices).shape)
        if broadcast(name, y, part) != part.shape:
            raise ShapeMismatch(f"{name}: {y} does not broadcast to the part {part} that it is to go to")
        return x

    return infer


def _update_normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    return {"spec": normalized("index_update", attrs["spec"], types[0], types[2:])}


def _update(x: Array, y: Array, *indices: Array, spec: Spec) -> Array:
    found = x.copy()
    found[_key("index_update", x, spec, indices)] = y
    return found


def _update_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    x, y, *indices = call.inputs
    zero = dy.builder.constant(0.0, dy.dtype)
    dx = index_update(dy, zero, *indices, **call.attrs)
    part = index(dy, *indices, **call.attrs)
    if any(each.ndim for each in indices):
        part = select(_is_kept(part, x, indices, call.attrs), part, zero)
    return (dx, sum_to(part, y.shape).astype(y.dtype) if y.dtype.is_float else None, *(None for _ in indices))


def _is_kept(part: Sym, x: Sym, indices: Sequence[Sym], attrs: dict[str, Any]) -> Any:
    """Return where a value stays when several are written to one place: there its number is found again."""
    numbers = part.builder.constant(np.arange(part.size, dtype=np.int32).reshape(part.shape))
    free = filled(part.builder, TensorType.of(np.zeros(0, np.int32)).with_shape(x.shape), 0)
    return equal(index(index_update(free, numbers, *indices, **attrs), *indices, **attrs), numbers)


def _add_normalize(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    return {"spec": normalized("index_add", attrs["spec"], types[0], types[2:])}


def _add(x: Array, y: Array, *indices: Array, spec: Spec) -> Array:
    found = x.astype(accumulator(x.dtype), copy=True)
    key = _key("index_add", x, spec, indices)
    if any(isinstance(each, np.ndarray) for each in key):
        np.add.at(found, key, y.astype(found.dtype, copy=False))  # one place may be named many times
    else:
        found[key] += y.astype(found.dtype, copy=False)
    return found.astype(x.dtype, copy=False)


def _add_vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    _, y, *indices = call.inputs
    part = sum_to(index(dy, *indices, **call.attrs), y.shape)
    return (dy, part.astype(y.dtype) if y.dtype.is_float else None, *(None for _ in indices))


class _Batched(NamedTuple):
    """An index that works on a batch: its parts, and how to put the axes of what it chooses in order."""

    spec: Spec
    indices: list[Sym]
    perm: tuple[int, ...]


def _batched_index(
    x: TensorType, spec: Spec, indices: list[Sym], is_batched: list[bool], size: int
) -> _Batched:
    """Return the index of x[size, ...] that does with each item what `spec` does."""
    items = list(map(item_type, indices, is_batched))
    one = layout(spec, x, items)
    if any(is_batched):
        rank = len(one.chosen)
        lined_up = [
            reshape(each, (size, *(1,) * (rank + 1 - each.ndim), *each.shape[1:])) if has_axis else each
            for each, has_axis in zip(indices, is_batched, strict=True)
        ]
        number = lined_up[0].builder.constant(np.arange(size).reshape(size, *(1,) * rank))
        indices, spec = [*lined_up, number], (("at", len(indices)), *spec)
        start, batch = 1, 0  # the axis of the batch is the first of those that are chosen
    else:
        spec = (FULL, *spec)
        start = layout(spec, x.with_shape((size, *x.shape)), items).start
        batch = 0 if start > 0 else len(one.chosen)
    chosen = range(start, start + len(one.chosen))
    others = [axis for axis in range(len(one.shape) + 1) if axis not in chosen and axis != batch]
    return _Batched(spec, indices, (batch, *others[: one.start], *chosen, *others[one.start :]))


def _index_batch(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
    x, *indices = inputs
    item = item_type(x, is_batched[0])
    plan = _batched_index(item, attrs["spec"], indices, is_batched[1:], size)
    found = index(batched(x, is_batched[0], size), *plan.indices, spec=plan.spec)
    return [found if plan.perm == tuple(range(found.ndim)) else transpose(found, plan.perm)]


def _changed_batch(op: Any) -> Any:
    """Return the rule of an operator that writes a part."""

    def rule(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
        x, y, *indices = inputs
        item = item_type(x, is_batched[0])
        plan = _batched_index(item, attrs["spec"], indices, is_batched[2:], size)
        shape = layout(attrs["spec"], item, list(map(item_type, indices, is_batched[2:]))).shape
        y = batched(y, is_batched[1], size)
        y = broadcast_to(reshape(y, (size, *(1,) * (len(shape) + 1 - y.ndim), *y.shape[1:])), (size, *shape))
        back = tuple(plan.perm.index(axis) for axis in range(y.ndim))
        return [op()(batched(x, is_batched[0], size), transpose(y, back), *plan.indices, spec=plan.spec)]

    return rule


_S = ("slice", 1, None, None)
_BACK = ("slice", None, None, -2)
_PLACES = (Arg((2,), "int32", high=3), Arg((2, 1), "int32", high=4))
_CASES: tuple[tuple[tuple[int, ...], tuple[Arg, ...], Spec, tuple[int, ...]], ...] = (
    ((3, 4), (), (1,), (4,)),
    ((3, 4), (), (-1, "...", None, _BACK), (2,)),
    ((4, 3), (Arg((), "int32", high=4),), (("at", 0),), (1,)),
    ((3, 4, 2), _PLACES, (("at", 0), ("at", 1)), (2, 2, 2)),
    ((2, 3, 4), _PLACES, (_S, ("at", 0), ("at", 1)), (1, 2, 2)),
    ((3, 2, 4), _PLACES, (("at", 0), _S, ("at", 1)), (2, 1, 1)),
    ((2, 3, 4), _PLACES, (_S, ("at", 0), REST, ("at", 1)), (2, 2, 1)),
    ((3, 4, 2), (Arg((), "int64", high=3), Arg((3,), "int64", high=4)), (("at", 0), ("at", 1), 0), ()),
)


def _samples(with_y: bool) -> tuple[Sample, ...]:
    return tuple(sample(x, *((y,) if with_y else ()), *indices, spec=spec) for x, indices, spec, y in _CASES)


index: Op = Op(
    "index",
    "*->*",
    _index_infer,
    _index,
    _index_vjp,
    normalize=_index_normalize,
    samples=_samples(False),
    batch=_index_batch,
    checked=1,
    lowering=moving.index,
)
index_update: Op = Op(
    "index_update",
    "*,*->*",
    _update_infer("index_update"),
    _update,
    _update_vjp,
    normalize=_update_normalize,
    samples=_samples(True),
    batch=_changed_batch(lambda: index_update),
    checked=2,
)
index_add: Op = Op(
    "index_add",
    "*,*->*",
    _update_infer("index_add"),
    _add,
    _add_vjp,
    normalize=_add_normalize,
    samples=_samples(True),
    batch=_changed_batch(lambda: index_add),
    checked=2,
)
