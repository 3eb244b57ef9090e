"""Which calls of a compiled function share what is compiled: told quickly, and told right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from framework import Parameter, Tensor, grad, jit
from framework.frontend.signature import Unusual, signature

X = Tensor(np.arange(3, dtype=np.float32))


@dataclass(frozen=True)
class Scale:
    """A number and a tensor."""

    factor: Any
    offset: Any


class Pair(NamedTuple):
    """Two values."""

    first: Any
    second: Any


def key(*args: Any) -> Any:
    """Return the key of a call."""
    return signature(args, [])


SAME = [
    ((X,), (Tensor(np.ones(3, np.float32)),)),
    ((X,), (np.ones(3, np.float32),)),
    ((1,), (2,)),
    ((1.5, "a"), (2.5, "a")),
    (([X, (X, 1)],), ([X, (X, 7)],)),
    (({"a": X},), ({"a": Tensor(np.zeros(3, np.float32))},)),
    ((np.float32(1),), (Tensor(np.float32(2)),)),
]
OTHER = [
    ((X,), (Tensor(np.ones(4, np.float32)),)),
    ((X,), (Tensor(np.ones(3)),)),
    ((1,), (1.0,)),
    ((1,), (True,)),
    ((True,), (False,)),
    ((0,), (None,)),
    (("a",), ("b",)),
    (([X],), ((X,),)),
    ((X, (X,)), ((X, X),)),
    (({"a": X},), ({"b": X},)),
    ((X.sum,), (X.mean,)),
]


@pytest.mark.parametrize(("one", "two"), SAME)
def test_calls_share_code_when_only_values_differ(one, two):
    """Values of tensors and numbers are not part of a signature."""
    assert key(*one) == key(*two)


@pytest.mark.parametrize(("one", "two"), OTHER)
def test_calls_share_no_code_when_types_or_constants_differ(one, two):
    """Shapes, dtypes, kinds of numbers, truths, texts, containers, keys and objects are."""
    assert key(*one) != key(*two)


class Gain:
    """An object with a method that is passed as an argument."""

    def __init__(self, factor):
        self.factor = factor

    def times(self, x):
        """Return x times the factor."""
        return x * self.factor


def test_a_method_is_told_by_its_function_and_object():
    """Each look at it makes a new object, with which nothing is compiled anew."""
    run = jit(lambda x, act, box: act(x) + box["act"](x))
    one, other = Gain(2.0), Gain(3.0)
    for _ in range(3):
        np.testing.assert_array_equal(run(X, one.times, {"act": one.times}).numpy(), X.numpy() * 4)
    assert len(run._compiled) == 1
    np.testing.assert_array_equal(run(X, one.times, {"act": other.times}).numpy(), X.numpy() * 5)
    assert len(run._compiled) == 2


@pytest.mark.parametrize("value", [Scale(1, X), Pair(X, X)])
def test_records_are_looked_into_with_more_care(value):
    """The quick way says so; the call works all the same."""
    with pytest.raises(Unusual):
        key(value)
    double = jit(lambda pair: pair.second if isinstance(pair, Pair) else pair.offset)
    for _ in range(2):
        np.testing.assert_array_equal(double(value).numpy(), X.numpy())


def test_numbers_of_every_kind_come_in_by_value():
    """Later calls with another number, or with a Python number at a place that is differentiated."""
    square, slope = jit(lambda x, n: x * n), grad(lambda x: x * x)
    assert [float(square(2.0, n)) for n in (1, 2, 3)] == [2.0, 4.0, 6.0]
    assert [float(slope(x)) for x in (1.0, 2.5, -3.0)] == [2.0, 5.0, -6.0]
    assert [float(slope(Tensor(x))) for x in (1.0, 2.5)] == [2.0, 5.0]
    assert float(square(n=4, x=0.5)) == 2.0


def test_a_parameter_is_read_anew_in_each_call():
    """What training changes is not part of the code, as an argument or from outside."""
    weight = Parameter(np.ones(3, np.float32), "weight")
    outside, argument = jit(lambda x: x * weight), jit(lambda x, w: x * w)
    for factor in (1.0, 2.0, 3.0):
        weight.set_data(np.full(3, factor, np.float32))
        np.testing.assert_array_equal(outside(X).numpy(), X.numpy() * factor)
        np.testing.assert_array_equal(argument(X, weight).numpy(), X.numpy() * factor)


def test_results_fill_their_structure():
    """One value, a tuple of them, and what is nested, with constants in it."""
    one, flat, nested = (
        jit(lambda x: x + 1),
        jit(lambda x: (x, x + 1)),
        jit(lambda x: {"a": [x, (x + 1, "b")], "c": None}),
    )
    for _ in range(2):
        assert one(X).numpy().tolist() == [1, 2, 3]
        assert [each.numpy().tolist() for each in flat(X)] == [[0, 1, 2], [1, 2, 3]]
        found = nested(X)
        assert (found["c"], found["a"][1][1]) == (None, "b")
        assert found["a"][1][0].numpy().tolist() == [1, 2, 3]
