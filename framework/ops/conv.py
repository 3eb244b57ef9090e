"""Convolution of images x[n, c, h, w] with weights w[o, c, kh, kw], and its two gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.dtypes import accumulator, dtype, promote
from framework.ir.builder import Sym
from framework.ir.types import TensorType
from framework.ops import lowering
from framework.ops.array import reshape
from framework.ops.batching import folded, more, to_front, unfolded
from framework.ops.matmul import product, with_out_dtype
from framework.ops.op import Array, Call, Op, sample
from framework.ops.shapes import pair, require

IMAGE = 4  # axes
SIDES = 4  # top, bottom, left, right
Two = tuple[int, int]
Four = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """How a filter moves over an image: steps, padding (top, bottom, left, right) and spread of its taps."""

    stride: Two
    pad: Four
    dilation: Two

    def output(self, h: int, w: int, kernel: Two) -> Two:
        """Return height and width of the result."""
        top, bottom, left, right = self.pad
        spread_h, spread_w = (d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True))
        return (
            (h + top + bottom - spread_h) // self.stride[0] + 1,
            (w + left + right - spread_w) // self.stride[1] + 1,
        )

    def tap(self, i: int, j: int, out: Two) -> tuple[slice, slice]:
        """Return where in the padded image tap (i, j) of the filter reads for every output position."""
        h0, w0 = i * self.dilation[0], j * self.dilation[1]
        return (
            slice(h0, h0 + self.stride[0] * (out[0] - 1) + 1, self.stride[0]),
            slice(w0, w0 + self.stride[1] * (out[1] - 1) + 1, self.stride[1]),
        )


def sides(pad: Any) -> Four:
    """Return padding, given by one number, by (h, w) or in full, as (top, bottom, left, right)."""
    if isinstance(pad, tuple) and len(pad) == SIDES:
        return pad
    pad_h, pad_w = pair(pad)
    return (pad_h, pad_h, pad_w, pad_w)


def normalize_window(types: tuple[TensorType, ...], attrs: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with stride and dilation as (h, w) and pad as (top, bottom, left, right)."""
    spelled = {**attrs, "stride": pair(attrs["stride"]), "pad": sides(attrs["pad"])}
    return with_out_dtype(types, {**spelled, "dilation": pair(attrs["dilation"])})


def _output_shape(name: str, x: tuple[int, ...], w: tuple[int, ...], window: Window) -> tuple[int, ...]:
    require(
        len(x) == len(w) == IMAGE, f"{name}: x{list(x)} must be [n, c, h, w] and w{list(w)} [o, c, kh, kw]"
    )
    require(x[1] == w[1], f"{name}: x{list(x)} has {x[1]} channels, w{list(w)} expects {w[1]}")
    require(
        min(*window.stride, *window.dilation) > 0 and min(window.pad) >= 0,
        f"{name}: stride {window.stride} and dilation {window.dilation} must be positive, pad not negative",
    )
    h, width = window.output(x[2], x[3], (w[2], w[3]))
    require(h > 0 and width > 0, f"{name}: the filter w{list(w)} is larger than the padded image x{list(x)}")
    return (x[0], w[0], h, width)


def padded(x: Array, window: Window, value: float = 0) -> Array:
    """Return x[n, c, h, w] with the padding of a window, which holds one value."""
    top, bottom, left, right = window.pad
    if not any(window.pad):
        return x
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def unpadded(x: Array, window: Window) -> Array:
    """Return x[n, c, h, w] without the padding of a window."""
    top, bottom, left, right = window.pad
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def _columns(x: Array, kernel: Two, window: Window) -> Array:
    """Return x[n, c, h, w] as columns [n ho wo, c kh kw], widened to the accumulator."""
    (kh, kw), (dh, dw), (sh, sw) = kernel, window.dilation, window.stride
    wide = padded(x, window).astype(accumulator(x.dtype), copy=False)
    spread = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
    taps = np.lib.stride_tricks.sliding_window_view(wide, spread, axis=(2, 3))[:, :, ::sh, ::sw, ::dh, ::dw]
    n, c, ho, wo = taps.shape[:4]
    return taps.transpose(0, 2, 3, 1, 4, 5).reshape(
        n * ho * wo, c * kh * kw
    )  # n c ho wo kh kw -> n ho wo c kh kw


def _rows(y: Array) -> Array:
    """Return y[n, o, ho, wo] as rows [n ho wo, o]."""
    return y.transpose(0, 2, 3, 1).reshape(-1, y.shape[1])


