"""The pass that computes before a loop what is the same in every turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from framework.ir.control import APPLY, CHECK, CLOSURE, SCAN, WHILE, is_control
from framework.ir.nodes import Binding, Const, Func, Rec, Var
from framework.ir.registry import operator
from framework.passes.substitute import Substitution
from framework.passes.walk import WITH_PARTS, Facts, everywhere, fresh_names, fresh_vars, parts, rebuilt

MAY_FAIL = frozenset({CHECK, APPLY, WHILE})
"""What may stop the program or not end: it stays in a loop that may have no turn."""


def loop_invariants(func: Func) -> Func:
    """Move out of loops what depends on nothing that changes in them; what may fail stays.

    before  while(%x, %w, body={ %1 = exp(%w); %2 = mul(%x, %1); return %2 }, invariants=1, ...)
    after   %0 = exp(%w); while(%x, %0, body={ %2 = mul(%x, %0); return %2 }, invariants=1, ...)
    """
    facts = Facts()
    return everywhere(func, lambda each: _hoisted(each, facts))


def _hoisted(func: Func, facts: Facts) -> Func:
    if not any(binding.op in (WHILE, SCAN) for binding in func.bindings):
        return func
    names = fresh_names(func)
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = binding
        for key in ("cond", "body"):
            if here.op in (WHILE, SCAN) and isinstance(here.attrs.get(key), Func):
                here = _move_out(here, key, names, bindings, facts)
        bindings.append(here)
    return rebuilt(func, bindings, func.results)


def _move_out(
    loop: Binding, key: str, names: Iterator[str], bindings: list[Binding], facts: Facts
) -> Binding:
    """Append what can be computed before the loop; return the loop that takes it as invariants."""
    attrs: Any = loop.attrs
    part: Func = attrs[key]
    first = len(loop.inputs) - attrs["invariants"]
    outside = Substitution()
    fixed = set()
    for param, atom in zip(part.params[first:], loop.inputs[first:], strict=True):
        outside.bind(param, atom)
        fixed.add(param.name)
    moved: list[Var] = []
    staying: list[Binding] = []
    for binding in part.bindings:
        if not _is_fixed(binding, fixed) or _may_fail(binding, facts):
            staying.append(binding)
            continue
        outputs = fresh_vars(names, binding.outputs)
        inputs = outside.atoms(binding.inputs)
        bindings.append(Binding(outputs, binding.op, inputs, binding.attrs, binding.source))
        for var, new in zip(binding.outputs, outputs, strict=True):
            outside.bind(var, new)
            fixed.add(var.name)
            moved.append(var)
    if not moved:
        return loop
    changed = {**attrs, "invariants": attrs["invariants"] + len(moved)}
    changed[key] = Func(part.name, (*part.params, *moved), tuple(staying), part.results)
    if loop.op == WHILE:
        other = "body" if key == "cond" else "cond"
        changed[other] = _taking(changed[other], moved)
    inputs = (*loop.inputs, *(outside.atom(var) for var in moved))
    return Binding(loop.outputs, loop.op, inputs, changed, loop.source)


def _is_fixed(binding: Binding, fixed: set[str]) -> bool:
    """Tell whether all inputs of a binding are the same in every turn."""
    return all(isinstance(atom, Const) or atom.name in fixed for atom in binding.inputs)


def _may_fail(binding: Binding, facts: Facts) -> bool:
    if binding.op in MAY_FAIL:
        return True
    if binding.op not in WITH_PARTS:
        return not is_control(binding.op) and (_is_checked(binding) or operator(binding.op).meets)
    if any(isinstance(each, Rec) for each in binding.attrs.values()):
        return True
    inside = parts(binding)
    if any(facts.mentions(each) for each in inside):
        return True
    return binding.op != CLOSURE and any(_may_fail(each, facts) for part in inside for each in part.bindings)


def _is_checked(binding: Binding) -> bool:
    """Tell whether an operator looks at integers when it runs, and may refuse them: an index, an exponent."""
    first = operator(binding.op).checked
    return first is not None and any(not atom.tensor.dtype.is_float for atom in binding.inputs[first:])


def _taking(func: Func, atoms: list[Var]) -> Func:
    """Return the Func with further parameters, at which it does not look."""
    params = fresh_vars(fresh_names(func), atoms)
    return Func(func.name, (*func.params, *params), func.bindings, func.results)
