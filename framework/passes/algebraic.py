"""The pass that removes operators which change nothing, and merges chains of moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from framework.ir.control import ACCUMULATE, NOTHING
from framework.ir.nodes import Atom, Attrs, Binding, Const, Func, Var
from framework.ir.types import TensorType
from framework.passes.substitute import Substitution
from framework.passes.walk import everywhere, rebuilt

Producers = dict[str, Binding]
Rule = Callable[[Binding, Producers], Atom | Binding]

LARGEST_ZERO_BYTES = 1024
"""Zeros up to this size are written as a constant."""

SAME_EVERYWHERE = ("broadcast_to", "reshape", "transpose")
"""Operators that give the same number everywhere if their input does."""


def algebraic(func: Func) -> Func:
    """Remove additions of zero, products with one, casts, reshapes and transposes that change nothing.

    before  %0 = mul(%x, float32[]{1.0}); %1 = cast(%0, dtype='float32'); %2 = reshape(%1, shape=(6,)); ...
    after   %2 = reshape(%x, shape=(6,)); ...

    before  %0 = nothing(type='float32[2]'); %1 = accumulate(%0, %x); %2 = mul(%0, %y)
    after   %1 is %x, %2 = nothing(type='float32[2]')

    Chains of reshapes, of transposes and of casts that lose nothing become one, and so do two negations.
    Adding +0.0 is removed, though it would turn -0.0 into +0.0; the two compare equal. A product with a
    `nothing` is one: a cotangent that is not there stays so where the other factor is infinite. A sum over
    axes along which a value was repeated is a product, which rounds once.
    """
    return everywhere(func, _simplified)


def _simplified(func: Func) -> Func:
    simpler = Substitution()
    producers: Producers = {}
    bindings: list[Binding] = []
    for binding in func.bindings:
        here = simpler.binding(binding)
        found: Atom | Binding = here
        while isinstance(found, Binding):
            rule = RULES.get(found.op)
            simplified = found if rule is None else rule(found, producers)
            if simplified is found:
                break
            found = simplified
        if isinstance(found, Binding):
            bindings.append(found)
            for var in found.outputs:
                producers[var.name] = found
        else:
            simpler.replace(here.outputs[0], found)
    return rebuilt(func, bindings, simpler.atoms(func.results))


def changed(binding: Binding, inputs: tuple[Atom, ...], attrs: Attrs | None = None, op: str = "") -> Binding:
    """Return the binding over other inputs, with other attributes, or of another op."""
    attrs = binding.attrs if attrs is None else attrs
    return Binding(binding.outputs, op or binding.op, inputs, attrs, binding.source)


def producer(atom: Atom, producers: Producers, op: str) -> Binding | None:
    """Return the binding that makes a value, if it is of this op."""
    found = producers.get(atom.name) if isinstance(atom, Var) else None
    return found if found is not None and found.op == op else None


def number_everywhere(atom: Atom, producers: Producers) -> float | None:
    """Return the number that all elements of a value are, None if they are not known to be one."""
    while isinstance(atom, Var):
        made = producers.get(atom.name)
        if made is not None and made.op == "full":
            value: Any = made.attrs["value"]
            return float(value)
        if made is None or made.op not in SAME_EVERYWHERE:
            return None
        atom = made.inputs[0]
    size = atom.type.dtype.itemsize_bytes
    if not atom.data or atom.data != atom.data[:size] * (len(atom.data) // size):
        return None
    return float(atom.value.reshape(-1)[0])


def _neutral(number: float, *positions: int) -> Rule:
    """Return the rule: an input that is all `number` leaves the other one, if that has the result's type."""

    def rule(binding: Binding, producers: Producers) -> Atom | Binding:
        for position in positions:
            other = binding.inputs[1 - position]
            if other.type != binding.outputs[0].type:
                continue
            if number_everywhere(binding.inputs[position], producers) == number:
                return other
        return binding

    return rule


