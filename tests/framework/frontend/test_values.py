"""Values taken apart and put together, and the one template of two of them."""

from __future__ import annotations

import ast
import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import Tensor, ops
from framework.dtypes import dtype
from framework.frontend import join, names
from framework.frontend.describe import describe
from framework.frontend.templates import Run, leaves_of, put_together, template_of
from framework.frontend.values import weak_constant
from framework.ir import Builder, TensorType

BUILDER = Builder()
SYMBOLS = [
    BUILDER.param(TensorType(shape, dtype(kind)))
    for shape, kind in (((), "float32"), ((2,), "float32"), ((), "int32"))
] + [weak_constant(BUILDER, number) for number in (1, 2.5, True)]
LEAVES = st.one_of(
    st.sampled_from(SYMBOLS),
    st.integers(-3, 3),
    st.floats(-2, 2),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        st.builds(slice, inner, st.just(None), inner),
        st.builds(lambda value: functools.partial(ops.add, value), inner),
    ),
    max_leaves=6,
)
NUMBERS = st.one_of(st.sampled_from(SYMBOLS), st.integers(-3, 3), st.floats(-2, 2), st.booleans())


def leaves(value):
    taken: list = []
    join.lower(BUILDER, value, template_of(value), taken)
    return taken


@given(VALUES)
def test_what_is_taken_apart_is_put_together_again(value):
    """The template of what is put together is the template that it is put together from."""
    template = template_of(value)
    again = put_together(template, leaves(value))
    assert template_of(again) == template
    assert hash(template_of(again)) == hash(template)
    assert [each.atom for each in leaves(again)] == [each.atom for each in leaves(value)]


@given(VALUES)
def test_a_value_joined_with_itself_is_itself(value):
    """Nothing that is known becomes unknown."""
    assert join.join(template_of(value), template_of(value)) == template_of(value)


@given(NUMBERS, NUMBERS)
def test_numbers_join_alike_from_both_sides(one, other):
    """Which path comes first does not matter; both fit what they are joined to."""
    templates = [template_of(one), template_of(other)]
    try:
        found = join.join(*templates)
    except join.Mismatch:
        with pytest.raises(join.Mismatch):
            join.join(*reversed(templates))
        return
    assert join.join(*reversed(templates)) == found
    for value in (one, other):
        lowered: list = []
        join.lower(BUILDER, value, found, lowered)
        assert [each.atom.type for each in lowered] == [leaf.type for leaf in leaves_of(found)]
        assert join.join(found, template_of(value)) == found


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (1, 2, "int64[] weak"),
        (1, 2.5, "float64[] weak"),
        (True, False, "bool[] weak"),
        (0, Tensor(2.0), "float32[]"),
        (0, Tensor(2), "int32[]"),
        (np.float64(1), Tensor(2.0, "float64"), "float64[]"),
    ],
)
def test_known_numbers_that_differ_are_numbers_of_run_time(one, other, text):
    """They take on the dtype of a tensor that they meet."""
    found = join.join(template_of(one), template_of(other))
    assert isinstance(found, Run)
    assert f"{found.type}{' weak' if found.weak else ''}" == text


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (Tensor([1.0]), Tensor([1.0, 2.0]), "float32[1] and float32[2]"),
        (None, Tensor(1.0), "None and float32[]"),
        ((1, 2), [1, 2], "a tuple of 2 and a list of 2"),
        ("a", "b", "'a' and 'b'"),
        ({"a": 1}, {"b": 1}, "a dict of 1 and a dict of 1"),
        (SYMBOLS[3], None, "a number (int) and None"),
        (0.5, Tensor(2), "0.5 and int32[]"),
    ],
)
def test_what_does_not_agree_is_described(one, other, text):
    """Messages name both sides."""
    with pytest.raises(join.Mismatch) as caught:
        join.join(template_of(one), template_of(other))
    assert str(caught.value) == text


def test_functions_that_differ_are_a_choice():
    """A number tells which one it is; a third one joins them."""
    two = join.join(template_of(ops.sin), template_of(ops.cos))
    three = join.join(two, template_of(ops.exp))
    assert join.join(three, template_of(ops.cos)) == three
    assert describe(two) == "a Choice"
    lowered: list = []
    join.lower(BUILDER, ops.exp, three, lowered)
    assert lowered[0].atom.value == 2


def body(text):
    return ast.parse(text).body


def test_names_that_are_assigned_and_read():
    """Targets of all kinds, changes in place, nested functions left out."""
    statements = body(
        "a, *b = c\nd[i].x = e\nf += 1\nxs.append(y)\ndef g(): h = 1\nfor k in z: pass\nw = (v := 2)"
    )
    assert names.assigned(statements) == {"a", "b", "d", "f", "xs", "g", "k", "w", "v"}
    assert names.assigned(body("y = [x for x in z]")) == {"y"}


def test_names_that_a_turn_may_read_before_it_assigns_them():
    """A branch that assigns on one side only leaves the name exposed."""
    assert names.exposed(body("a = 1\nb = a + c")) == {"c"}
    assert names.exposed(body("if p:\n    a = 1\nb = a")) == {"a", "p"}
    assert names.exposed(body("if p:\n    a = 1\nelse:\n    a = 2\nb = a")) == {"p"}
    assert names.exposed(body("for i in n:\n    a = i\nb = a")) == {"a", "n"}
    assert names.exposed(body("x += 1")) == {"x"}


def test_breaks_belong_to_their_loop():
    """A break of an inner loop is none of the outer one; a return is."""
    (loop,) = body(
        "for i in a:\n    for j in b:\n        break\n    else:\n        continue\n    return 1\n"
    )[0:1]
    inner = loop.body[0]
    assert not names.holds(inner, ast.Break)
    assert names.holds(inner, ast.Continue)
    assert names.holds(loop.body[1], ast.Return)
