"""Batch normalisation: sums over parts of the positions first, then what uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ir.types import TensorType
from framework.ops.lowering.launch import Launch, NotOnDevice, Types, device_dtype


def _axes(x: TensorType, numbers: TensorType) -> dict[str, int]:
    """Return the axes of x; the kernels keep statistics in fp32."""
    if numbers.dtype.name != "float32":
        raise NotOnDevice(f"the numbers by channel are float32 on the device, not {numbers.dtype}; cast them")
    return dict(zip("nchw", x.shape, strict=True))


def batch_norm(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the normalisation in training."""
    axes, dtype = _axes(ins[0], ins[1]), device_dtype(ins[0])
    sums, numbers = ("tmp0", "tmp1", "tmp2"), ("in1", "in2", "in3", "in4")
    given = (f"scalar:{attrs['eps']}", f"scalar:{1 - attrs['momentum']}")
    results = tuple(f"out{at}" for at in range(len(outs)))
    return [
        Launch("batch_norm_reduce", axes, ("in0", *sums), dtype),
        Launch("batch_norm_update", axes, ("in0", *sums, *numbers, *given, *results), dtype),
    ]


def batch_norm_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradients: the sums for gamma and beta, of which that of x has need."""
    axes, dtype = _axes(ins[1], ins[2]), device_dtype(ins[1])
    sums = ("tmp0", "tmp1")
    results = ("out0", "out1", "out2")
    return [
        Launch("batch_norm_update_grad", axes, ("in0", "in1", "in3", "in4", *sums), dtype),
        Launch("batch_norm_reduce_grad", axes, ("in0", "in1", "in2", "in3", "in4", *sums, *results), dtype),
    ]


def batch_norm_inference(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the normalisation by given statistics."""
    numbers = ("in1", "in2", "in3", "in4", f"scalar:{attrs['eps']}")
    return [Launch("batch_norm", _axes(ins[0], ins[1]), ("in0", *numbers, "out0"), device_dtype(ins[0]))]
