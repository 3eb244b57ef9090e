"""Numbers of a program follow Python among themselves, and the tensors that they meet."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import Tensor, ops
from framework.dtypes import dtype
from framework.ir import Builder, Sym, TensorType, evaluate, verify

KINDS = {bool: "bool", int: "int64", float: "float64"}
BINARY = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.lt,
    operator.ge,
    operator.eq,
]
BITS = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]


def number(builder: Builder, kind: type) -> Sym:
    """Return a number that is known at run time."""
    param = builder.param(TensorType((), dtype(KINDS[kind])))
    return Sym(builder, param.atom, weak=True)


NUMBERS = st.booleans() | st.integers(0, 6) | st.sampled_from([0.5, 1.0, 2.5, 3.0])


@pytest.mark.parametrize("function", BINARY)
@given(a=NUMBERS, b=NUMBERS)
def test_two_numbers_make_the_number_that_python_makes(function, a, b):
    """In value and in kind: int / int is a float, True + True is 2."""
    if not b and function in (operator.truediv, operator.floordiv, operator.mod):
        b = type(b)(3)
    builder = Builder()
    found = function(number(builder, type(a)), number(builder, type(b)))
    (value,) = evaluate(verify(builder.finish("f", [found])), [np.array(a), np.array(b)])
    wanted = function(a, b)
    assert found.weak
    assert value == pytest.approx(wanted)
    assert (value.dtype.name, value.shape) == (KINDS[type(wanted)], ())


@pytest.mark.parametrize("function", BITS)
@given(a=st.booleans() | st.integers(-9, 9), b=st.booleans() | st.integers(0, 9))
def test_whole_numbers_have_the_bits_that_they_have_in_python(function, a, b):
    """Two truths combine to a truth, anything else to an integer."""
    builder = Builder()
    found = function(number(builder, type(a)), number(builder, type(b)))
    (value,) = evaluate(verify(builder.finish("f", [found])), [np.array(a), np.array(b)])
    assert found.weak
    assert (value, value.dtype.name) == (function(a, b), KINDS[type(function(a, b))])


@pytest.mark.parametrize("function", BINARY[:7])
@given(a=NUMBERS, b=NUMBERS)
def test_a_number_and_a_constant_make_what_python_makes(function, a, b):
    """The same when one of the two is known when compiling."""
    if not b and function in (operator.truediv, operator.floordiv, operator.mod):
        b = type(b)(3)
    builder = Builder()
    found = [function(number(builder, type(a)), b), function(a, number(builder, type(b)))]
    values = evaluate(verify(builder.finish("f", found)), [np.array(a), np.array(b)])
    wanted = function(a, b)
    for value in values:
        assert value == pytest.approx(wanted)
        assert value.dtype.name == KINDS[type(wanted)]


@pytest.mark.parametrize(
    ("tensor", "kind", "result"),
    [
        ("float16", float, "float16"),
        ("float16", int, "float16"),
        ("float64", bool, "float64"),
        ("int32", int, "int32"),
        ("int8", bool, "int8"),
        ("int32", float, "float32"),
        ("bool", int, "int32"),
        ("bool", float, "float32"),
    ],
)
def test_a_number_takes_on_the_dtype_of_a_tensor(tensor, kind, result):
    """A float makes float32 of integers, a number never widens floats; the result is a tensor."""
    builder = Builder()
    x = builder.param(TensorType((2,), dtype(tensor)))
    for found in (x * number(builder, kind), number(builder, kind) + x, x * kind(1)):
        assert (str(found.type), found.weak) == (f"{result}[2]", False)


def test_a_number_keeps_the_digits_that_the_dtype_has():
    """It is not rounded to float32 on the way to float64, nor to int32 on the way to int64."""
    builder = Builder()
    x, n = builder.param(TensorType((), dtype("float64"))), number(builder, int)
    (product, total) = evaluate(builder.finish("f", [x * 0.1, n + 2**40]), [np.float64(1), np.array(1)])
    assert (product, total) == (0.1, 2**40 + 1)
    assert (Tensor(np.float64(1)) * 0.1).item() == 0.1


def test_functions_of_numbers_are_numbers():
    """The exponential of an int is a float; a cast makes a tensor; so does an axis."""
    builder = Builder()
    n = number(builder, int)
    assert [str(ops.exp(n).type), ops.exp(n).weak] == ["float64[]", True]
    assert [str((-number(builder, bool)).type), abs(n).weak] == ["int64[]", True]
    assert not n.astype("float32").weak
    assert not ops.broadcast_to(n, (2,)).weak
    assert ops.select(builder.param(TensorType((), dtype("bool"))), n, 1.5).weak
    assert str(ops.select(n > 1, n, 1.5).type) == "float64[]"


def test_a_number_keeps_its_weakness_in_an_inner_function():
    """A value of the function around is a number there, too."""
    outer = Builder()
    n = number(outer, int)
    inner = Builder(outer)
    assert inner.value(n).weak


def test_truths_are_counted():
    """The sum of a comparison says how often it holds, its mean how much of the time."""
    x = Tensor([1.0, -2.0, 3.0])
    assert [(x > 0).sum().item(), str((x > 0).sum().dtype)] == [2, "int32"]
    assert (x > 0).mean().item() == pytest.approx(2 / 3)
    assert (x > 0).cumsum().numpy().tolist() == [1, 1, 2]
    assert ops.arange(4).mean().item() == 1.5


def test_integers_divide_to_floats():
    """`/` is Python's: 1 / 2 is a half; `//` and `%` round down."""
    x = ops.arange(-3, 4, 3)
    assert (x / 2).numpy().tolist() == [-1.5, 0.0, 1.5]
    assert str((x / 2).dtype) == "float32"
    assert (x // 2).numpy().tolist() == [-2, 0, 1]
    assert (x % 2).numpy().tolist() == [1, 0, 1]
    assert [each.numpy().tolist() for each in divmod(7, x + 5)] == [[3, 1, 0], [1, 2, 7]]
