"""Reductions over axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import Launch, Lowering, NotOnDevice, Types, device_dtype


def reduction(kernel: str) -> Lowering:
    """Lower a reduction over axes that are neighbours."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        x, axes = ins[0], tuple(sorted(attrs["axes"] if attrs["axes"] is not None else range(ins[0].ndim)))
        first, behind = (axes[0], axes[-1] + 1) if axes else (x.ndim, x.ndim)
        if axes != tuple(range(first, behind)):
            raise NotOnDevice(f"{kernel} reduces neighbouring axes, not {axes} of {x}")
        before, reduced, after = x.shape[:first], x.shape[first:behind], x.shape[behind:]
        if after:
            keys = {"b": math.prod(before), "m": math.prod(reduced), "n": math.prod(after), "axis": 0}
        else:
            keys = {"m": math.prod(before), "n": math.prod(reduced), "axis": 1}
        return [Launch(kernel, keys, ("in0", "out0"), device_dtype(x))]

    return lower
