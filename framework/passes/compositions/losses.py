"""Losses."""

from __future__ import annotations

import numpy as np

from framework.ir.nodes import Binding, Const
from framework.passes.compositions.composition import Composition, Match, found
from framework.passes.compositions.view import View

PICKED = (("at", 0), ("at", 1))
"""How `index` is told to take one element per pair of numbers."""


def _cross_entropy(view: View, end: Binding) -> Match | None:
    """Match -log_softmax(x)[i, labels[i]] of all rows i; the sign may have gone elsewhere."""
    picked = view.maker(end.inputs[0], "index") if end.op == "neg" else end
    if picked is None or picked.op != "index" or picked.attrs["spec"] != PICKED:
        return None
    logs = view.maker(picked.inputs[0], "log_softmax")
    rows, labels = picked.inputs[1:]
    if logs is None or not isinstance(rows, Const):
        return None
    x = logs.inputs[0]
    shape = x.tensor.shape
    if len(shape) != 2 or logs.attrs["axis"] != 1 or not np.array_equal(rows.value, np.arange(shape[0])):
        return None
    if end is not picked:
        return found(view, end, "softmax_cross_entropy", (x, labels))
    loss = view.make("softmax_cross_entropy", (x, labels), {})
    turned = loss and view.make("neg", loss.outputs, {}, end.outputs)
    return Match((x, labels), (loss, turned), end.outputs) if loss and turned else None


LOSSES = (
    Composition(
        "softmax_cross_entropy", "the cross-entropy of softmax with the numbers of classes",
        "%l = log_softmax(%x); %y = neg(%l[arange(m), %labels])", "%y = softmax_cross_entropy(%x, %labels)",
        ("log_softmax",), ("neg", "index"), _cross_entropy,
    ),
)  # fmt: skip
