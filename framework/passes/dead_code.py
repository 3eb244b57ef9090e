"""The pass that drops what no result needs."""

from __future__ import annotations

from framework.ir.nodes import Atom, Binding, Func


def dead_code(func: Func) -> Func:
    """Drop bindings whose outputs nothing uses; operators have no side effects.

    before  %0 = mul(%x, %x); %1 = exp(%x); return %0
    after   %0 = mul(%x, %x); return %0
    """
    needed: set[Atom] = set(func.results)
    kept: list[Binding] = []
    for binding in reversed(func.bindings):
        if any(var in needed for var in binding.outputs):
            kept.append(binding)
            needed.update(binding.inputs)
    return func.with_body(tuple(reversed(kept)), func.results)
