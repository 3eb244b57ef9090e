"""What is computed along rows: softmax, its logarithm, layer normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from framework.ir.nodes import Atom, Binding, Const
from framework.ir.types import TensorType
from framework.passes.compositions.composition import Composition, Match, dtype_of, found, plain
from framework.passes.compositions.terms import ONE, Product, Terms, are, product
from framework.passes.compositions.view import View


def reduced(view: View, column: Atom, *ops: str) -> Binding | None:
    """Return the reduction along one axis that a value is, with the axis kept; it may have been put back."""
    maker = view.maker(column, "stop_gradient", "reshape", *ops)
    if maker is not None and maker.op == "stop_gradient" and "stop_gradient" not in ops:
        return reduced(view, maker.inputs[0], *ops) if ops == ("reduce_max",) else None
    if maker is not None and maker.op == "reshape":
        maker = view.maker(maker.inputs[0], *ops)
    if maker is None or maker.op not in ops:
        return None
    axes: Any = maker.attrs["axes"]
    kept = [1 if axis in axes else size for axis, size in enumerate(maker.inputs[0].tensor.shape)]
    return maker if len(axes) == 1 and column.tensor.shape == tuple(kept) else None


def _axis(reduction: Binding) -> int:
    axes: Any = reduction.attrs["axes"]
    return int(axes[0])


def _shifted(view: View, powers: Binding, axis: int) -> tuple[Atom, Atom] | None:
    """Return x and its largest values, where what powers are taken of is x minus them."""
    for largest in view.values_above(powers.inputs[0]):
        reduction = reduced(view, largest, "reduce_max")
        if reduction is not None and _axis(reduction) == axis:
            x = reduction.inputs[0]
            difference = {product(x): 1.0, product(largest): -1.0}
            if are(Terms(view, (x, largest)).of(powers.inputs[0]), difference, dtype_of(powers)):
                return x, largest
    return None


def _totals(view: View, end: Atom) -> Iterator[tuple[Atom, Binding, Binding]]:
    """Yield sums along one axis with what sums, and the powers that are summed."""
    for column in view.values_above(end):
        reduction = reduced(view, column, "reduce_sum")
        powers = None if reduction is None else view.maker(reduction.inputs[0], "exp")
        if reduction is not None and powers is not None:
            yield column, reduction, powers


def _softmax(view: View, end: Binding) -> Match | None:
    """Match exp(x - max(x)) / sum(exp(x - max(x)))."""
    for total, reduction, powers in _totals(view, end.outputs[0]):
        e = powers.outputs[0]
        ratio = {product(e, (total, -1)): 1.0}
        of_what = _shifted(view, powers, _axis(reduction))
        if of_what and are(Terms(view, (e, total)).of(end.outputs[0]), ratio, dtype_of(end)):
            return found(view, end, "softmax", of_what[:1], axis=_axis(reduction))
    return None


def _log_softmax(view: View, end: Binding) -> Match | None:
    """Match x - max(x) - log(sum(exp(x - max(x))))."""
    for total, reduction, powers in _totals(view, end.outputs[0]):
        of_what = _shifted(view, powers, _axis(reduction))
        logs = [each for each in view.above(end.outputs[0], "log") if each.inputs[0] == total]
        if not of_what or not logs:
            continue
        x, largest = of_what
        log = logs[0].outputs[0]
        terms = Terms(view, (x, largest, log))
        wanted = {product(x): 1.0, product(largest): -1.0, product(log): -1.0}
        if are(terms.of(end.outputs[0]), wanted, dtype_of(end)):
            return found(view, end, "log_softmax", (x,), axis=_axis(reduction))
    return None


def _mean(view: View, column: Atom) -> tuple[Atom, float] | None:
    """Return what a column is the mean of, and which share of it the mean is: sums are the n-fold."""
    reduction = reduced(view, column, "reduce_mean", "reduce_sum")
    if reduction is None or _axis(reduction) != column.tensor.ndim - 1:
        return None
    x = reduction.inputs[0]
    return x, 1.0 if reduction.op == "reduce_mean" else 1 / x.tensor.shape[-1]


def _variance(view: View, v: Atom) -> tuple[Atom, float] | None:
    """Return x and eps, where a value is the variance of the rows of x, plus eps."""
    near = v.tensor.dtype.name
    for column in view.values_above(v):
        squares = _mean(view, column)
        terms = Terms(view, (column,)).of(v) if squares else {}
        eps = terms.pop(ONE, 0.0)
        if squares is None or eps <= 0 or not are(terms, {product(column): squares[1]}, near):
            continue
        for other in view.values_above(squares[0]):
            of_what = _mean(view, other)
            if of_what is None:
                continue
            x, share = of_what
            wanted = {product((x, 2)): 1.0, product(x, other): -2 * share, product((other, 2)): share**2}
            if are(Terms(view, (x, other)).of(squares[0]), wanted, near):
                return x, eps
    return None


def _layer_norm(view: View, end: Binding) -> Match | None:
    """Match (x - mean(x)) / sqrt(variance(x) + eps) * gamma + beta, gamma or beta or both left out."""
    y = end.outputs[0]
    for v in dict.fromkeys(each.inputs[0] for each in view.above(y) if each.op in ("sqrt", "rsqrt")):
        known = _variance(view, v)
        if known is None or known[0].type != y.type:
            continue
        x, eps = known
        for column in view.values_above(y):
            mean = _mean(view, column)
            affine = _affine(view, end, (x, column, v), mean[1]) if mean and mean[0] == x else None
            if affine is not None:
                return _normalised(view, end, x, affine, eps)
    return None


def _affine(
    view: View, end: Binding, given: tuple[Atom, Atom, Atom], share: float
) -> tuple[Product, Product | None] | None:
    """Return gain and offset as products, where a value is (x - share * column) / sqrt(v) * gain + offset."""
    x, column, v = given
    terms, core = Terms(view, given).of(end.outputs[0]), product(x, (v, -0.5))
    gain = next((key - core for key in terms if core <= key), None)
    if gain is None:
        return None
    wanted = {core | gain: 1.0, product(column, (v, -0.5)) | gain: -share}
    offsets = [key for key in terms if key not in wanted]
    wanted |= dict.fromkeys(offsets, 1.0)
    fits = len(offsets) <= 1 and are(terms, wanted, dtype_of(end))
    return (gain, offsets[0] if offsets else None) if fits else None


def _normalised(
    view: View, end: Binding, x: Atom, affine: tuple[Product, Product | None], eps: float
) -> Match | None:
    """Return layer_norm with its gain and its offset, ones and zeros where there are none."""
    gamma = _vector(view, affine[0] or None, x, 1)
    beta = _vector(view, affine[1], x, 0)
    if gamma is None or beta is None:
        return None
    (scale, first), (shift, second) = gamma, beta
    made = view.make("layer_norm", (x, scale, shift), {"eps": plain(eps, dtype_of(end))}, end.outputs)
    return Match((x, scale, shift), (*first, *second, made), end.outputs) if made else None


def _vector(
    view: View, factors: Product | None, x: Atom, number: int
) -> tuple[Atom, tuple[Binding, ...]] | None:
    """Return a vector as long as rows, with what makes it one; None where it is something else."""
    wanted = TensorType(x.tensor.shape[-1:], x.tensor.dtype)
    if factors is None:
        return Const.of(np.full(wanted.shape, number, wanted.dtype.numpy)), ()
    ((atom, exponent), *others) = factors
    type_ = atom.tensor
    is_vector = type_.size == wanted.size and type_.shape[-1:] == wanted.shape and type_.dtype == wanted.dtype
    if others or exponent != 1 or not is_vector:
        return None
    if type_ == wanted:
        return atom, ()
    flat = view.make("reshape", (atom,), {"shape": wanted.shape})
    return (flat.outputs[0], (flat,)) if flat else None


ROWS = (
    Composition(
        "softmax", "softmax along an axis, with the largest value taken off first",
        "%e = exp(%x - reduce_max(%x)); %y = %e / reduce_sum(%e)", "%y = softmax(%x)",
        ("exp",), ("div", "mul"), _softmax,
    ),
    Composition(
        "log_softmax", "the logarithm of softmax along an axis",
        "%s = %x - reduce_max(%x); %y = %s - log(reduce_sum(exp(%s)))", "%y = log_softmax(%x)",
        ("log",), ("sub", "add"), _log_softmax,
    ),
    Composition(
        "layer_norm", "layer normalisation along the last axis, with or without gain and offset",
        "%c = %x - reduce_mean(%x); %v = reduce_mean(%c * %c); %y = %c * rsqrt(%v + eps) * %gamma + %beta",
        "%y, %mean, %rstd = layer_norm(%x, %gamma, %beta, eps=eps)",
        ("sqrt", "rsqrt"), ("add", "sub", "mul", "div"), _layer_norm,
    ),
)  # fmt: skip