def _absorbing(number: bool) -> Rule:
    """Return the rule: an input that is all `number` is the result, if it has the result's type."""

    def rule(binding: Binding, producers: Producers) -> Atom | Binding:
        for atom in binding.inputs:
            if atom.type == binding.outputs[0].type and number_everywhere(atom, producers) == number:
                return atom
        return binding

    return rule


def _linear(*positions: int) -> Rule:
    """Return the rule: the result is `nothing` if one of these inputs is."""

    def rule(binding: Binding, producers: Producers) -> Atom | Binding:
        for position in positions:
            if producer(binding.inputs[position], producers, NOTHING) is not None:
                return _nothing(binding)
        return binding

    return rule


def _nothing(binding: Binding) -> Binding:
    return changed(binding, (), {"type": str(binding.outputs[0].type)}, NOTHING)


def _sum(binding: Binding, producers: Producers) -> Atom | Binding:
    """Leave out of a sum what is nothing; both are if both are."""
    for at, atom in enumerate(binding.inputs):
        if producer(atom, producers, NOTHING) is not None:
            other = binding.inputs[1 - at]
            if other.type == binding.outputs[0].type:
                return other
            if producer(other, producers, NOTHING) is not None:
                return _nothing(binding)
    if binding.op == ACCUMULATE and isinstance(binding.outputs[0].type, TensorType):
        return changed(binding, binding.inputs, {}, "add")
    return binding


def _difference(binding: Binding, producers: Producers) -> Atom | Binding:
    a, b = binding.inputs
    if producer(b, producers, NOTHING) is not None and a.type == binding.outputs[0].type:
        return a
    if producer(a, producers, NOTHING) is not None and b.type == binding.outputs[0].type:
        return changed(binding, (b,), {}, "neg")
    return binding


def _product_of_integers(binding: Binding, producers: Producers) -> Atom | Binding:
    """Replace a product of integers with zero by zero; of floats it may be no number."""
    if binding.outputs[0].tensor.dtype.is_float:
        return binding
    return _absorbing(False)(binding, producers)


def _move(merge: Callable[[Binding, Binding], Binding | None]) -> Rule:
    """Return the rule: merge with the producer when possible, then drop what changes nothing."""

    def rule(binding: Binding, producers: Producers) -> Atom | Binding:
        (x,) = binding.inputs
        first = producer(x, producers, binding.op)
        merged = merge(first, binding) if first is not None else None
        if merged is not None:
            return merged
        return x if _changes_nothing(binding) else binding

    return rule


def _changes_nothing(binding: Binding) -> bool:
    (x,) = binding.inputs
    if binding.op == "transpose":
        return binding.attrs["perm"] == tuple(range(x.tensor.ndim))
    return x.type == binding.outputs[0].type


def _merge_moves(first: Binding, second: Binding) -> Binding:
    return changed(second, first.inputs)


def _merge_transposes(first: Binding, second: Binding) -> Binding:
    before: Any = first.attrs["perm"]
    after: Any = second.attrs["perm"]
    return changed(second, first.inputs, {"perm": tuple(before[axis] for axis in after)})


def _merge_casts(first: Binding, second: Binding) -> Binding | None:
    """Merge when the first cast loses nothing: to a wider float."""
    before, between = first.inputs[0].tensor.dtype, first.outputs[0].tensor.dtype
    widens = before.is_float and between.is_float and before.itemsize_bytes < between.itemsize_bytes
    return changed(second, first.inputs) if widens else None


def _inverse(binding: Binding, producers: Producers) -> Atom | Binding:
    """Undo an operator by itself."""
    first = producer(binding.inputs[0], producers, binding.op)
    return binding if first is None else first.inputs[0]


def _select(binding: Binding, producers: Producers) -> Atom | Binding:
    """Choose when both values are one, or when the condition is known."""
    condition, x, y = binding.inputs
    if x == y and x.type == binding.outputs[0].type:
        return x
    if all(producer(each, producers, NOTHING) is not None for each in (x, y)):
        return _nothing(binding)
    known = number_everywhere(condition, producers)
    chosen = x if known else y
    return chosen if known is not None and chosen.type == binding.outputs[0].type else binding


