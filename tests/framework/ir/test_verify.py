"""The verifier: what is damaged is named, with the Func and the binding."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest

from framework.ir import Func, parse_func, verify
from framework.ir.nodes import Binding, Rec
from framework.ir.verify import IllFormedFunc, Verifier

GOOD = """
func @then(%x: float32[], %s: stack<float32[]>) {
  return %x
}
func @orelse(%x: float32[], %s: stack<float32[]>) {
  %0: float32[] = neg(%x)
  return %0
}
func @cond(%n: int64[], %x: float32[]) {
  %0: bool[] = less(%n, int64[]{3})
  return %0
}
func @body(%n: int64[], %x: float32[]) {
  %0: int64[] = add(%n, int64[]{1})
  return %0, %x, %x
}
func @back(%e: float32[], %x: float32[]) {
  %0: float32[] = add(%x, %e)
  return %0
}
func @code(%a: float32[], %k: float32[]) {
  %0: float32[] = mul(%a, %k)
  return %0
}
func @f(%c: bool[], %x: float32[]) updates {0: 'x'} {
  %0: int64[], %1: float32[], %2: stack<float32[]> = while(int64[]{0}, %x, cond=@cond, body=@body, invariants=0, saves=1)
  %3: float32[] = scan(%2, %1, body=@back, invariants=0, reverse=True, saves=0, stacks=1)
  %4: float32[] = if(%c, %3, %2, then=@then, orelse=@orelse)
  %5: fn(float32[]) -> (float32[]) = closure @code(%4)
  %6: float32[] = apply(%5, %x)
  %7: env = env(%6)
  %8: float32[] = unenv(%7, types=('float32[]',))
  %9: float32[] = nothing(type='float32[]')
  %10: float32[] = accumulate(%8, %9)
  check(%c, %10, message='{}')
  return %10
}
"""  # noqa: E501 - one line per binding

DAMAGE = {
    "return %10\n": ("return %c\n", "@f: update 0 -> 'x' does not match a result and a parameter"),
    "updates {0: 'x'}": (
        "updates {0: 'y'}",
        "@f: update 0 -> 'y' does not match a result and a parameter",
    ),
    "  %7: env": ("  %7: env = env()\n  %7: env", "@f: %7 is defined twice; every value has one name"),
    "%10: float32[] = acc": (
        "%10: float64[] = acc",
        "@f: accumulate gives (float32[]), its outputs say (float64[])",
    ),
    "apply(%5, %x)": ("apply(%5, %c)", "@f: apply: (bool[]) is given, (float32[]) is taken"),
    "= apply(%5, ": ("= apply(%4, ", "@f: apply: (float32[]) is no function"),
    "closure @code(%4)": (
        "closure @code(%c)",
        "@f: closure of @code: (bool[]) is given, (float32[]) is taken",
    ),
    "if(%c, ": ("if(%x, ", "@f: if: the condition is (float32[]), it must be bool[]"),
    "if(%c, %3, ": (
        "if(%c, %0, ",
        "@f: if, then: (int64[], stack<float32[]>) is given, (float32[], stack<float32[]>) is taken",
    ),
    "%0: float32[] = neg(%x)\n  return %0": (
        "return %s",
        "@f: if, results of orelse: (stack<float32[]>) is given, (float32[]) is taken",
    ),
    "scan(%2, %1": ("scan(%1, %1", "@f: scan: (float32[]) must be stacks, one at least"),
    "%0: bool[] = less(%n, int64[]{3})": (
        "%0: int64[] = add(%n, %n)",
        "@f: while: the condition is (int64[]), it must be bool[]",
    ),
    "return %0, %x, %x": (
        "return %x, %x, %x",
        "@f: while, next state: (float32[], float32[]) is given, (int64[], float32[]) is taken",
    ),
    "unenv(%7": ("unenv(%6", "@f: unenv: (float32[]) is given, (env) is taken"),
    "accumulate(%8, %9)": (
        "accumulate(%8, %0)",
        "@f: accumulate: (float32[], int64[]) is given, (float32[], float32[]) is taken",
    ),
    "check(%c, ": ("check(%x, ", "@f: check: the condition is (float32[]), it must be bool[]"),
    "%0: float32[] = add(%x, %e)": (
        "%0: float32[2] = add(%x, %e)",
        "@back: add gives (float32[]), its outputs say (float32[2])",
    ),
}


@pytest.mark.parametrize(("before", "after", "message"), [(a, *b) for a, b in DAMAGE.items()])
def test_each_kind_of_damage_is_named(before, after, message):
    """The good Func passes; with one thing changed the message says what does not fit, and where."""
    verify(parse_func(GOOD))
    assert GOOD.count(before) == 1
    with pytest.raises(IllFormedFunc) as caught:
        verify(parse_func(GOOD.replace(before, after)))
    assert str(caught.value) == message


def test_a_call_of_a_func_that_does_not_stand_around_is_refused():
    """A mark of recursion means a Func around; there must be one."""
    (param,) = parse_func("func @f(%x: float32[]) {\n  return %x\n}").params
    call = Binding((replace(param, name="0"),), "call", (param,), {"func": Rec("g")})
    with pytest.raises(IllFormedFunc) as caught:
        verify(Func("f", (param,), (call,), call.outputs))
    assert str(caught.value) == "@f: @g is called inside of itself, but does not stand around the call"


def test_what_was_found_well_formed_is_not_looked_at_again(monkeypatch):
    """A Func in which one binding is new costs one look at an operator's types."""
    func = parse_func(GOOD)
    verifier = Verifier()
    verifier.verify(func)
    seen: list[str] = []
    module = importlib.import_module("framework.ir.verify")
    monkeypatch.setattr(module, "_check_types", lambda func, binding, known: seen.append(binding.op))
    verifier.verify(replace(func, bindings=(*func.bindings[:-1], replace(func.bindings[-1]))))
    assert seen == ["check"]
