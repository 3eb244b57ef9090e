"""Reverse-mode differentiation: a Func becomes the Func of its gradients.

The new Func repeats the bindings of the old one and then goes through them backwards; the gradient rule of
each operator emits bindings of its own. Nothing is recorded at run time, and the result is an ordinary Func.
"""

from __future__ import annotations

from collections.abc import Sequence

from framework.autodiff.linear import Context, Linearized, materialized
from framework.ir.builder import Builder
from framework.ir.lines import at_line
from framework.ir.nodes import Func
from framework.ops.op import GradientError
from framework.passes.dead_code import dead_code


def differentiate(func: Func, wrt: Sequence[int], *, keep_results: bool = False) -> Func:
    """Return the Func of the gradients of result 0 with respect to the parameters at positions `wrt`.

    before  f(x) { y = mul(x, x); return y }
    after   grad_f(x) { y = mul(x, x); a = mul(1, x); b = mul(1, x); dx = add(a, b); return dx }

    With `keep_results` the results of `func` come first. What result 0 does not depend on gets zeros.
    """
    _check(func, wrt)
    builder = Builder()
    params = [builder.param(param.type, param.name) for param in func.params]
    wanted = set(wrt)
    active = [at in wanted for at in range(len(params))]
    ahead = Linearized(builder, func, params, active, Context())
    one = builder.constant(1.0, func.results[0].tensor.dtype)
    dxs = ahead.pull_back(builder, [one, *[None] * (len(func.results) - 1)])
    results = ahead.results if keep_results else []
    found = [materialized(builder, dxs[at], params[at].type) for at in wrt]
    return dead_code(builder.finish(f"grad_{func.name}", [*results, *found]))


def _check(func: Func, wrt: Sequence[int]) -> None:
    y = func.results[0].tensor
    if y.shape != () or not y.dtype.is_float:
        made = [each.source for each in func.bindings if func.results[0] in each.outputs]
        error = GradientError(
            f"gradient of @{func.name}: its result is {y}, it must be a float scalar; reduce it with "
            "ops.reduce_sum or ops.reduce_mean, or return other values after it with has_aux=True"
        )
        raise at_line(error, made[0] if made else None)
    for position in wrt:
        param = func.params[position]
        if not param.tensor.dtype.is_float:
            raise GradientError(
                f"gradient of @{func.name}: %{param.name} is {param.type}; integers and booleans have no "
                "gradient, leave it out of position or weights"
            )
