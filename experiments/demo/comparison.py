"""Our operators beside the published profile of the same network on a real chip.

Operators are paired by a mechanical rule: the same kind of operator on tensors of the same size, in order of
execution. What has no partner on the other side is listed, too, and counts in its own total.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from davinci_sim.memory.dtypes import dtype as device_dtype
from davinci_sim.memory.layout import LAYOUTS
from experiments.operators.judge import is_fitted
from experiments.operators.records import Record
from framework.graph_engine.control.profile import OpTime, profile
from framework.graph_engine.data.graph import Graph, Node, Value
from framework.graph_engine.data.tasks import HOST_TASK
from framework.graph_engine.service.load import LoadedGraph

UNTILED = "fp32, untiled, of 2020; ours: fp16 on the cube"
DOES_MORE = {
    "FusionOp_ReluGradV2_Cast": "the published one casts, too",
    "SoftmaxCrossEntropyWithLogits": "the published one gives the gradient, too",
    "ReluV2": "the published one writes a mask, too",
}
"""Published operators that are fused with work that ours do in another task; no ratio is drawn from them."""
KINDS = {
    "conv2d": ("Conv2D",),
    "conv2d_backward_input": ("Conv2DBackpropInputD",),
    "conv2d_backward_filter": ("Conv2DBackpropFilterD",),
    "max_pool_with_argmax": ("MaxPoolWithArgmax",),
    "max_pool_grad": ("MaxPoolGradWithArgmax",),
    "matmul": ("MatMul",),
    "relu": ("Relu", "ReluV2"),
    "relu_grad": ("ReluGrad", "FusionOp_ReluGradV2_Cast"),
    "cast": ("Cast",),
    "trans_data": ("TransData",),
    "bias_add_grad": ("BiasAddGrad",),
    "reduce_mean": ("ReduceMeanD",),
    "softmax_cross_entropy": ("SoftmaxCrossEntropyWithLogits",),
    "apply_momentum": ("ApplyMomentumD",),
}
"""Our operator -> the names of the same in the published profile."""


def is_untiled(record: Record) -> bool:
    """Tell whether this is one of the slow fp32 products."""
    return record.op == "MatMul" and all(tensor.dtype == "FLOAT32" for tensor in record.inputs)


def note(record: Record) -> str:
    """Say why the real kernel cannot be compared with ours, if it cannot."""
    if is_fitted(record):
        return "the start of blocks was fitted on it"
    return UNTILED if is_untiled(record) else DOES_MORE.get(record.op, "")


@dataclass(frozen=True)
class Row:
    """One line of the table: ours, the published one, or both."""

    ours: OpTime | None
    published: Record | None

    @property
    def ratio(self) -> float | None:
        """Simulated over published time, where there are both."""
        if self.ours is None or self.published is None:
            return None
        return self.ours.us / self.published.us


def compare(loaded: LoadedGraph, published: list[Record]) -> list[Row]:
    """Return our operators in order, each with its partner if there is one, then the published rest."""
    left = list(published)
    rows = []
    for ours, keys in _operators(loaded):
        partner = next((p for p in left if (p.op, *_key_of(p)) in keys), None)
        if partner is not None:
            left.remove(partner)
        rows.append(Row(ours, partner))
    return rows + [Row(None, each) for each in left]


def totals(rows: list[Row]) -> dict[str, float]:
    """Return total times in microseconds, and how the paired operators compare."""
    paired = [
        row for row in rows if row.ratio is not None and row.published is not None and not note(row.published)
    ]
    ratios = sorted(row.ratio for row in paired if row.ratio is not None)
    ours = sum(row.ours.us for row in paired if row.ours is not None)
    theirs = sum(row.published.us for row in paired if row.published is not None)
    return {
        "simulated_us": sum(row.ours.us for row in rows if row.ours is not None),
        "published_us": sum(row.published.us for row in rows if row.published is not None),
        "published_untiled_matmul_us": sum(
            r.published.us for r in rows if r.published and is_untiled(r.published)
        ),
        "paired_operators": float(len(ratios)),
        "paired_simulated_us": ours,
        "paired_published_us": theirs,
        "paired_total_ratio": ours / theirs if theirs else math.nan,
        "paired_median_ratio": _median(ratios),
    }


def _median(values: list[float]) -> float:
    if not values:
        return math.nan
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def _operators(loaded: LoadedGraph) -> Iterator[tuple[OpTime, set[tuple[Any, ...]]]]:
    """Yield each operator of ours, its launches added up, with the keys that a partner may have."""
    specs = [task.spec for task in loaded.tasks if task.spec.kind != HOST_TASK]
    merged: dict[str, tuple[Node | None, list[OpTime]]] = {}
    for spec, time in zip(specs, profile(loaded), strict=True):
        name = spec.name if spec.node is None else spec.node.name
        merged.setdefault(name, (spec.node, []))[1].append(time)
    for node, times in merged.values():
        yield _summed(times), _keys(loaded.graph, node) if node is not None else set()


def _summed(times: list[OpTime]) -> OpTime:
    first = times[0]
    if len(times) == 1:
        return first
    cycles, us = sum(t.cycles for t in times), sum(t.us for t in times)
    longest = max(times, key=lambda time: time.us)
    kernels = " + ".join(time.kernel for time in times)
    return OpTime(
        first.name.split("/")[0], first.op, kernels, first.shapes, first.dtype, first.formats, cycles, us,
        first.blocks, longest.bound, first.fused,
    )  # fmt: skip


def _keys(graph: Graph, node: Node) -> set[tuple[Any, ...]]:
    inputs = [_described(graph.values[name]) for name in node.inputs]
    outputs = [_described(graph.values[name]) for name in node.outputs]
    return {(name, *_key(name, inputs, outputs)) for name in KINDS.get(node.op, ())}


Tensor = tuple[tuple[int, ...], str]


def _described(value: Value) -> Tensor:
    """Return shape and element type; the formats of images and filters count with their padding."""
    shape = value.type.shape
    if value.format in ("NC1HWC0", "FRACTAL_Z"):
        element = device_dtype(value.type.dtype.name)
        shape = tuple(LAYOUTS[value.format].device_shape(shape, element))
    return shape, value.type.dtype.name.upper()


def _key_of(published: Record) -> tuple[Any, ...]:
    inputs, outputs = ([(t.shape, t.dtype) for t in side] for side in (published.inputs, published.outputs))
    return _key(published.op, inputs, outputs)


def _key(op: str, inputs: list[Tensor], outputs: list[Tensor]) -> tuple[Any, ...]:
    """Return what two operators must have in common, apart from their kind."""
    if op == "MatMul":
        m, n = outputs[0][0]
        return m, n, math.prod(inputs[0][0]) // m
    if op == "TransData":
        return min(math.prod(inputs[0][0]), math.prod(outputs[0][0])), len(inputs[0][0]) < len(outputs[0][0])
    if op == "Cast":
        return math.prod(inputs[0][0]), inputs[0][1], outputs[0][1]
    if not outputs:
        return ("no output",)
    if op in ("BiasAddGrad", "SoftmaxCrossEntropyWithLogits", "ReduceMeanD"):
        return (inputs[0][0],)
    return (math.prod(outputs[0][0]),)


def as_json(rows: list[Row]) -> list[Mapping[str, Any]]:
    """Return the table as plain data."""
    return [
        {
            "name": row.ours.name if row.ours else None,
            "op": row.ours.op if row.ours else None,
            "kernel": row.ours.kernel if row.ours else None,
            "shapes": row.ours.shapes if row.ours else None,
            "simulated_us": row.ours.us if row.ours else None,
            "bound": row.ours.bound if row.ours else None,
            "published_id": row.published.id if row.published else None,
            "published_op": row.published.op if row.published else None,
            "published_us": row.published.us if row.published else None,
            "ratio": row.ratio,
            "note": note(row.published) if row.published else "",
        }
        for row in rows
    ]
