"""Dropout with the residual behind it."""

from __future__ import annotations

from dataclasses import replace

from framework.graph_engine.data.graph import Node
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.pattern import Pattern


def _residual(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a dropout to whose result a residual is added before it is stored."""
    dropout, add = nodes
    (launch,), y = dropout.launches, dropout.outputs[0]
    others = [name for name in add.inputs if name != y]
    types = {draft.values[name].type for name in (*add.inputs, add.outputs[0])}
    if len(others) != 1 or len(types) != 1:
        return None
    residual = f"in{len(dropout.inputs)}"
    references = (launch.operands[0], residual, *launch.operands[1:])
    made = replace(launch, kernel="dropout_add", operands=references)
    outputs = (add.outputs[0], *dropout.outputs[1:])
    inputs = (*dropout.inputs, others[0])
    return Change(nodes, (replace(dropout, inputs=inputs, outputs=outputs, launches=(made,)),))


DROPOUT = (
    Pattern(
        "dropout_add", "the residual is added before the result is stored",
        "%y, %mask = dropout(%x, %key); %z = add(%y, %r)", "%z, %mask = dropout_add(%x, %r, %key)",
        ("dropout", "add"), _residual,
    ),
)  # fmt: skip
