"""Loops of scalars as machine code: the same bits as in Python, at any nesting."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from numba.core.errors import NumbaError

from framework import Tensor, ops, value_and_grad
from framework.dtypes import dtype
from framework.host import HostFunction, compile_host
from framework.host.native import files, loop, parts
from framework.host.native.source import NativeSource
from framework.host.operators import FLOAT_UFUNCS, UFUNCS
from framework.ir import Builder, TensorType, evaluate
from framework.ir.builder import Sym
from framework.ir.flow import Part
from framework.ir.flow import loop as while_loop
from tests.framework.funcs import arguments, funcs

_UFUNCS = {**UFUNCS, **FLOAT_UFUNCS}


def interpreted(source: NativeSource) -> Callable[..., Any]:
    """Return the source of a loop as Python runs it, which needs no compilation."""
    names: dict[str, Any] = {"np": np}
    for name in ("extended", "grown", "grown_ranges", "summed"):
        names[name] = getattr(parts, name).py_func
    names["is_interrupted"] = lambda signals: False
    names["unary"] = names["binary"] = lambda ufunc, _, *values: ufunc(*values)
    exec(source.text, names)
    called = {(at, side): _UFUNCS[op] for at, (op, _) in enumerate(source.ufuncs) for side in (0, 1)}
    return lambda signals, loops, *values: names["loop"](signals, called, *values)


@pytest.fixture
def at_once(monkeypatch):
    """Let every loop be taken for hot from the start, and its source for Numba be run by Python."""
    monkeypatch.setattr(loop, "PATIENCE", 0)
    monkeypatch.setattr(files, "compiled", interpreted)


KINDS = ("op", "if", "while", "scan", "call")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(func=funcs(3, KINDS, scalars=True))
def test_loops_of_scalars_mean_the_same_as_machine_code(at_once, func):
    """Loops in loops, what they save within what they save, forwards and backwards, come out alike."""
    run = compile_host(func)
    for seed in range(3):
        for found, expected in zip(run(arguments(seed)), evaluate(func, arguments(seed)), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(func=funcs())
def test_python_and_machine_code_hand_stacks_to_each_other(at_once, func):
    """A loop over tensors reads what machine code has saved, and the other way round."""
    for found, expected in zip(compile_host(func)(arguments()), evaluate(func, arguments()), strict=True):
        np.testing.assert_array_equal(found, expected)


INT = TensorType((), dtype("int64"))
Body = Callable[[Builder, Sym, list[Sym]], list[Any]]


def turns(count: Any, state: list[Sym], body: Body) -> tuple[Sym, ...]:
    """Append a loop of so many turns: body(builder, turn, state) gives the next state and what is saved."""
    outer = state[0].builder
    test, inside = Builder(outer), Builder(outer)
    types = [INT, *(each.type for each in state)]
    tested = [test.param(each) for each in types]
    turn, *values = (inside.param(each) for each in types)
    results = [turn + 1, *body(inside, turn, values)]
    cond = Part(test, [tested[0] < test.value(count)], "cond")
    init = [outer.constant(np.int64(0)), *state]
    saves = len(results) - len(init)
    return while_loop(outer, init, cond, Part(inside, results, "body"), saves)[1:]


BINARY = (ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum, ops.floor_div, ops.mod, ops.less, ops.equal)
UNARY = (ops.neg, ops.abs, ops.square, ops.sign, ops.relu, ops.floor)
FLOAT_BINARY = (ops.div, ops.pow)
FLOAT_UNARY = (
    ops.exp, ops.log, ops.sqrt, ops.rsqrt, ops.reciprocal, ops.sin, ops.cos, ops.tanh, ops.sigmoid,
    ops.isnan, ops.isfinite, ops.log1p, ops.ceil, ops.round, ops.atan,
)  # fmt: skip


def all_results(x: Any, y: Any) -> list[Any]:
    """Return what each operator that machine code has gives."""
    binary, unary = BINARY, UNARY
    if x.dtype.is_float:
        binary, unary = binary + FLOAT_BINARY, unary + FLOAT_UNARY
    casts = [x.astype(each) for each in ("bool", "int32", "float32", "float64")]
    casts = casts if not x.dtype.is_float else [casts[0], *casts[2:]]  # infinity is no integer
    return [*(op(x, y) for op in binary), *(op(x) for op in unary), ops.select(x < y, x, y), *casts]


HARD = {
    "float64": [0.0, -0.0, 1.0, -1.0, 0.3, -2.7, 5.5, 1e30, -1e300, np.inf, -np.inf, np.nan, 1e-310],
    "float32": [0.0, -0.0, 1.0, -1.0, 0.3, -2.7, 5.5, 1e30, np.inf, -np.inf, np.nan, 1e-40],
    "int64": [0, 1, -1, 2, -3, 7, 2**62, 2**63 - 1, -(2**63)],
    "int32": [0, 1, -1, 2, -3, 7, 2**31 - 1, -(2**31)],
}


@pytest.mark.parametrize("name", HARD)
def test_operators_in_machine_code_have_the_bits_of_numpy(monkeypatch, name):
    """Infinities, signed zeros, overflow, division by zero: all that machine code computes."""
    monkeypatch.setattr(loop, "PATIENCE", 0)
    values = np.array(HARD[name], name)
    arrays = [np.repeat(values, len(values)), np.tile(values, len(values))]
    builder = Builder()
    a, b = (builder.param(TensorType.of(each)) for each in arrays)

    def body(inside: Builder, turn: Sym, state: list[Sym]) -> list[Any]:
        x, y = (ops.index(inside.lift(each), turn, spec=(("at", 0),)) for each in (a, b))
        return [state[0], *all_results(x, y)]

    found = turns(len(arrays[0]), [builder.constant(np.float64(0))], body)
    func = builder.finish("operators", found[1:])
    for result, expected in zip(compile_host(func)(arrays), evaluate(func, arrays), strict=True):
        wanted = np.array(expected)
        assert result.dtype == wanted.dtype
        np.testing.assert_array_equal(result, wanted)
        if wanted.dtype.kind == "f":
            is_number = ~np.isnan(wanted)
            np.testing.assert_array_equal(np.signbit(result)[is_number], np.signbit(wanted)[is_number])


def counting() -> HostFunction:
    """Return a loop that counts to n."""
    builder = Builder()
    n, x = builder.param(INT, "n"), builder.param(TensorType((), dtype("float64")), "x")
    return compile_host(builder.finish("counting", turns(n, [x], lambda inside, turn, state: [state[0] + 1])))


def test_a_loop_that_numba_refuses_stays_in_python(monkeypatch):
    """The result is the same, and it is not tried again."""
    tried = []

    def refused(source: NativeSource) -> Any:
        tried.append(source)
        raise NumbaError("no")

    monkeypatch.setattr(loop, "PATIENCE", 10)
    monkeypatch.setattr(files, "compiled", refused)
    run = counting()
    for _ in range(3):
        assert run([np.int64(50), np.float64(0.5)]) == (50.5,)
    assert len(tried) == 1


def test_an_endless_loop_in_machine_code_can_be_interrupted(monkeypatch):
    """Ctrl-C stops it, as it stops one in Python."""
    monkeypatch.setattr(loop, "PATIENCE", 0)
    run = counting()
    run([np.int64(1), np.float64(0)])
    killer = ["sh", "-c", f"sleep 0.3; kill -INT {os.getpid()}"]
    with subprocess.Popen(killer), pytest.raises(KeyboardInterrupt):
        run([np.int64(2**40), np.float64(0)])


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(func=funcs(2, KINDS, scalars=True))
def test_numba_compiles_whatever_loops_there_are(monkeypatch, func):
    """Random loops, compiled for good."""
    monkeypatch.setattr(loop, "PATIENCE", 0)
    run = compile_host(func)
    for found, expected in zip(run(arguments()), evaluate(func, arguments()), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all(each.turns_left == 0 for each in run.names.values() if isinstance(each, loop.HotLoop))


@pytest.mark.slow
def test_a_million_turns_and_their_gradient():
    """Of a loop that keeps a number near one: the derivative is the product of those of the turns."""
    compiled = value_and_grad(pulled)
    value, slope = compiled(Tensor(np.asarray(0.5)), 1_000_000)
    x, dx = 0.5, 1.0
    for _ in range(1_000_000):
        x, dx = x + (1.0 - x * x) * 1e-6, dx * (1.0 - 2.0 * x * 1e-6)
    np.testing.assert_allclose([float(value), float(slope)], [x, dx], rtol=1e-12)


def pulled(x, turns):
    done = 0
    while done < turns:
        x = x + (1.0 - x * x) * 1e-6
        done += 1
    return x


def test_many_short_runs_do_not_make_a_loop_hot(monkeypatch):
    """To call machine code would take longer than they do; a long run among them is compiled."""
    monkeypatch.setattr(loop, "PATIENCE", 1000)
    monkeypatch.setattr(files, "compiled", interpreted)
    run = counting()
    (hot,) = (each for each in run.names.values() if isinstance(each, loop.HotLoop))
    for _ in range(500):
        assert run([np.int64(5), np.float64(0)]) == (5,)
    assert hot.turns_left > 0
    assert run([np.int64(1000), np.float64(0)]) == (1000,)
    assert hot.turns_left == 0


def test_many_runs_of_a_hundred_turns_make_a_loop_hot(monkeypatch):
    """None of them is long, but they are worth machine code."""
    monkeypatch.setattr(loop, "PATIENCE", 10_000)
    monkeypatch.setattr(files, "compiled", interpreted)
    run = counting()
    (hot,) = (each for each in run.names.values() if isinstance(each, loop.HotLoop))
    for _ in range(100):
        assert run([np.int64(100), np.float64(0)]) == (100,)
    assert hot.turns_left == 0
