"""Optimisers with what stands before them."""

from __future__ import annotations

from dataclasses import replace

from davinci_sim.isa.fields import FP16
from framework.graph_engine.data.graph import Node
from framework.graph_engine.data.operators import operands
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.pattern import OPERATOR, Pattern

GRADIENT = "g"
"""How kernels call the gradient."""
OPTIMIZERS = {
    name: name
    for name in ("apply_sgd", "apply_momentum", "apply_momentum_decay", "apply_adam", "apply_adamw")
} | {"apply_lamb": f"{OPERATOR}apply_lamb"}  # fmt: skip
"""Updates, and what patterns call them: LAMB is two launches, of which the first reads the gradient."""


def _half_gradient(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return an update that widens its gradient itself."""
    cast, update = nodes
    (conversion,) = cast.launches
    if (conversion.dtype, conversion.out_dtype) != ("fp16", "fp32"):
        return None
    made = with_gradient(update, cast.outputs[0], cast.inputs[0], grad_dtype=FP16)
    return None if made is None else Change(nodes, (made,))


def with_gradient(update: Node, old: str, new: str, **axes: int) -> Node | None:
    """Return an update with another gradient, which its first launch reads with other axes.

    None where the old one is not its gradient, where an axis is in use, or where no kernel computes it.
    """
    if not update.launches:
        return None
    launch, *others = update.launches
    names = [operand.name for operand in operands(launch)]
    reference = launch.operands[names.index(GRADIENT)] if GRADIENT in names else ""
    if not reference or update.value(reference) != old or any(launch.axes.get(axis) for axis in axes):
        return None
    place = int(reference.removeprefix("in"))
    inputs = tuple(new if i == place else name for i, name in enumerate(update.inputs))
    made = replace(launch, axes={**launch.axes, **axes})
    return replace(update, inputs=inputs, launches=(made, *others))


UPDATES = tuple(
    Pattern(
        f"{name}_half", "the update reads its gradient in fp16",
        f"%g = cast(%h, float32); %w = {name}(%w, %g)", f"%w = {name}(%w, %h)",
        ("cast", called), _half_gradient,
    )
    for name, called in OPTIMIZERS.items()
)  # fmt: skip
