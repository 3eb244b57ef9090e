"""How calls, branches, loops and functions as values go over a batch; see `framework.autodiff.batching`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from framework import ops
from framework.autodiff.batching import (
    Batch,
    Batched,
    Batching,
    Spread,
    applied,
    chosen,
    mask_type,
    mask_types,
    some,
    spread_param,
    spread_types,
    whole,
)
from framework.autodiff.linear import zero
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
    is_control,
)  # fmt: skip
from framework.ir.flow import Part, branch, closure, loop, scan
from framework.ir.nodes import CALL, Binding, Func, Rec, Var
from framework.ir.recursion import calls_itself
from framework.ir.types import FnType, StackType, Type, parse_type


def _call(batching: Batching, binding: Binding) -> None:
    """A call over a batch is told which lanes are on the way."""
    func: Any = binding.attrs["func"]
    if isinstance(func, Rec) or calls_itself(func):
        target = _recursive(batching.around, func, binding)
        given = [*batching.wholes(binding.inputs), batching.lanes]
        outputs = batching.builder.bind(CALL, given, {"func": target}, batching.around.known)
        batching.enter_parts(binding, outputs, [True] * len(binding.outputs))
        return
    found = batching.around.batched(func, batching.is_batched(binding.inputs))
    given = [*batching.parts(binding.inputs), batching.lanes]
    outputs = batching.builder.bind(CALL, given, {"func": found.func}, batching.around.known)
    batching.enter_parts(binding, outputs, found.is_batched)


def _recursive(around: Batch, func: Func | Rec, binding: Binding) -> Func | Rec:
    """Return what a Func that calls itself becomes: all that it takes and gives is in batches."""
    if isinstance(func, Rec):
        return Rec(around.names[func.name][0])
    params, results = (
        spread_types([each.type for each in atoms], around.size)
        for atoms in (binding.inputs, binding.outputs)
    )
    name = f"{func.name}_batch"
    inside = Batch(
        around.size, {**around.names, func.name: (name, ((*params, mask_type(around.size)), results))}
    )
    builder = Builder()
    inputs = [spread_param(builder, param.type, around.size) for param in func.params]
    batching = Batching(builder, func, inputs, inside, builder.param(mask_type(around.size), "lanes"))
    return builder.finish(name, batching.wholes(func.results))


def _if(batching: Batching, binding: Binding) -> None:
    """A branch is taken by all lanes, or each branch by some of them."""
    condition, *operands = binding.inputs
    is_batched = batching.is_batched(operands)
    found = [batching.around.batched(_func(binding, key), is_batched) for key in ("then", "orelse")]
    if batching.scope_of(condition).is_batched:
        _divided(batching, binding, found)
        return
    joined = [any(each) for each in zip(*(each.is_batched for each in found), strict=True)]
    types = [var.type for var in binding.outputs]
    parts = []
    for each in found:
        inside = Builder(batching.builder)
        given = [*batching.parts(operands), batching.lanes]
        parts.append(Part(inside, _all_batched(batching, inside, each, given, types, joined), each.func.name))
    outputs = branch(batching.builder, batching.scope_of(condition).value, parts[0], parts[1])
    batching.enter_parts(binding, outputs, joined)


def _all_batched(
    batching: Batching, inside: Builder, found: Batched, given: Sequence[Sym], types: Sequence[Type],
    wanted: Sequence[bool],
) -> list[Sym]:  # fmt: skip
    """Write a call of a Func over a batch; return the parts of its results, in batches where wanted."""
    outputs = inside.call(found.func, given)
    values = batching.gathered(types, outputs, found.is_batched)
    lanes = inside.lift(batching.lanes)
    spread = [whole(inside, each, lanes) if want else each for each, want in zip(values, wanted, strict=True)]
    return [part for each in spread for part in each.parts]


def _divided(batching: Batching, binding: Binding, found: Sequence[Batched]) -> None:
    """Both branches are computed, each for the lanes that take it; one that none takes is not entered."""
    builder, mask = batching.builder, batching.scope_of(binding.inputs[0]).value
    types = [var.type for var in binding.outputs]
    taken = (mask, ops.logical_not(mask))
    values = []
    for each, own in zip(found, taken, strict=True):
        lanes: Sym = ops.logical_and(batching.lanes, own)
        given = [*batching.parts(binding.inputs[1:]), lanes]
        values.append(_entered(batching, each, given, lanes, types))
    outputs = [chosen(builder, mask, a, b) for a, b in zip(*values, strict=True)]
    batching.enter_parts(binding, outputs, [True] * len(types))


def _entered(
    batching: Batching, found: Batched, given: Sequence[Sym], lanes: Sym, types: Sequence[Type]
) -> Sequence[Sym]:
    """Return what a branch gives the lanes that take it; straight code may be computed for none."""
    everything = [True] * len(types)
    if not any(is_control(each.op) for each in found.func.bindings):
        return _all_batched(batching, batching.builder, found, given, types, everything)
    then, orelse = Builder(batching.builder), Builder(batching.builder)
    parts = _all_batched(batching, then, found, given, types, everything)
    zeros = [zero(orelse, each) for each in spread_types(types, batching.size)]
    return branch(
        batching.builder, some(lanes), Part(then, parts, found.func.name), Part(orelse, zeros, "none")
    )


class _Loop:
    """A loop over a batch: which inputs are in batches, a state that becomes so at once, and its body."""

    def __init__(self, batching: Batching, binding: Binding, divides: bool = False) -> None:
        counts: Any = binding.attrs
        self.batching, self.binding, self.saves = batching, binding, counts["saves"]
        self.first: int = counts["stacks"] if binding.op == SCAN else 0
        self.end = len(binding.inputs) - counts["invariants"]
        self.divides = divides
        self.is_batched = batching.is_batched(binding.inputs)
        if divides:
            self.is_batched[self.first : self.end] = [True] * (self.end - self.first)
        while True:
            self.body = batching.around.batched(_func(binding, "body"), self.is_batched)
            grown = [
                each or (self.first <= at < self.end and self.body.is_batched[at - self.first])
                for at, each in enumerate(self.is_batched)
            ]
            if grown == self.is_batched:
                break
            self.is_batched = grown
        pairs = zip(binding.inputs, self.is_batched, strict=True)
        self.inputs = [batching.whole(atom) if each else batching.scope_of(atom) for atom, each in pairs]

    @property
    def state_types(self) -> list[Type]:
        """The types of the state, without batch."""
        return [atom.type for atom in self.binding.inputs[self.first : self.end]]

    def parts(self, first: int, end: int) -> list[Sym]:
        """Return the parts of inputs."""
        return [part for each in self.inputs[first:end] for part in each.parts]

    @property
    def fixed(self) -> list[Sym]:
        """The parts of the invariants."""
        return self.parts(self.end, len(self.inputs))

    def state(self, inside: Builder) -> list[Sym]:
        """Add the parameters of the state to a part of the loop."""
        return [inside.param(part.atom.type) for part in self.parts(self.first, self.end)]

    def turn(self, inside: Builder, elements: Sequence[Sym], state: Sequence[Sym], on: Sym) -> list[Sym]:
        """Write a turn for the lanes that are on; return the parts of the next state and of what is saved."""
        size, kept = self.batching.size, self.end - self.first
        outputs = inside.call(self.body.func, [*elements, *state, *self.fixed, on])
        kinds = [each.type for each in _func(self.binding, "body").results]
        values = self.batching.gathered(kinds, outputs, self.body.is_batched)
        wanted = self.is_batched[self.first : self.end]
        new = [
            part
            for each, batched in zip(values[:kept], wanted, strict=True)
            for part in (whole(inside, each, on) if batched else each).parts
        ]
        batched_parts = [
            batched
            for kind, batched in zip(self.state_types, wanted, strict=True)
            for _ in range(1 + len(mask_types(kind, size)) * batched)
        ]
        if self.divides:
            pairs = zip(batched_parts, new, state, strict=True)
            new = [chosen(inside, on, a, b) if batched else a for batched, a, b in pairs]
        for each in values[kept:]:
            spread = whole(inside, each, on) if self.divides else each
            new += [spread.value, inside.lift(on), *spread.masks] if spread.is_batched else [spread.value]
        return new

    def enter(self, outputs: Sequence[Sym]) -> None:
        """Enter the last state and the stacks."""
        saved = [True] * self.saves if self.divides else self.body.is_batched[self.end - self.first :]
        self.batching.enter_parts(self.binding, outputs, [*self.is_batched[self.first : self.end], *saved])


def _while(batching: Batching, binding: Binding) -> None:
    """A loop with one number of turns for all lanes, or one that turns until the last of them has ended."""
    shape = _Loop(batching, binding)
    cond = batching.around.batched(_func(binding, "cond"), shape.is_batched)
    if cond.is_batched[0]:
        _divided_while(batching, binding)
        return
    over, inside = Builder(batching.builder), Builder(batching.builder)
    goes = over.call(cond.func, [*shape.state(over), *shape.fixed, batching.lanes])
    state = shape.state(inside)
    results = shape.turn(inside, [], state, inside.lift(batching.lanes))
    parts = Part(over, goes, cond.func.name), Part(inside, results, shape.body.func.name)
    init = shape.parts(0, shape.end)
    shape.enter(loop(batching.builder, init, *parts, len(results) - len(state)))


def _divided_while(batching: Batching, binding: Binding) -> None:
    """Lanes that have ended keep their state; the mask of those that have not is state, too."""
    shape, builder = _Loop(batching, binding, divides=True), batching.builder
    cond = batching.around.batched(_func(binding, "cond"), shape.is_batched)

    def still(inside: Builder, state: Sequence[Sym], on: Sym) -> Sym:
        goes = inside.call(cond.func, [*state, *shape.fixed, on])[0]
        left: Sym = ops.logical_and(on, goes)
        return left

    over, inside = Builder(builder), Builder(builder)
    shape.state(over)
    goes = some(over.param(mask_type(batching.size)))
    state = shape.state(inside)
    on = inside.param(mask_type(batching.size))
    results = shape.turn(inside, [], state, on)
    count = len(state)
    results.insert(count, still(inside, results[:count], on))
    init = shape.parts(0, shape.end)
    parts = Part(over, [goes], cond.func.name), Part(inside, results, shape.body.func.name)
    saves = len(results) - count - 1
    outputs = loop(builder, [*init, still(builder, init, batching.lanes)], *parts, saves)
    shape.enter([*outputs[:count], *outputs[count + 1 :]])


def _scan(batching: Batching, binding: Binding) -> None:
    """A turn is for the lanes that were in the loop when it was saved."""
    shape = _Loop(batching, binding)
    if any(shape.is_batched[: shape.first]):
        shape = _Loop(batching, binding, divides=True)
    inside = Builder(batching.builder)
    elements, masks = [], []
    for each in shape.inputs[: shape.first]:
        own = [inside.param(_element(part)) for part in each.parts]
        masks += own[1:2]
        elements += own[:1] + own[2:]
    state = shape.state(inside)
    on = inside.lift(batching.lanes)
    for at, mask in enumerate(masks):
        on = mask if at == 0 else ops.logical_or(on, mask)
    results = shape.turn(inside, elements, state, on)
    part = Part(inside, results, shape.body.func.name)
    init = shape.parts(shape.first, shape.end)
    saves, reverse = len(results) - len(init), bool(binding.attrs["reverse"])
    shape.enter(scan(batching.builder, shape.parts(0, shape.first), init, part, saves, reverse))


def _element(stack: Sym) -> Type:
    kind = stack.atom.type
    assert isinstance(kind, StackType)  # a scan goes over nothing else
    return kind.element


def _closure(batching: Batching, binding: Binding) -> None:
    """A function over a batch takes and gives spread values, and takes the lanes."""
    kind, size = binding.outputs[0].type, batching.size
    assert isinstance(kind, FnType)  # it is the type of a closure
    args = tuple(Var(f"a{at}", each) for at, each in enumerate(kind.params))
    caught = tuple(Var(f"c{at}", atom.type) for at, atom in enumerate(binding.inputs))
    results = tuple(Var(f"r{at}", each) for at, each in enumerate(kind.results))
    name = f"{binding.attrs['func'].name}_batch"  # type: ignore[union-attr]
    call = Binding(results, CALL, (*args, *caught), {"func": binding.attrs["func"]}, binding.source)
    func = Func(name, (*args, *caught), (call,), results)
    inside = Builder(batching.builder)
    given = [spread_param(inside, each, size) for each in kind.params]
    lanes = inside.param(mask_type(size))
    for atom in binding.inputs:
        value, masks, is_batched = batching.scope_of(atom)
        given.append(Spread(inside.lift(value), tuple(map(inside.lift, masks)), is_batched))
    inner = Batching(inside, func, given, batching.around, lanes)
    part = Part(inside, inner.wholes(results), name)
    batching.enter(binding, [Spread(closure(batching.builder, part, batching.around.known))])


def _apply(batching: Batching, binding: Binding) -> None:
    """A function is told which lanes are on the way."""
    function, *args = binding.inputs
    outputs = applied(
        batching.builder, batching.scope_of(function).value, batching.wholes(args), batching.lanes
    )
    batching.enter_parts(binding, outputs, [True] * len(binding.outputs))


def _env(batching: Batching, binding: Binding) -> None:
    """An env holds values in batches and their masks."""
    batching.enter(binding, [Spread(batching.builder.bind(ENV, batching.wholes(binding.inputs), {})[0])])


def _unenv(batching: Batching, binding: Binding) -> None:
    """What comes out of an env is in batches."""
    types: Any = binding.attrs["types"]
    wanted = tuple(map(str, spread_types([parse_type(each) for each in types], batching.size)))
    outputs = batching.builder.bind(UNENV, batching.wholes(binding.inputs), {"types": wanted})
    batching.enter_parts(binding, outputs, [True] * len(types))


def _nothing(batching: Batching, binding: Binding) -> None:
    """Nothing is nothing in all lanes."""
    types = spread_types([binding.outputs[0].type], batching.size)
    value, *masks = (zero(batching.builder, each) for each in types)
    batching.enter(binding, [Spread(value, tuple(masks))])


def _accumulate(batching: Batching, binding: Binding) -> None:
    """Masks are accumulated as the values are: a lane was in a turn of one or of the other."""
    first, second = (batching.whole(atom).parts for atom in binding.inputs)
    pairs = zip(first, second, strict=True)
    outputs = [batching.builder.bind(ACCUMULATE, pair, {})[0] for pair in pairs]
    batching.enter_parts(binding, outputs, [True])


def _choose(batching: Batching, binding: Binding) -> None:
    """A choice of lanes inside of lanes; a stack has the turns of both."""
    mask, first, second = (batching.whole(atom).parts for atom in binding.inputs)
    value = batching.builder.bind(CHOOSE, [mask[0], first[0], second[0]], {})
    pairs = zip(first[1:], second[1:], strict=True)
    masks = [batching.builder.bind(ACCUMULATE, pair, {})[0] for pair in pairs]
    batching.enter_parts(binding, [*value, *masks], [True])


def _check(batching: Batching, binding: Binding) -> None:
    """A condition must hold in all lanes that are on the way."""
    condition, *shown = binding.inputs
    held = batching.whole(condition).value
    left = ops.logical_and(batching.lanes, ops.logical_not(held))
    values = [batching.scope_of(atom).value for atom in shown]
    batching.builder.bind(CHECK, [ops.logical_not(some(left)), *values], binding.attrs)


def _func(binding: Binding, key: str) -> Func:
    found = binding.attrs[key]
    assert isinstance(found, Func)  # branches and bodies stand where they are used
    return found


RULES: dict[str, Callable[[Batching, Binding], None]] = {
    CALL: _call,
    IF: _if,
    WHILE: _while,
    SCAN: _scan,
    CLOSURE: _closure,
    APPLY: _apply,
    ENV: _env,
    UNENV: _unenv,
    NOTHING: _nothing,
    ACCUMULATE: _accumulate,
    CHOOSE: _choose,
    CHECK: _check,
}
