"""The table of fusions, in the order of their stages, and the named sets of them."""

from __future__ import annotations

from collections.abc import Iterable

from davinci_sim.errors import unknown
from framework.graph_engine.service.fusion.dropout import DROPOUT
from framework.graph_engine.service.fusion.gradients import GRADIENTS
from framework.graph_engine.service.fusion.normalisation import NORMALISATION, SPLITTING
from framework.graph_engine.service.fusion.pattern import Pattern
from framework.graph_engine.service.fusion.products import PRODUCTS
from framework.graph_engine.service.fusion.scales import SCALES
from framework.graph_engine.service.fusion.updates import UPDATES

ELEMENTS = "elements"
"""The general fuser of element-wise nodes, which comes last."""
ELEMENTS_TEXT = (
    "elements: neighbouring element-wise nodes run as one generated kernel, with the same bits\n"
    "  before  %t = mul(%a, %b); %y = add(%t, %c)\n  after   %y = fused(%a, %b, %c)"
)
STAGES: tuple[tuple[Pattern, ...], ...] = (
    SPLITTING,
    (*NORMALISATION, *PRODUCTS, *GRADIENTS, *DROPOUT, *UPDATES, *SCALES),
)
"""Patterns of one stage compete, those that spare most first; a stage begins where the one before ends."""
PATTERNS = {pattern.name: pattern for stage in STAGES for pattern in stage}

FUSED_BEHIND = frozenset(
    name for pattern in PATTERNS.values() for link in pattern.chain[1:] for name in link.split("|")
)
"""What patterns fuse with the maker of its input, which then need not lie in memory."""

NONE: frozenset[str] = frozenset()
ALL = frozenset((*PATTERNS, ELEMENTS))
SINGLE_BEYOND = {"conv2d_folding", "conv2d_backward_input_add", "dropout_add"}
SCALES_OF_2020 = {"apply_momentum_scale", "apply_momentum_decay_scale"}
"""What came later, and what of its kind was there already (MindSpore's `MomentumLossscaleFusion`)."""
BEYOND_2020 = (
    SINGLE_BEYOND | {name for name in PATTERNS if name.endswith(("_gelu", "_scale"))} - SCALES_OF_2020
)
REAL = ALL - BEYOND_2020
"""What MindSpore 1.0 had on Ascend in 2020: convolution with the sums of batch normalisation; convolutions,
their gradients, products and batch normalisation with element-wise neighbours; biases; chains of element-wise
nodes; casts that are merged into operators; momentum that knows the scale of the loss. GELU within a product,
the folding of constants, the sum of the gradients of a fork without relu behind it, dropout with its residual
and other updates that know the scale of the loss are not in its lists.

Source: MindSpore r1.0.1, the passes of `backend/optimizer/ascend` (buffer fusion, ir_fusion, format_type).
"""
SETS = {"none": NONE, "real": REAL, "all": ALL}


def chosen(names: str | Iterable[str]) -> frozenset[str]:
    """Return the fusions of a set, by its name, or of these names.

    Raises:
        UnknownName: there is no set or no fusion of that name.
    """
    if isinstance(names, str):
        if names not in SETS:
            raise unknown("set of fusions", names, SETS)
        return SETS[names]
    found = frozenset(names)
    for name in sorted(found - ALL):
        raise unknown("fusion", name, sorted(ALL))
    return found
