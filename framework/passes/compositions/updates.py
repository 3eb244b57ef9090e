"""Optimisers whose steps are written with elementary operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from framework.ir.nodes import Atom, Binding, Const, Var
from framework.passes.compositions.composition import Composition, Match, dtype_of, plain
from framework.passes.compositions.terms import ONE, Sum, Terms, are, product
from framework.passes.compositions.view import View

ZERO = Const.of(np.zeros((), np.float32))
"""The power of a beta with which nothing is corrected."""


class Moved(NamedTuple):
    """A moment's next value, of what it is one, how much of the old one it keeps, and how much is added."""

    value: Atom
    moment: Atom
    added: Atom
    kept: float
    share: float


def _moved(view: View, value: Atom, power: int) -> Iterator[Moved]:
    """Yield the ways to read a value as kept * moment + share * gradient ** power."""
    maker = view.maker(value, "add")
    if maker is None:
        return
    near = [each for each in view.values_above(value)[1:] if each.type == value.type]
    dtype = value.tensor.dtype.name
    for moment in (each for each in near if view.maker(each) is None):
        for added in near:
            found = Terms(view, (moment, added)).of(value) if added != moment else {}
            kept, share = found.get(product(moment)), found.get(product((added, power)))
            if kept is not None and share is not None and len(found) == 2:
                yield Moved(value, moment, added, plain(kept, dtype), plain(share, dtype))


def _step(view: View, end: Binding, whole: tuple[Atom, ...], ratio: Sum) -> tuple[Atom, Atom] | None:
    """Return w and the rate, where a value is w - rate * ratio; the rate is a number of the step."""
    terms = Terms(view, whole).of(end.outputs[0])
    ((factors, number),) = ratio.items()
    steps = [key for key in terms if factors <= key]
    others = [key for key in terms if key not in steps]
    if len(steps) != 1 or len(others) != 1 or not are({ONE: -terms[steps[0]]}, {ONE: number}, dtype_of(end)):
        return None
    rates, weights = steps[0] - factors, others[0]
    if len(rates) != 1 or len(weights) != 1 or not are({ONE: terms[weights]}, {ONE: 1.0}, dtype_of(end)):
        return None
    ((rate, first),), ((w, second),) = rates, weights
    is_rate = rate.tensor.shape == () and rate.tensor.dtype.name == "float32"
    return (w, rate) if is_rate and first == second == 1 and w.type == end.outputs[0].type else None


def _match(
    view: View, op: str, given: tuple[Atom, ...], attrs: dict[str, float], ends: tuple[Atom, ...]
) -> Match | None:
    """Return the match of an update, unless somebody reads a moment before it is there."""
    made = view.make(op, given, attrs, ends)
    last = view.places[ends[0].name] if isinstance(ends[0], Var) else 0
    inside = {id(each) for each in view.between(ends, given)}
    for end in ends[1:]:
        readers = view.readers.get(end.name, ()) if isinstance(end, Var) else ()
        early = (each for each in readers if id(each) not in inside)
        if any(view.places[each.outputs[0].name] < last for each in early if each.outputs):
            return None
    return Match(given, (made,), ends) if made else None


def _momentum(view: View, end: Binding) -> Match | None:
    """Match m_new = momentum * m + g; w_new = w - rate * m_new."""
    for value in view.values_above(end.outputs[0])[1:]:
        for m in _moved(view, value, 1) if value.type == end.outputs[0].type else ():
            known = _step(view, end, (value,), {product(value): 1.0}) if m.kept < m.share == 1 else None
            if known is not None and known[0] != m.moment:
                w, rate = known
                ends = (end.outputs[0], value)
                given = (w, m.moment, m.added, rate)
                return _match(view, "apply_momentum", given, {"momentum": m.kept}, ends)
    return None


def _adam(view: View, end: Binding) -> Match | None:
    """Match m_new and v_new of a gradient, and w_new = w - rate * m_new / (sqrt(v_new) + epsilon)."""
    y = end.outputs[0]
    for root in view.above(y, "sqrt"):
        second = root.inputs[0]
        for v in _moved(view, second, 2):
            for value in view.values_above(y)[1:]:
                for m in _moved(view, value, 1) if value != second else ():
                    if m.added == v.added and _are_parts(m, v):
                        found = _adam_step(view, end, m, v)
                        if found is not None:
                            return found
    return None


def _are_parts(m: Moved, v: Moved) -> bool:
    """Tell whether what is added to both moments is what they have lost."""
    return all(abs(each.kept + each.share - 1) < 1e-9 for each in (m, v))


def _adam_step(view: View, end: Binding, m: Moved, v: Moved) -> Match | None:
    """Return the match of a step along known moments."""
    for below in view.values_above(end.outputs[0])[1:]:
        terms = Terms(view, (v.value,)).of(below)
        epsilon = terms.pop(ONE, 0.0)
        if epsilon <= 0 or not are(terms, {product((v.value, 0.5)): 1.0}, dtype_of(end)):
            continue
        ratio = {product(m.value, (below, -1)): 1.0}
        known = _step(view, end, (m.value, v.value, below), ratio)
        if known is not None:
            w, rate = known
            given = (w, m.moment, v.moment, m.added, ZERO, ZERO, rate)
            numbers = {"beta1": m.kept, "beta2": v.kept, "epsilon": plain(epsilon, dtype_of(end))}
            ends = (end.outputs[0], m.value, v.value)
            return _match(view, "apply_adam", given, {**numbers, "nesterov": False}, ends)
    return None


OF_OPTIMIZERS = (
    Composition(
        "apply_momentum", "a step along a sum of gradients, the older the less they count",
        "%m_new = momentum * %m + %g; %w_new = %w - %rate * %m_new",
        "%w_new, %m_new = apply_momentum(%w, %m, %g, %rate, momentum=momentum)",
        ("add",), ("sub",), _momentum,
    ),
    Composition(
        "apply_adam", "a step of Adam, whose corrections are in the rate",
        "%m_new = b1 * %m + (1 - b1) * %g; %v_new = b2 * %v + (1 - b2) * %g * %g; "
        "%w_new = %w - %rate * %m_new / (sqrt(%v_new) + epsilon)",
        "%w_new, %m_new, %v_new = apply_adam(%w, %m, %v, %g, 0, 0, %rate, beta1=b1, beta2=b2)",
        ("sqrt",), ("sub",), _adam,
    ),
)  # fmt: skip
UPDATES = frozenset(each.name for each in OF_OPTIMIZERS)
"""What is looked for in a whole step; all else is found before there are gradients."""
