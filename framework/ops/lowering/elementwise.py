"""Element-wise operators on the vector unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from framework.ir.types import TensorType
from framework.ops.lowering.launch import Launch, Lowering, NotOnDevice, Types, device_dtype

SAME, SCALAR, ROW, COLUMN = range(4)
"""How the second operand of a binary kernel meets the first."""


def unary(kernel: str, keeps_zero: bool = True) -> Lowering:
    """Lower an element-wise operator of one input; with `keeps_zero` f(0) = 0 and padding stays zero."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        return [Launch(kernel, {"n": ins[0].size}, ("in0", "out0"), device_dtype(ins[0]), flat=keeps_zero)]

    return lower


def binary(kernel: str, commutes: bool, keeps_zero: bool = True) -> Lowering:
    """Lower an element-wise operator of two inputs with broadcasting of one of them."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        dtype, out = device_dtype(ins[0]), outs[0]
        if ins[0].shape == ins[1].shape:
            return [Launch(kernel, {"n": out.size}, ("in0", "in1", "out0"), dtype, flat=keeps_zero)]
        first, second, operands = ins[0], ins[1], ("in0", "in1", "out0")
        if first.shape != out.shape and commutes:
            first, second, operands = ins[1], ins[0], ("in1", "in0", "out0")
        rows, pattern = _pattern(kernel, first, second, out)
        return [Launch(kernel, {"n": out.size, "rows": rows, "pattern": pattern}, operands, dtype)]

    return lower


def _pattern(kernel: str, full: TensorType, small: TensorType, out: TensorType) -> tuple[int, int]:
    """Return rows and pattern with which `small` is broadcast against `full`."""
    if full.shape == out.shape:
        if small.size == 1:
            return 1, SCALAR
        shape = (1,) * (out.ndim - small.ndim) + small.shape
        lead = next(axis for axis in range(out.ndim) if shape[axis] != 1)
        if shape[lead:] == out.shape[lead:]:
            return math.prod(out.shape[:lead]), ROW
        tail = next((axis for axis in range(out.ndim) if math.prod(shape[axis:]) == 1), out.ndim)
        if shape[:tail] == out.shape[:tail]:
            return math.prod(out.shape[:tail]), COLUMN
    raise NotOnDevice(f"{kernel} broadcasts a scalar, a row or a column, not {small} against {full}")


def cast(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a conversion of the element type."""
    source, target = device_dtype(ins[0]), device_dtype(outs[0])
    return [Launch("cast", {"n": ins[0].size}, ("in0", "out0"), source, target, flat=True)]


def elements(kernel: str, inputs: int) -> Lowering:
    """Lower an element-wise operator whose inputs all have the shape of the output."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        if any(each.shape != outs[0].shape for each in ins):
            raise NotOnDevice(f"{kernel} takes equal shapes on the device")
        names = (*(f"in{index}" for index in range(inputs)), "out0")
        return [Launch(kernel, {"n": outs[0].size}, names, device_dtype(outs[0]), flat=True)]

    return lower
