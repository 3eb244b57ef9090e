"""How calls, branches, loops and functions as values are pushed forward; see `framework.autodiff.forward`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from framework.autodiff.forward import Around, Forward, Pushed, forward_type, has_tangent
from framework.autodiff.linear import materialized
from framework.ir.builder import Builder, Sym
from framework.ir.control import (
    ACCUMULATE,
    APPLY,
    CHECK,
    CHOOSE,
    CLOSURE,
    ENV,
    IF,
    NOTHING,
    SCAN,
    UNENV,
    WHILE,
)
from framework.ir.flow import Part, branch, closure, loop, scan
from framework.ir.nodes import CALL, Binding, Func, Rec, Var
from framework.ir.recursion import calls_itself
from framework.ir.types import FnType, Type


def _call(forward: Forward, binding: Binding) -> None:
    """A call takes and gives tangents; of a Func that calls itself all that there can be."""
    func: Any = binding.attrs["func"]
    inputs, builder = forward.values(binding.inputs), forward.builder
    if isinstance(func, Rec) or calls_itself(func):
        target = _recursive(forward.around, func, binding)
        given = [*inputs, *forward.tangents_of(binding.inputs)]
        forward.enter_all(
            binding, builder.bind(CALL, given, {**binding.attrs, "func": target}, forward.around.known)
        )
        return
    pushed = forward.around.push(func, forward.active(binding.inputs))
    given = [*inputs, *(forward.tangent(binding.inputs[at]) for at in pushed.params)]
    outputs = builder.bind(CALL, given, {**binding.attrs, "func": pushed.func}, forward.around.known)
    tangents = dict(zip(pushed.results, outputs[len(binding.outputs) :], strict=True))
    forward.enter(
        binding, outputs[: len(binding.outputs)], [tangents.get(at) for at in range(len(binding.outputs))]
    )


def _recursive(around: Around, func: Func | Rec, binding: Binding) -> Func | Rec:
    """Return what a Func that calls itself becomes, at its first call from outside or at one inside."""
    if isinstance(func, Rec):
        return Rec(around.names[func.name][0])
    params, results = ([each.type for each in atoms] for atoms in (binding.inputs, binding.outputs))
    kind = forward_type(FnType(tuple(params), tuple(results)))
    assert isinstance(kind, FnType)  # what it is made from is one
    name = f"{func.name}_forward"
    inside = Around({**around.names, func.name: (name, (kind.params, kind.results))})
    return _complete(func, inside, name)


def _complete(func: Func, around: Around, name: str) -> Func:
    """Return a Func in forward mode that takes and gives all tangents that there can be."""
    builder = Builder()
    inputs = [builder.param(forward_type(param.type), param.name) for param in func.params]
    tangents = {at: builder.param(each.type) for at, each in enumerate(func.params) if has_tangent(each.type)}
    forward = Forward(builder, func, inputs, tangents, around)
    return builder.finish(name, [*forward.results, *forward.tangents_of(func.results)])


def _if(forward: Forward, binding: Binding) -> None:
    """Both branches give the tangents that either of them gives."""
    condition, *operands = forward.values(binding.inputs)
    active = forward.active(binding.inputs[1:])
    pushed = [forward.around.push(_func(binding, key), active) for key in ("then", "orelse")]
    wanted = sorted({*pushed[0].results, *pushed[1].results})
    given = [*operands, *(forward.tangent(binding.inputs[1 + at]) for at in pushed[0].params)]
    then, orelse = (_called(forward.builder, each, given, wanted) for each in pushed)
    outputs = branch(forward.builder, condition, then, orelse)
    count = len(binding.outputs)
    tangents = dict(zip(wanted, outputs[count:], strict=True))
    forward.enter(binding, outputs[:count], [tangents.get(at) for at in range(count)])


def _called(builder: Builder, pushed: Pushed, given: Sequence[Sym], wanted: Sequence[int]) -> Part:
    inside = Builder(builder)
    return Part(inside, _complete_call(inside, pushed, given, wanted), pushed.func.name)


def _complete_call(
    builder: Builder, pushed: Pushed, given: Sequence[Sym], wanted: Sequence[int]
) -> list[Sym]:
    """Write a call; return its results and the tangents wanted, zeros where it gives none."""
    outputs = builder.call(pushed.func, given)
    count = len(outputs) - len(pushed.results)
    tangents = dict(zip(pushed.results, outputs[count:], strict=True))
    return [
        *outputs[:count],
        *(materialized(builder, tangents.get(at), outputs[at].atom.type) for at in wanted),
    ]


class _Loop(NamedTuple):
    """A loop in forward mode: where its state begins and ends, its body, and which inputs have tangents."""

    binding: Binding
    first: int
    end: int
    pushed: Pushed

    @property
    def elements(self) -> list[int]:
        """Stacks with tangents."""
        return [at for at in self.pushed.params if at < self.first]

    @property
    def state(self) -> list[int]:
        """State with tangents."""
        return [at for at in self.pushed.params if self.first <= at < self.end]

    @property
    def saved(self) -> list[int]:
        """Results of the body that are saved and have tangents."""
        return [at for at in self.pushed.results if at >= self.end - self.first]

    def types(self, positions: Sequence[int]) -> list[Type]:
        """Return the types that the body has for parameters."""
        return [self.pushed.func.params[at].type for at in positions]


def _loop_of(forward: Forward, binding: Binding) -> _Loop:
    """Return a loop; a state has a tangent if it has one at the beginning or gets one in the body."""
    counts: Any = binding.attrs
    first = counts["stacks"] if binding.op == SCAN else 0
    end = len(binding.inputs) - counts["invariants"]
    active = forward.active(binding.inputs)
    while True:
        pushed = forward.around.push(_func(binding, "body"), active)
        grown = [
            each or (first <= at < end and at - first in pushed.results) for at, each in enumerate(active)
        ]
        if grown == active:
            return _Loop(binding, first, end, pushed)
        active = grown


def _while(forward: Forward, binding: Binding) -> None:
    """The state of a while has its tangents behind it."""
    shape, builder = _loop_of(forward, binding), forward.builder
    inputs = forward.values(binding.inputs)
    func = _func(binding, "cond")
    pushed = forward.around.push(func, [False] * len(func.params))
    inside = Builder(builder)
    state = [inside.param(param.type) for param in pushed.func.params[: shape.end]]
    for each in shape.types(shape.state):
        inside.param(each)
    cond = Part(inside, inside.call(pushed.func, [*state, *inputs[shape.end :]]), func.name)
    body = _body(forward, shape, inputs)
    init = [*inputs[: shape.end], *(forward.tangent(binding.inputs[at]) for at in shape.state)]
    saves: Any = binding.attrs["saves"]
    _enter_loop(forward, shape, loop(builder, init, cond, body, saves + len(shape.saved)))


def _scan(forward: Forward, binding: Binding) -> None:
    """A scan goes over its stacks and those of their tangents."""
    shape, inputs = _loop_of(forward, binding), forward.values(binding.inputs)
    tangents = {at: forward.tangent(binding.inputs[at]) for at in (*shape.elements, *shape.state)}
    stacks = [*inputs[: shape.first], *(tangents[at] for at in shape.elements)]
    init = [*inputs[shape.first : shape.end], *(tangents[at] for at in shape.state)]
    counts: Any = binding.attrs
    saves = counts["saves"] + len(shape.saved)
    body = _body(forward, shape, inputs)
    _enter_loop(forward, shape, scan(forward.builder, stacks, init, body, saves, counts["reverse"]))


def _body(forward: Forward, shape: _Loop, inputs: Sequence[Sym]) -> Part:
    """Return the body: elements, their tangents, state, its tangents -> state, tangents, saved, tangents."""
    inside, pushed = Builder(forward.builder), shape.pushed
    own = [inside.param(each) for each in shape.types(range(shape.first))]
    tangents = {
        at: inside.param(each) for at, each in zip(shape.elements, shape.types(shape.elements), strict=True)
    }
    own += [inside.param(each) for each in shape.types(range(shape.first, shape.end))]
    tangents |= {
        at: inside.param(each) for at, each in zip(shape.state, shape.types(shape.state), strict=True)
    }
    fixed = {at: forward.tangent(shape.binding.inputs[at]) for at in pushed.params if at >= shape.end}
    given = [*own, *inputs[shape.end :], *({**tangents, **fixed}[at] for at in pushed.params)]
    wanted = [*(at - shape.first for at in shape.state), *shape.saved]
    results = _complete_call(inside, pushed, given, wanted)
    kept, count = shape.end - shape.first, len(pushed.func.results) - len(pushed.results)
    middle = count + len(shape.state)
    order = [*results[:kept], *results[count:middle], *results[kept:count], *results[middle:]]
    return Part(inside, order, pushed.func.name)


def _enter_loop(forward: Forward, shape: _Loop, outputs: Sequence[Sym]) -> None:
    """Enter the outputs of a loop: state, its tangents, stacks, those of tangents."""
    kept, saves = shape.end - shape.first, len(shape.binding.outputs) - (shape.end - shape.first)
    middle = kept + len(shape.state)
    values = [*outputs[:kept], *outputs[middle : middle + saves]]
    moving = [*outputs[kept:middle], *outputs[middle + saves :]]
    places = [*(at - shape.first for at in shape.state), *shape.saved]
    tangents = dict(zip(places, moving, strict=True))
    forward.enter(shape.binding, values, [tangents.get(at) for at in range(kept + saves)])


def _closure(forward: Forward, binding: Binding) -> None:
    """A function as a value captures the tangents, too, and takes and gives all that there can be."""
    inputs, kind = forward.values(binding.inputs), binding.outputs[0].type
    assert isinstance(kind, FnType)  # it is the type of a closure
    name = f"{binding.attrs['func'].name}_forward"  # type: ignore[union-attr]
    inside = Builder(forward.builder)
    args = tuple(Var(f"a{at}", each) for at, each in enumerate(kind.params))
    caught = tuple(Var(f"c{at}", atom.type) for at, atom in enumerate(binding.inputs))
    results = tuple(Var(f"r{at}", each) for at, each in enumerate(kind.results))
    call = Binding(results, CALL, (*args, *caught), {"func": binding.attrs["func"]}, binding.source)
    func = Func(name, (*args, *caught), (call,), results)
    given = [*(inside.param(forward_type(each)) for each in kind.params), *map(inside.lift, inputs)]
    tangents = {at: inside.param(each) for at, each in enumerate(kind.params) if has_tangent(each)}
    for at, atom in enumerate(binding.inputs):
        if atom in forward.tangents:
            tangents[len(args) + at] = inside.lift(forward.tangents[atom])
    pushed = Forward(inside, func, given, tangents, forward.around)
    part = Part(inside, [*pushed.results, *pushed.tangents_of(results)], name)
    forward.enter(binding, [closure(forward.builder, part, forward.around.known)], [None])


def _apply(forward: Forward, binding: Binding) -> None:
    """A function takes and gives all tangents that there can be."""
    given = [*forward.values(binding.inputs), *forward.tangents_of(binding.inputs[1:])]
    forward.enter_all(binding, forward.builder.bind(APPLY, given, binding.attrs))


def _env(forward: Forward, binding: Binding) -> None:
    """The tangent of an env is the env of the tangents."""
    (env,) = forward.builder.bind(ENV, forward.values(binding.inputs), {})
    (tangent,) = forward.builder.bind(ENV, forward.tangents_of(binding.inputs), {})
    forward.enter(binding, [env], [tangent])


def _linear(forward: Forward, binding: Binding) -> None:
    """What an env held, or a sum of two cotangents: the same of the tangents."""
    outputs = forward.builder.bind(binding.op, forward.values(binding.inputs), binding.attrs)
    tangents = forward.builder.bind(binding.op, forward.tangents_of(binding.inputs), binding.attrs)
    forward.enter(binding, outputs, tangents)


def _nothing(forward: Forward, binding: Binding) -> None:
    """Nothing has no tangent."""
    kind = forward_type(binding.outputs[0].type)
    forward.enter(binding, forward.builder.bind(NOTHING, [], {"type": str(kind)}), [None])


def _choose(forward: Forward, binding: Binding) -> None:
    """A choice is one of the tangents, too."""
    mask, *values = forward.values(binding.inputs)
    outputs = forward.builder.bind(CHOOSE, [mask, *values], {})
    tangents = forward.builder.bind(CHOOSE, [mask, *forward.tangents_of(binding.inputs[1:])], {})
    forward.enter(binding, outputs, tangents)


def _check(forward: Forward, binding: Binding) -> None:
    """A check is made as it is."""
    forward.builder.replay_binding(binding, forward.scope)


def _func(binding: Binding, key: str) -> Func:
    found = binding.attrs[key]
    assert isinstance(found, Func)  # branches and bodies stand where they are used
    return found


RULES: dict[str, Callable[[Forward, Binding], None]] = {
    CALL: _call,
    IF: _if,
    WHILE: _while,
    SCAN: _scan,
    CLOSURE: _closure,
    APPLY: _apply,
    ENV: _env,
    UNENV: _linear,
    NOTHING: _nothing,
    ACCUMULATE: _linear,
    CHOOSE: _choose,
    CHECK: _check,
}
