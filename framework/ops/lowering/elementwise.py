"""Element-wise operators on the vector unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.broadcasting import keys as broadcast_keys
from framework.ops.lowering.launch import Launch, Lowering, NotOnDevice, Types, device_dtype


def unary(kernel: str, keeps_zero: bool = True) -> Lowering:
    """Lower an element-wise operator of one input; with `keeps_zero` f(0) = 0 and padding stays zero."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        return [Launch(kernel, {"n": ins[0].size}, ("in0", "out0"), device_dtype(ins[0]), flat=keeps_zero)]

    return lower


def binary(kernel: str, commutes: bool, keeps_zero: bool = True, scales: bool = False) -> Lowering:
    """Lower an element-wise operator of two inputs that broadcast.

    With `keeps_zero` f(0, 0) = 0. One that `scales` keeps zero with every finite number: padding stays
    zero in any format when the second input is a number.
    """

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        dtype, (first, second), operands = device_dtype(ins[0]), ins, ("in0", "in1", "out0")
        if first.shape == second.shape:
            return [Launch(kernel, {"n": outs[0].size}, operands, dtype, flat=keeps_zero)]
        if first.shape != outs[0].shape and commutes:
            first, second, operands = second, first, ("in1", "in0", "out0")
        axes = broadcast_keys(kernel, first.shape, second.shape)
        return [Launch(kernel, axes, operands, dtype, flat=scales and second.size == 1)]

    return lower


def full(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a tensor of one number, which is whole."""
    value = attrs["value"]
    if value != int(value):
        raise NotOnDevice(f"the device fills with whole numbers, not {value}")
    axes = {"n": outs[0].size, "value": int(value)}
    return [Launch("fill_value", axes, ("out0",), device_dtype(outs[0]), flat=value == 0)]


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
