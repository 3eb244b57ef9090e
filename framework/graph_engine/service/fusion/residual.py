"""A residual that is added to what a node makes before that is rounded."""

from __future__ import annotations

from dataclasses import replace

from framework.graph_engine.data.graph import Node
from framework.graph_engine.service.fusion.draft import Change, Draft


def added(draft: Draft, nodes: tuple[Node, ...], place: int) -> Change | None:
    """Return a node that adds an array to its first result, which its kernel takes at this place.

    Its kernel is called like the one that does not, with `_add` behind it. What an activation has passed
    already is not added to.
    """
    node, add = nodes
    (launch,), y = node.launches, node.outputs[0]
    others = tuple(name for name in add.inputs if name != y)
    types = {draft.values[name].type for name in (y, *others, add.outputs[0])}
    is_activated = launch.axes.get("relu", 0) or launch.axes.get("act", 0)
    if is_activated or len(others) != 1 or len(types) != 1:
        return None
    operands = [*launch.operands]
    operands.insert(place, f"in{len(node.inputs)}")
    made = replace(launch, kernel=f"{launch.kernel}_add", operands=tuple(operands))
    inputs, outputs = (*node.inputs, *others), (add.outputs[0], *node.outputs[1:])
    return Change(nodes, (replace(node, inputs=inputs, outputs=outputs, launches=(made,)),))
