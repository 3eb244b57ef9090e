"""How operators run on the device: which kernels, on which axes, in which formats.

A lowering is a rule of its operator like inference and gradient. It speaks of kernels by name only, so that
the framework stays complete without a device; the graph engine looks the names up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from framework.ir.types import TensorType

DEVICE_DTYPES = {"float16": "fp16", "float32": "fp32", "int32": "int32"}
SAME, SCALAR, ROW, COLUMN = range(4)
"""How the second operand of a binary kernel meets the first."""


class NotOnDevice(Exception):
    """Says why an operator with these types has no kernel; the splitter reports it and takes the host."""


@dataclass(frozen=True)
class Launch:
    """One kernel of a lowering.

    `operands` names, in the kernel's order, what each operand is: `in0`, `out0`, `tmp0` (between the launches
    of one operator) or `scalar:0.9`. A `flat` kernel runs over elements, so that its tensors may have any one
    format; `formats` overrides the layout that the kernel declares for an operand.
    """

    kernel: str
    axes: Mapping[str, int]
    operands: tuple[str, ...]
    dtype: str
    out_dtype: str | None = None
    flat: bool = False
    formats: Mapping[str, str] = field(default_factory=dict)


Types = tuple[TensorType, ...]
Lowering = Callable[[Types, Types, Mapping[str, Any], int], Sequence[Launch]]
"""(input types, output types, attributes, cores of the chip) -> launches; raises NotOnDevice."""


def device_dtype(type_: TensorType) -> str:
    """Return the device's name of an element type."""
    name = DEVICE_DTYPES.get(type_.dtype.name)
    if name is None:
        raise NotOnDevice(f"{type_.dtype} has no place on the device; cast to float16, float32 or int32")
    return name


def unary(kernel: str, keeps_zero: bool = True) -> Lowering:
    """Lower an element-wise operator of one input; with `keeps_zero` f(0) = 0 and padding stays zero."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        return [Launch(kernel, {"n": ins[0].size}, ("in0", "out0"), device_dtype(ins[0]), flat=keeps_zero)]

    return lower


def binary(kernel: str, commutes: bool, keeps_zero: bool = True) -> Lowering:
    """Lower an element-wise operator of two inputs with broadcasting of one of them."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        dtype, out = device_dtype(ins[0]), outs[0]
        if ins[0].shape == ins[1].shape:
            return [Launch(kernel, {"n": out.size}, ("in0", "in1", "out0"), dtype, flat=keeps_zero)]
        first, second, operands = ins[0], ins[1], ("in0", "in1", "out0")
        if first.shape != out.shape and commutes:
            first, second, operands = ins[1], ins[0], ("in1", "in0", "out0")
        rows, pattern = _pattern(kernel, first, second, out)
        return [Launch(kernel, {"n": out.size, "rows": rows, "pattern": pattern}, operands, dtype)]

    return lower


def _pattern(kernel: str, full: TensorType, small: TensorType, out: TensorType) -> tuple[int, int]:
    """Return rows and pattern with which `small` is broadcast against `full`."""
    if full.shape == out.shape:
        if small.size == 1:
            return 1, SCALAR
        shape = (1,) * (out.ndim - small.ndim) + small.shape
        lead = next(axis for axis in range(out.ndim) if shape[axis] != 1)
        if shape[lead:] == out.shape[lead:]:
            return math.prod(out.shape[:lead]), ROW
        tail = next((axis for axis in range(out.ndim) if math.prod(shape[axis:]) == 1), out.ndim)
        if shape[:tail] == out.shape[:tail]:
            return math.prod(out.shape[:tail]), COLUMN
    raise NotOnDevice(f"{kernel} broadcasts a scalar, a row or a column, not {small} against {full}")


