"""Updates of weights, and what is asked of all gradients at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ir.types import TensorType
from framework.ops.lowering.launch import Launch, Lowering, NotOnDevice, Types, device_dtype

SUMS = 512
"""Numbers of the partial sums that norms are made of; no flat launch has tensors as short as these."""


def _wide(name: str, ins: Types) -> int:
    """Return how many weights there are; the kernels have weights, moments and gradients in float32."""
    if ins[0].dtype.name != "float32":
        raise NotOnDevice(f"{name} updates float32 weights, not {ins[0]}; cast where they are used")
    return ins[0].size


def _scalars(attrs: Mapping[str, Any], *names: str) -> list[str]:
    return [f"scalar:{attrs[name]}" for name in names]


def _sources(count: int) -> list[str]:
    return [f"in{index}" for index in range(count)]


def apply_momentum(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the update of a weight and its momentum."""
    n = _wide("apply_momentum", ins)
    operands = (*_sources(4), *_scalars(attrs, "momentum"), "out0", "out1")
    return [Launch("apply_momentum", {"n": n}, operands, "fp32", flat=True)]


def apply_momentum_decay(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the update of a weight that decays, and its momentum."""
    axes = {"n": _wide("apply_momentum_decay", ins), "nesterov": int(attrs["nesterov"])}
    operands = (*_sources(4), *_scalars(attrs, "momentum", "weight_decay"), "out0", "out1")
    return [Launch("apply_momentum_decay", axes, operands, "fp32", flat=True)]


def apply_sgd(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the update of a weight without moments."""
    operands = (*_sources(3), *_scalars(attrs, "weight_decay"), "out0")
    return [Launch("apply_sgd", {"n": _wide("apply_sgd", ins)}, operands, "fp32", flat=True)]


def apply_adam(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower Adam's update of a weight and its two moments."""
    axes = {"n": _wide("apply_adam", ins), "nesterov": int(attrs["nesterov"])}
    operands = (*_sources(7), *_scalars(attrs, "beta1", "beta2", "epsilon"), "out0", "out1", "out2")
    return [Launch("apply_adam", axes, operands, "fp32", flat=True)]


def apply_adamw(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower Adam's update of a weight that decays by itself, and its two moments."""
    numbers = _scalars(attrs, "beta1", "beta2", "epsilon", "weight_decay")
    operands = (*_sources(7), *numbers, "out0", "out1", "out2")
    return [Launch("apply_adamw", {"n": _wide("apply_adamw", ins)}, operands, "fp32", flat=True)]


def apply_lamb(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower LAMB: moments, direction and the sums of squares; then the step, by the ratio of the norms."""
    n = _wide("apply_lamb", ins)
    numbers = _scalars(attrs, "beta1", "beta2", "epsilon", "weight_decay")
    update = (*_sources(6), *numbers, "tmp0", "out1", "out2", "tmp1", "tmp2")
    step = ("in0", "tmp0", "tmp1", "tmp2", "in6", "out0")
    return [
        Launch("lamb_update", {"n": n}, update, "fp32", flat=n > SUMS),
        Launch("lamb_apply", {"n": n}, step, "fp32", flat=n > SUMS),
    ]


def _total(part: str, total: str) -> Lowering:
    """Lower what makes one number of many tensors: partial sums of each, side by side, and their total."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        parts = [_part(part, index, each) for index, each in enumerate(ins)]
        return [*parts, Launch(total, {"n": len(ins)}, ("tmp0", "out0"), "fp32")]

    return lower


def _part(kernel: str, index: int, tensor: TensorType) -> Launch:
    """Return what makes the partial sums of a tensor; zeros of padding change none, so any format will do."""
    operands = (f"in{index}", f"tmp0[{index}]")
    return Launch(kernel, {"n": tensor.size}, operands, device_dtype(tensor), flat=tensor.size > SUMS)


float_status = _total("all_finite", "float_status")
global_norm = _total("square_sum", "global_norm")


def clip_by_norm(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the scaling of a gradient whose norm, or that of all gradients, is too large."""
    operands = (*_sources(2), *_scalars(attrs, "clip_norm"), "out0")
    return [Launch("clip_by_norm", {"n": _wide("clip_by_norm", ins)}, operands, "fp32", flat=True)]
