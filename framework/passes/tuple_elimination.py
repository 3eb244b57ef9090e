"""The pass that takes apart what is handed on together, and hands on nothing in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from framework.ir.control import ACCUMULATE, ENV, IF, NOTHING, SCAN, UNENV, WHILE
from framework.ir.nodes import CALL, Atom, Binding, Const, Func, Rec, Var
from framework.ir.types import EnvType
from framework.passes.substitute import Substitution
from framework.passes.switch import nothing
from framework.passes.walk import brings_rule, everywhere, fresh_names, fresh_vars, rebuilt

Producers = dict[str, Binding]


def tuple_elimination(func: Func) -> Func:
    """Take apart what travels together, and let what a call, branch or loop only hands on go past it.

    before  @f(%a) { %b = exp(%a); return %a, %b }   %0, %1 = call @f(%x); %2 = mul(%0, %1)
    after                                            %0, %1 = call @f(%x); %2 = mul(%x, %1)

    before  %0 = env(%x, %y); %1, %2 = unenv(%0, types=...); %3 = add(%1, %2)
    after   %0 = env(%x, %y); %3 = add(%x, %y)

    before  while whose body returns its parameter %k as the next %k
    after   %k is an operand that does not change: an invariant; so is what becomes what it has been at first

    An env that comes out of a call or a branch comes out as its parts. Dead code sweeps up after this pass.
    """
    plain: dict[int, bool] = {}
    return everywhere(func, lambda each: _Eliminator(each, plain).run())


class _Eliminator:
    """Walks down one Func; `plain` says of callees, by identity, that they give new values only."""

    def __init__(self, func: Func, plain: dict[int, bool]) -> None:
        self.func, self.plain = func, plain
        self.values = Substitution()
        self.producers: Producers = {}
        self.bindings: list[Binding] = []
        self._fresh: Iterator[str] | None = None

    def run(self) -> Func:
        """Return the Func with every rule applied once to every binding."""
        if not any(binding.op in _RULES for binding in self.func.bindings):
            return self.func
        for binding in self.func.bindings:
            here = self.values.binding(binding)
            rule = _RULES.get(here.op)
            for each in [here] if rule is None else rule(self, here):
                self.append(each)
        return rebuilt(self.func, self.bindings, self.values.atoms(self.func.results))

    def append(self, binding: Binding) -> None:
        """Append a binding, and know what made its outputs."""
        self.bindings.append(binding)
        for var in binding.outputs:
            self.producers[var.name] = binding

    def is_plain(self, callee: Func) -> bool:
        """Tell whether no result of a callee is known outside."""
        if id(callee) not in self.plain:
            self.plain[id(callee)] = _is_plain(callee)
        return self.plain[id(callee)]

    def fresh(self, atoms: Sequence[Atom]) -> tuple[Var, ...]:
        """Return new Vars of the types of these atoms."""
        if self._fresh is None:
            self._fresh = fresh_names(self.func)
        return fresh_vars(self._fresh, atoms)

    def producer(self, atom: Atom) -> Binding | None:
        """Return the binding that makes a value."""
        return self.producers.get(atom.name) if isinstance(atom, Var) else None


def _unenv(here: _Eliminator, binding: Binding) -> list[Binding]:
    made = here.producer(binding.inputs[0])
    if made is not None and made.op == ENV and _types(made.inputs) == _types(binding.outputs):
        for var, atom in zip(binding.outputs, made.inputs, strict=True):
            here.values.replace(var, atom)
        return []
    if made is not None and made.op == NOTHING:
        return [nothing(var) for var in binding.outputs]
    return [binding]


def _accumulate(here: _Eliminator, binding: Binding) -> list[Binding]:
    """Sum two envs that are known part by part."""
    if not isinstance(binding.outputs[0].type, EnvType):
        return [binding]
    a, b = (here.producer(atom) for atom in binding.inputs)
    if a is None or b is None or {a.op, b.op} != {ENV} or _types(a.inputs) != _types(b.inputs):
        return [binding]
    sums = here.fresh(a.inputs)
    added = [
        Binding((var,), ACCUMULATE, pair, {}, binding.source)
        for var, *pair_ in zip(sums, a.inputs, b.inputs, strict=True)
        for pair in [tuple(pair_)]
    ]
    return [*added, Binding(binding.outputs, ENV, sums, {}, binding.source)]


def _call(here: _Eliminator, binding: Binding) -> list[Binding]:
    callee = binding.attrs["func"]
    if not isinstance(callee, Func) or brings_rule(binding) or here.is_plain(callee):
        return [binding]
    return _results(here, binding, [callee], binding.inputs)


def _is_plain(func: Func) -> bool:
    """Tell whether all results are different values that operators, loops and calls in the Func give."""
    made = {var.name for each in func.bindings if each.op not in (ENV, NOTHING) for var in each.outputs}
    names = [atom.name if isinstance(atom, Var) else "" for atom in func.results]
    return made.issuperset(names) and len(set(names)) == len(names)


def _if(here: _Eliminator, binding: Binding) -> list[Binding]:
    branches = [binding.attrs["then"], binding.attrs["orelse"]]
    if any(isinstance(each, Rec) for each in branches):
        return [binding]
    return _results(here, binding, branches, binding.inputs[1:])


def _results(
    here: _Eliminator, binding: Binding, funcs: list[Any], operands: tuple[Atom, ...]
) -> list[Binding]:
    """Replace the outputs that are known outside; open the first env among the others."""
    outer = [dict(zip((param.name for param in func.params), operands, strict=True)) for func in funcs]
    makers = [{var.name: made for made in func.bindings for var in made.outputs} for func in funcs]
    seen: dict[tuple[Atom, ...], Var] = {}
    after: list[Binding] = []
    opened: int | None = None
    for at, var in enumerate(binding.outputs):
        inside = tuple(func.results[at] for func in funcs)
        outside = [_outside(atom, names) for atom, names in zip(inside, outer, strict=True)]
        made = [_maker(atom, known) for atom, known in zip(inside, makers, strict=True)]
        if outside[0] is not None and all(each == outside[0] for each in outside):
            here.values.replace(var, outside[0])
        elif _is_truth(inside):
            here.values.replace(var, binding.inputs[0])
        elif all(each is not None and each.op == NOTHING for each in made):
            after.append(nothing(here.fresh([var])[0]))
            here.values.replace(var, after[-1].outputs[0])
        elif inside in seen:
            here.values.replace(var, seen[inside])
        elif opened is None and _is_open(made):
            opened = at
        seen.setdefault(inside, var)
    if opened is None:
        return [binding, *after]
    return [*_open(here, binding, opened, makers), *after]


def _outside(atom: Atom, names: dict[str, Atom]) -> Atom | None:
    return atom if isinstance(atom, Const) else names.get(atom.name)


def _maker(atom: Atom, known: dict[str, Binding]) -> Binding | None:
    return known.get(atom.name) if isinstance(atom, Var) else None


def _is_truth(results: tuple[Atom, ...]) -> bool:
    """Tell whether the results of two branches are true and false: the condition itself."""
    if len(results) != 2 or not all(isinstance(each, Const) for each in results):
        return False
    return [(str(each.type), each.data) for each in results if isinstance(each, Const)] == [
        ("bool[]", b"\x01"), ("bool[]", b"\x00")
    ]  # fmt: skip


def _is_open(made: list[Binding | None]) -> bool:
    """Tell whether a result is an env made inside: in all branches of the same types, or nothing."""
    types = {_types(each.inputs) for each in made if each is not None and each.op == ENV}
    return len(types) == 1 and all(each is not None and each.op in (ENV, NOTHING) for each in made)


def _open(here: _Eliminator, binding: Binding, at: int, makers: list[dict[str, Binding]]) -> list[Binding]:
    """Return the call or branch with the parts of an env in its place, and the env made of them."""
    keys = ["func"] if binding.op == CALL else ["then", "orelse"]
    funcs: list[Any] = [binding.attrs[key] for key in keys]
    made = [known[func.results[at].name] for func, known in zip(funcs, makers, strict=True)]
    kinds = next(each.inputs for each in made if each.op == ENV)
    attrs = dict(binding.attrs)
    for key, func, maker in zip(keys, funcs, made, strict=True):
        fill = fresh_vars(fresh_names(func), kinds)
        missing = maker.op == NOTHING
        bindings = (*func.bindings, *map(nothing, fill)) if missing else func.bindings
        results = _without(func.results, at) + (fill if missing else maker.inputs)
        attrs[key] = Func(func.name, func.params, bindings, results)
    outputs = here.fresh(kinds)
    opened = Binding(
        _without(binding.outputs, at) + outputs, binding.op, binding.inputs, attrs, binding.source
    )
    return [opened, Binding((binding.outputs[at],), ENV, outputs, {}, binding.source)]


def _loop(here: _Eliminator, binding: Binding) -> list[Binding]:
    """Let the state that a loop never changes be an invariant."""
    attrs: Any = binding.attrs
    body, first = attrs["body"], attrs.get("stacks", 0)
    kept = len(binding.outputs) - attrs["saves"]
    if isinstance(body, Rec) or isinstance(attrs.get("cond"), Rec):
        return [binding]
    outer = _fixed_outside(binding, body)
    fixed = [
        at
        for at in range(kept)
        if body.results[at] == body.params[first + at]
        or outer(body.results[at]) == binding.inputs[first + at]
    ]
    saved: dict[Atom, Var] = {}
    for var, result in zip(binding.outputs[kept:], body.results[kept:], strict=True):
        if saved.setdefault(result, var) is not var:
            here.values.replace(var, saved[result])
    if not fixed:
        return [binding]
    for at in fixed:
        here.values.replace(binding.outputs[at], binding.inputs[first + at])
    order = [at for at in range(len(binding.inputs)) if at - first not in fixed]
    order += [first + at for at in fixed]
    changed = {**attrs, "invariants": attrs["invariants"] + len(fixed)}
    changed["body"] = _reordered(body, order, [at for at in range(len(body.results)) if at not in fixed])
    if binding.op == WHILE:
        changed["cond"] = _reordered(attrs["cond"], order, [0])
    outputs = tuple(var for at, var in enumerate(binding.outputs) if at not in fixed)
    inputs = tuple(binding.inputs[at] for at in order)
    return [Binding(outputs, binding.op, inputs, changed, binding.source)]


def _fixed_outside(loop: Binding, body: Func) -> Callable[[Atom], Atom | None]:
    """Return the function that says which value around a loop a value in its body is in every turn."""
    invariants: Any = loop.attrs["invariants"]
    first = len(loop.inputs) - invariants
    names = dict(zip((param.name for param in body.params[first:]), loop.inputs[first:], strict=True))
    return lambda atom: _outside(atom, names)


def _reordered(func: Func, params: list[int], results: list[int]) -> Func:
    return Func(
        func.name,
        tuple(func.params[at] for at in params),
        func.bindings,
        tuple(func.results[at] for at in results),
    )


def _without(values: tuple[Any, ...], at: int) -> tuple[Any, ...]:
    return values[:at] + values[at + 1 :]


def _types(atoms: Sequence[Atom]) -> tuple[Any, ...]:
    return tuple(atom.type for atom in atoms)


_RULES: dict[str, Callable[[_Eliminator, Binding], list[Binding]]] = {
    UNENV: _unenv,
    ACCUMULATE: _accumulate,
    CALL: _call,
    IF: _if,
    WHILE: _loop,
    SCAN: _loop,
}
