"""The pass that decides branches and loops whose condition is known."""

from __future__ import annotations

from typing import Any

from framework.ir.control import IF, NOTHING, SCAN, WHILE
from framework.ir.nodes import CALL, Atom, Binding, Const, Func, Rec, Var
from framework.passes.constant_folding import specialized
from framework.passes.substitute import Substitution
from framework.passes.walk import everywhere, rebuilt


def switch(func: Func) -> Func:
    """Replace an `if` of a constant by a call of its branch, and loops without a turn by their state.

    before  %0 = if(bool[]{1}, %x, then=@then, orelse=@orelse)
    after   %0 = call @then(%x)

    before  %0 = while(%x, float32[]{0.0}, cond=@positive, body=@body, invariants=1, saves=0); return %0
    after   return %x

    An `if` of two equal branches is a call, too. What a loop without a turn saves is `nothing`: empty stacks.
    """
    return everywhere(func, _switch)


def _switch(func: Func) -> Func:
    if not any(binding.op in _RULES for binding in func.bindings):
        return func
    values = Substitution()
    empty: set[str] = set()
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = values.binding(binding)
        if here.op == NOTHING:
            empty.add(here.outputs[0].name)
        rule = _RULES.get(here.op)
        if rule is None:
            bindings.append(here)
        else:
            bindings += rule(here, values, empty)
    return rebuilt(func, bindings, values.atoms(func.results))


def _decided(binding: Binding, *_: Any) -> list[Binding]:
    condition = binding.inputs[0]
    then, orelse = binding.attrs["then"], binding.attrs["orelse"]
    if isinstance(condition, Const):
        taken = then if bool(condition.value) else orelse
    elif then is orelse:
        taken = then
    else:
        return [binding]
    return [Binding(binding.outputs, CALL, binding.inputs[1:], {"func": taken}, binding.source)]


def _never_entered(binding: Binding, values: Substitution, _: set[str]) -> list[Binding]:
    """Replace a `while` whose condition is false for what is known of its first state."""
    cond = binding.attrs["cond"]
    known = tuple((at, atom) for at, atom in enumerate(binding.inputs) if isinstance(atom, Const))
    if isinstance(cond, Rec) or not isinstance(cond, Func) or not known:
        return [binding]
    holds = specialized(cond, known).results[0]
    if not isinstance(holds, Const) or bool(holds.value):
        return [binding]
    return _skipped(binding, binding.inputs, values)


def _without_elements(binding: Binding, values: Substitution, empty: set[str]) -> list[Binding]:
    """Replace a `scan` over stacks that are all empty."""
    attrs: Any = binding.attrs
    stacks = binding.inputs[: attrs["stacks"]]
    if not all(isinstance(atom, Var) and atom.name in empty for atom in stacks):
        return [binding]
    return _skipped(binding, binding.inputs[len(stacks) :], values)


def _skipped(binding: Binding, state: tuple[Atom, ...], values: Substitution) -> list[Binding]:
    """Let the first state be the last; what would have been saved is empty."""
    attrs: Any = binding.attrs
    kept = len(binding.outputs) - attrs["saves"]
    for var, atom in zip(binding.outputs[:kept], state, strict=False):
        values.replace(var, atom)
    return [nothing(var) for var in binding.outputs[kept:]]


def nothing(var: Var) -> Binding:
    """Return the binding that gives a value of this type that stands for zero."""
    return Binding((var,), NOTHING, (), {"type": str(var.type)})


_RULES = {IF: _decided, WHILE: _never_entered, SCAN: _without_elements}
