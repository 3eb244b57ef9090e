"""What follows a product of the cube and can be done while its sums leave: bias, activation, residual."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from framework.graph_engine.data.graph import AICORE, Graph, Node
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.pattern import OPERATOR, Pattern
from framework.graph_engine.service.fusion.residual import added
from framework.graph_engine.service.split import place

BIASED = {"matmul": -1, "conv2d": 1}
"""Operators whose kernels add a bias on the way out, and the axis on which."""
RELU_LAST, GELU_TANH = 1, 2
"""Activations as the kernels of products number them; the exact GELU comes behind that by tanh."""


def _biased(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a product that starts from its bias instead of zero."""
    product, bias_add = nodes
    (launch,), value = product.launches, product.outputs[0]
    others = [name for name in bias_add.inputs if name != value]
    if product.op not in BIASED or len(product.inputs) > 2 or bias_add.op not in ("bias_add", "add"):
        return None
    if launch.axes.get("act", 0) or launch.axes.get("relu", 0) or len(others) != 1:
        return None
    bias = _wide(draft, others[0])
    type_, result = draft.values[bias].type, draft.values[value].type
    axis = BIASED[product.op] % result.ndim
    is_row = type_.shape == (result.shape[axis],) and type_.dtype.name == "float32"
    fits = bias_add.attrs.get("axis", -1) % result.ndim == axis
    if not is_row or not fits or draft.values[bias_add.outputs[0]].type != result:
        return None
    joined = replace(product, inputs=(*product.inputs, bias), outputs=bias_add.outputs)
    graph = Graph("", draft.values, (), (), (), {})
    placed = place(graph, joined, draft.platform, launch.axes.get("few", 0))
    return Change(nodes, (placed,)) if placed.engine == AICORE else None


def _wide(draft: Draft, bias: str) -> str:
    """Return the fp32 numbers that a bias was rounded from, if it was: sums take them as they are."""
    cast = draft.maker(bias)
    if cast is None or cast.op != "cast" or draft.values[cast.inputs[0]].type.dtype.name != "float32":
        return bias
    return cast.inputs[0]


def _activated(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a product that applies the activation to its sums."""
    product, activation = nodes
    (launch,), (last,) = product.launches, activation.launches
    if launch.axes.get("act", 0):
        return None
    act = RELU_LAST if last.kernel == "relu" else GELU_TANH + last.axes.get("erf", 0)
    made = replace(
        product, outputs=activation.outputs, launches=(replace(launch, axes={**launch.axes, "act": act}),)
    )
    return Change(nodes, (made,))


PRODUCTS = (
    Pattern(
        "matmul_bias", "the cube starts from the bias instead of zero",
        "%y = matmul(%a, %b); %z = bias_add(%y, %bias)", "%z = matmul(%a, %b, %bias)",
        ("matmul", f"add|{OPERATOR}bias_add"), _biased,
    ),
    Pattern(
        "conv2d_bias", "the cube starts from the bias instead of zero",
        "%y = conv2d(%x, %w); %z = bias_add(%y, %bias)", "%z = conv2d(%x, %w, %bias)",
        ("conv2d", f"{OPERATOR}bias_add"), _biased,
    ),
    *(
        Pattern(
            f"{kernel}_{name}", f"{name} of the sums while they leave the cube",
            f"%y = {kernel}(%a, %b); %z = {name}(%y)", f"%z = {kernel}(%a, %b, act={name})",
            (kernel, name), _activated,
        )
        for kernel in ("matmul", "matmul_bias")
        for name in ("relu", "gelu")
    ),
    *(
        Pattern(
            f"{kernel}_add", "a residual is added to the sums before they are rounded",
            f"%y = {kernel}(%a, %b); %z = add(%y, %r)", f"%z = {kernel}_add(%a, %b, %r)",
            (kernel, "add"), partial(added, place=-1),
        )
        for kernel in ("matmul", "matmul_bias")
    ),
)  # fmt: skip
