"""Products of matrices, and biases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from framework.ops.lowering.broadcasting import ROW
from framework.ops.lowering.launch import Launch, NotOnDevice, Types, device_dtype

MATRIX = 2  # axes


def matmul(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a product of matrices, or of equal batches of them; a third input is the bias."""
    a, (m, n) = ins[0], outs[0].shape[-2:]
    if a.dtype.name not in ("float16", "float32"):
        raise NotOnDevice(f"the cube multiplies float16, and float32 as pairs of it, not {a.dtype}")
    if a.shape[:-2] != ins[1].shape[:-2]:
        raise NotOnDevice(f"the device multiplies equal batches of matrices, not {a} and {ins[1]}")
    k = a.shape[-2] if attrs["transpose_a"] else a.shape[-1]
    axes = {"m": m, "k": k, "n": n, "b": math.prod(a.shape[:-2])}
    axes |= {"trans_a": int(attrs["transpose_a"]), "trans_b": int(attrs["transpose_b"])}
    has_bias = len(ins) > 2
    operands = ("in0", "in1", "in2", "out0") if has_bias else ("in0", "in1", "out0")
    kernel = "matmul_bias" if has_bias else "matmul"
    return [Launch(kernel, axes, operands, device_dtype(a), device_dtype(outs[0]))]


def bias_add(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a bias on the last axis; one on channels runs inside its convolution or not at all."""
    x, bias = ins
    if attrs["axis"] not in (-1, x.ndim - 1):
        raise NotOnDevice("a bias on channels runs only inside the convolution before it")
    axes = {"n": x.size, "rows": x.size // bias.size, "pattern": ROW}
    if bias.dtype == x.dtype:
        return [Launch("add", axes, ("in0", "in1", "out0"), device_dtype(x))]
    cast = Launch("cast", {"n": bias.size}, ("in1", "tmp0"), device_dtype(bias), device_dtype(x))
    return [cast, Launch("add", axes, ("in0", "tmp0", "out0"), device_dtype(x))]


def bias_add_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the sum over rows: of a matrix in fractals, as the products beside it read it."""
    (dy,), (db,) = ins, outs
    if attrs["axis"] not in (-1, dy.ndim - 1):
        raise NotOnDevice(f"bias_add_grad sums all axes but the last on the device, not axis {attrs['axis']}")
    m, n = math.prod(dy.shape[:-1]), dy.shape[-1]
    if dy.ndim == MATRIX and db.dtype.name == "float32":
        return [Launch("bias_add_grad", {"m": m, "n": n}, ("in0", "out0"), device_dtype(dy))]
    axes = {"m": m, "n": n, "axis": 0}
    return [Launch("reduce_sum", axes, ("in0", "out0"), device_dtype(dy), device_dtype(db))]
