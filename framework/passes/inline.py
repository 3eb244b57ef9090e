"""The pass that replaces calls by the body of what they call."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from framework.ir.control import KEEP
from framework.ir.nodes import Binding, Func, Var
from framework.ir.recursion import calls_itself
from framework.passes.substitute import Substitution


def inline(func: Func) -> Func:
    """Replace every call by the body of its Func, unless that calls itself; also in branches and loops.

    before  @square(%a) { %b = mul(%a, %a); return %b }   %0 = call @square(%x); return %0
    after   %b = mul(%x, %x); return %b
    """
    if not any(binding.funcs for binding in func.bindings):
        return func
    taken = {var.name for binding in func.bindings for var in binding.outputs} | {
        var.name for var in func.params
    }
    fresh = (name for name in map(str, itertools.count()) if name not in taken)
    bindings: list[Binding] = []
    outer = Substitution()
    for binding in func.bindings:
        here = outer.binding(binding).with_funcs(inline)
        if here.callee is None or here.attrs.get(KEEP) or calls_itself(here.callee):
            bindings.append(here)
        else:
            _inline_call(here, here.callee, bindings, outer, fresh)
    return func.with_body(tuple(bindings), outer.atoms(func.results))


def _inline_call(
    call: Binding, callee: Func, bindings: list[Binding], outer: Substitution, fresh: Iterator[str]
) -> None:
    """Append the callee's body under fresh names; its results stand for the outputs of the call."""
    inner = Substitution()
    for param, atom in zip(callee.params, call.inputs, strict=True):
        inner.bind(param, atom)
    for binding in callee.bindings:
        moved = inner.binding(binding)
        outputs = tuple(Var(next(fresh), var.type) for var in binding.outputs)
        bindings.append(replace(moved, outputs=outputs, source=binding.source or call.source))
        for var, new in zip(binding.outputs, outputs, strict=True):
            inner.bind(var, new)
    for output, result in zip(call.outputs, callee.results, strict=True):
        outer.bind(output, inner.atom(result))
