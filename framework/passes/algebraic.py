"""The pass that removes operators which change nothing, and merges chains of moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from framework.ir.nodes import Atom, Binding, Const, Func, Var
from framework.passes.substitute import Substitution

Producers = dict[Var, Binding]
Rule = Callable[[Binding, Producers], Atom | Binding]


def algebraic(func: Func) -> Func:
    """Remove additions of zero, products with one, casts, reshapes and transposes that change nothing.

    before  %0 = mul(%x, float32[]{1.0}); %1 = cast(%0, dtype='float32'); %2 = reshape(%1, shape=(6,)); ...
    after   %2 = reshape(%x, shape=(6,)); ...

    Chains of reshapes, of transposes and of casts that lose nothing become one. Adding +0.0 is removed,
    though it would turn -0.0 into +0.0; the two compare equal.
    """
    simpler = Substitution()
    producers: Producers = {}
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = simpler.binding(binding)
        found = RULES[here.op](here, producers) if here.op in RULES else here
        if isinstance(found, Binding) and found is not here and found.op in RULES:
            found = RULES[found.op](found, producers)
        if not isinstance(found, Binding):
            simpler.replace(here.outputs[0], found)
            continue
        bindings.append(found)
        producers.update(dict.fromkeys(found.outputs, found))
    return func.with_body(tuple(bindings), simpler.atoms(func.results))


def _neutral(number: float, *positions: int) -> Rule:
    """Return the rule: an input that is all `number` leaves the other one, if that has the result's type."""

    def rule(binding: Binding, _: Producers) -> Atom | Binding:
        for position in positions:
            other = binding.inputs[1 - position]
            if other.type == binding.outputs[0].type and _is_all(binding.inputs[position], number):
                return other
        return binding

    return rule


def _is_all(atom: Atom, number: float) -> bool:
    return isinstance(atom, Const) and bool((atom.value == number).all())


def _move(merge: Callable[[Binding, Binding], Binding | None]) -> Rule:
    """Return the rule: merge with the producer when possible, then drop what changes nothing."""

    def rule(binding: Binding, producers: Producers) -> Atom | Binding:
        (x,) = binding.inputs
        first = producers.get(x) if isinstance(x, Var) else None
        if first is not None and first.op == binding.op:
            merged = merge(first, binding)
            if merged is not None:
                return merged
        return x if _changes_nothing(binding) else binding

    return rule


def _changes_nothing(binding: Binding) -> bool:
    (x,) = binding.inputs
    if binding.op == "transpose":
        return binding.attrs["perm"] == tuple(range(x.tensor.ndim))
    return x.type == binding.outputs[0].type


def _merge_reshapes(first: Binding, second: Binding) -> Binding:
    return replace(second, inputs=first.inputs)


def _merge_transposes(first: Binding, second: Binding) -> Binding:
    before, after = first.attrs["perm"], second.attrs["perm"]
    if not isinstance(before, tuple) or not isinstance(after, tuple):
        return second
    merged = tuple(before[axis] for axis in after if isinstance(axis, int))
    return replace(second, inputs=first.inputs, attrs={"perm": merged})


def _merge_casts(first: Binding, second: Binding) -> Binding | None:
    """Merge when the first cast loses nothing: to a wider float."""
    before, between = first.inputs[0].tensor.dtype, first.outputs[0].tensor.dtype
    widens = before.is_float and between.is_float and before.itemsize_bytes < between.itemsize_bytes
    return replace(second, inputs=first.inputs) if widens else None


RULES: dict[str, Rule] = {
    "add": _neutral(0.0, 0, 1),
    "sub": _neutral(0.0, 1),
    "mul": _neutral(1.0, 0, 1),
    "div": _neutral(1.0, 1),
    "cast": _move(_merge_casts),
    "reshape": _move(_merge_reshapes),
    "transpose": _move(_merge_transposes),
    "broadcast_to": _move(lambda first, second: replace(second, inputs=first.inputs)),
}
