"""Losses."""

from __future__ import annotations

from typing import Any

from davinci_sim.errors import DavinciError, unknown
from framework import ops
from framework.nn.cell import Cell
from framework.precision import summed_wide


class SoftmaxCrossEntropyWithLogits(Cell):
    """The cross-entropy of softmax(logits[m, n]) and labels: int32[m] when sparse, else one-hot [m, n]."""

    def __init__(self, sparse: bool = True, reduction: str = "mean") -> None:
        """Choose the form of the labels and the reduction: mean, sum or none."""
        super().__init__()
        self.reduce = _reduction(reduction)
        self.to_index = _as_index if sparse else _index_of_one

    def construct(self, logits: Any, labels: Any) -> Any:
        """Return the loss."""
        return self.reduce(ops.softmax_cross_entropy(summed_wide(logits), self.to_index(labels)))


class CrossEntropySmooth(Cell):
    """The cross-entropy of softmax(logits[m, n]) and smoothed labels int32[m].

    The label's class has the probability 1 - smooth_factor, the others share the rest.
    Source: Szegedy and others, "Rethinking the Inception Architecture for Computer Vision" (2016), section 7;
    named as in MindSpore's model collection.
    """

    def __init__(self, num_classes: int, smooth_factor: float = 0.1, reduction: str = "mean") -> None:
        """Choose how much goes to other classes, and the reduction: mean, sum or none."""
        super().__init__()
        if not (0 <= smooth_factor < 1 and num_classes > 1):
            raise DavinciError(
                f"CrossEntropySmooth: smooth_factor {smooth_factor} of {num_classes} classes\n"
                "  rule: 0 <= smooth_factor < 1, and at least 2 classes share\n"
                "  next: 0.1 is usual; SoftmaxCrossEntropyWithLogits does not smooth"
            )
        self.num_classes = num_classes
        self.off = smooth_factor / (num_classes - 1)
        self.on = 1 - smooth_factor
        self.reduce = _reduction(reduction)

    def construct(self, logits: Any, labels: Any) -> Any:
        """Return the loss."""
        logits = summed_wide(logits)
        hot = ops.one_hot(labels, self.num_classes, logits.dtype)
        smooth = hot * (self.on - self.off) + self.off
        losses, _ = ops.softmax_cross_entropy_with_logits(logits, smooth)
        return self.reduce(losses)


def _as_index(labels: Any) -> Any:
    return labels


def _index_of_one(labels: Any) -> Any:
    return ops.argmax(labels, 1)


def _all(losses: Any) -> Any:
    return losses


def _reduction(name: str) -> Any:
    if name not in REDUCTIONS:
        raise unknown("reduction", name, tuple(REDUCTIONS))
    return REDUCTIONS[name]


REDUCTIONS: dict[str, Any] = {"mean": ops.reduce_mean, "sum": ops.reduce_sum, "none": _all}
