"""The pass that calls functions directly that are known, though they travel as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from framework.dtypes import bool_
from framework.ir.control import APPLY, CLOSURE, ENV, IF, NOTHING, SCAN, WHILE
from framework.ir.nodes import CALL, Atom, Attr, Binding, Func, Rec, Var
from framework.ir.types import FnType, TensorType
from framework.passes.cse import attrs_key
from framework.passes.substitute import Substitution
from framework.passes.switch import nothing
from framework.passes.walk import Facts, brings_rule, everywhere, fresh_names, fresh_vars, parts, rebuilt


def closure_conversion(func: Func) -> Func:
    """Replace functions as values that are known by calls of their code with what they have captured.

    before  %f = closure @add(%k); %y = apply(%f, %x)
    after   %f = closure @add(%k); %y = call @add(%x, %k)

    before  %f = if(%c, %k, then={ return closure @add(%k) }, orelse={ return closure @mul(%k) })
    after   %a, %b = if(%c, %k, ...); %f = closure @choice(%c, %a, %b), which adds or multiplies

    before  %f = closure @add(%k); %y = call @twice(%f, %x)
    after   %y = call @twice(%k, %x), where @twice makes the closure itself

    A function that a call returns is made after the call, of what it captured there. Envs, and what is
    nothing, are made where they are used like functions.
    """
    facts = Facts()
    memo: dict[Any, tuple[Any, ...]] = {}
    return everywhere(func, lambda each: _Converter(each, facts, memo).run())


MADE = (CLOSURE, ENV, NOTHING)
"""The ops of values that are made anew where they are used."""


class _Converter:
    """Walks down one Func, and knows the functions that are made in it."""

    def __init__(self, func: Func, facts: Facts, memo: dict[Any, tuple[Any, ...]]) -> None:
        self.func, self.facts, self.memo = func, facts, memo
        self.made: dict[str, Binding] = {}
        self.bindings: list[Binding] = []
        self._names: Iterator[str] | None = None

    def run(self) -> Func:
        """Return the Func with every rule applied once to every binding."""
        if not any(binding.op in _RULES for binding in self.func.bindings):
            return self.func
        values = Substitution()
        for binding in self.func.bindings:
            rule = _RULES.get(binding.op)
            here = self.sunk(values.binding(binding)) if rule is not None else values.binding(binding)
            for each in [here] if rule is None else rule(self, here):
                self.bindings.append(each)
                if each.op in MADE:
                    self.made[each.outputs[0].name] = each
        return rebuilt(self.func, self.bindings, values.atoms(self.func.results))

    def fresh(self, atoms: Sequence[Any]) -> tuple[Var, ...]:
        """Return new Vars of the types of these atoms."""
        if self._names is None:
            self._names = fresh_names(self.func)
        return fresh_vars(self._names, atoms)

    def known(self, atom: Atom) -> Binding | None:
        """Return the binding that makes a function, an env or nothing, if it can be made elsewhere, too."""
        made = self.made.get(atom.name) if isinstance(atom, Var) else None
        return made if made is not None and not isinstance(made.attrs.get("func"), Rec) else None

    def sunk(self, binding: Binding) -> Binding:
        """Return the binding with what is known among its operands made inside of its parts."""
        places = [
            at for at in range(_first_fixed(binding), len(binding.inputs)) if self.known(binding.inputs[at])
        ]
        inside = parts(binding)
        if (
            not places
            or brings_rule(binding)
            or any(isinstance(each, Rec) for each in binding.attrs.values())
        ):
            return binding
        made = {at: self.known(binding.inputs[at]) for at in places}
        if any(map(self.facts.is_recursive, inside)) or any(self._is_open(each) for each in made.values()):
            return binding
        attrs: dict[str, Any] = dict(binding.attrs)
        for key, part in binding.attrs.items():
            if isinstance(part, Func):
                shift = len(part.params) - len(binding.inputs)
                attrs[key] = self._sink(part, {at + shift: each for at, each in made.items()})
        inputs: list[Atom] = []
        for at, atom in enumerate(binding.inputs):
            captured = made.get(at)
            inputs += [atom] if captured is None else captured.inputs
        if "invariants" in attrs:
            attrs["invariants"] += len(inputs) - len(binding.inputs)
        return Binding(binding.outputs, binding.op, tuple(inputs), attrs, binding.source)

    def _is_open(self, made: Binding | None) -> bool:
        """Tell whether the code of a function means a Func around it, so that it cannot move elsewhere."""
        func = made.attrs.get("func") if made is not None else None
        return isinstance(func, Func) and bool(self.facts.free(func))

    def _sink(self, part: Func, made: dict[int, Any]) -> Func:
        """Return a part that makes these parameters itself; equal ones stay one."""
        key = (id(part), *((at, each.op, attrs_key(each.attrs), _types(each)) for at, each in made.items()))
        if key not in self.memo:
            self.memo[key] = (_making(part, made), part, made)
        found: Func = self.memo[key][0]
        return found


def _types(binding: Binding) -> tuple[Any, ...]:
    return tuple(atom.type for atom in binding.inputs)


def _first_fixed(binding: Binding) -> int:
    """Return the position of the first operand that never changes: neither condition, state nor stack."""
    if binding.op in (WHILE, SCAN):
        invariants: Any = binding.attrs["invariants"]
        return len(binding.inputs) - int(invariants)
    if binding.op == APPLY:
        return len(binding.inputs)
    return 1 if binding.op == IF else 0


def _making(part: Func, made: dict[int, Any]) -> Func:
    names = fresh_names(part)
    params: list[Var] = []
    first: list[Binding] = []
    for at, param in enumerate(part.params):
        if at in made:
            captured = fresh_vars(names, made[at].inputs)
            first.append(Binding((param,), made[at].op, captured, made[at].attrs, made[at].source))
            params += captured
        else:
            params.append(param)
    return Func(part.name, tuple(params), (*first, *part.bindings), part.results)


def _apply(here: _Converter, binding: Binding) -> list[Binding]:
    made = here.made.get(binding.inputs[0].name) if isinstance(binding.inputs[0], Var) else None
    if made is None or made.op != CLOSURE:
        return [binding]
    return [
        Binding(binding.outputs, CALL, (*binding.inputs[1:], *made.inputs), dict(made.attrs), binding.source)
    ]


def _call(here: _Converter, binding: Binding) -> list[Binding]:
    """Make the first function that a call returns after it, if the callee is known to make it."""
    callee = binding.attrs["func"]
    if not isinstance(callee, Func) or brings_rule(binding) or here.facts.is_recursive(callee):
        return [binding]
    for at, var in enumerate(binding.outputs):
        made = _made(callee, at) if isinstance(var.type, FnType) else None
        if made is not None and not here._is_open(made):
            changed = here.memo.setdefault(
                (id(callee), at), (_exporting(callee, at, made.inputs, (), ()), callee)
            )[0]
            captured = here.fresh(made.inputs)
            outputs = (*_without(binding.outputs, at), *captured)
            call = Binding(outputs, CALL, binding.inputs, {"func": changed}, binding.source)
            return [call, Binding((var,), CLOSURE, captured, made.attrs, made.source)]
    return [binding]


def _if(here: _Converter, binding: Binding) -> list[Binding]:
    """Make the first function that a branch gives after it: one that makes the choice when it is called."""
    branches = [binding.attrs["then"], binding.attrs["orelse"]]
    if not all(isinstance(each, Func) for each in branches):
        return [binding]
    for at, var in enumerate(binding.outputs):
        if isinstance(var.type, FnType):
            made = [_made(each, at) for each in branches if isinstance(each, Func)]
            if all(each is not None and not here._is_open(each) for each in made):
                return _chosen(here, binding, at, made)
    return [binding]


def _made(func: Func, at: int) -> Binding | None:
    """Return the binding that makes a function that is a result."""
    result = func.results[at]
    for binding in func.bindings:
        if binding.op == CLOSURE and binding.outputs[0] == result:
            return binding if isinstance(binding.attrs["func"], Func) else None
    return None


def _chosen(here: _Converter, binding: Binding, at: int, made: list[Any]) -> list[Binding]:
    """Return the branch that gives what the two functions capture, and the function that chooses."""
    then, orelse = made
    attrs: dict[str, Attr] = {}
    for key, own, before, behind in (("then", then, (), orelse.inputs), ("orelse", orelse, then.inputs, ())):
        part: Any = binding.attrs[key]
        attrs[key] = _exporting(part, at, own.inputs, before, behind)
    captured = here.fresh((*then.inputs, *orelse.inputs))
    outputs = (*_without(binding.outputs, at), *captured)
    fn = binding.outputs[at]
    choice = {"func": _choice(fn.type, then, orelse)}
    return [
        Binding(outputs, IF, binding.inputs, attrs, binding.source),
        Binding((fn,), CLOSURE, (binding.inputs[0], *captured), choice, binding.source),
    ]


def _exporting(
    func: Func, at: int, captured: tuple[Atom, ...], before: tuple[Atom, ...], behind: tuple[Atom, ...]
) -> Func:
    """Return the Func with what a function captures in the place of it, and nothing for what others do."""
    names = fresh_names(func)
    first, last = fresh_vars(names, before), fresh_vars(names, behind)
    bindings = (*func.bindings, *map(nothing, (*first, *last)))
    return Func(func.name, func.params, bindings, (*_without(func.results, at), *first, *captured, *last))


def _choice(type_: Any, then: Binding, orelse: Binding) -> Func:
    """Return the Func that takes arguments, a condition and what two functions captured, and calls one."""
    names = fresh_names()
    args = tuple(Var(next(names), each) for each in type_.params)
    condition = Var(next(names), TensorType((), bool_))
    captured = [fresh_vars(names, each.inputs) for each in (then, orelse)]
    operands = (*args, *captured[0], *captured[1])
    attrs: dict[str, Attr] = {}
    for key, made, own in (("then", then, captured[0]), ("orelse", orelse, captured[1])):
        called: Any = made.attrs["func"]
        results = tuple(Var(next(names), each) for each in type_.results)
        call = Binding(results, CALL, (*args, *own), {"func": called}, made.source)
        attrs[key] = Func(f"{called.name}.{key}", operands, (call,), results)
    results = tuple(Var(next(names), each) for each in type_.results)
    chosen = Binding(results, IF, (condition, *operands), attrs, then.source)
    return Func("choice", (*args, condition, *captured[0], *captured[1]), (chosen,), results)


def _without(values: tuple[Any, ...], at: int) -> tuple[Any, ...]:
    return values[:at] + values[at + 1 :]


def _as_it_is(_: _Converter, binding: Binding) -> list[Binding]:
    return [binding]


_RULES: dict[str, Callable[[_Converter, Binding], list[Binding]]] = {
    APPLY: _apply,
    CALL: _call,
    IF: _if,
    WHILE: _as_it_is,
    SCAN: _as_it_is,
    CLOSURE: _as_it_is,
}
