"""Losses."""

from __future__ import annotations

from typing import Any

from davinci_sim.errors import unknown
from framework import ops
from framework.nn.cell import Cell
from framework.precision import summed_wide


class SoftmaxCrossEntropyWithLogits(Cell):
    """The cross-entropy of softmax(logits[m, n]) and labels: int32[m] when sparse, else one-hot [m, n]."""

    def __init__(self, sparse: bool = True, reduction: str = "mean") -> None:
        """Choose the form of the labels and the reduction: mean, sum or none."""
        super().__init__()
        if reduction not in REDUCTIONS:
            raise unknown("reduction", reduction, tuple(REDUCTIONS))
        self.reduce = REDUCTIONS[reduction]
        self.to_index = _as_index if sparse else _index_of_one

    def construct(self, logits: Any, labels: Any) -> Any:
        """Return the loss."""
        return self.reduce(ops.softmax_cross_entropy(summed_wide(logits), self.to_index(labels)))


def _as_index(labels: Any) -> Any:
    return labels


def _index_of_one(labels: Any) -> Any:
    return ops.argmax(labels, 1)


def _all(losses: Any) -> Any:
    return losses


REDUCTIONS: dict[str, Any] = {"mean": ops.reduce_mean, "sum": ops.reduce_sum, "none": _all}
