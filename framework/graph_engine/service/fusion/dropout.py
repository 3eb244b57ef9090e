"""Dropout with the residual behind it."""

from __future__ import annotations

from functools import partial

from framework.graph_engine.service.fusion.pattern import Pattern
from framework.graph_engine.service.fusion.residual import added

DROPOUT = (
    Pattern(
        "dropout_add", "the residual is added before the result is stored",
        "%y, %mask = dropout(%x, %key); %z = add(%y, %r)", "%z, %mask = dropout_add(%x, %r, %key)",
        ("dropout", "add"), partial(added, place=1),
    ),
)  # fmt: skip
