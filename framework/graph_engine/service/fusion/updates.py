"""Optimisers with what stands before them."""

from __future__ import annotations

from dataclasses import replace

from davinci_sim.isa.fields import FP16
from framework.graph_engine.data.graph import Node
from framework.graph_engine.data.operators import operands
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.pattern import Pattern

GRADIENT = "g"
"""How kernels call the gradient."""
OPTIMIZERS = (
    "apply_sgd", "apply_momentum", "apply_momentum_decay", "apply_adam", "apply_adamw", "lamb_update",
)  # fmt: skip


def _half_gradient(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return an update that widens its gradient itself."""
    cast, update = nodes
    (conversion,), (launch,) = cast.launches, update.launches
    if (conversion.dtype, conversion.out_dtype) != ("fp16", "fp32"):
        return None
    inputs = with_gradient(update, cast.outputs[0], cast.inputs[0])
    if inputs is None:
        return None
    made = replace(launch, axes={**launch.axes, "grad_dtype": FP16})
    return Change(nodes, (replace(update, inputs=inputs, launches=(made,)),))


def with_gradient(update: Node, old: str, new: str) -> tuple[str, ...] | None:
    """Return the inputs of an update with another gradient; None where the old one is not its gradient."""
    (launch,) = update.launches
    names = [operand.name for operand in operands(launch)]
    reference = launch.operands[names.index(GRADIENT)] if GRADIENT in names else ""
    if not reference or update.value(reference) != old:
        return None
    place = int(reference.removeprefix("in"))
    return tuple(new if i == place else name for i, name in enumerate(update.inputs))


UPDATES = tuple(
    Pattern(
        f"{name}_half", "the update reads its gradient in fp16",
        f"%g = cast(%h, float32); %w = {name}(%w, %g)", f"%w = {name}(%w, %h)",
        ("cast", name), _half_gradient,
    )
    for name in OPTIMIZERS
)  # fmt: skip
