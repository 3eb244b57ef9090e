"""Pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import Launch, Types, device_dtype
from framework.ops.lowering.window import padding, steps


def _pool_axes(x: tuple[int, ...], attrs: Mapping[str, Any]) -> dict[str, int]:
    (n, c, h, w), (kh, kw) = x, attrs["kernel"]
    axes = {"n": n, "c": c, "h": h, "w": w, "kh": kh, "kw": kw}
    return axes | steps("pooling", attrs, "stride") | padding(attrs["pad"])


def max_pool(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower max pooling."""
    axes = _pool_axes(ins[0].shape, attrs)
    return [Launch("max_pool", axes, ("in0", "out0", "out1"), device_dtype(ins[0]))]


def max_pool_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of max pooling."""
    axes = _pool_axes(outs[0].shape, attrs)
    return [Launch("max_pool_grad", axes, ("in0", "in1", "out0"), device_dtype(ins[0]))]


def _average_axes(x: tuple[int, ...], attrs: Mapping[str, Any]) -> dict[str, int]:
    return _pool_axes(x, attrs) | {"include_pad": int(attrs["include_pad"])}


def avg_pool(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower average pooling."""
    axes = _average_axes(ins[0].shape, attrs)
    return [Launch("avg_pool", axes, ("in0", "out0"), device_dtype(ins[0]))]


def avg_pool_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of average pooling."""
    axes = _average_axes(outs[0].shape, attrs)
    return [Launch("avg_pool_grad", axes, ("in0", "out0"), device_dtype(ins[0]))]


def _image_axes(shape: tuple[int, ...]) -> dict[str, int]:
    return dict(zip("nchw", shape, strict=True))


def global_avg_pool(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the average over whole images."""
    return [Launch("global_avg_pool", _image_axes(ins[0].shape), ("in0", "out0"), device_dtype(ins[0]))]


def global_avg_pool_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of the average over whole images."""
    return [Launch("global_avg_pool_grad", _image_axes(outs[0].shape), ("in0", "out0"), device_dtype(ins[0]))]
