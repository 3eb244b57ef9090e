"""Formulas as sums of products, so that it does not matter how they were written.

`0.5 * x * (1 + t)`, `x * (0.5 + t / 2)` and `(x + x * t) / 2` are all {x: 0.5, x t: 0.5}.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import TypeAlias

from framework.ir.nodes import Atom, Binding, Const
from framework.passes.algebraic import number_everywhere
from framework.passes.compositions.view import View

Product: TypeAlias = frozenset[tuple[Atom, Fraction]]
"""Values with their exponents; the empty product is 1."""
Sum: TypeAlias = dict[Product, float]

ONE: Product = frozenset()
MOST_TERMS, DEEPEST = 12, 12
ROUNDING = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-12}
"""How far a number may be from that of a formula, relatively: it was rounded, or has few digits."""


def product(*factors: Atom | tuple[Atom, float]) -> Product:
    """Return a product of values; an exponent other than 1 stands beside its value."""
    pairs = (each if isinstance(each, tuple) else (each, 1) for each in factors)
    return frozenset((atom, Fraction(exponent)) for atom, exponent in pairs)


class Terms:
    """Takes values of a Func apart, down to some that are taken as they are."""

    def __init__(self, view: View, whole: Collection[Atom] = ()) -> None:
        """Take these values as they are."""
        self.view, self.whole = view, set(whole)

    def of(self, atom: Atom, depth: int = 0) -> Sum:
        """Return a value as a sum of products."""
        number = number_everywhere(atom, {}) if isinstance(atom, Const) else None
        if number is not None:
            return {ONE: number} if number else {}
        maker = None if atom in self.whole or depth > DEEPEST else self.view.maker(atom)
        found = None if maker is None else self._apart(maker, depth + 1)
        return {product(atom): 1.0} if found is None or len(found) > MOST_TERMS else found

    def _apart(self, binding: Binding, depth: int) -> Sum | None:
        """Return what a binding computes, None where it is no sum, product or power."""
        op, inputs = binding.op, binding.inputs
        if op in ("sqrt", "rsqrt"):
            return {product((inputs[0], 0.5 if op == "sqrt" else -0.5)): 1.0}
        if op == "broadcast_to":
            return self.of(inputs[0], depth)
        if op not in ("add", "sub", "neg", "mul", "square", "div", "reciprocal"):
            return None
        given = [self.of(each, depth) for each in inputs]
        if op in ("add", "sub"):
            return _added(given[0], given[1], 1 if op == "add" else -1)
        if op == "neg":
            return _added({}, given[0], -1)
        if op in ("mul", "square"):
            return _times(given[0], given[-1])
        return _times(given[0] if op == "div" else {ONE: 1.0}, _inverse(inputs[-1], given[-1]))


def _added(a: Sum, b: Sum, sign: int) -> Sum:
    found = dict(a)
    for key, number in b.items():
        found[key] = found.get(key, 0.0) + sign * number
    return found


def _times(a: Sum, b: Sum) -> Sum | None:
    if len(a) * len(b) > MOST_TERMS:
        return None
    found: Sum = {}
    for first, x in a.items():
        for second, y in b.items():
            key = _joined(first, second)
            found[key] = found.get(key, 0.0) + x * y
    return found


def _joined(a: Product, b: Product) -> Product:
    exponents = dict(a)
    for atom, exponent in b:
        exponents[atom] = exponents.get(atom, Fraction(0)) + exponent
    return frozenset((atom, exponent) for atom, exponent in exponents.items() if exponent)


def _inverse(atom: Atom, found: Sum) -> Sum:
    """Return one over a value: of one product, each factor's; a sum stays whole."""
    if len(found) != 1:
        return {product((atom, -1)): 1.0}
    ((factors, number),) = found.items()
    return {frozenset((each, -exponent) for each, exponent in factors): 1 / number}


def are(found: Sum, wanted: Mapping[Product, float], dtype: str) -> bool:
    """Tell whether a sum has these products and no others, with numbers that are equal but for rounding."""
    near = ROUNDING.get(dtype, 0.0)
    return found.keys() == wanted.keys() and all(
        math.isclose(number, wanted[key], rel_tol=near) for key, number in found.items()
    )
