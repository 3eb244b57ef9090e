"""Activations, and dropout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import Launch, Types, device_dtype


def gelu(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower GELU in one of its two forms."""
    axes = {"n": ins[0].size, "erf": int(not attrs["approximate"])}
    return [Launch("gelu", axes, ("in0", "out0"), device_dtype(ins[0]), flat=True)]


def gelu_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of GELU."""
    axes = {"n": ins[0].size, "erf": int(not attrs["approximate"])}
    return [Launch("gelu_grad", axes, ("in0", "in1", "out0"), device_dtype(ins[0]), flat=True)]


def thousandths(keep_prob: float) -> int:
    """Return the share that is kept, as dropout counts it."""
    return round(keep_prob * 1000)


def dropout(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower dropout; what is kept depends on the order of the elements, so that they lie in ND."""
    axes = {"n": ins[0].size, "keep": thousandths(attrs["keep_prob"])}
    return [Launch("dropout", axes, ("in0", "in1", "out0", "out1"), device_dtype(ins[0]))]


def dropout_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of dropout, with the mask that it left."""
    axes = {"n": ins[0].size, "keep": thousandths(attrs["keep_prob"])}
    return [Launch("dropout_grad", axes, ("in0", "in1", "out0"), device_dtype(ins[0]))]
