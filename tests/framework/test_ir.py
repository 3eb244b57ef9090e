"""The IR: text, verifier, structure, evaluation and passes on random Funcs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.errors import ShapeMismatch
from framework import Tensor, jit, ops, passes
from framework.dtypes import float32
from framework.ir import (
    Builder,
    Const,
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
from framework.ir.verify import IllFormedFunc

BINARY = (ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum)
UNARY = (
    ops.neg,
    ops.abs,
    ops.relu,
    lambda x: x + 0.0,
    lambda x: x * 1.0,
    lambda x: x.astype(float32),
    lambda x: x.astype("float64").astype(float32),
    lambda x: x.T.T,
    lambda x: x.reshape(-1).reshape(x.shape),
    lambda x: ops.reduce_max(x, 0, True) + x,
)


@st.composite
def funcs(draw) -> Func:
    """A random Func of two float32[2, 3], with shared values, constants, calls and dead code."""
    builder = Builder()
    values = [builder.param(TensorType((2, 3), float32), name) for name in ("a", "b")]
    values.append(builder.constant(np.float32(draw(st.sampled_from([0.0, 1.0, -2.5])))) + values[0])
    for _ in range(draw(st.integers(1, 12))):
        pick = st.sampled_from(values)
        if draw(st.booleans()):
            values.append(draw(st.sampled_from(BINARY))(draw(pick), draw(pick)))
        elif draw(st.integers(0, 3)) == 0:
            values.append(builder.call(_square_plus(draw(st.sampled_from([0.0, 2.0]))), [draw(pick)])[0])
        else:
            values.append(draw(st.sampled_from(UNARY))(draw(pick)))
    return builder.finish("random", [values[-1], draw(st.sampled_from(values))])


def _square_plus(constant: float) -> Func:
    builder = Builder()
    x = builder.param(TensorType((2, 3), float32), "x")
    return builder.finish("square_plus", [x * x + constant])


def arguments():
    generator = np.random.default_rng(1)
    return [generator.integers(-3, 4, (2, 3)).astype(np.float32) for _ in range(2)]


@settings(max_examples=60, deadline=None)
@given(funcs())
def test_text_is_read_back_as_the_same_func(func):
    """Printing and parsing lose nothing but source lines; callees of one name are told apart."""
    read = parse_func(print_func(func))
    assert structurally_equal(read, func)
    assert parse_func(print_func(read)) == read
    for found, expected in zip(evaluate(read, arguments()), evaluate(func, arguments()), strict=True):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=60, deadline=None)
@given(funcs(), st.sampled_from([*passes.OPTIMIZE, passes.run]))
def test_passes_keep_the_meaning(func, each):
    """A pass gives a well-formed Func with the same results, and is settled after a second run."""
    after = verify(each(verify(func)))
    for found, expected in zip(evaluate(after, arguments()), evaluate(func, arguments()), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert len(after.bindings) <= len(passes.inline(func).bindings)


def test_text_of_a_small_func():
    """The golden of the printed form."""
    builder = Builder()
    x = builder.param(TensorType((2,), float32), "x")
    func = builder.finish("f", [ops.reduce_sum(x * 2), x])
    assert print_func(func) == (
        "func @f(%x: float32[2]) {\n"
        "  %0: float32[2] = mul(%x, float32[]{2.0})\n"
        "  %1: float32[] = reduce_sum(%0, axes=(0,), keepdims=False)\n"
        "  return %1, %x\n"
        "}"
    )


@pytest.mark.parametrize(
    "array",
    [
        np.float32([np.nan, 1]),
        np.float32([np.inf, -np.inf]),
        np.arange(40, dtype=np.int64),
        np.zeros((0, 3), np.float16),
        np.array([True, False]),
        np.full((9, 9), 0.1),
        np.float16([0.1, -0.0]),
        np.int8(-3),
    ],
)
def test_constants_of_every_kind_survive_the_text(array):
    """The bits of a constant are those that were printed."""
    func = Func("f", (), (), (Const.of(np.asarray(array)),))
    assert parse_func(print_func(func)) == func


def test_names_do_not_matter_to_structure():
    """The hash follows structure: renaming keeps it, another constant changes it."""

    def make(name, constant):
        builder = Builder()
        x = builder.param(TensorType((2,), float32), name)
        return builder.finish(name, [x * constant])

    assert structural_hash(make("a", 2.0)) == structural_hash(make("b", 2.0))
    assert not structurally_equal(make("a", 2.0), make("a", 3.0))


def test_the_verifier_names_what_is_wrong():
    """A use before definition, a wrong type and a second definition are all refused."""
    builder = Builder()
    x = builder.param(TensorType((2,), float32), "x")
    func = builder.finish("f", [x * x])
    (binding,) = func.bindings
    with pytest.raises(IllFormedFunc, match="@f: return uses %y before it is defined"):
        verify(replace(func, results=(Var("y", TensorType((2,), float32)),)))
    with pytest.raises(IllFormedFunc, match="@f: %x is defined twice; every value has one name"):
        verify(replace(func, bindings=(replace(binding, outputs=(Var("x", TensorType((2,), float32)),)),)))
    wrong = Var("0", TensorType((3,), float32))
    with pytest.raises(
        IllFormedFunc, match=r"@f: mul gives \(float32\[2\]\), its outputs say \(float32\[3\]\)"
    ):
        verify(replace(func, bindings=(replace(binding, outputs=(wrong,)),), results=(wrong,)))


def test_evaluation_checks_its_arguments():
    """Another shape than the parameter's is refused."""
    builder = Builder()
    func = builder.finish("f", [builder.param(TensorType((2,), float32), "x")])
    with pytest.raises(ShapeMismatch, match=r"@f: argument %x is float32\[3\], it must be float32\[2\]"):
        evaluate(func, [np.zeros(3, np.float32)])


def body(function, *args):
    compiled = jit(function).compiled(*args)
    return compiled.func.ops()


def test_each_simplification_removes_its_operator():
    """What changes nothing is gone, chains are one."""
    x = Tensor(np.ones((2, 3), np.float32))
    assert body(lambda x: (x + 0) * 1 / 1 - 0, x) == ()
    assert body(lambda x: x.T.T, x) == ()
    assert body(lambda x: x.reshape(6).reshape(3, 2), x) == ("reshape",)
    assert body(lambda x: x.astype("float64").astype("float32"), x) == ()
    assert body(lambda x: x.astype("float16").astype("float32"), x) == ("cast", "cast")
    assert body(lambda x: (x * x) + (x * x), x) == ("mul", "add")
    assert body(lambda x: x + (ops.exp(Tensor(1.0)) + 1), x) == ("add",)