def _infer(
    x: TensorType,
    w: TensorType,
    /,
    stride: int | Two = 1,
    pad: int | Two | Four = 0,
    dilation: int | Two = 1,
    out_dtype: str | None = None,
) -> TensorType:
    require(x.dtype == w.dtype, f"conv2d: x {x} and w {w} differ in dtype; cast one of them")
    shape = _output_shape("conv2d", x.shape, w.shape, Window(stride, pad, dilation))  # type: ignore[arg-type]
    return TensorType(shape, dtype(out_dtype or x.dtype))


def _evaluate(x: Array, w: Array, stride: Two, pad: Four, dilation: Two, out_dtype: str) -> Array:
    window = Window(stride, pad, dilation)
    o, _, kh, kw = w.shape
    ho, wo = window.output(x.shape[2], x.shape[3], (kh, kw))
    wide = w.reshape(o, -1).T.astype(accumulator(w.dtype), copy=False)
    rows = product(_columns(x, (kh, kw), window), wide, out_dtype)
    return np.ascontiguousarray(
        rows.reshape(x.shape[0], ho, wo, o).transpose(0, 3, 1, 2)
    )  # n ho wo o -> n o ho wo


def _window_attrs(call: Call) -> dict[str, Any]:
    return {key: call.attrs[key] for key in ("stride", "pad", "dilation")}


def _filter_dtype(call: Call) -> str:
    """Return the dtype of the gradient of the filter, the second input."""
    return promote(call.cotangent_dtype(1), dtype(accumulator(call.inputs[1].dtype))).name


def _vjp(call: Call, dy: Any) -> tuple[Any, ...]:
    """Return dx in x's dtype, and dw in float32 at least, as the cube sums it."""
    x, w = call.inputs
    wide = _filter_dtype(call)
    dy = dy.astype(x.dtype)
    window = _window_attrs(call)
    return (
        conv2d_backward_input(dy, w, x.shape, **window, out_dtype=x.dtype),
        conv2d_backward_filter(dy, x, w.shape, **window, out_dtype=wide),
    )


def _conv_batch(
    inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int
) -> list[Sym] | None:
    """Join the batch with the images, or filters with the channels of the result; not both."""
    x, w = inputs
    if all(is_batched):
        return None
    if is_batched[0]:
        return [unfolded(conv2d(folded(x), w, **attrs), size)]
    return [unfolded(conv2d(x, folded(w), **attrs), size, axis=1)]


conv2d: Op = Op(
    "conv2d",
    "nchw,ockl->nohw",
    _infer,
    _evaluate,
    _vjp,
    normalize=normalize_window,
    promotes=True,
    lowering=lowering.conv2d,
    samples=(
        sample((2, 3, 5, 5), (4, 3, 3, 3)),
        sample((1, 2, 6, 5), (3, 2, 3, 2), stride=2, pad=1),
        sample((1, 2, 7, 7), (2, 2, 2, 3), pad=(1, 0, 2, 1), stride=(2, 1), dilation=2),
        sample((1, 2, 6, 5), (3, 2, 3, 3), pad=(0, 1, 1, 2), stride=2),
    ),
    batch=_conv_batch,
)


def _input_infer(
    dy: TensorType,
    w: TensorType,
    /,
    input_shape: tuple[int, ...],
    stride: int | Two = 1,
    pad: int | Two | Four = 0,
    dilation: int | Two = 1,
    out_dtype: str | None = None,
) -> TensorType:
    window = Window(stride, pad, dilation)  # type: ignore[arg-type]
    shape = _output_shape("conv2d_backward_input", input_shape, w.shape, window)
    require(dy == w.with_shape(shape), f"conv2d_backward_input: dy {dy} must be {w.with_shape(shape)}")
    return TensorType(input_shape, dtype(out_dtype or dy.dtype))


def _input_evaluate(
    dy: Array, w: Array, input_shape: tuple[int, ...], stride: Two, pad: Four, dilation: Two, out_dtype: str
) -> Array:
    window = Window(stride, pad, dilation)
    n, o, ho, wo = dy.shape
    _, c, kh, kw = w.shape
    wide = accumulator(dy.dtype)
    columns = _rows(dy).astype(wide, copy=False) @ w.reshape(o, -1).astype(wide, copy=False)
    taps = columns.reshape(n, ho, wo, c, kh, kw).transpose(4, 5, 0, 3, 1, 2)  # -> kh kw n c ho wo
    top, bottom, left, right = pad
    dx = np.zeros((n, c, input_shape[2] + top + bottom, input_shape[3] + left + right), dtype=wide)
    for i in range(kh):
        for j in range(kw):
            dx[:, :, *window.tap(i, j, (ho, wo))] += taps[i, j]
    inner = dx[:, :, top : top + input_shape[2], left : left + input_shape[3]]
    return np.ascontiguousarray(inner).astype(dtype(out_dtype).numpy, copy=False)


