"""Batch normalisation with what stands around it: the convolution before, the residual and relu behind."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from davinci_sim.platforms import Platform
from framework.dtypes import float32
from framework.graph_engine.data.graph import CONSTANT, Node, Value
from framework.graph_engine.data.operators import kernel, operands, shape_of
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.pattern import OPERATOR, Pattern
from framework.graph_engine.service.fusion.residual import added
from framework.ir.types import TensorType
from framework.ops.lowering import Launch

MOST_SPLITS, CHANNELS = 64, 16
"""Parts of sums that the update takes at most, and channels of a group."""
SUMMED = ("sums", "squares", "pivot")
"""Operands of `batch_norm_update` that come from the sums."""
Array = np.ndarray[Any, Any]


def _split(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a node for each launch; what passed within the node becomes values of the graph."""
    (node,) = nodes
    if [launch.kernel for launch in node.launches] != ["batch_norm_reduce", "batch_norm_update"]:
        return None
    values: dict[str, Value] = {}
    made = []
    for number, launch in enumerate(node.launches):
        references = dict.fromkeys(reference for reference in launch.operands if _is_value(reference))
        named = {reference: _named(node, reference) for reference in references}
        declared = dict(zip(launch.operands, operands(launch), strict=True))
        for reference in references:
            if reference.startswith("tmp"):
                type_ = TensorType(declared[reference].shape, float32)
                values[named[reference]] = Value(named[reference], type_)
        written = [r for r in references if declared[r].is_output]
        read = [r for r in references if not declared[r].is_output]
        called = {r: f"in{i}" for i, r in enumerate(read)} | {r: f"out{i}" for i, r in enumerate(written)}
        own = replace(launch, operands=tuple(called.get(r, r) for r in launch.operands))
        inputs, outputs = tuple(named[r] for r in read), tuple(named[r] for r in written)
        made.append(
            replace(
                node, name=f"{node.name}/{number}", op=launch.kernel, inputs=inputs, outputs=outputs,
                launches=(own,),
            )
        )  # fmt: skip
    return Change(nodes, tuple(made), values)


def _is_value(reference: str) -> bool:
    return not reference.startswith("scalar:")


def _named(node: Node, reference: str) -> str:
    return f"{node.name}.{reference}" if reference.startswith("tmp") else node.value(reference)


