"""How loops are linearized: ahead they save the residuals of their turns, back is a scan over these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from framework.autodiff.linear import Context, Cotangents, Linearized, Pair, added, materialized, zero
from framework.ir.builder import Builder, Sym
from framework.ir.control import SCAN
from framework.ir.flow import Part, loop, scan
from framework.ir.nodes import Binding, Func
from framework.ir.types import EnvType, StackType, Type


class _Loop(NamedTuple):
    """A loop's inputs: elements of stacks (none in a while), state, invariants; and which are active."""

    binding: Binding
    stacks: int
    state: int
    saves: int
    active: list[bool]

    @property
    def first_invariant(self) -> int:
        return self.stacks + self.state


def _loop_of(ahead: Linearized, binding: Binding) -> _Loop:
    """Return a loop; a state is active if it is at the beginning or becomes so in the body."""
    count: Any = binding.attrs
    stacks = count["stacks"] if binding.op == SCAN else 0
    state = len(binding.inputs) - stacks - count["invariants"]
    active = ahead.actives(binding.inputs)
    while True:
        pair = ahead.context.pair(func_of(binding, "body"), active)
        grown = list(active)
        for at in pair.results:
            if at < state:
                grown[stacks + at] = True
        if grown == active:
            return _Loop(binding, stacks, state, count["saves"], active)
        active = grown


def while_rule(ahead: Linearized, binding: Binding) -> None:
    """A while saves the residuals of its turns; the way back is a scan over them, in reverse."""
    shape, builder = _loop_of(ahead, binding), ahead.builder
    pair = ahead.context.pair(func_of(binding, "body"), shape.active)
    inputs = ahead.values(binding.inputs)
    body, saved = _saving_body(builder, pair, shape, inputs)
    cond = _condition(builder, ahead.context, func_of(binding, "cond"), shape, inputs)
    outputs = loop(builder, inputs[: shape.state], cond, body, shape.saves + saved)
    _step_loop(ahead, pair, shape, inputs, outputs, reverse=True)


def scan_rule(ahead: Linearized, binding: Binding) -> None:
    """The way back through a scan is one in the other direction."""
    shape, builder = _loop_of(ahead, binding), ahead.builder
    pair = ahead.context.pair(func_of(binding, "body"), shape.active)
    inputs = ahead.values(binding.inputs)
    body, saved = _saving_body(builder, pair, shape, inputs)
    stacks, init = inputs[: shape.stacks], inputs[shape.stacks : shape.first_invariant]
    reverse = bool(binding.attrs["reverse"])
    outputs = scan(builder, stacks, init, body, shape.saves + saved, reverse)
    _step_loop(ahead, pair, shape, inputs, outputs, reverse=not reverse)


def _saving_body(builder: Builder, pair: Pair, shape: _Loop, inputs: Sequence[Sym]) -> tuple[Part, int]:
    """Return the body of a loop that saves what its way back needs and what changes, and how much that is.

    Something is always saved, so that the way back has as many turns.
    """
    inside = Builder(builder)
    own = [inside.param(param.type) for param in pair.forward.params[: shape.first_invariant]]
    given = [*own, *inputs[shape.first_invariant :]]
    outputs = inside.call(pair.forward, given)
    saved = [
        each for each, residual in zip(pair.split(given, outputs)[1], pair.residuals, strict=True)
        if _is_saved(residual.param, shape)
    ]  # fmt: skip
    saved = saved or [inside.constant(True)]
    return Part(inside, [*outputs[: pair.kept], *saved], pair.forward.name), len(saved)


def _is_saved(param: int | None, shape: _Loop) -> bool:
    """Tell whether a residual differs from turn to turn and is no element of a stack that is there anyway."""
    return param is None or shape.stacks <= param < shape.first_invariant


