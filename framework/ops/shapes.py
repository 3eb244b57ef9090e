"""Shape arithmetic that several operators share."""

from __future__ import annotations

from typing import Any

import numpy as np

from davinci_sim.errors import ShapeMismatch
from framework.ir.builder import Sym
from framework.ir.registry import operator
from framework.ir.types import TensorType


def broadcast(name: str, *types: TensorType) -> tuple[int, ...]:
    """Return the shape that all types broadcast to by NumPy's rule."""
    if all(each.shape == types[0].shape for each in types):
        return types[0].shape
    try:
        return tuple(int(size) for size in np.broadcast_shapes(*(each.shape for each in types)))
    except ValueError:
        shapes = " and ".join(str(each) for each in types)
        raise ShapeMismatch(
            f"{name}: {shapes} do not broadcast; lengths must be equal or 1, from the right"
        ) from None


def require(condition: bool, message: str, *shown: Any) -> None:
    """Raise ShapeMismatch unless the condition holds; what is shown fills the braces of the message."""
    if not condition:
        raise ShapeMismatch(message.format(*shown) if shown else message)


def axis_of(name: str, axis: int, type_: TensorType) -> int:
    """Return the axis counted from the left."""
    require(
        -type_.ndim <= axis < type_.ndim,
        "{}: axis {} is outside {} with {} axes",
        name,
        axis,
        type_,
        type_.ndim,
    )
    return axis % type_.ndim


def normalize_axis(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with `axis` counted from the left."""
    return {**attrs, "axis": axis_of("axis", attrs["axis"], types[0])}


def normalize_axes(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with `axes` as a sorted tuple counted from the left; None means all."""
    axes = attrs["axes"]
    if axes is None:
        axes = tuple(range(types[0].ndim))
    given = (axes,) if isinstance(axes, int) else axes
    return {**attrs, "axes": tuple(sorted({axis_of("axes", axis, types[0]) for axis in given}))}


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """Return (height, width) from one number or two."""
    if isinstance(value, int):
        return (value, value)
    require(len(value) == 2, f"expected one number or (height, width), found {value}")
    return (value[0], value[1])


def sum_to(dy: Sym, shape: tuple[int, ...]) -> Sym:
    """Return dy summed over the axes that broadcasting from `shape` had added or stretched."""
    if dy.shape == shape:
        return dy
    lead = dy.ndim - len(shape)
    stretched = [lead + axis for axis, size in enumerate(shape) if size == 1 and dy.shape[lead + axis] != 1]
    summed: Sym = operator("reduce_sum")(dy, (*range(lead), *stretched), False)
    return summed if summed.shape == shape else operator("reshape")(summed, shape)
