"""Funcs with loops, branches, recursion and functions as values, that tests of derivatives share."""

from __future__ import annotations

import numpy as np

from framework.dtypes import float64, int64
from framework.ir import Builder, Func, TensorType
from framework.ir.control import APPLY
from framework.ir.flow import Part, branch, closure, loop, scan
from framework.ir.nodes import CALL, Rec

F, N = TensorType((), float64), TensorType((), int64)


def power() -> Func:
    """While n > 0: x = x * x * k; n -= 1."""
    b = Builder()
    x, n, k = b.param(F, "x"), b.param(N, "n"), b.param(F, "k")
    inside = Builder(b)
    _, count = inside.param(F), inside.param(N)
    cond = Part(inside, [count > 0], "power.cond")
    turn = Builder(b)
    here, count = turn.param(F), turn.param(N)
    body = Part(turn, [here * here * k, count - 1], "power.body")
    return b.finish("power", loop(b, [x, n], cond, body)[:1])


def factorial() -> Func:
    """Return x times the factorial of x - 1, or 1 from x = 1 downwards."""
    b = Builder()
    x = b.param(F, "x")
    one, more = Builder(b), Builder(b)
    below = more.bind(CALL, [x - 1.0], {"func": Rec("factorial")}, {"factorial": ((F,), (F,))})[0]
    orelse = Part(more, [more.lift(x) * below], "factorial.else")
    then = Part(one, [one.constant(1.0, float64)], "factorial.then")
    func = b.finish("factorial", branch(b, x <= 1.0, then, orelse))
    outer = Builder()
    return outer.finish("main", outer.call(func, [outer.param(F, "x")]))


def chosen() -> Func:
    """(a -> a * x * x if x > 1 else a -> a * a * x)(x * x)."""
    b = Builder()
    x = b.param(F, "x")

    def part(name: str, squares_argument: bool) -> Part:
        taken = Builder(b)
        code = Builder(taken)
        a, caught = code.param(F), code.lift(x)
        value = a * a * caught if squares_argument else a * caught * caught
        return Part(taken, [closure(taken, Part(code, [value], f"{name}.code"))], name)

    function = branch(b, x > 1.0, part("large", False), part("small", True))[0]
    return b.finish("chosen", b.bind(APPLY, [function, x * x], {}))


def nested() -> Func:
    """For i in 3, 2, 1: j = 2: while j > 0: x = x * x / k if x > k else x * k."""
    b = Builder()
    x, n, k = b.param(F, "x"), b.param(N, "n"), b.param(F, "k")

    def inner(turn: Builder, value, times):
        over, go = Builder(turn), Builder(turn)
        _, left = over.param(F), over.param(N)
        cond = Part(over, [left > 0], "inner.cond")
        here, left = go.param(F), go.param(N)
        then, orelse = Builder(go), Builder(go)
        large = Part(then, [then.lift(here) * here / k], "large")
        small = Part(orelse, [orelse.lift(here) * k], "small")
        (value_,) = branch(go, here > go.lift(k), large, small)
        return loop(turn, [value, times], cond, Part(go, [value_, left - 1], "inner.body"))[0]

    outside, turn = Builder(b), Builder(b)
    _, left = outside.param(F), outside.param(N)
    cond = Part(outside, [left > 0], "outer.cond")
    here, left = turn.param(F), turn.param(N)
    body = Part(turn, [inner(turn, here, turn.constant(np.int64(2))), left - 1], "outer.body")
    return b.finish("nested", loop(b, [x, n], cond, body)[:1])


def kept() -> Func:
    """A loop that saves x ** i, then a scan that sums products of them backwards."""
    b = Builder()
    x, n = b.param(F, "x"), b.param(N, "n")
    over, turn = Builder(b), Builder(b)
    _, left = over.param(F), over.param(N)
    here, count = turn.param(F), turn.param(N)
    body = Part(turn, [here * x, count - 1, here], "kept.body")
    _, _, powers = loop(b, [x, n], Part(over, [left > 0], "kept.cond"), body, saves=1)
    sums = Builder(b)
    element, total = sums.param(F), sums.param(F)
    y, products = scan(
        b, [powers], [x], Part(sums, [total * 0.5 + element * element, total * element], "sums"), 1, True
    )
    last = Builder(b)
    element, total = last.param(F), last.param(F)
    z = scan(b, [products], [y], Part(last, [total + element * element], "last"))[0]
    return b.finish("kept", [z])


PROGRAMS = [
    (power(), [1.1, 3, 0.9], [0, 2]),
    (power(), [1.1, 0, 0.9], [0, 2]),
    (factorial(), [3.5], [0]),
    (factorial(), [0.5], [0]),
    (chosen(), [1.3], [0]),
    (chosen(), [0.7], [0]),
    (nested(), [1.2, 3, 1.1], [0, 2]),
    (kept(), [1.05, 4], [0]),
]
