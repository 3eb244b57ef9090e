"""Losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.launch import Launch, Types


def softmax_cross_entropy(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the loss per row."""
    m, n = ins[0].shape
    return [Launch("softmax_cross_entropy", {"m": m, "n": n}, ("in0", "in1", "out0"), "fp32")]


def softmax_cross_entropy_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of the loss."""
    m, n = ins[0].shape
    return [Launch("softmax_cross_entropy_grad", {"m": m, "n": n}, ("in0", "in1", "in2", "out0"), "fp32")]
