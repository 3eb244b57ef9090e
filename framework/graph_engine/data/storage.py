"""How values lie in device memory: in their formats, and what only the AI CPU computes with as it is."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from davinci_sim.memory.dtypes import DType
from davinci_sim.memory.dtypes import dtype as device_dtype
from davinci_sim.memory.layout import LAYOUTS
from framework.ir.types import TensorType

Array = np.ndarray[Any, Any]
PLAIN = "ND"

OF_THE_CPU = {
    name: DType(name, -1, bits, name) for name, bits in (("int64", 64), ("float64", 64), ("bool", 8))
}
"""Types that only the AI CPU computes with; no instruction of a core takes them, so they have no code."""


def element(type_: TensorType) -> DType:
    """Return the device type of a tensor's elements."""
    return OF_THE_CPU.get(type_.dtype.name) or device_dtype(type_.dtype.name)


@lru_cache(maxsize=1 << 14)
def stored_bytes(type_: TensorType, form: str) -> int:
    """Return the bytes of a tensor in a format, its padding included.

    Of axes in front of those of the format each place takes its own bytes: rooms of loops hold images so.
    """
    layout = LAYOUTS[form]
    axes = layout.axes.split()
    first = 0 if "..." in axes else max(type_.ndim - len(axes), 0)
    return math.prod(type_.shape[:first]) * int(layout.bytes(type_.shape[first:], element(type_)))


def packed(type_: TensorType, form: str, array: Array) -> Array:
    """Return an array in the order of the device."""
    typed = np.asarray(array).astype(element(type_).numpy, copy=False).reshape(type_.shape)
    return np.ascontiguousarray(typed) if form == PLAIN else np.asarray(LAYOUTS[form].pack(typed))


def unpacked(type_: TensorType, form: str, stored: Array) -> Array:
    """Return what lies on the device as an array of its logical shape."""
    return (
        stored.reshape(type_.shape)
        if form == PLAIN
        else np.asarray(LAYOUTS[form].unpack(stored, type_.shape))
    )


def stored_shape(type_: TensorType, form: str) -> tuple[int, ...]:
    """Return the shape of a tensor in a format."""
    return tuple(LAYOUTS[form].device_shape(type_.shape, element(type_)))
