"""The pass that replaces calls by the body of what they call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from framework.ir.control import KEEP
from framework.ir.nodes import CALL, Binding, Func, SourceLine
from framework.passes.substitute import Substitution
from framework.passes.walk import (
    WITH_PARTS,
    Facts,
    distinct,
    fresh_names,
    fresh_vars,
    rebuilt,
    with_parts,
)

SMALL = 12
"""A Func of up to this many bindings is repeated wherever it is called, a larger one"""
FEW, LARGE = 2, 1000
"""at up to so many places if it has up to so many bindings,"""
COPIES = 200
"""or if all copies of it have up to so many together; or else it stays one, which is optimised once."""


def inline(func: Func) -> Func:
    """Replace calls by the body of their Func, unless that calls itself; also in branches and loops.

    before  @square(%a) { %b = mul(%a, %a); return %b }   %0 = call @square(%x); return %0
    after   %1 = mul(%x, %x); return %1

    What is large and called at many places stays a call.
    """
    return _inlined(func, keep_large=True)


def flatten(func: Func) -> Func:
    """Replace calls by the body of their Func, however large, unless that calls itself.

    before  %0 = call @layer(%x); %1 = call @layer(%0); %2 = call @layer(%1) ...
    after   the bindings of the layer, as often as it was called
    """
    return _inlined(func, keep_large=False)


def _inlined(func: Func, keep_large: bool) -> Func:
    if not any(binding.op in WITH_PARTS for binding in func.bindings):
        return func
    return _Inliner(_sites(func), keep_large).visit(func)


def _sites(func: Func) -> Counter[int]:
    """Return at how many places each Func is called."""
    bindings = (binding for each in distinct(func) for binding in each.bindings if binding.op == CALL)
    return Counter(id(binding.attrs["func"]) for binding in bindings)


class _Inliner:
    """Goes over a tree from the inside; every Func is expanded once."""

    def __init__(self, sites: Counter[int], keep_large: bool) -> None:
        self.sites, self.keep_large = sites, keep_large
        self.facts = Facts()
        self.done: dict[int, tuple[Func, Func]] = {}

    def visit(self, func: Func) -> Func:
        """Return the Func with the calls in it replaced."""
        if id(func) not in self.done:
            self.done[id(func)] = (func, self._expanded(func))
        return self.done[id(func)][1]

    def _expanded(self, func: Func) -> Func:
        if not any(binding.op in WITH_PARTS for binding in func.bindings):
            return func
        fresh = fresh_names(func)
        bindings: list[Binding] = []
        outer = Substitution()
        for binding in func.bindings:
            here = with_parts(outer.binding(binding), self.visit)
            callee = here.callee if here.op == CALL else None
            if callee is None or not self._is_wanted(here, callee, self.sites[id(binding.attrs["func"])]):
                bindings.append(here)
            else:
                _inline_call(here, callee, bindings, outer, fresh)
        return rebuilt(func, bindings, outer.atoms(func.results))

    def _is_wanted(self, call: Binding, callee: Func, sites: int) -> bool:
        if call.attrs.get(KEEP) or self.facts.is_recursive(callee):
            return False
        size = self.facts.size(callee)
        is_few = sites == 1 or (sites <= FEW and size <= LARGE)
        return not self.keep_large or size <= SMALL or is_few or size * sites <= COPIES


def _inline_call(
    call: Binding, callee: Func, bindings: list[Binding], outer: Substitution, fresh: Iterator[str]
) -> None:
    """Append the callee's body under fresh names; its results stand for the outputs of the call."""
    inner = Substitution()
    for param, atom in zip(callee.params, call.inputs, strict=True):
        inner.bind(param, atom)
    lines: dict[int, SourceLine | None] = {}
    for binding in callee.bindings:
        inputs, outputs = inner.atoms(binding.inputs), fresh_vars(fresh, binding.outputs)
        key = id(binding.source)
        if key not in lines:
            lines[key] = _called_on(call.source, binding.source, callee)
        bindings.append(Binding(outputs, binding.op, inputs, binding.attrs, lines[key]))
        for var, new in zip(binding.outputs, outputs, strict=True):
            inner.bind(var, new)
    for output, result in zip(call.outputs, callee.results, strict=True):
        outer.bind(output, inner.atom(result))


def _called_on(caller: SourceLine | None, source: SourceLine | None, callee: Func) -> SourceLine | None:
    """Return a line of a callee as one that another line has called."""
    if source is None or caller is None:
        return source or caller
    if source.caller is None:
        return replace(source, caller=caller, func=callee.name)
    return replace(source, caller=_called_on(caller, source.caller, callee))
