"""Activations: GELU in its two forms, and the logistic function."""

from __future__ import annotations

import math

from framework.ir.nodes import Atom, Binding, Const
from framework.passes.compositions.composition import Composition, Match, dtype_of, found
from framework.passes.compositions.terms import ONE, Sum, Terms, are, product
from framework.passes.compositions.view import View

RATE, CUBIC = math.sqrt(2 / math.pi), 0.044715
"""Of the tanh form. Source: Hendrycks and Gimpel, "Gaussian error linear units", arXiv 1606.08415."""
HALVED = ("mul", "add", "div")


def _inner(x: Atom, op: str) -> Sum:
    """Return what GELU takes the error function or the tangent of."""
    if op == "erf":
        return {product(x): math.sqrt(0.5)}
    return {product(x): RATE, product((x, 3)): RATE * CUBIC}


def _gelu(view: View, end: Binding) -> Match | None:
    """Match x / 2 + x / 2 * curve(inner(x)), however it is written."""
    for op in ("erf", "tanh"):
        for curve in view.above(end.outputs[0], op):
            t = curve.outputs[0]
            for x in view.values_above(curve.inputs[0]):
                terms, near = Terms(view, (x, t)), dtype_of(end)
                halves = {product(x): 0.5, product(x, t): 0.5}
                is_inner = x.type == end.outputs[0].type and are(
                    terms.of(curve.inputs[0]), _inner(x, op), near
                )
                if is_inner and are(terms.of(end.outputs[0]), halves, near):
                    return found(view, end, "gelu", (x,), approximate=op == "tanh")
    return None


def _sigmoid(view: View, end: Binding) -> Match | None:
    """Match a / (1 + exp(-x)); what is divided, unless it is 1, is multiplied with sigmoid(x) then."""
    a, below = (None, end.inputs[0]) if end.op == "reciprocal" else end.inputs
    for power in view.above(below, "exp"):
        e = power.outputs[0]
        if not are(Terms(view, (e,)).of(below), {ONE: 1.0, product(e): 1.0}, dtype_of(end)):
            continue
        x = _negated(view, power.inputs[0])
        if x is None or x.type != end.outputs[0].type:
            return None
        if a is None or are(Terms(view).of(a), {ONE: 1.0}, dtype_of(end)):
            return found(view, end, "sigmoid", (x,))
        share = view.make("sigmoid", (x,), {})
        whole = share and view.make("mul", (a, share.outputs[0]), {}, end.outputs)
        return Match((a, x), (share, whole), end.outputs) if share and whole else None
    return None


def _negated(view: View, atom: Atom) -> Atom | None:
    """Return the value that another one is the negative of."""
    for x in view.values_above(atom):
        is_value = not isinstance(x, Const) and x is not atom
        if is_value and Terms(view, (x,)).of(atom) == {product(x): -1.0}:
            return x
    return None


ACTIVATIONS = (
    Composition(
        "gelu", "GELU, by the error function or by the tangent",
        "%a = erf(%x * 0.7071); %y = 0.5 * %x * (1 + %a)", "%y = gelu(%x)",
        ("erf", "tanh"), HALVED, _gelu,
    ),
    Composition(
        "sigmoid", "the logistic function, or a product with it as in swish",
        "%e = exp(-%x); %y = 1 / (1 + %e)", "%y = sigmoid(%x)", ("exp",), ("div", "reciprocal"), _sigmoid,
    ),
)  # fmt: skip
