"""What works on the rows of a matrix: softmax, layer normalisation, rows of a table by number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from framework.ir.types import TensorType
from framework.ops.lowering.launch import Launch, Lowering, NotOnDevice, Types, device_dtype

ROWS_AT_ONCE = 8
"""The gradient of layer normalisation is cut into parts of whole eights of rows."""


def _matrix(x: TensorType) -> dict[str, int]:
    """Return the keys of rows along the last axis."""
    return {"m": math.prod(x.shape[:-1]), "n": x.shape[-1]}


def along_rows(kernel: str, inputs: int) -> Lowering:
    """Lower an operator along the last axis of inputs of one shape."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        x, axis = ins[0], attrs["axis"]
        if axis != x.ndim - 1:
            raise NotOnDevice(f"the device normalises along the last axis, not axis {axis} of {x}")
        names = (*(f"in{at}" for at in range(inputs)), "out0")
        return [Launch(kernel, _matrix(x), names, device_dtype(x))]

    return lower


def layer_norm(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a normalisation; the kernel knows powers of ten as epsilon."""
    digits = round(-math.log10(attrs["eps"])) if attrs["eps"] > 0 else 0
    if not math.isclose(10.0**-digits, attrs["eps"], rel_tol=1e-6):
        raise NotOnDevice(f"layer_norm on the device takes a power of ten as eps, not {attrs['eps']}")
    axes = _matrix(ins[0]) | {"digits": digits}
    return [Launch("layer_norm", axes, ("in0", "in1", "in2", "out0", "out1", "out2"), device_dtype(ins[0]))]


def layer_norm_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradients: to the rows with parts of the sums, a part a core, then these added."""
    if ins[2].dtype.name != "float32":
        raise NotOnDevice(f"layer_norm_grad: means are float32 on the device, not {ins[2]}; cast them")
    axes = _matrix(ins[1])
    parts = min(cores, -(-axes["m"] // ROWS_AT_ONCE))
    operands = ("in0", "in1", "in2", "in3", "in4", "out0", "tmp0")
    return [
        Launch("layer_norm_grad", axes | {"parts": parts}, operands, device_dtype(ins[1])),
        Launch("layer_norm_grad_sum", {"n": axes["n"], "parts": parts}, ("tmp0", "out1", "out2"), "fp32"),
    ]


def _numbers(name: str, index: TensorType) -> int:
    """Return how many numbers of rows there are."""
    if index.dtype.name != "int32":
        raise NotOnDevice(f"{name}: numbers of rows are int32 on the device, not {index}; cast them")
    return index.size


def gather(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower rows of a table by number."""
    table, index = ins
    axes = {"n": _numbers("gather", index), "v": table.shape[0], "d": table.shape[1]}
    return [Launch("gather", axes, ("in0", "in1", "out0"), device_dtype(table))]


def scatter_add(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower rows added to those of a table."""
    dy, index = ins
    axes = {"n": _numbers("scatter_add", index), "v": attrs["rows"], "d": dy.shape[-1]}
    return [Launch("scatter_add", axes, ("in0", "in1", "out0"), device_dtype(dy))]
