"""Losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import Launch, NotOnDevice, Types, device_dtype


def softmax_cross_entropy(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the loss per row."""
    m, n = ins[0].shape
    return [Launch("softmax_cross_entropy", {"m": m, "n": n}, ("in0", "in1", "out0"), "fp32")]


def softmax_cross_entropy_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of the loss."""
    m, n = ins[0].shape
    return [Launch("softmax_cross_entropy_grad", {"m": m, "n": n}, ("in0", "in1", "in2", "out0"), "fp32")]


def softmax_cross_entropy_with_logits(
    ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int
) -> list[Launch]:
    """Lower the loss per row, with labels of probabilities, and its gradient."""
    m, n = ins[0].shape
    operands = ("in0", "in1", "out0", "out1")
    return [Launch("softmax_cross_entropy_with_logits", {"m": m, "n": n}, operands, device_dtype(ins[0]))]


def one_hot(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower rows with a one at the place that a number says."""
    (x,), (y,) = ins, outs
    if x.dtype.name != "int32":
        raise NotOnDevice(f"places are int32 on the device, not {x.dtype}; cast them")
    return [Launch("one_hot", {"m": x.size, "n": attrs["depth"]}, ("in0", "out0"), device_dtype(y))]
