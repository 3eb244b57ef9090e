"""Pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import Launch, NotOnDevice, Types, device_dtype


def _pool_axes(x: tuple[int, ...], attrs: Mapping[str, Any]) -> dict[str, int]:
    (n, c, h, w), (kh, kw), (sh, sw) = x, attrs["kernel"], attrs["stride"]
    if sh != sw:
        raise NotOnDevice(f"pooling kernels take one stride for both axes, not {(sh, sw)}")
    return {"n": n, "c": c, "h": h, "w": w, "kh": kh, "kw": kw, "stride": sh}


def max_pool(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower max pooling."""
    return [
        Launch("max_pool", _pool_axes(ins[0].shape, attrs), ("in0", "out0", "out1"), device_dtype(ins[0]))
    ]


def max_pool_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of max pooling."""
    return [
        Launch(
            "max_pool_grad", _pool_axes(outs[0].shape, attrs), ("in0", "in1", "out0"), device_dtype(ins[0])
        )
    ]
