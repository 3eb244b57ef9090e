"""Reverse-mode differentiation: a Func becomes the Func of its gradients.

The new Func repeats the bindings of the old one and then goes through them backwards; the gradient rule of
each operator emits bindings of its own. Nothing is recorded at run time, and the result is an ordinary Func.
"""

from __future__ import annotations

from collections.abc import Sequence

from davinci_sim.errors import DavinciError, InternalError
from framework.ir.builder import Builder, Sym, restored
from framework.ir.nodes import Atom, Binding, Const, Func, Var
from framework.ir.registry import operator
from framework.ops import Call, NoGradient, zeros_like
from framework.passes.dead_code import dead_code
from framework.passes.inline import inline


class GradientError(DavinciError):
    """A function that has no gradient of the kind asked for."""


def differentiate(func: Func, wrt: Sequence[int], *, keep_results: bool = False) -> Func:
    """Return the Func of the gradients of result 0 with respect to the parameters at positions `wrt`.

    before  f(x) { y = mul(x, x); return y }
    after   grad_f(x) { y = mul(x, x); a = mul(1, x); b = mul(1, x); dx = add(a, b); return dx }

    With `keep_results` the results of `func` come first. What result 0 does not depend on gets zeros.
    """
    func = inline(func)
    _check(func, wrt)
    builder = Builder()
    params = [builder.param(param.type, param.name) for param in func.params]
    scope = builder.replay(func, params)
    cotangents = _backward(func, builder, scope, {func.params[position] for position in wrt})
    results: list[Sym] = [restored(scope, builder, atom) for atom in func.results] if keep_results else []
    for position in wrt:
        dx = cotangents.get(func.params[position])
        primal = params[position]
        results.append(zeros_like(primal) if dx is None else _as(dx, primal))
    return dead_code(builder.finish(f"grad_{func.name}", results))


def _check(func: Func, wrt: Sequence[int]) -> None:
    y = func.results[0].tensor
    if y.shape != () or not y.dtype.is_float:
        raise GradientError(
            f"gradient of @{func.name}: its result is {y}, it must be a float scalar; reduce it with "
            "ops.reduce_sum or ops.reduce_mean, or return other values after it with has_aux=True"
        )
    for position in wrt:
        param = func.params[position]
        if not param.tensor.dtype.is_float:
            raise GradientError(
                f"gradient of @{func.name}: %{param.name} is {param.type}; integers and booleans have no "
                "gradient, leave it out of position or weights"
            )


def _backward(func: Func, builder: Builder, scope: dict[Var, Sym], wrt: set[Var]) -> dict[Var, Sym]:
    """Emit the backward pass; return the cotangent of every Var that has one."""
    active = _active(func, wrt)
    cotangents: dict[Var, Sym] = {}
    y = func.results[0]
    if isinstance(y, Var) and y in active:
        cotangents[y] = builder.constant(1.0, y.tensor.dtype)
    for binding in reversed(func.bindings):
        if not any(var in cotangents for var in binding.outputs):
            continue
        builder.source = binding.source
        for atom, dx in zip(binding.inputs, _pull_back(binding, builder, scope, cotangents), strict=True):
            if dx is None or isinstance(atom, Const) or atom not in active:
                continue
            if dx.shape != atom.tensor.shape:
                raise InternalError(f"vjp of {binding.op}: cotangent {dx.type} for an input {atom.type}")
            cotangents[atom] = cotangents[atom] + dx if atom in cotangents else dx
    builder.source = None
    return cotangents


def _pull_back(
    binding: Binding, builder: Builder, scope: dict[Var, Sym], cotangents: dict[Var, Sym]
) -> Sequence[Sym | None]:
    """Return the cotangents of a binding's inputs."""
    rule = operator(binding.op).vjp
    if isinstance(rule, NoGradient):
        return (None,) * len(binding.inputs)
    inputs = tuple(restored(scope, builder, atom) for atom in binding.inputs)
    outputs = tuple(scope[var] for var in binding.outputs)
    dys = [cotangents[var] if var in cotangents else zeros_like(scope[var]) for var in binding.outputs]
    pulled: Sequence[Sym | None] = rule(Call(inputs, outputs, dict(binding.attrs)), *dys)
    return pulled


def _active(func: Func, wrt: set[Var]) -> set[Var]:
    """Return the Vars that depend on `wrt` in a way that has a gradient."""
    active: set[Atom] = set(wrt)
    for binding in func.bindings:
        moves = not isinstance(operator(binding.op).vjp, NoGradient)
        if moves and any(atom in active for atom in binding.inputs):
            active.update(var for var in binding.outputs if var.tensor.dtype.is_float)
    return {atom for atom in active if isinstance(atom, Var)}


def _as(dx: Sym, primal: Sym) -> Sym:
    cast: Sym = dx if dx.dtype == primal.dtype else dx.astype(primal.dtype)
    return cast
