"""How calls, branches, loops and functions as values are linearized; see `framework.autodiff.linear`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from framework.autodiff.linear import (
    Context,
    Cotangents,
    Linearized,
    Pair,
    Recursive,
    Residual,
    cotangents_of,
    linear_type,
    materialized,
    zero,
)
from framework.autodiff.loop_rules import func_of, scan_rule, while_rule
from framework.ir.builder import Builder, Sym
from framework.ir.control import (
    ACCUMULATE,
    AHEAD,
    APPLY,
    BACK,
    CHECK,
    CHOOSE,
    CLOSURE,
    ENV,
    IF,
    KEEP,
    NOTHING,
    RECOMPUTE,
    SCAN,
    UNENV,
    WHILE,
)
from framework.ir.flow import Part, branch, closure
from framework.ir.nodes import CALL, Binding, Func, Rec, Var
from framework.ir.recursion import calls_itself
from framework.ir.types import EnvType, FnType, cotangent_type, has_cotangent


def _call(ahead: Linearized, binding: Binding) -> None:
    """Results of a call come with residuals, or with its backpropagator.

    That holds them: of a Func that calls itself they have no type, and of Funcs that call others several
    times, level by level, there are too many to write down.
    """
    func: Any = binding.attrs["func"]
    inputs, builder = ahead.values(binding.inputs), ahead.builder
    if binding.attrs.get(RECOMPUTE):
        _recomputed(ahead, binding, func, inputs)
        return
    is_recursive = isinstance(func, Rec) or calls_itself(func)
    pair = _own_pair(binding)
    if pair is None and not is_recursive:
        pair = ahead.context.pair(func, ahead.actives(binding.inputs))
    if pair is None or pair.further > max(MANY_RESIDUALS, MANY_OF_A_BINDING * len(func.bindings)):
        target = _with_backpropagator(ahead.context, func, binding)
        outputs = builder.bind(CALL, inputs, {"func": target}, ahead.context.known)
        ahead.step(binding, outputs[:-1], _through(outputs[-1], binding))
        return
    found = pair
    outputs = builder.bind(CALL, inputs, {"func": found.forward}, ahead.context.known)
    results, residuals = found.split(inputs, outputs)
    ahead.step(binding, results, lambda back, dys: found.pull(back, dys, residuals))


MANY_RESIDUALS = 500
"""A call with more gives its backpropagator in their place,"""
MANY_OF_A_BINDING = 100
"""if these are more than so many for each binding of its Func: those of a long Func do not multiply."""


def _own_pair(binding: Binding) -> Pair | None:
    """Return the rule that the call brings along: Funcs `ahead` and `back` in the place of derived ones."""
    ahead, back = binding.attrs.get(AHEAD), binding.attrs.get(BACK)
    if not isinstance(ahead, Func) or not isinstance(back, Func):
        return None
    residuals = tuple(Residual(None, atom.type) for atom in ahead.results[len(binding.outputs) :])
    params, results = (
        tuple(at for at, atom in enumerate(atoms) if has_cotangent(atom.type))
        for atoms in (binding.inputs, binding.outputs)
    )
    return Pair(ahead, back, residuals, params, results)


def _recomputed(ahead: Linearized, binding: Binding, func: Func, inputs: list[Sym]) -> None:
    """Keep the inputs of a call only: the way back computes it again.

    What computes it again stays a call, or finding equal expressions would undo it.
    """
    outputs = ahead.builder.bind(CALL, inputs, binding.attrs, ahead.context.known)
    active = ahead.actives(binding.inputs)

    def pull(back: Builder, dys: Cotangents) -> Cotangents:
        again = Builder()
        given = [
            again.param(cotangent_type(var.type)) if dy is not None else None
            for dy, var in zip(dys, binding.outputs, strict=True)
        ]
        values = [again.param(param.type) for param in func.params]
        linearized = Linearized(again, func, values, active, ahead.context)
        found = linearized.pull_back(again, given)
        places = [at for at, dx in enumerate(found) if dx is not None]
        whole = again.finish(f"{func.name}_again", [found[at] for at in places])
        known = ahead.context.known
        dxs = back.bind(
            CALL, [*(dy for dy in dys if dy is not None), *inputs], {"func": whole, KEEP: True}, known
        )
        gradients = dict(zip(places, dxs, strict=True))
        return [gradients.get(at) for at in range(len(inputs))]

    ahead.step(binding, outputs, pull)


def _with_backpropagator(context: Context, func: Func | Rec, binding: Binding) -> Func | Rec:
    """Return what a Func becomes that gives its results and its backpropagator; made once."""
    if isinstance(func, Rec):
        return Rec(context.around[func.name].forward)
    if id(func) in context.packed:
        return context.packed[id(func)][1]
    params, results = ([each.type for each in atoms] for atoms in (binding.inputs, binding.outputs))
    name = f"{func.name}_ahead"
    back = FnType(cotangents_of(results), cotangents_of(params))
    signature = (tuple(map(linear_type, params)), (*map(linear_type, results), back))
    inside = context
    if calls_itself(func):
        inside = Context({**context.around, func.name: Recursive(name, signature)})
    ahead = Builder()
    inputs = [ahead.param(linear_type(param.type), param.name) for param in func.params]
    linearized = Linearized(ahead, func, inputs, [True] * len(inputs), inside)
    backward = _backpropagator(linearized, f"{func.name}_back")
    made = ahead.finish(name, [*linearized.results, closure(ahead, backward, inside.known)])
    context.packed[id(func)] = (func, made)
    return made


def _backpropagator(linearized: Linearized, name: str) -> Part:
    """Return the function from the cotangents of all results to those of all parameters."""
    back, func = Builder(linearized.builder), linearized.func
    dys = [
        back.param(cotangent_type(each.type)) if has_cotangent(each.type) else None for each in func.results
    ]
    dxs = zip(linearized.pull_back(back, dys), func.params, strict=True)
    found = [
        materialized(back, dx, cotangent_type(each.type)) for dx, each in dxs if has_cotangent(each.type)
    ]
    return Part(back, found, name)


def _through(function: Sym, binding: Binding, skip: int = 0) -> Callable[[Builder, Cotangents], Cotangents]:
    """Return the way back through a backpropagator: it takes and gives all cotangents that there are."""
    inputs = binding.inputs[skip:]

    def pull(builder: Builder, dys: Cotangents) -> Cotangents:
        given = [
            materialized(builder, dy, cotangent_type(var.type))
            for dy, var in zip(dys, binding.outputs, strict=True)
            if has_cotangent(var.type)
        ]
        found = list(builder.bind(APPLY, [function, *given], {}))
        env, rest = found[:skip], iter(found[skip:])
        return [*env, *(next(rest) if has_cotangent(atom.type) else None for atom in inputs)]

    return pull


def _if(ahead: Linearized, binding: Binding) -> None:
    """A branch gives its own residuals and nothing for those of the other one."""
    inputs, builder, context = ahead.values(binding.inputs), ahead.builder, ahead.context
    condition, operands = inputs[0], inputs[1:]
    active = ahead.actives(binding.inputs[1:])
    pairs = [context.pair(func_of(binding, key), active) for key in ("then", "orelse")]
    then, orelse = (_taken(builder, pairs, at, operands) for at in (0, 1))
    outputs = branch(builder, condition, then, orelse)
    kept = len(binding.outputs)
    middle = kept + pairs[0].further
    further = (outputs[kept:middle], outputs[middle:])
    residuals = [
        pair.split(operands, [*outputs[:kept], *own])[1] for pair, own in zip(pairs, further, strict=True)
    ]

    def pull(back: Builder, dys: Cotangents) -> Cotangents:
        wanted = sorted({*pairs[0].params, *pairs[1].params})
        then, orelse = (
            _pulled(back, pair, dys, own, wanted) for pair, own in zip(pairs, residuals, strict=True)
        )
        found = dict(zip(wanted, branch(back, condition, then, orelse), strict=True))
        return [None, *(found.get(at) for at in range(len(operands)))]

    ahead.step(binding, outputs[:kept], pull)


def _taken(builder: Builder, pairs: Sequence[Pair], taken: int, operands: Sequence[Sym]) -> Part:
    """Return a branch that goes forward: its results, its residuals, and nothing for those of the other."""
    inside = Builder(builder)
    pair = pairs[taken]
    outputs = inside.call(pair.forward, operands)
    results: list[Sym] = list(outputs[: pair.kept])
    for each in pairs:
        if each is pair:
            results += outputs[pair.kept :]
        else:
            results += [zero(inside, atom.type) for atom in each.forward.results[each.kept :]]
    return Part(inside, results, pair.forward.name)


def _pulled(
    builder: Builder, pair: Pair, dys: Cotangents, residuals: Sequence[Any], wanted: Sequence[int]
) -> Part:
    """Return a branch that goes backward, with zeros for what only the other one has a cotangent of."""
    inside = Builder(builder)
    found = pair.pull(inside, dys, residuals)
    types = [pair.forward.params[at].type for at in wanted]
    dxs = [
        materialized(inside, found[at], cotangent_type(each)) for at, each in zip(wanted, types, strict=True)
    ]
    return Part(inside, dxs, pair.backward.name)


def _closure(ahead: Linearized, binding: Binding) -> None:
    """A function as a value becomes one that gives its backpropagator, too."""
    inputs, builder = ahead.values(binding.inputs), ahead.builder
    kind = binding.outputs[0].type
    assert isinstance(kind, FnType)
    function = closure(builder, _calling(ahead, binding, kind, inputs), ahead.context.known)

    def pull(back: Builder, dys: Cotangents) -> Cotangents:
        types = [cotangent_type(atom.type) for atom in binding.inputs if has_cotangent(atom.type)]
        env = materialized(back, dys[0], EnvType())
        found = iter(back.bind(UNENV, [env], {"types": tuple(map(str, types))}))
        return [next(found) if has_cotangent(atom.type) else None for atom in binding.inputs]

    ahead.step(binding, [function], pull)


def _calling(ahead: Linearized, binding: Binding, kind: FnType, captured: Sequence[Sym]) -> Part:
    """Return the function that calls the closure's Func and gives results and backpropagator.

    The backpropagator takes cotangents of the results; it gives an env of what was captured and then
    cotangents of the arguments.
    """
    inside = Builder(ahead.builder)
    name = f"{_name(binding)}_value"
    args = tuple(Var(f"a{at}", each) for at, each in enumerate(kind.params))
    caught = tuple(Var(f"c{at}", atom.type) for at, atom in enumerate(binding.inputs))
    results = tuple(Var(f"r{at}", each) for at, each in enumerate(kind.results))
    call = Binding(results, CALL, (*args, *caught), {"func": binding.attrs["func"]}, binding.source)
    inputs = [*(inside.param(linear_type(each)) for each in kind.params), *map(inside.lift, captured)]
    func = Func(name, (*args, *caught), (call,), results)
    linearized = Linearized(inside, func, inputs, [True] * len(inputs), ahead.context)
    back = Builder(inside)
    dys = [back.param(cotangent_type(each)) if has_cotangent(each) else None for each in kind.results]
    dxs = linearized.pull_back(back, dys)
    found = [
        materialized(back, dx, cotangent_type(var.type)) if has_cotangent(var.type) else None
        for dx, var in zip(dxs, (*args, *caught), strict=True)
    ]
    env = back.bind(ENV, [each for each in found[len(args) :] if each is not None], {})
    way = Part(back, [*env, *(each for each in found[: len(args)] if each is not None)], f"{name}_back")
    return Part(inside, [*linearized.results, closure(inside, way, ahead.context.known)], name)


def _apply(ahead: Linearized, binding: Binding) -> None:
    """A function that is applied gives its results and its backpropagator."""
    outputs = ahead.builder.bind(APPLY, ahead.values(binding.inputs), binding.attrs)
    ahead.step(binding, outputs[:-1], _through(outputs[-1], binding, skip=1))


def _env(ahead: Linearized, binding: Binding) -> None:
    """The cotangent of an env is an env."""
    outputs = ahead.builder.bind(ENV, ahead.values(binding.inputs), {})

    def pull(back: Builder, dys: Cotangents) -> Cotangents:
        types = tuple(str(cotangent_type(atom.type)) for atom in binding.inputs)
        return back.bind(UNENV, [materialized(back, dys[0], EnvType())], {"types": types})

    ahead.step(binding, outputs, pull)


def _unenv(ahead: Linearized, binding: Binding) -> None:
    """The cotangents of what an env holds make an env."""
    outputs = ahead.builder.bind(UNENV, ahead.values(binding.inputs), binding.attrs)

    def pull(back: Builder, dys: Cotangents) -> Cotangents:
        given = [materialized(back, dy, var.type) for dy, var in zip(dys, binding.outputs, strict=True)]
        return back.bind(ENV, given, {})

    ahead.step(binding, outputs, pull)


def _nothing(ahead: Linearized, binding: Binding) -> None:
    """Nothing stays nothing, of the type that it has where it can be differentiated."""
    found = zero(ahead.builder, linear_type(binding.outputs[0].type))
    ahead.step(binding, [found], lambda back, dys: [])


def _accumulate(ahead: Linearized, binding: Binding) -> None:
    """A sum hands its cotangent to both."""
    outputs = ahead.builder.bind(ACCUMULATE, ahead.values(binding.inputs), {})
    ahead.step(binding, outputs, lambda back, dys: [dys[0], dys[0]])


def _choose(ahead: Linearized, binding: Binding) -> None:
    """A choice hands its cotangent to each in its lanes."""
    inputs = ahead.values(binding.inputs)
    outputs = ahead.builder.bind(CHOOSE, inputs, {})

    def pull(back: Builder, dys: Cotangents) -> Cotangents:
        none = zero(back, cotangent_type(binding.outputs[0].type))
        dy = materialized(back, dys[0], binding.outputs[0].type)
        first = back.bind(CHOOSE, [inputs[0], dy, none], {})
        second = back.bind(CHOOSE, [inputs[0], none, dy], {})
        return [None, *first, *second]

    ahead.step(binding, outputs, pull)


def _check(ahead: Linearized, binding: Binding) -> None:
    """A check is made on the way ahead."""
    ahead.builder.replay_binding(binding, ahead.scope)


def _name(binding: Binding) -> str:
    func: Any = binding.attrs["func"]
    return str(func.name)


RULES: dict[str, Callable[[Linearized, Binding], None]] = {
    CALL: _call,
    IF: _if,
    WHILE: while_rule,
    SCAN: scan_rule,
    CLOSURE: _closure,
    APPLY: _apply,
    ENV: _env,
    UNENV: _unenv,
    NOTHING: _nothing,
    ACCUMULATE: _accumulate,
    CHOOSE: _choose,
    CHECK: _check,
}