def _statistics(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a convolution that sums its results, and an update that takes those sums."""
    convolution, reduction = nodes
    (launch,), y = convolution.launches, convolution.outputs[0]
    updates = draft.readers(reduction.outputs[0])
    if len(updates) != 1 or launch.axes.get("relu", 0) or draft.values[y].type.dtype.name != "float16":
        return None
    (update,) = updates
    splits = _splits(launch, draft.platform)
    axes = {key: value for key, value in launch.axes.items() if key != "relu"} | {"splits": splits}
    names = ("in0", "in1", "out0", "out1", "out2")
    summing = Launch("conv2d_statistics", axes, names, "fp16", launch.out_dtype)
    sums = operands(summing)[-1].shape
    pivot = f"{reduction.name}.pivot"
    values = {
        f"{reduction.name}.{name}": Value(f"{reduction.name}.{name}", TensorType(sums, float32))
        for name in ("sums", "squares")
    }
    zeros = np.zeros(sums[1:], np.float32)
    taken = (*values, pivot)
    summed = replace(
        convolution, op="conv2d_statistics", outputs=(y, *values), launches=(summing,),
        attrs={**convolution.attrs, "splits": splits},
    )  # fmt: skip
    (last,) = update.launches
    inputs = [*update.inputs]
    called = {o.name: reference for o, reference in zip(operands(last), last.operands, strict=True)}
    for operand, value in zip(SUMMED, taken, strict=True):
        inputs[int(called[operand].removeprefix("in"))] = value
    changed = replace(last, axes={**last.axes, "parts": splits})
    following = replace(update, inputs=tuple(inputs), launches=(changed,))
    constants = {pivot: Value(pivot, TensorType.of(zeros), CONSTANT, data=zeros)}
    return Change((convolution, reduction, update), (summed, following), {**values, **constants})


def _splits(launch: Launch, platform: Platform) -> int:
    """Return over how many shares of the images a convolution sums.

    As many as its images are cut into without sums, so that its tiles stay what they are, but enough for the
    update to keep all cores busy with them.
    """
    tiling = kernel(launch.kernel).tiling(shape_of(launch), platform)
    groups = -(-launch.axes["o"] // CHANNELS)
    wanted = max(int(getattr(tiling, "tile_cores", 1)), -(-int(platform.ai_cores) // groups))
    return min(launch.axes["n"], wanted, MOST_SPLITS)


def _relu(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return an update, or a convolution, that stores what is negative as 0."""
    update, relu = nodes
    (launch,) = update.launches
    if launch.axes.get("relu", 0):
        return None
    made = replace(launch, axes={**launch.axes, "relu": 1})
    outputs = (relu.outputs[0], *update.outputs[1:])
    return Change(nodes, (replace(update, outputs=outputs, launches=(made,)),))


def _folded(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a convolution whose constant weights and bias do what the normalisation did."""
    convolution, norm = nodes
    (launch,), (last,) = convolution.launches, norm.launches
    weight = draft.values[convolution.inputs[1]]
    numbers = [draft.values[name] for name in norm.inputs[1:]]
    if launch.axes.get("relu", 0):
        return None
    eps = last.operands[5].removeprefix("scalar:")
    known = [value.data for value in (weight, *numbers)]
    if any(value is None for value in known) or len(known) != 5 or eps == last.operands[5]:
        return None
    data = [np.asarray(each, np.float64) for each in known]
    scale, shift = _scale_and_shift(data[1:], float(eps))
    folded = (data[0] * scale[:, None, None, None]).astype(known[0].dtype)  # type: ignore[union-attr]
    made = {"weight": folded, "bias": shift.astype(np.float32)}
    values = {
        f"{norm.name}.{name}": Value(f"{norm.name}.{name}", TensorType.of(array), CONSTANT, data=array)
        for name, array in made.items()
    }
    axes = {**launch.axes, "relu": last.axes.get("relu", 0)}
    biased = replace(launch, kernel="conv2d_bias", axes=axes, operands=("in0", "in1", "in2", "out0"))
    inputs = (convolution.inputs[0], *values)
    return Change(
        nodes, (replace(convolution, inputs=inputs, outputs=norm.outputs, launches=(biased,)),), values
    )


def _scale_and_shift(numbers: list[Array], eps: float) -> tuple[Array, Array]:
    """Return what a normalisation by given statistics multiplies with, and what it adds, by channel."""
    gamma, beta, mean, variance = numbers
    scale = gamma / np.sqrt(variance + eps)
    return scale, beta - mean * scale


SPLITTING = (
    Pattern(
        "batch_norm_split", "the sums and what uses them become nodes of their own, to be fused each",
        "%y, %stats = batch_norm(%x, %gamma, %beta, %moving)",
        "%sums = batch_norm_reduce(%x); %y, %stats = batch_norm_update(%x, %sums, %gamma, %beta, %moving)",
        (f"{OPERATOR}batch_norm",), _split,
    ),
)  # fmt: skip
NORMALISATION = (
    Pattern(
        "conv2d_statistics", "a convolution sums its results and their squares while it stores them",
        "%y = conv2d(%x, %w); %sums = batch_norm_reduce(%y); %z = batch_norm_update(%y, %sums)",
        "%y, %sums = conv2d_statistics(%x, %w); %z = batch_norm_update(%y, %sums)",
        ("conv2d", "batch_norm_reduce"), _statistics, private=False,
    ),
    Pattern(
        "batch_norm_add", "the normalisation adds the residual before it rounds",
        "%y = batch_norm_update(%x, %sums); %z = add(%y, %r)",
        "%z = batch_norm_update_add(%x, %r, %sums)",
        ("batch_norm_update", "add"), partial(added, place=1),
    ),
    *(
        Pattern(
            f"{name}_relu", "what is negative is stored as 0",
            f"%y = {name}(%x); %z = relu(%y)", f"%z = {name}(%x, relu=1)", (name, "relu"), _relu,
        )
        for name in ("batch_norm_update", "batch_norm_update_add", "batch_norm", "conv2d", "conv2d_bias")
    ),
    Pattern(
        "conv2d_folding", "constant weights take in the normalisation by given statistics",
        "%y = conv2d(%x, %w); %z = batch_norm_inference(%y, %gamma, %beta, %mean, %variance)",
        "%z = conv2d(%x, %w.scaled, %bias)", ("conv2d", "batch_norm"), _folded,
    ),
)  # fmt: skip
