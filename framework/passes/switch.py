"""The pass that decides branches and loops whose condition is known."""

from __future__ import annotations

from typing import Any, NamedTuple

from framework.ir.control import CHECK, IF, NOTHING, SCAN, WHILE
from framework.ir.nodes import CALL, Atom, Binding, Const, Func, Rec, Var
from framework.ir.registry import operator
from framework.passes.constant_folding import FALSE, TRUE, specialized
from framework.passes.substitute import Substitution
from framework.passes.walk import Facts, everywhere, rebuilt


def switch(func: Func) -> Func:
    """Replace an `if` of a constant by a call of its branch, and loops without a turn by their state.

    before  %0 = if(bool[]{1}, %x, then=@then, orelse=@orelse)
    after   %0 = call @then(%x)

    before  %0 = while(%x, float32[]{0.0}, cond=@positive, body=@body, invariants=1, saves=0); return %0
    after   return %x

    before  %0 = if(%c, then={ return 0 }, orelse={ return 1 }); %1 = equal(%0, 1)
    after   %1 = logical_not(%c)

    A check of what is true is gone. An `if` of two equal branches is a call, too. What a loop without a turn
    saves is `nothing`: empty stacks.
    """
    return everywhere(func, _switch)


def _switch(func: Func) -> Func:
    if not any(binding.op in _RULES for binding in func.bindings):
        return func
    values = Substitution()
    empty: set[str] = set()
    choices: dict[str, _Choice] = {}
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = values.binding(binding)
        if here.op == NOTHING:
            empty.add(here.outputs[0].name)
        if here.op in COMPARISONS and choices:
            here = _compared(here, values, choices)
        rule = _RULES.get(here.op)
        found = [here] if rule is None else rule(here, values, empty)
        bindings += found
        for each in found:
            choices.update(_choices(each) if each.op == IF else {})
    return rebuilt(func, bindings, values.atoms(func.results))


COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


class _Choice(NamedTuple):
    """What is one constant if a condition holds, and another one if not."""

    condition: Atom
    then: Const
    orelse: Const


def _choices(binding: Binding) -> dict[str, _Choice]:
    """Return the outputs of an `if` that are constants in both branches."""
    then, orelse = binding.attrs["then"], binding.attrs["orelse"]
    if not isinstance(then, Func) or not isinstance(orelse, Func):
        return {}
    triples = zip(binding.outputs, then.results, orelse.results, strict=True)
    return {
        var.name: _Choice(binding.inputs[0], a, b)
        for var, a, b in triples
        if isinstance(a, Const) and isinstance(b, Const)
    }


def _compared(binding: Binding, values: Substitution, choices: dict[str, _Choice]) -> Binding:
    """Compare a choice of constants with a constant: the outcome is the condition, its contrary, or known."""
    atoms = binding.inputs
    chosen = [choices.get(atom.name) if isinstance(atom, Var) else None for atom in atoms]
    choice = next((each for each in chosen if each is not None), None)
    others = [atom for atom, each in zip(atoms, chosen, strict=True) if each is None]
    if choice is None or not all(isinstance(atom, Const) for atom in others) or len(others) != 1:
        return binding
    outcomes = []
    for number in (choice.then, choice.orelse):
        arrays = [number.value if each is not None else atom.value  # type: ignore[union-attr]
                  for atom, each in zip(atoms, chosen, strict=True)]  # fmt: skip
        outcomes.append(Const.of(operator(binding.op).run(arrays, binding.attrs)[0]))
    if outcomes[0] == outcomes[1]:
        values.replace(binding.outputs[0], outcomes[0])
    elif outcomes[0] == TRUE:
        values.replace(binding.outputs[0], choice.condition)
    elif outcomes[0] == FALSE:
        return Binding(binding.outputs, "logical_not", (choice.condition,), {}, binding.source)
    return binding


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
    first = specialized(cond, known)
    holds = first.results[0]
    if not isinstance(holds, Const) or bool(holds.value) or Facts().checks(first):
        return [binding]
    return _skipped(binding, binding.inputs, values)


def _without_elements(binding: Binding, values: Substitution, empty: set[str]) -> list[Binding]:
    """Replace a `scan` over stacks that are all empty."""
    attrs: Any = binding.attrs
    stacks = binding.inputs[: attrs["stacks"]]
    if not all(isinstance(atom, Var) and atom.name in empty for atom in stacks):
        return [binding]
    return _skipped(binding, binding.inputs[len(stacks) :], values)


def _checked(binding: Binding, *_: Any) -> list[Binding]:
    """Drop a check whose condition is known to hold."""
    condition = binding.inputs[0]
    return [] if isinstance(condition, Const) and bool(condition.value) else [binding]


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


_RULES = {IF: _decided, WHILE: _never_entered, SCAN: _without_elements, CHECK: _checked}