def cast(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a conversion of the element type."""
    source, target = device_dtype(ins[0]), device_dtype(outs[0])
    return [Launch("cast", {"n": ins[0].size}, ("in0", "out0"), source, target, flat=True)]


def elements(kernel: str, inputs: int) -> Lowering:
    """Lower an element-wise operator whose inputs all have the shape of the output."""

    def lower(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
        if any(each.shape != outs[0].shape for each in ins):
            raise NotOnDevice(f"{kernel} takes equal shapes on the device")
        names = (*(f"in{index}" for index in range(inputs)), "out0")
        return [Launch(kernel, {"n": outs[0].size}, names, device_dtype(outs[0]), flat=True)]

    return lower


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
    if attrs["axis"] not in (-1, ins[0].ndim - 1):
        raise NotOnDevice("a bias on channels runs only inside the convolution before it")
    rows = ins[0].size // ins[1].size
    axes = {"n": ins[0].size, "rows": rows, "pattern": ROW}
    return [Launch("add", axes, ("in0", "in1", "out0"), device_dtype(ins[0]))]


def bias_add_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the sum over rows."""
    if ins[0].ndim != 2 or ins[0].dtype.name != "float32":
        raise NotOnDevice("bias_add_grad sums the rows of a float32 matrix")
    m, n = ins[0].shape
    return [Launch("bias_add_grad", {"m": m, "n": n}, ("in0", "out0"), "fp32")]


def _window(x: TensorType, w_shape: tuple[int, ...], attrs: Mapping[str, Any]) -> dict[str, int]:
    """Return the keys of a convolution; the kernels have one stride, pad and dilation for both axes."""
    for key in ("stride", "pad", "dilation"):
        if len(set(attrs[key])) != 1:
            raise NotOnDevice(f"convolution kernels take one {key} for both axes, not {attrs[key]}")
    (n, c, h, w), (o, _, kh, kw) = x.shape, w_shape
    axes = {"n": n, "c": c, "h": h, "w": w, "o": o, "kh": kh, "kw": kw}
    return axes | {key: attrs[key][0] for key in ("stride", "pad", "dilation")}


def _require_half(name: str, ins: Types) -> None:
    if any(each.dtype.name != "float16" for each in ins):
        raise NotOnDevice(f"{name}: the cube multiplies float16; cast the operands (accumulation is float32)")


def conv2d(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower a convolution; a third input is the bias."""
    _require_half("conv2d", ins[:2])
    has_bias = len(ins) > 2
    operands = ("in0", "in1", "in2", "out0") if has_bias else ("in0", "in1", "out0")
    axes = _window(ins[0], ins[1].shape, attrs)
    return [Launch("conv2d_bias" if has_bias else "conv2d", axes, operands, "fp16", device_dtype(outs[0]))]


def conv2d_backward_input(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient to the input."""
    _require_half("conv2d_backward_input", ins)
    axes = _window(outs[0], ins[1].shape, attrs)
    return [Launch("conv2d_backward_input", axes, ("in0", "in1", "out0"), "fp16", device_dtype(outs[0]))]


def conv2d_backward_filter(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient to the filter: a sum per group of images, then the sum of the groups."""
    _require_half("conv2d_backward_filter", ins)
    if outs[0].dtype.name != "float32":
        raise NotOnDevice("conv2d_backward_filter gives float32; cast its result")
    axes = _window(ins[1], outs[0].shape, attrs)
    splits = min(axes["n"], cores)
    fractals = -(-axes["c"] // 16) * axes["kh"] * axes["kw"] * -(-axes["o"] // 16)
    total = {"m": splits, "n": fractals * 256, "axis": 0}
    return [
        Launch("conv2d_backward_filter", axes | {"splits": splits}, ("in1", "in0", "tmp0"), "fp16"),
        Launch("reduce_sum", total, ("tmp0", "out0"), "fp32", formats={"out0": "FRACTAL_Z"}),
    ]


def _pool_axes(x: tuple[int, ...], attrs: Mapping[str, Any]) -> dict[str, int]:
    (n, c, h, w), (kh, kw), (sh, sw) = x, attrs["kernel"], attrs["stride"]
    if sh != sw:
        raise NotOnDevice(f"pooling kernels take one stride for both axes, not {(sh, sw)}")
    return {"n": n, "c": c, "h": h, "w": w, "kh": kh, "kw": kw, "stride": sh}


def max_pool(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower max pooling."""
    return [
        Launch("max_pool", _pool_axes(ins[0].shape, attrs), ("in0", "out0", "out1"), device_dtype(ins[0]))
    ]


def max_pool_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of max pooling."""
    return [
        Launch(
            "max_pool_grad", _pool_axes(outs[0].shape, attrs), ("in0", "in1", "out0"), device_dtype(ins[0])
        )
    ]


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


def softmax_cross_entropy(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the loss per row."""
    m, n = ins[0].shape
    return [Launch("softmax_cross_entropy", {"m": m, "n": n}, ("in0", "in1", "out0"), "fp32")]


def softmax_cross_entropy_grad(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the gradient of the loss."""
    m, n = ins[0].shape
    return [Launch("softmax_cross_entropy_grad", {"m": m, "n": n}, ("in0", "in1", "in2", "out0"), "fp32")]


def apply_momentum(ins: Types, outs: Types, attrs: Mapping[str, Any], cores: int) -> list[Launch]:
    """Lower the update of a weight and its momentum."""
    operands = ("in0", "in1", "in2", "in3", f"scalar:{attrs['momentum']}", "out0", "out1")
    return [Launch("apply_momentum", {"n": ins[0].size}, operands, "fp32", flat=True)]
