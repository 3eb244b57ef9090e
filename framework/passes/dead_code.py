"""The pass that drops what no result needs."""

from __future__ import annotations

from framework.ir.control import APPLY, CHECK, CLOSURE
from framework.ir.nodes import Atom, Binding, Func


def dead_code(func: Func) -> Func:
    """Drop bindings whose outputs nothing uses; what checks something, at whatever depth, stays.

    before  %0 = mul(%x, %x); %1 = exp(%x); return %0
    after   %0 = mul(%x, %x); return %0
    """
    needed: set[Atom] = set(func.results)
    kept: list[Binding] = []
    for binding in reversed(func.bindings):
        if any(var in needed for var in binding.outputs) or has_effect(binding):
            kept.append(binding)
            needed.update(binding.inputs)
    return func.with_body(tuple(reversed(kept)), func.results)


def has_effect(binding: Binding) -> bool:
    """Tell whether a binding does something beside giving its outputs: it may stop the program.

    What a function as a value does is done where it is applied; that may be a check, or anything.
    """
    if binding.op in (CHECK, APPLY):
        return True
    return binding.op != CLOSURE and any(map(_checks, binding.funcs.values()))


def _checks(func: Func) -> bool:
    return any(map(has_effect, func.bindings))
