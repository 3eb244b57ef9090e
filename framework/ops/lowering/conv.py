"""Convolutions and their gradients on the cube."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from framework.ir.types import TensorType
from framework.ops.lowering.launch import Launch, NotOnDevice, Types, device_dtype
from framework.ops.lowering.window import padding, steps


def _window(x: TensorType, w_shape: tuple[int, ...], attrs: Mapping[str, Any]) -> dict[str, int]:
    """Return the keys of a convolution."""
    (n, c, h, w), (o, _, kh, kw) = x.shape, w_shape
    axes = {"n": n, "c": c, "h": h, "w": w, "o": o, "kh": kh, "kw": kw}
    few = {"few": 1} if attrs.get("few") else {}
    return axes | few | steps("convolution", attrs, "stride", "dilation") | padding(attrs["pad"])


def _require_half(name: str, ins: Types) -> None:
    if any(each.dtype.name != "float16" for each in ins):
        raise NotOnDevice(f"{name}: the cube multiplies float16; cast the operands (accumulation is float32)")


def conv2d(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a convolution; a third input is the bias."""
    _require_half("conv2d", ins[:2])
    has_bias = len(ins) > 2
    operands = ("in0", "in1", "in2", "out0") if has_bias else ("in0", "in1", "out0")
    axes = _window(ins[0], ins[1].shape, attrs)
    return [Launch("conv2d_bias" if has_bias else "conv2d", axes, operands, "fp16", device_dtype(outs[0]))]


def conv2d_backward_input(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient to the input."""
    _require_half("conv2d_backward_input", ins)
    axes = _window(outs[0], ins[1].shape, attrs)
    return [Launch("conv2d_backward_input", axes, ("in0", "in1", "out0"), "fp16", device_dtype(outs[0]))]


def conv2d_backward_filter(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient to the filter: a sum per group of images, then the sum of the groups.

    `splits` says how many groups there are, the graph engine which number is best; without it each core has
    one. With `few` the image lies without padding of its channels, and so does the gradient.
    """
    _require_half("conv2d_backward_filter", ins)
    if outs[0].dtype.name != "float32":
        raise NotOnDevice("conv2d_backward_filter gives float32; cast its result")
    axes = _window(ins[1], outs[0].shape, attrs)
    splits = int(attrs.get("splits", min(axes["n"], cores)))
    parts = Launch("conv2d_backward_filter", axes | {"splits": splits}, ("in1", "in0", "tmp0"), "fp16")
    layout, elements = "FRACTAL_Z_C04" if axes.get("few") else "FRACTAL_Z", axes["kh"] * axes["kw"]
    if splits == 1:
        return [replace(parts, operands=("in1", "in0", "out0"), formats={"out0": layout})]
    inner = -(-elements // 4) if axes.get("few") else -(-axes["c"] // 16) * elements
    fractals = inner * -(-axes["o"] // 16)
    total = {"m": splits, "n": fractals * 256, "axis": 0}
    return [parts, Launch("reduce_sum", total, ("tmp0", "out0"), "fp32", formats={"out0": layout})]
