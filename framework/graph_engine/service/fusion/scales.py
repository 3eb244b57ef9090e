"""Optimisers with the division by the scale of the loss before them."""

from __future__ import annotations

import math

from framework.graph_engine.data.graph import CONSTANT, Node
from framework.graph_engine.service.fusion.chain import number_of
from framework.graph_engine.service.fusion.draft import Change, Draft
from framework.graph_engine.service.fusion.pattern import Pattern
from framework.graph_engine.service.fusion.updates import OPTIMIZERS, with_gradient
from kernels.optimizer import MOST_SHIFT
from kernels.pieces.broadcast import NUMBER


def _shift(draft: Draft, product: Node) -> int | None:
    """Return k where a product is one with 2 ** -k, 0 < k: a number that divides without rounding."""
    (launch,) = product.launches
    factor = draft.values[product.value(launch.operands[1])]
    is_known = factor.kind == CONSTANT and factor.data is not None
    if launch.dtype != "fp32" or launch.axes.get("pattern") != NUMBER or not is_known:
        return None
    mantissa, exponent = math.frexp(number_of(factor))
    shift = 1 - exponent
    return shift if mantissa == 0.5 and 0 < shift <= MOST_SHIFT else None


def _unscaled(draft: Draft, nodes: tuple[Node, ...]) -> Change | None:
    """Return an update that divides its gradient by a power of two itself."""
    product, update = nodes
    shift = _shift(draft, product)
    if shift is None:
        return None
    scaled = product.value(product.launches[0].operands[0])
    made = with_gradient(update, product.outputs[0], scaled, grad_shift=shift)
    return None if made is None else Change(nodes, (made,))


SCALES = tuple(
    Pattern(
        f"{name}_scale", "the update divides its gradient by the scale of the loss, a power of two",
        f"%g = mul(%s, 2 ** -k); %w = {name}(%w, %g)", f"%w = {name}(%w, %s, grad_shift=k)",
        ("mul", called), _unscaled,
    )
    for name, called in OPTIMIZERS.items()
)  # fmt: skip
