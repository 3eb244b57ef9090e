"""Vectorisation: a Func becomes one whose values have a batch axis in front, and that computes all at once.

What does not depend on a batched value stays as it is. Where lanes (places of the batch) go different ways,
both branches are computed and each lane takes its own; a loop runs until the last lane has ended, and the
others keep their state. `lanes` says which are still on the way: a branch that no lane takes is not entered,
so that a recursion ends. A stack in batches goes with a stack of masks, which tells the lanes that were in
the loop at each turn; the stacks that it holds have theirs. A value with its masks is a `Spread`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from framework import ops
from framework.autodiff.linear import zero
from framework.dtypes import bool_, int64
from framework.ir.builder import Builder, Sym
from framework.ir.control import APPLY, CHOOSE, Signature, is_control
from framework.ir.flow import Part, branch, closure, loop, scan
from framework.ir.nodes import Atom, Binding, Func, Var
from framework.ir.recursion import calls_around
from framework.ir.registry import operator
from framework.ir.types import FnType, StackType, TensorType, Type


def batched_type(type_: Type, size: int) -> Type:
    """Return the type of a batch, without masks; functions go over spread values, and take the lanes."""
    if isinstance(type_, TensorType):
        return type_.with_shape((size, *type_.shape))
    if isinstance(type_, StackType):
        return StackType(batched_type(type_.element, size))
    if isinstance(type_, FnType):
        params, results = (spread_types(each, size) for each in (type_.params, type_.results))
        return FnType((*params, mask_type(size)), results)
    return type_


def mask_types(type_: Type, size: int) -> tuple[Type, ...]:
    """Return the types of the masks that go with a batch: those of a stack, and of what it holds."""
    if not isinstance(type_, StackType):
        return ()
    return (StackType(mask_type(size)), *map(StackType, mask_types(type_.element, size)))


def spread_types(types: Sequence[Type], size: int) -> tuple[Type, ...]:
    """Return the types of batches, each followed by those of its masks."""
    return tuple(each for type_ in types for each in (batched_type(type_, size), *mask_types(type_, size)))


def mask_type(size: int) -> TensorType:
    """Return the type of a mask of lanes."""
    return TensorType((size,), bool_)


class Spread(NamedTuple):
    """A value in batches with its masks, or a value that is the same for all lanes."""

    value: Sym
    masks: tuple[Sym, ...] = ()
    is_batched: bool = True

    @property
    def parts(self) -> tuple[Sym, ...]:
        """Return the value and its masks."""
        return (self.value, *self.masks)


@dataclass(frozen=True)
class Batched:
    """A Func over a batch.

    func   params, spread where they are batched, lanes -> results, spread where they are batched
    """

    func: Func
    is_batched: tuple[bool, ...]


@dataclass
class Batch:
    """The size, the Funcs around that call themselves by name, and what is done."""

    size: int
    names: dict[str, tuple[str, Signature]] = field(default_factory=dict)
    made: dict[tuple[int, tuple[bool, ...]], tuple[Func, Batched]] = field(default_factory=dict)

    @property
    def known(self) -> dict[str, Signature]:
        """Return the signatures of the Funcs around, over a batch."""
        return dict(self.names.values())

    def batched(self, func: Func, is_batched: Sequence[bool]) -> Batched:
        """Return a Func over a batch; made once."""
        key = (id(func), tuple(is_batched))
        if key not in self.made:
            self.made[key] = (func, batch(func, is_batched, self))
        return self.made[key][1]


def batch(func: Func, is_batched: Sequence[bool], around: Batch) -> Batched:
    """Return a Func over a batch, for parameters that are in batches or not."""
    builder = Builder()
    inputs = [
        spread_param(builder, param.type, around.size)
        if batched
        else Spread(builder.param(param.type), (), False)
        for param, batched in zip(func.params, is_batched, strict=True)
    ]
    batching = Batching(builder, func, inputs, around, builder.param(mask_type(around.size), "lanes"))
    results = [batching.scope_of(atom) for atom in func.results]
    found = [part for each in results for part in each.parts]
    return Batched(builder.finish(f"{func.name}_batch", found), tuple(each.is_batched for each in results))


def spread_param(builder: Builder, type_: Type, size: int) -> Spread:
    """Add a parameter in batches, and those of its masks."""
    value, *masks = (builder.param(each) for each in spread_types([type_], size))
    return Spread(value, tuple(masks))


class Batching:
    """A Func written into a builder, over a batch."""

    def __init__(
        self, builder: Builder, func: Func, inputs: Sequence[Spread], around: Batch, lanes: Sym
    ) -> None:
        """Write the bindings of a Func over inputs, for the lanes that are on the way."""
        from framework.autodiff.batching_rules import RULES

        self.builder, self.func, self.around, self.lanes = builder, func, around, lanes
        self.size = around.size
        self.scope: dict[Atom, Spread] = dict(zip(func.params, inputs, strict=True))
        for binding in func.bindings:
            builder.source = binding.source or builder.source
            if not self._is_uniform(binding):
                (RULES[binding.op] if is_control(binding.op) else _operator)(self, binding)
                continue
            plain: dict[Var, Sym] = {
                atom: self.scope[atom].value for atom in binding.inputs if isinstance(atom, Var)
            }
            builder.replay_binding(binding, plain)
            self.enter(binding, [Spread(plain[var], (), False) for var in binding.outputs])

    def _is_uniform(self, binding: Binding) -> bool:
        """Tell whether a binding does the same for all lanes and stays as it is."""
        values = (*binding.inputs, *binding.outputs)
        return not (
            any(self.is_batched(binding.inputs))
            or any(always_batched(each.type) for each in values)
            or calls_around(binding)
        )

    def scope_of(self, atom: Atom) -> Spread:
        """Return what an atom of the Func is in the builder."""
        if isinstance(atom, Var):
            return self.scope[atom]
        return Spread(Sym(self.builder, atom), (), False)

    def is_batched(self, atoms: Sequence[Atom]) -> list[bool]:
        """Tell which atoms are in batches."""
        return [self.scope_of(atom).is_batched for atom in atoms]

    def whole(self, atom: Atom) -> Spread:
        """Return an atom in batches, repeated for all lanes if it is the same for them."""
        return whole(self.builder, self.scope_of(atom), self.lanes)

    def wholes(self, atoms: Sequence[Atom]) -> list[Sym]:
        """Return the parts of atoms in batches."""
        return [part for atom in atoms for part in self.whole(atom).parts]

    def parts(self, atoms: Sequence[Atom]) -> list[Sym]:
        """Return the parts of atoms, in batches or not."""
        return [part for atom in atoms for part in self.scope_of(atom).parts]

    def enter(self, binding: Binding, outputs: Sequence[Spread]) -> None:
        """Enter what became of a binding."""
        self.scope.update(zip(binding.outputs, outputs, strict=True))

    def gathered(
        self, types: Sequence[Type], parts: Sequence[Sym], is_batched: Sequence[bool]
    ) -> list[Spread]:
        """Return values from their parts, in order."""
        further, found = iter(parts), []
        for type_, batched in zip(types, is_batched, strict=True):
            value = next(further)
            masks = tuple(next(further) for _ in mask_types(type_, self.size)) if batched else ()
            found.append(Spread(value, masks, batched))
        return found

    def enter_parts(self, binding: Binding, parts: Sequence[Sym], is_batched: Sequence[bool]) -> None:
        """Enter what became of a binding, from the parts of its outputs."""
        self.enter(binding, self.gathered([var.type for var in binding.outputs], parts, is_batched))


def _operator(batching: Batching, binding: Binding) -> None:
    """Write an operator by its rule for batches, or lane by lane."""
    op = operator(binding.op)
    inputs = [batching.scope_of(atom).value for atom in binding.inputs]
    is_batched = batching.is_batched(binding.inputs)
    for at in range(len(inputs) if op.checked is None else op.checked, len(inputs)):
        if is_batched[at]:  # lanes that are not on the way must not be refused
            zeros = zero(batching.builder, inputs[at].type)
            inputs[at] = chosen(batching.builder, batching.lanes, inputs[at], zeros)
    outputs = None if op.batch is None else op.batch(inputs, is_batched, dict(binding.attrs), batching.size)
    if outputs is None:
        outputs = one_by_one(batching, binding, inputs, is_batched)
    batching.enter(binding, [Spread(each) for each in outputs])


def whole(builder: Builder, spread: Spread, lanes: Sym) -> Spread:
    """Return a value in batches, repeated for all lanes if it is the same for them."""
    if spread.is_batched:
        return spread
    kind, size = spread.value.atom.type, lanes.shape[0]
    if isinstance(kind, TensorType):
        return Spread(ops.broadcast_to(builder.lift(spread.value), (size, *kind.shape)))
    inside = Builder(builder)
    assert isinstance(kind, StackType)  # functions and their cotangents are always in batches
    element = whole(inside, Spread(inside.param(kind.element), (), False), lanes)
    parts = [element.value, inside.lift(lanes), *element.masks]
    value, *masks = scan(builder, [spread.value], [], Part(inside, parts, "repeated"), len(parts))
    return Spread(value, tuple(masks))


def always_batched(type_: Type) -> bool:
    """Tell whether values of a type are always in batches: functions and their cotangents are."""
    if isinstance(type_, StackType):
        return always_batched(type_.element)
    return not isinstance(type_, TensorType)


def chosen(builder: Builder, lanes: Sym, a: Sym, b: Sym) -> Sym:
    """Return a in the lanes of a mask and b in the others."""
    kind = a.atom.type
    if isinstance(kind, FnType):
        return _either(builder, lanes, a, b, kind)
    if isinstance(kind, StackType) and holds_functions(kind):
        return _either_turn_by_turn(builder, lanes, a, b, kind)
    if not isinstance(kind, TensorType):
        return builder.bind(CHOOSE, [lanes, a, b], {})[0]
    mask = ops.reshape(builder.lift(lanes), (kind.shape[0], *[1] * (len(kind.shape) - 1)))
    found: Sym = ops.select(mask, builder.lift(a), builder.lift(b))
    return found


def _either(builder: Builder, lanes: Sym, a: Sym, b: Sym, kind: FnType) -> Sym:
    """Return the function that is a in some lanes and b in the others."""
    inside = Builder(builder)
    *args, on = [inside.param(each) for each in kind.params]
    mine, others = inside.lift(lanes), ops.logical_not(inside.lift(lanes))
    first = applied(inside, inside.lift(a), args, ops.logical_and(on, mine))
    second = applied(inside, inside.lift(b), args, ops.logical_and(on, others))
    results = [chosen(inside, mine, x, y) for x, y in zip(first, second, strict=True)]
    return closure(builder, Part(inside, results, "either"))


def _either_turn_by_turn(builder: Builder, lanes: Sym, a: Sym, b: Sym, kind: StackType) -> Sym:
    """Return the stack whose functions are those of a in some lanes and those of b in the others."""
    inside = Builder(builder)
    x, y = inside.param(kind.element), inside.param(kind.element)
    part = Part(inside, [chosen(inside, inside.lift(lanes), x, y)], "either")
    return scan(builder, [a, b], [], part, 1)[0]


def holds_functions(type_: Type) -> bool:
    """Tell whether a value is a function, or a stack of them."""
    return holds_functions(type_.element) if isinstance(type_, StackType) else isinstance(type_, FnType)


def applied(builder: Builder, function: Sym, args: Sequence[Sym], lanes: Sym) -> tuple[Sym, ...]:
    """Apply a function over a batch; for no lanes it may be nothing, and what it gives is zeros."""
    kind = function.atom.type
    assert isinstance(kind, FnType)  # nothing else is applied
    then, orelse = Builder(builder), Builder(builder)
    taken = Part(then, then.bind(APPLY, [function, *args, lanes], {}), "applied")
    none = Part(orelse, [zero(orelse, each) for each in kind.results], "none")
    return branch(builder, some(lanes), taken, none)


def some(lanes: Sym) -> Sym:
    """Return whether any lane is in a mask."""
    found: Sym = ops.greater(ops.reduce_sum(ops.cast(lanes, "int32")), 0)
    return found


def one_by_one(
    batching: Batching, binding: Binding, inputs: Sequence[Sym], is_batched: Sequence[bool]
) -> list[Sym]:
    """Compute an operator without a rule for batches lane after lane: a loop that fills its outputs."""
    builder, size = batching.builder, batching.size
    init = [zero(builder, batched_type(var.type, size)) for var in binding.outputs]
    over, turn = Builder(builder), Builder(builder)
    lane = over.param(_INDEX)
    for each in init:
        over.param(each.atom.type)
    cond = Part(over, [ops.less(lane, over.constant(np.int64(size)))], f"{binding.op}.cond")
    lane = turn.param(_INDEX)
    filled = [turn.param(each.atom.type) for each in init]
    at_lane = (("at", 0),)
    given = [
        ops.index(turn.lift(each), lane, spec=at_lane) if batched else turn.lift(each)
        for each, batched in zip(inputs, is_batched, strict=True)
    ]
    made = turn.emit(binding.op, given, binding.attrs)
    done = [ops.index_update(each, new, lane, spec=at_lane) for each, new in zip(filled, made, strict=True)]
    body = Part(turn, [lane + turn.constant(np.int64(1)), *done], f"{binding.op}.body")
    return list(loop(builder, [builder.constant(np.int64(0)), *init], cond, body)[1:])


_INDEX = TensorType((), int64)
