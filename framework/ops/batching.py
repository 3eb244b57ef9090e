"""How operators work on batches: rules that put one more axis in front of what they compute.

A rule takes inputs of which some have a batch axis in front, and gives outputs that all have it. It computes
all items at once, and writes operators only, so that it can be differentiated and batched again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from framework.ir.builder import Sym
from framework.ir.registry import operator
from framework.ir.types import TensorType
from framework.ops.op import Batch

Change = Callable[[dict[str, Any], int], dict[str, Any]]
"""(attributes, length of the batch) -> attributes for an input with a batch axis."""


def listed(outputs: Any) -> list[Sym]:
    """Return what an operator gave as a list."""
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def aligned(x: Sym, rank: int) -> Sym:
    """Return x[size, ...] with axes of length 1 behind the first, so that items have `rank` axes."""
    missing = rank + 1 - x.ndim
    if missing <= 0:
        return x
    found: Sym = operator("reshape")(x, (x.shape[0], *(1,) * missing, *x.shape[1:]))
    return found


def batched(x: Sym, has_axis: bool, size: int) -> Sym:
    """Return x with a batch axis, along which it is the same if it had none."""
    found: Sym = x if has_axis else operator("broadcast_to")(x, (size, *x.shape))
    return found


def all_batched(inputs: Sequence[Sym], is_batched: Sequence[bool], size: int) -> list[Sym]:
    """Return all inputs with a batch axis."""
    return [batched(x, has_axis, size) for x, has_axis in zip(inputs, is_batched, strict=True)]


def item_type(x: Sym, has_axis: bool) -> TensorType:
    """Return the type of the items of an input."""
    return x.type.with_shape(x.shape[1:]) if has_axis else x.type


def rank_of_items(inputs: Sequence[Sym], is_batched: Sequence[bool]) -> int:
    """Return the largest number of axes that the items of an input have."""
    return max(item_type(x, has_axis).ndim for x, has_axis in zip(inputs, is_batched, strict=True))


def folded(x: Sym) -> Sym:
    """Return x[size, n, ...] as x[size n, ...]."""
    found: Sym = operator("reshape")(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
    return found


def unfolded(x: Sym, size: int, axis: int = 0) -> Sym:
    """Return x with an axis [size n] as two axes, of which the first goes to the front."""
    split = (*x.shape[:axis], size, x.shape[axis] // size, *x.shape[axis + 1 :])
    return to_front(operator("reshape")(x, split), axis)


def to_front(x: Sym, axis: int) -> Sym:
    """Return x with one axis moved to the front."""
    others = [each for each in range(x.ndim) if each != axis]
    found: Sym = x if axis == 0 else operator("transpose")(x, (axis, *others))
    return found


def elementwise(name: str) -> Batch:
    """Return the rule of an operator that broadcasts its inputs."""

    def rule(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
        rank = rank_of_items(inputs, is_batched)
        given = [aligned(x, rank) if has_axis else x for x, has_axis in zip(inputs, is_batched, strict=True)]
        return listed(operator(name)(*given, **attrs))

    return rule


def together(name: str, change: Change = lambda attrs, size: attrs) -> Batch:
    """Return the rule of an operator that treats all inputs alike, once its attributes are changed."""

    def rule(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
        given = all_batched(inputs, is_batched, size)
        return listed(operator(name)(*given, **change(attrs, size)))

    return rule


def folding(name: str, change: Change = lambda attrs, size: attrs) -> Batch:
    """Return the rule of an operator whose first axis is a batch already: both become one."""

    def rule(inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int) -> list[Sym]:
        given = [folded(x) for x in all_batched(inputs, is_batched, size)]
        return [unfolded(y, size) for y in listed(operator(name)(*given, **change(attrs, size)))]

    return rule


def next_axis(attrs: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the attributes of an operator that works along `axis`."""
    return {**attrs, "axis": attrs["axis"] + 1}


def next_axes(attrs: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the attributes of an operator that works along `axes`."""
    return {**attrs, "axes": tuple(axis + 1 for axis in attrs["axes"])}


def longer(key: str) -> Change:
    """Return the change of a shape that gets the batch in front."""
    return lambda attrs, size: {**attrs, key: (size, *attrs[key])}


def more(key: str) -> Change:
    """Return the change of a shape whose first axis is a batch already."""
    return lambda attrs, size: {**attrs, key: (size * attrs[key][0], *attrs[key][1:])}