def _reduce_sum(binding: Binding, producers: Producers) -> Atom | Binding:
    """Sum over axes along which a value was repeated, or that have one element, without adding."""
    (x,) = binding.inputs
    axes: Any = binding.attrs["axes"]
    reshaped = changed(binding, (x,), {"shape": binding.outputs[0].tensor.shape}, "reshape")
    if x.tensor.size and all(x.tensor.shape[axis] == 1 for axis in axes):
        return reshaped
    repeated = producer(x, producers, "broadcast_to")
    if repeated is None or repeated.inputs[0].tensor.size != binding.outputs[0].tensor.size:
        return binding
    one, lead = repeated.inputs[0].tensor, x.tensor.ndim - repeated.inputs[0].tensor.ndim
    if (
        any(axis >= lead and one.shape[axis - lead] != 1 for axis in axes)
        or one.shape != x.tensor.shape[lead:]
    ):
        return binding
    return binding if x.tensor.size == 0 else _times(binding, repeated.inputs[0], x.tensor.size // one.size)


def _times(binding: Binding, atom: Atom, count: int) -> Binding:
    factor = Const.of(np.asarray(count, atom.tensor.dtype.numpy))
    return changed(binding, (atom, factor), {}, "mul") if atom.type == binding.outputs[0].type else binding


def _whole(binding: Binding, _: Producers) -> Atom | Binding:
    """Choose all of a tensor by leaving it alone."""
    spec: Any = binding.attrs["spec"]
    x = binding.inputs[0]
    return x if all(item == ("slice", None, None, None) for item in spec) else binding


def _zeros_like(binding: Binding, _: Producers) -> Atom | Binding:
    return zeros(binding)


def zeros(binding: Binding) -> Atom | Binding:
    """Return zeros of the type of a binding's output: a constant, or repeated if that were large."""
    type_ = binding.outputs[0].tensor
    if type_.size_bytes <= LARGEST_ZERO_BYTES:
        return Const.of(np.zeros(type_.shape, type_.dtype.numpy))
    zero = Const.of(np.zeros((), type_.dtype.numpy))
    return changed(binding, (zero,), {"shape": type_.shape}, "broadcast_to")


def _first(*rules: Rule) -> Rule:
    """Return the rule that applies the first of these that changes something."""

    def rule(binding: Binding, producers: Producers) -> Atom | Binding:
        for each in rules:
            found = each(binding, producers)
            if found is not binding:
                return found
        return binding

    return rule


RULES: dict[str, Rule] = {
    "add": _first(_neutral(0.0, 0, 1), _sum),
    "accumulate": _sum,
    "sub": _first(_neutral(0.0, 1), _difference),
    "mul": _first(_neutral(1.0, 0, 1), _linear(0, 1), _product_of_integers),
    "div": _first(_neutral(1.0, 1), _linear(0)),
    "matmul": _linear(0, 1),
    "index": _first(_linear(0), _whole),
    "cumsum": _linear(0),
    "relu_grad": _linear(0),
    "neg": _first(_linear(0), _inverse),
    "logical_not": _inverse,
    "logical_and": _first(_neutral(1.0, 0, 1), _absorbing(False)),
    "logical_or": _first(_neutral(0.0, 0, 1), _absorbing(True)),
    "select": _select,
    "zeros_like": _zeros_like,
    "reduce_sum": _first(_linear(0), _reduce_sum),
    "reduce_mean": _linear(0),
    "cast": _first(_linear(0), _move(_merge_casts)),
    "reshape": _first(_linear(0), _move(_merge_moves)),
    "transpose": _first(_linear(0), _move(_merge_transposes)),
    "broadcast_to": _first(_linear(0), _move(_merge_moves)),
}
