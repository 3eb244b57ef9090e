"""Sigmoid cross-entropy with logits and its gradient, element by element.

The loss is written so that nothing overflows: max(x, 0) - x * label + ln(1 + e ** -|x|).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kernels.activation import ActivationShape, ActivationTiling
from kernels.lang import (
    FP16,
    FP32,
    MUL,
    SUB,
    UB,
    Operand,
    alloc,
    emits,
    flat_binary,
    flat_convert,
    kernel,
    output,
    share_end,
    share_start,
    size_of,
)
from kernels.pieces.curves import SIGMOID, SOFTPLUS, Bench, Curve, bench, curve
from kernels.pieces.stream import bring, close_stream, open_stream, release, room, send
from kernels.rules import item_bytes

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SigmoidLossShape(ActivationShape):
    """n logits and labels of type `dtype`."""

    SOURCES: ClassVar[int] = 2

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot; fp16 has more sources in fp32."""
        return super().live_bytes + (self.SOURCES - 1) * (2 if item_bytes(self.dtype) == 2 else 0)


@dataclass(frozen=True)
class SigmoidLossGradShape(SigmoidLossShape):
    """n logits, labels and gradients of the loss of type `dtype`."""

    SOURCES: ClassVar[int] = 3


@emits
def loss_or_gradient(core: Any, b: Bench, op: int, made: int, x: int, pitch: int, n: int) -> None:
    """Compute a tile from logits at x, and labels and gradients `pitch` bytes behind; it overwrites them."""
    labels = x + pitch
    if op == SOFTPLUS:
        flat_binary(core, MUL, labels, labels, x, n, FP32)
    curve(core, b, op, made, x, n, 0)
    flat_binary(core, SUB, made, made, labels, n, FP32)
    if op == SIGMOID:
        flat_binary(core, MUL, made, made, labels + pitch, n, FP32)


@emits
def stream_loss(core: Any, op: int, x: int, label: int, dloss: int, y: int, shape: Any, tiling: Any) -> None:
    """Compute the loss (SOFTPLUS) or its gradient (SIGMOID) for this block's share."""
    size, sources = size_of(core, shape.dtype), 2 if op == SOFTPLUS else 3
    s = open_stream(core, sources, tiling.tile, size, tiling.slots)
    wide_bytes = s.tile * 4 if shape.dtype == FP16 else 0
    wide, wide_y = alloc(core, UB, sources * wide_bytes, sources), alloc(core, UB, wide_bytes)
    b = bench(core, s.tile * 4, Curve(op, 0.0, 0.0, 0.0), FP32)
    end = share_end(core, shape.n, 512 // size)
    for i in range(share_start(core, shape.n, 512 // size), end, s.tile):
        n = min(s.tile, end - i)
        taken = bring(core, s, x, label, dloss, i, n)
        made = room(core, s)
        if shape.dtype == FP16:
            for source in range(sources):
                to, start = wide + source * wide_bytes, taken + source * s.pitch
                flat_convert(core, to, FP32, start, FP16, n)
            loss_or_gradient(core, b, op, wide_y, wide, wide_bytes, n)
            flat_convert(core, made, FP16, wide_y, FP32, n)
        else:
            loss_or_gradient(core, b, op, made, taken, s.pitch, n)
        release(core, s)
        send(core, s, y, made, i, n)
    close_stream(core, s)


def _inputs(shape: SigmoidLossShape) -> tuple[Operand, Operand]:
    n, dtype = (shape.n,), shape.dtype
    return Operand("logits", n, dtype), Operand("labels", n, dtype, between=(0.0, 1.0))


def _loss_operands(shape: SigmoidLossShape) -> tuple[Operand, ...]:
    return *_inputs(shape), output("loss", (shape.n,), shape.dtype)


def _grad_operands(shape: SigmoidLossShape) -> tuple[Operand, ...]:
    n, dtype = (shape.n,), shape.dtype
    return *_inputs(shape), Operand("dloss", n, dtype), output("dlogits", n, dtype)


def _loss_reference(shape: SigmoidLossShape, logits: Array, labels: Array) -> tuple[Array]:
    x, label = logits.astype(np.float64), labels.astype(np.float64)
    with np.errstate(all="ignore"):
        return ((np.logaddexp(x, 0) - x * label).astype(logits.dtype),)


def _grad_reference(shape: SigmoidLossShape, logits: Array, labels: Array, dloss: Array) -> tuple[Array]:
    x, label = logits.astype(np.float64), labels.astype(np.float64)
    with np.errstate(all="ignore"):
        slope = 1 / (1 + np.exp(-x)) - label
    return ((slope * dloss.astype(np.float64)).astype(logits.dtype),)


@kernel(SigmoidLossShape, ActivationTiling, _loss_operands, _loss_reference)
def sigmoid_cross_entropy(core: Any, logits: int, labels: int, loss: int, shape: Any, tiling: Any) -> None:
    """loss[n] = -label * ln(sigmoid(logit)) - (1 - label) * ln(1 - sigmoid(logit)) of each number."""
    stream_loss(core, SOFTPLUS, logits, labels, labels, loss, shape, tiling)


@kernel(SigmoidLossGradShape, ActivationTiling, _grad_operands, _grad_reference)
def sigmoid_cross_entropy_grad(
    core: Any, logits: int, labels: int, dloss: int, dlogits: int, shape: Any, tiling: Any
) -> None:
    """dlogits[n] = (sigmoid(logits[n]) - labels[n]) * dloss[n]."""
    stream_loss(core, SIGMOID, logits, labels, dloss, dlogits, shape, tiling)
