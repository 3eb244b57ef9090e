"""The last pass: what stands for zero is written as zeros."""

from __future__ import annotations

from framework.ir.control import NOTHING
from framework.ir.nodes import Binding, Func
from framework.ir.types import TensorType
from framework.passes.algebraic import zeros
from framework.passes.substitute import Substitution
from framework.passes.walk import everywhere, rebuilt


def write_zeros(func: Func) -> Func:
    """Replace tensors that are `nothing` by zeros, when no other pass has use for the difference.

    before  %0 = nothing(type='float32[2]'); return %0
    after   return float32[2]{all 0.0}
    """
    return everywhere(func, _written)


def _written(func: Func) -> Func:
    if not any(binding.op == NOTHING for binding in func.bindings):
        return func
    values = Substitution()
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = values.binding(binding)
        is_zero = here.op == NOTHING and isinstance(here.outputs[0].type, TensorType)
        found = zeros(here) if is_zero else here
        if isinstance(found, Binding):
            bindings.append(found)
        else:
            values.replace(here.outputs[0], found)
    return rebuilt(func, bindings, values.atoms(func.results))
