"""What follows the gradient of a convolution to its input: the other gradient of a fork, the mask of relu."""

from __future__ import annotations

from dataclasses import replace

from davinci_sim.errors import BadShape
from framework.graph_engine.data.graph import Node
from framework.graph_engine.data.operators import shape_of
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.pattern import Pattern, called
from framework.ops.lowering import Launch

GRADIENT = "conv2d_backward_input"


def _added(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a gradient to which another one is added before it is rounded."""
    gradient, add = nodes
    return _joined(draft, nodes, _others(gradient, add))


def _kept(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a gradient that counts where a result of relu is positive."""
    gradient, mask = nodes
    return _joined(draft, nodes, mask.inputs[1:]) if mask.inputs[0] == gradient.outputs[0] else None


def _added_and_kept(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return a sum of gradients that counts where a result of relu is positive."""
    gradient, add, mask = nodes
    others = (*_others(gradient, add), *mask.inputs[1:])
    return _joined(draft, nodes, others) if mask.inputs[0] == add.outputs[0] else None


def _others(gradient: Node, add: Node) -> tuple[str, ...]:
    """Return what is added to a gradient."""
    return tuple(name for name in add.inputs if name != gradient.outputs[0])


def _joined(draft: Draft, nodes: tuple[Node, ...], others: tuple[str, ...]) -> Change | None:
    """Return a gradient that one map joins for each node behind it, if the types and the shape allow it."""
    gradient, *following = nodes
    (launch,), count = gradient.launches, len(gradient.inputs)
    types = {draft.values[name].type for name in (*others, *(node.outputs[0] for node in nodes))}
    if len(types) != 1 or len(others) != len(following) or gradient.outputs[0] in others:
        return None
    joining = (f"in{count + place}" for place in range(len(others)))
    operands = (*launch.operands[:-1], *joining, launch.operands[-1])
    kernel = "_".join((launch.kernel, *map(called, following)))
    made = replace(launch, kernel=kernel, operands=operands)
    if not _takes(made):
        return None
    inputs, outputs = (*gradient.inputs, *others), following[-1].outputs
    return Change(nodes, (replace(gradient, inputs=inputs, outputs=outputs, launches=(made,)),))


def _takes(launch: Launch) -> bool:
    """Tell whether a kernel takes the shape of its launch."""
    try:
        shape_of(launch)
    except BadShape:
        return False
    return True


GRADIENTS = (
    Pattern(
        f"{GRADIENT}_add", "the other gradient of a fork is added to the sums before they are rounded",
        f"%d = {GRADIENT}(%dy, %w); %z = add(%d, %r)", f"%z = {GRADIENT}_add(%dy, %w, %r)",
        (GRADIENT, "add"), _added,
    ),
    Pattern(
        f"{GRADIENT}_relu_grad", "only what lies where relu gave something leaves the cube",
        f"%d = {GRADIENT}(%dy, %w); %z = relu_grad(%d, %y)", f"%z = {GRADIENT}_relu_grad(%dy, %w, %y)",
        (GRADIENT, "relu_grad"), _kept,
    ),
    Pattern(
        f"{GRADIENT}_add_relu_grad", "the gradients of a fork behind relu become one on their way out",
        f"%d = {GRADIENT}(%dy, %w); %s = add(%d, %r); %z = relu_grad(%s, %y)",
        f"%z = {GRADIENT}_add_relu_grad(%dy, %w, %r, %y)",
        (GRADIENT, "add", "relu_grad"), _added_and_kept,
    ),
)  # fmt: skip
"""Source: of 2020's stack the latter two, `conv2dbackprop_eltwise_fusion_pass` (relu's gradient only) and
`conv2dbackprop_eltwise_eltwise_fusion_pass` (behind an operator of two inputs) of MindSpore's buffer fusion.
"""