def _input_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    dy, w = call.inputs
    window = _window_attrs(call)
    wide = _filter_dtype(call)
    d = d.astype(dy.dtype)
    return (
        conv2d(d, w, **window, out_dtype=dy.dtype),
        conv2d_backward_filter(dy, d, w.shape, **window, out_dtype=wide),
    )


def _input_batch(
    inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int
) -> list[Sym] | None:
    """Join the batch with the images; filters of their own go one by one."""
    if is_batched[1]:
        return None
    return [
        unfolded(
            conv2d_backward_input(folded(inputs[0]), inputs[1], **more("input_shape")(attrs, size)), size
        )
    ]


_BACKWARD = {"stride": 2, "pad": 1}
conv2d_backward_input: Op = Op(
    "conv2d_backward_input",
    "nohw,ockl->nchw",
    _input_infer,
    _input_evaluate,
    _input_vjp,
    normalize=normalize_window,
    lowering=lowering.conv2d_backward_input,
    samples=(
        sample((1, 3, 3, 3), (3, 2, 3, 3), input_shape=(1, 2, 5, 5)),
        sample((1, 3, 3, 3), (3, 2, 3, 2), input_shape=(1, 2, 6, 5), **_BACKWARD),
    ),
    batch=_input_batch,
)


def _filter_infer(
    dy: TensorType,
    x: TensorType,
    /,
    weight_shape: tuple[int, ...],
    stride: int | Two = 1,
    pad: int | Two | Four = 0,
    dilation: int | Two = 1,
    out_dtype: str | None = None,
) -> TensorType:
    window = Window(stride, pad, dilation)  # type: ignore[arg-type]
    shape = _output_shape("conv2d_backward_filter", x.shape, weight_shape, window)
    require(dy == x.with_shape(shape), f"conv2d_backward_filter: dy {dy} must be {x.with_shape(shape)}")
    return TensorType(weight_shape, dtype(out_dtype or dy.dtype))


def _filter_evaluate(
    dy: Array, x: Array, weight_shape: tuple[int, ...], stride: Two, pad: Four, dilation: Two, out_dtype: str
) -> Array:
    columns = _columns(x, (weight_shape[2], weight_shape[3]), Window(stride, pad, dilation))
    rows = _rows(dy).astype(columns.dtype, copy=False)
    return product(rows.T, columns, out_dtype).reshape(weight_shape)


def _filter_vjp(call: Call, d: Any) -> tuple[Any, ...]:
    dy, x = call.inputs
    window = _window_attrs(call)
    d = d.astype(x.dtype)
    return (
        conv2d(x, d, **window, out_dtype=dy.dtype),
        conv2d_backward_input(dy, d, x.shape, **window, out_dtype=x.dtype),
    )


def _filter_batch(
    inputs: list[Sym], is_batched: list[bool], attrs: dict[str, Any], size: int
) -> list[Sym] | None:
    """Join the batch with the channels of dy or of x; not both."""
    if all(is_batched):
        return None
    axis = 0 if is_batched[0] else 1  # of the filter: its outputs or its inputs
    joined = to_front(inputs[axis], 1)  # size n c h w -> n size c h w
    n, _, c, h, w = joined.shape
    joined = reshape(joined, (n, size * c, h, w))
    shape = list(attrs["weight_shape"])
    shape[axis] *= size
    given = (joined, inputs[1]) if axis == 0 else (inputs[0], joined)
    return [unfolded(conv2d_backward_filter(*given, **{**attrs, "weight_shape": tuple(shape)}), size, axis)]


conv2d_backward_filter: Op = Op(
    "conv2d_backward_filter",
    "nohw,nchw->ockl",
    _filter_infer,
    _filter_evaluate,
    _filter_vjp,
    normalize=normalize_window,
    lowering=lowering.conv2d_backward_filter,
    samples=(
        sample((2, 3, 3, 3), (2, 2, 5, 5), weight_shape=(3, 2, 3, 3)),
        sample((1, 3, 3, 3), (1, 2, 6, 5), weight_shape=(3, 2, 3, 2), **_BACKWARD),
    ),
    batch=_filter_batch,
)
