"""IR text: everything that the IR has is printed, and read back as an equal Func."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from davinci_sim.errors import DavinciError
from framework import ops
from framework.autodiff import differentiate
from framework.dtypes import bool_, float32, float64, int64
from framework.ir import (
    Binding,
    Builder,
    Func,
    TensorType,
    Var,
    evaluate,
    parse_func,
    print_func,
    structural_hash,
    structurally_equal,
    verify,
)
from framework.ir.nodes import CALL, Rec, SourceLine
from framework.ir.parser import IrSyntaxError
from framework.ir.types import EnvType, FnType, StackType, Type
from tests.framework.funcs import arguments, funcs

F = TensorType((), float32)
SOME = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@SOME
@given(funcs(2))
def test_control_flow_is_read_back_as_an_equal_func(func):
    """Branches, loops, stacks, functions, envs and recursion survive the text, which is settled then."""
    text = print_func(func)
    read = verify(parse_func(text))
    assert structurally_equal(read, func)
    assert print_func(read) == print_func(func, sources=False)
    with np.errstate(all="ignore"):
        for found, expected in zip(evaluate(read, arguments()), evaluate(func, arguments()), strict=True):
            np.testing.assert_array_equal(found, expected)


@settings(SOME, max_examples=20)
@given(funcs(2))
def test_derivatives_are_read_back_as_equal_funcs(func):
    """The derivative is an ordinary program: it has a text, too."""
    x, t, n = func.results
    gradient = differentiate(Func("f", func.params, func.bindings, (x, t, n), {}), [0])
    assert structurally_equal(parse_func(print_func(gradient)), gradient)


def test_a_loop_reads_like_a_loop():
    """The golden of the printed form: parts stand before the Func that they are parts of, as they run."""
    text = (
        "func @f.while_cond(%n: int64[], %x: float32[]) {\n"
        "  %0: bool[] = less(%n, int64[]{3})\n"
        "  return %0\n"
        "}\n"
        "func @f.while_body(%n: int64[], %x: float32[]) {\n"
        "  %0: int64[] = add(%n, int64[]{1})\n"
        "  %1: float32[] = mul(%x, %x)\n"
        "  return %0, %1, %x\n"
        "}\n"
        "func @f(%x: float32[]) {\n"
        "  %0: int64[], %1: float32[], %2: stack<float32[]> = while(int64[]{0}, %x, cond=@f.while_cond, "
        "body=@f.while_body, invariants=0, saves=1)\n"
        "  check(bool[]{1}, %1, message='x is {}, not \"one\", (two)  // three \\\\')\n"
        "  return %1, %2\n"
        "}"
    )
    func = verify(parse_func(text))
    assert print_func(func) == text
    assert func.bindings[1].attrs["message"] == 'x is {}, not "one", (two)  // three \\'


@pytest.mark.parametrize(
    "type_",
    [
        TensorType((2, 3), float32),
        StackType(StackType(TensorType((0,), int64))),
        EnvType(),
        FnType((), ()),
        FnType((FnType((F,), (EnvType(),)), StackType(F)), (F, FnType((), (TensorType((), bool_),)))),
    ],
    ids=str,
)
def test_types_stand_in_texts_as_they_are_written(type_: Type):
    """Parameters, results and attributes have types of every kind."""
    func = Func("f", (Var("x", type_),), (Binding((), "check", (), {"a": type_, "b": (1, type_)}),), ())
    read = parse_func(print_func(func))
    assert read == func
    assert read.bindings[0].attrs == func.bindings[0].attrs


@pytest.mark.parametrize(
    "value",
    [0, True, 1.5, math.inf, -math.inf, "a, b", 'it\'s "so"\n(', "\\", "@name", (), (1,), ((1, "]"), None)],
    ids=repr,
)
def test_attributes_of_every_kind_survive_the_text(value):
    """An attribute keeps value and type."""
    func = Func("f", (), (Binding((), "check", (), {"value": value, "zzz": 1}),), ())
    found = parse_func(print_func(func)).bindings[0].attrs
    assert found == {"value": value, "zzz": 1}
    assert type(found["value"]) is type(value)


def test_a_number_that_is_none_survives_the_text():
    """NaN is an attribute like others."""
    text = print_func(Func("f", (), (Binding((), "check", (), {"value": math.nan}),), ()))
    assert math.isnan(parse_func(text).bindings[0].attrs["value"])


def recursive(name: str, step: float) -> Func:
    """Return a Func that counts down by a step: its branch calls the one of this name around it."""
    then, orelse = Builder(), Builder()
    known = {name: ((F,), (F,))}
    n = then.param(F, "n")
    called = then.bind(CALL, [n - step], {"func": Rec(name)}, known)
    part = then.finish("then", called)
    other = orelse.finish("orelse", [orelse.param(F, "n")])
    builder = Builder()
    n = builder.param(F, "n")
    found = builder.bind("if", [n > 0, n], {"then": part, "orelse": other}, known)
    return builder.finish(name, found)


def test_recursion_is_equal_up_to_the_name_of_the_func():
    """Two Funcs that call themselves are equal if they do the same, whatever they are called."""
    assert structural_hash(recursive("f", 1.0)) == structural_hash(recursive("g", 1.0))
    assert not structurally_equal(recursive("f", 1.0), recursive("f", 2.0))


def test_recursive_funcs_of_one_name_are_told_apart():
    """A part that both share is printed for each of them, since it calls another Func in each."""
    first = recursive("f", 1.0)
    (compare, chosen) = first.bindings
    second = Func("f", first.params, (compare, chosen, compare_again(compare)), first.results)
    builder = Builder()
    x = builder.param(F, "x")
    (y,) = builder.call(first, [x])
    (z,) = builder.call(second, [y])
    func = builder.finish("g", [z])
    text = print_func(func)
    assert text.count("call @f(") == 2
    assert text.count("call @f~1(") == 2
    assert structurally_equal(verify(parse_func(text)), func)


def compare_again(binding: Binding) -> Binding:
    return Binding((Var("again", binding.outputs[0].type),), binding.op, binding.inputs, binding.attrs)


def test_equality_does_not_look_at_source_lines():
    """The comment is for people: where a value comes from is no part of what it is."""
    builder = Builder()
    builder.source = SourceLine("/home/me/f.py", 3, "y = x * x")
    x = builder.param(TensorType((), float64), "x")
    func = builder.finish("f", [x * x])
    assert "mul(%x, %x)  // f.py:3" in print_func(func)
    assert "//" not in print_func(func, sources=False)
    assert structurally_equal(parse_func(print_func(func)), func)


def test_a_func_at_many_places_is_printed_and_digested_once():
    """24 levels that call the next one twice have 24 texts, not 2 ** 24."""
    builder = Builder()
    func = builder.finish("f0", [ops.exp(builder.param(F, "x"))])
    for level in range(1, 25):
        builder = Builder()
        x = builder.param(F, "x")
        for _ in range(2):
            (x,) = builder.call(func, [x])
        func = builder.finish(f"f{level}", [x])
    assert print_func(func).count("func @") == 25
    assert structurally_equal(parse_func(print_func(func)), func)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "IR text is empty: expected `func @name(...) {`"),
        ("func f() {", "IR line 1: expected `func @name(...) {`, found 'func f() {'"),
        ("func @f(x) {\n}", "IR line 1: expected `%name: type`, found 'x'"),
        ("func @f() {\n  what is this\n}", "IR line 2: expected `%y: type = op(...)`, found 'what is this'"),
        ("func @f() {\n  return %x\n}", "IR line 2: %x is used before it is defined"),
        ("func @f() {\n  return 1\n}", "IR line 2: expected %name or type{values}, found '1'"),
        (
            "func @f(%x: float31[2]) {\n}",
            "IR line 1: unknown dtype 'float31'",
        ),
        (
            "func @f() {\n  check(a=fn[2])\n}",
            "IR line 2: unknown dtype 'fn'",
        ),
    ],
)
def test_the_line_that_cannot_be_read_is_named(text, message):
    """The message says which line, what was expected and what is there."""
    with pytest.raises(IrSyntaxError) as caught:
        parse_func(text)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, DavinciError)
