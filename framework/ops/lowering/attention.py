"""Attention in one kernel, and its gradients in three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.ir.types import TensorType
from framework.ops.lowering.launch import Launch, NotOnDevice, Types

FRACTAL = 16
FOR_ALL, PER_BATCH = 1, 2
"""How the kernels number masks."""


def _axes(q: TensorType, k: TensorType, mask: Types) -> dict[str, int]:
    """Return the keys of the kernels."""
    b, heads, t, d = q.shape
    if q.dtype.name != "float16":
        raise NotOnDevice(f"attention on the device takes float16, not {q}")
    if t % FRACTAL:
        raise NotOnDevice(f"attention on the device takes multiples of {FRACTAL} queries, not {t}")
    axes = {"b": b, "heads": heads, "t": t, "d": d, "s": k.shape[2]}
    if not mask:
        return axes
    return axes | {"mask": PER_BATCH if mask[0].shape[0] == b else FOR_ALL}


def _kernel(part: str, mask: Types) -> str:
    return f"attention{'_masked' if mask else ''}{part}"


def attention(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower attention; with a mask where there is one."""
    q, k, _, *mask = ins
    names = (*(f"in{at}" for at in range(len(ins))), "out0", "out1")
    return [Launch(_kernel("", tuple(mask)), _axes(q, k, tuple(mask)), names, "fp16")]


def attention_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradients: what all need of each query, then those of keys and values, then of queries."""
    _, q, k, *_ = ins
    mask = ins[6:]
    axes = _axes(q, k, mask)
    plain = {key: length for key, length in axes.items() if key != "mask"}
    read = ("tmp0", "in2", "in3", "in0", "tmp1", "tmp2", *(f"in{at}" for at in range(6, len(ins))))
    prepared = ("in1", "in4", "in0", "in5", "tmp0", "tmp1", "tmp2")
    return [
        Launch("attention_grad_prepare", plain, prepared, "fp16"),
        Launch(_kernel("_grad_kv", mask), axes, (*read, "out1", "out2"), "fp16"),
        Launch(_kernel("_grad_q", mask), axes, (*read, "out0"), "fp16"),
    ]
