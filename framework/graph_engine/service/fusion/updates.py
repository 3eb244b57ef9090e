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
    names = [operand.name for operand in operands(launch)]
    reference = launch.operands[names.index(GRADIENT)] if GRADIENT in names else ""
    if not reference or update.value(reference) != cast.outputs[0]:
        return None
    place = int(reference.removeprefix("in"))
    inputs = tuple(cast.inputs[0] if i == place else name for i, name in enumerate(update.inputs))
    made = replace(launch, axes={**launch.axes, "grad_dtype": FP16})
    return Change(nodes, (replace(update, inputs=inputs, launches=(made,)),))


UPDATES = tuple(
    Pattern(
        f"{name}_half", "the update reads its gradient in fp16",
        f"%g = cast(%h, float32); %w = {name}(%w, %g)", f"%w = {name}(%w, %h)",
        ("cast", name), _half_gradient,
    )
    for name in OPTIMIZERS
)  # fmt: skip
