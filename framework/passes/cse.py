"""The pass that computes equal expressions once."""

from __future__ import annotations

from framework.ir.control import is_control
from framework.ir.nodes import Binding, Func, Var
from framework.passes.substitute import Substitution


def cse(func: Func) -> Func:
    """Compute each distinct (op, inputs, attributes) once.

    before  %0 = mul(%a, %b); %1 = mul(%a, %b); %2 = add(%0, %1)
    after   %0 = mul(%a, %b); %2 = add(%0, %0)
    """
    known: dict[object, tuple[Var, ...]] = {}
    seen = Substitution()
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = seen.binding(binding)
        key = (here.op, here.inputs, tuple(sorted((name, repr(value)) for name, value in here.attrs.items())))
        if not is_control(here.op) and key in known:
            for var, first in zip(here.outputs, known[key], strict=True):
                seen.replace(var, first)
            continue
        known[key] = here.outputs
        bindings.append(here)
    return func.with_body(tuple(bindings), seen.atoms(func.results))
