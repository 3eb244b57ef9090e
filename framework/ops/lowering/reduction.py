"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import Launch, Lowering, NotOnDevice, Types, device_dtype


def reduction(kernel: str) -> Lowering:
    """Lower a reduction over leading or trailing axes."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        x, axes = ins[0], tuple(sorted(attrs["axes"] if attrs["axes"] is not None else range(ins[0].ndim)))
        kept = x.ndim - len(axes)
        if axes == tuple(range(kept, x.ndim)):
            m, n, axis = math.prod(x.shape[:kept]), math.prod(x.shape[kept:]), 1
        elif axes == tuple(range(len(axes))):
            m, n, axis = math.prod(x.shape[: len(axes)]), math.prod(x.shape[len(axes) :]), 0
        else:
            raise NotOnDevice(f"{kernel} reduces leading or trailing axes, not {axes} of {x}")
        return [Launch(kernel, {"m": m, "n": n, "axis": axis}, ("in0", "out0"), device_dtype(x))]

    return lower