def _condition(builder: Builder, context: Context, func: Func, shape: _Loop, inputs: Sequence[Sym]) -> Part:
    """Return the condition of a while, over a state whose functions give backpropagators."""
    inside = Builder(builder)
    pair = context.pair(func, [False] * len(func.params))
    own = [inside.param(param.type) for param in pair.forward.params[: shape.state]]
    outputs = inside.call(pair.forward, [*own, *inputs[shape.state :]])
    return Part(inside, outputs[:1], func.name)


def _step_loop(
    ahead: Linearized, pair: Pair, shape: _Loop, inputs: list[Sym], outputs: Sequence[Sym], reverse: bool
) -> None:
    """Enter a loop that has saved its residuals, and the scan that goes back over them."""
    binding = shape.binding
    kept = shape.state + shape.saves
    residuals, further = list(outputs[kept:]), iter(outputs[kept:])
    sources = [
        next(further) if _is_saved(each.param, shape) else inputs[each.param or 0] for each in pair.residuals
    ]
    turns = residuals[0]

    def pull(back: Builder, dys: Cotangents) -> Cotangents:
        return _back_over(back, pair, shape, sources, turns, dys, reverse)

    ahead.step(binding, outputs[:kept], pull)


def _back_over(
    back: Builder, pair: Pair, shape: _Loop, sources: list[Sym], turns: Sym, dys: Cotangents, reverse: bool
) -> Cotangents:
    """Write the way back over the turns of a loop; return a cotangent, or None, per input of the loop.

    Elements of the scan are the residuals of a turn and the cotangents of what it saved; its state are the
    cotangents of the state and the sums of those of the invariants; it saves those of the elements.
    """
    elements, state, fixed = _sorted(pair.params, shape)
    varying = [
        at for at, each in enumerate(pair.residuals)
        if each.param is None or each.param < shape.first_invariant
    ]  # fmt: skip
    given = [at for at in range(shape.state, shape.state + shape.saves) if dys[at] is not None]
    stacks = [*(sources[at] for at in varying), *(materialized(back, dys[at], EnvType()) for at in given)]
    inside = Builder(back)
    own = [inside.param(_element(stack)) for stack in stacks or [turns]]
    held = {at: inside.param(pair.cotangent(at)) for at in (*state, *fixed)}
    residuals = list(sources)
    dnext: list[Sym | None] = [None] * (shape.state + shape.saves)
    for at, element in zip(varying, own, strict=False):
        residuals[at] = element
    for at, element in zip(given, own[len(varying) :], strict=False):
        dnext[at] = element
    for at in state:
        dnext[at - shape.stacks] = held[at]
    dxs = pair.pull(inside, dnext, residuals)
    found = {at: materialized(inside, dxs[at], pair.cotangent(at)) for at in pair.params}
    found.update({at: added(inside, held[at], found[at]) for at in fixed})
    init = [
        *(materialized(back, dys[at - shape.stacks], pair.cotangent(at)) for at in state),
        *(zero(back, pair.cotangent(at)) for at in fixed),
    ]
    order = [*state, *fixed, *elements]
    part = Part(inside, [found[at] for at in order], pair.backward.name)
    outputs = dict(zip(order, scan(back, stacks or [turns], init, part, len(elements), reverse), strict=True))
    return [outputs.get(at) for at in range(len(shape.binding.inputs))]


def _sorted(params: Sequence[int], shape: _Loop) -> tuple[list[int], list[int], list[int]]:
    """Return which parameters of a body are elements of stacks, which state and which invariants."""
    first, end = shape.stacks, shape.first_invariant
    return (
        [at for at in params if at < first],
        [at for at in params if first <= at < end],
        [at for at in params if at >= end],
    )


def _element(stack: Sym) -> Type:
    kind = stack.atom.type
    assert isinstance(kind, StackType)  # loops save on nothing else
    return kind.element


def func_of(binding: Binding, key: str) -> Func:
    """Return the Func that an attribute of a binding is."""
    found = binding.attrs[key]
    assert isinstance(found, Func)  # branches and bodies stand where they are used
    return found
