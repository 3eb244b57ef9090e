"""What goes wrong at run time is told in the user's lines; recursion ends, as deep as it may be."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

from framework import Tensor, grad, jit, ops
from framework.dtypes import dtype
from framework.host import EndlessRecursion, compile_host
from framework.host.native import loop
from framework.ir import Builder, Func, SourceLine, TensorType, evaluate
from framework.ir.control import CHECK
from framework.ir.evaluate import CheckFailed
from framework.ir.flow import Part, branch
from framework.ir.flow import loop as while_loop
from framework.ir.nodes import CALL, Rec
from framework.ops.indexing import OutsideAxis

N, X = TensorType((), dtype("int64")), TensorType((), dtype("float64"))


def line(number: int, text: str) -> SourceLine:
    """Return a line of the user's file."""
    return SourceLine("/home/me/model.py", number, text)


def call_of(builder: Builder, name: str, *args: Any) -> Any:
    """Append a call of a Func around."""
    known = {each: ((N, X), (X,)) for each in ("halves", "odd", "even")}
    return builder.bind(CALL, args, {"func": Rec(name)}, known)[0]


def halves() -> Func:
    """Return the Func that adds to x half of itself for n - 1 while n > 0."""
    builder = Builder()
    n, x = builder.param(N, "n"), builder.param(X, "x")
    then, orelse = Builder(builder), Builder(builder)
    below = call_of(then, "halves", then.lift(n) - 1, x)
    parts = Part(then, [below * 0.5 + then.lift(x)], "then"), Part(orelse, [x], "orelse")
    func = builder.finish("halves", branch(builder, ops.greater(n, 0), *parts))
    outer = Builder()
    return outer.finish("main", outer.call(func, [outer.param(N, "n"), outer.param(X, "x")]))


def endless() -> Func:
    """Main calls odd, which calls even, which calls odd."""
    odd = Builder()
    n, x = odd.param(N, "n"), odd.param(X, "x")
    even = Builder()
    m, y = even.param(N, "n"), even.param(X, "x")
    even.source = line(8, "    return odd(n - 1, x)")
    inner = even.finish("even", [call_of(even, "odd", m - 1, y)])
    odd.source = line(4, "    return even(n - 1, x)")
    func = odd.finish("odd", odd.call(inner, [n - 1, x]))
    outer = Builder()
    outer.source = line(12, "odd(3, x)")
    return outer.finish("main", outer.call(func, [outer.param(N, "n"), outer.param(X, "x")]))


@pytest.mark.parametrize("depth", [0, 1, 10_000, 90_000])
def test_recursion_may_be_deep(depth):
    """Ninety thousand calls within calls; Python's own limit is what it was before."""
    before = sys.getrecursionlimit()
    (found,) = compile_host(halves())([np.int64(depth), np.float64(2)])
    assert float(found) == pytest.approx(4 - 2 * 0.5**depth)
    assert sys.getrecursionlimit() == before


def test_endless_recursion_shows_its_chain_of_calls():
    """How deep it went, the way there, and the part that is repeated, with the user's lines."""
    with pytest.raises(EndlessRecursion) as caught:
        compile_host(endless())([np.int64(3), np.float64(2)])
    text = str(caught.value)
    head, *lines = text.splitlines()
    assert re.fullmatch("@odd calls itself without an end: 99,9.. calls are nested", head)
    assert lines[0] == "  @main  /home/me/model.py:12  odd(3, x)"
    assert re.fullmatch("  then, 49,9.. times over:", lines[1])
    assert lines[2:] == [
        "    @odd  /home/me/model.py:4  return even(n - 1, x)",
        "    @even  /home/me/model.py:8  return odd(n - 1, x)",
        "  rule: calls are nested at most 100,000 deep",
        "  next: let a branch return without a call, or write a loop",
    ]


def checked() -> Func:
    """Count to n, and demand of each number that it is below a bound."""
    builder = Builder()
    n, bound = builder.param(N, "n"), builder.param(N, "bound")
    test, inside = Builder(builder), Builder(builder)
    tested, turn = test.param(N), inside.param(N)
    inside.source = line(3, "    assert turn < bound")
    inside.bind(CHECK, [turn < inside.lift(bound), turn], {"message": "turn {} is too many"})
    parts = Part(test, [tested < test.lift(n)], "cond"), Part(inside, [turn + 1], "body")
    return builder.finish("checked", while_loop(builder, [builder.constant(np.int64(0))], *parts))


@pytest.mark.parametrize("patience", [0, 5, 10**9])
def test_a_check_that_fails_in_a_loop_tells_its_values_and_line(monkeypatch, patience):
    """In Python and in machine code alike."""
    monkeypatch.setattr(loop, "PATIENCE", patience)
    run = compile_host(checked())
    assert run([np.int64(10), np.int64(10)]) == (10,)
    for _ in range(2):
        with pytest.raises(CheckFailed) as caught:
            run([np.int64(30), np.int64(10)])
        assert str(caught.value) == "turn 10 is too many\n  /home/me/model.py:3\n        assert turn < bound"
    assert run([np.int64(10), np.int64(10)]) == (10,)


def test_an_operator_that_refuses_its_values_names_the_users_line():
    """The same error as from NumPy, with the line that it arose at."""
    builder = Builder()
    x, n = builder.param(TensorType((3,), dtype("float64")), "x"), builder.param(N, "n")
    builder.source = line(7, "y = x[n]")
    func = builder.finish("chosen", [ops.index(x, n, spec=(("at", 0),))])
    arrays = [np.arange(3.0), np.int64(5)]
    with pytest.raises(OutsideAxis) as plain:
        evaluate(func, arrays)
    with pytest.raises(OutsideAxis) as caught:
        compile_host(func)(arrays)
    assert str(caught.value) == f"{plain.value}\n  /home/me/model.py:7\n    y = x[n]"


def test_a_caret_shows_where_in_the_line_a_program_stopped():
    """Below the expression, also behind letters that take several bytes."""

    def f(x, i):
        return ("é", x[0])[1] + x[i]

    for run in (jit(f), grad(f)):
        with pytest.raises(OutsideAxis) as caught:
            run(Tensor([1.0, 2.0]), Tensor(5))
        *_, text, caret = str(caught.value).splitlines()
        assert text == '    return ("é", x[0])[1] + x[i]'
        assert caret == " " * text.index("x[i]") + "^"


def test_a_line_whose_column_is_not_known_has_no_caret():
    assert line(7, "y = x[n]").pointed == line(7, "y = x[n]").place
