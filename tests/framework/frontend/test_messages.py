"""What is wrong is told with the user's lines. Messages are compared exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from davinci_sim.errors import DavinciError
from framework import Tensor, jit, nn, ops
from framework.ir.evaluate import CheckFailed

# ruff: noqa: F821, F841, PERF401, SIM108, PLW0108, T201 - the mistakes are what is tested

X = Tensor(np.array([1.0, -2.0, 3.0], np.float64))


def refused(function, *args):
    with pytest.raises(DavinciError) as caught:
        jit(function)(*(args or (X,)))
    return str(caught.value)


def place(function, offset, text, at=None):
    """Return how a line is told, with a caret below a part of it."""
    caret = "" if at is None else f"\n    {' ' * text.index(at)}^"
    return f"  {__file__}:{function.__code__.co_firstlineno + offset}\n    {text}{caret}"


def test_branches_of_different_types_are_told_with_both_lines():
    """The variable, both types, both assignments."""

    def f(x, n):
        if n > 0:
            y = x
        else:
            y = x.sum()
        return y

    assert refused(f, X, 1) == (
        f"'y': branches give float64[3] and float64[]\n{place(f, 2, 'y = x')}\n{place(f, 4, 'y = x.sum()')}"
    )


def test_types_that_nobody_reads_may_differ():
    """A variable in conflict is a mistake only where it is read."""

    def f(x, n):
        if n > 0:
            y = x
        else:
            y = "text"
        return x

    np.testing.assert_array_equal(jit(f)(X, 1).numpy(), X.numpy())


def test_returns_of_different_types_are_told_with_both_lines():
    """Also a return on one path only."""

    def f(x, n):
        if n > 0:
            return x
        return x.sum()

    def g(x, n):
        if n > 0:
            return x

    assert refused(f, X, 1) == (
        f"branches give float64[3] and float64[]\n{place(f, 2, 'return x')}\n{place(f, 3, 'return x.sum()')}"
    )
    assert refused(g, X, 1) == f"returns give float64[3] and None\n{place(g, 2, 'return x')}"


def test_a_loop_keeps_the_types_of_its_variables():
    """Both lines, and the way out."""

    def f(x, n):
        ys = []
        for i in range(3):
            ys.append(x * i)
        return ys

    assert refused(f, X, 1) == (
        "'ys': the turns of a loop give a list of 0 and a list of 1\n"
        f"{place(f, 1, 'ys = []')}\n{place(f, 3, 'ys.append(x * i)')}\n"
        "  next: let a turn leave the type as it was, or write the turns out: for i in ops.unroll(range(3))"
    )


def test_a_variable_that_only_other_paths_assign_stops_the_program():
    """Python's message, the line of the assignment, the line of the use."""

    def f(x, n):
        if n > 3:
            z = x
        return z

    with pytest.raises(CheckFailed) as caught:
        jit(f)(X, 1)
    assert str(caught.value) == (
        "UnboundLocalError: cannot access local variable 'z' where it is not associated with a value\n"
        f"  it is assigned on another path\n{place(f, 2, 'z = x')}\n"
        f"  and read here\n{place(f, 3, 'return z', 'z')}"
    )
    np.testing.assert_array_equal(jit(f)(X, 4).numpy(), X.numpy())


def test_a_name_that_is_never_assigned_before_is_told_when_compiling():
    """Use before assignment."""

    def f(x):
        y = later
        later = x
        return y

    assert refused(f) == (
        f"'later' is used before it is assigned\n  it is assigned here\n{place(f, 2, 'later = x')}\n"
        f"  and used here\n{place(f, 1, 'y = later')}\n        ^"
    )


def test_assert_and_raise_stop_the_program_with_their_message():
    """Values of run time are shown in it."""

    def f(x, n):
        assert n > 3, f"n = {n} of {x[0]:.2f} and {{}}"
        return x

    def g(x, n):
        if n < 5:
            raise ValueError(f"bad {n}")
        return x

    with pytest.raises(CheckFailed) as caught:
        jit(f)(X, 3)
    line = place(f, 1, 'assert n > 3, f"n = {n} of {x[0]:.2f} and {{}}"', "assert")
    assert str(caught.value) == f"AssertionError: n = 3 of 1.00 and {{}}\n{line}"
    with pytest.raises(CheckFailed) as caught:
        jit(g)(X, 3)
    line = place(g, 2, 'raise ValueError(f"bad {n}")', "raise")
    assert str(caught.value) == f"ValueError: bad 3\n{line}"
    np.testing.assert_array_equal(jit(g)(X, 5).numpy(), X.numpy())


def test_a_function_that_always_raises_has_nothing_to_compile():
    """It is told when compiling."""

    def f(x):
        raise ValueError("no")

    line = place(f, 1, 'raise ValueError("no")')
    assert refused(f) == f"f raises on every path, so there is nothing to compile\n{line}\n    ^"


def test_loops_without_end_are_refused():
    """`while True` needs a way out."""

    def f(x):
        while True:
            x = x + 1
        return x

    assert refused(f) == (
        f"a loop without an end: its condition is always true\n{place(f, 1, 'while True:')}\n    ^\n"
        "  next: add a break"
    )


def grows(x):
    return grows(ops.concat([x, x]))


def test_recursion_with_ever_new_types_is_refused():
    """It cannot be a recursion of one Func."""
    assert refused(grows).startswith(
        "calls are nested more than 100 deep at grows: a function that calls itself with arguments of other "
        "types each time does not end here\n"
        "  next: let the arguments of the inner call have the types of the outer one's\n"
    )


def test_a_comprehension_needs_a_known_length():
    """Its result is a list."""
    assert refused(lambda x, n: [x * i for i in range(n)], X, 3).startswith(
        "a comprehension goes over a number of items that is known at run time only\n"
        "  rule: its length must be known when compiling\n"
        "  next: write a `for` that updates a tensor: y[i] = ..., or give range known bounds\n"
    )


def test_a_list_with_two_names_is_not_changed_in_place():
    """The other name would keep the old list."""

    def f(x):
        a = [x]
        b = a
        a.append(x)
        return b

    assert refused(f) == (
        "changing a list in place: 'b' means it, too is not supported in compiled code\n"
        f"{place(f, 3, 'a.append(x)')}\n    ^\n  instead: copy it first"
    )


def test_attributes_of_objects_are_not_assigned():
    """Return the new value instead."""

    def f(x):
        x.scale = 3
        return x

    assert refused(f) == (
        f"changing an attribute is not supported in compiled code\n{place(f, 1, 'x.scale = 3')}\n    ^\n"
        "  instead: return the new value"
    )


def test_print_is_refused():
    """It would run when compiling."""
    assert refused(lambda x: print(x)).startswith(
        "print runs while compiling, not with every call; return the value, or use assert\n"
    )


def test_an_index_outside_of_a_tuple_stops_the_program():
    """The index is known at run time only."""
    f = jit(lambda x, n: (x, x * 2)[n])
    np.testing.assert_array_equal(f(X, -1).numpy(), X.numpy() * 2)
    with pytest.raises(CheckFailed, match="IndexError: index 2 is outside of 2\n"):
        f(X, 2)


def test_a_shape_must_be_known():
    """An axis or a shape is no value of run time."""

    def f(x, n):
        return ops.reshape(x, (n, 1))

    assert refused(f, X, 3) == (
        "an attribute is int64[], which is known at run time only\n"
        "  rule: shapes, axes and the like are known when compiling\n"
        "  next: close over the number or bind it with functools.partial instead of passing it, or write a "
        f"loop over it with ops.unroll\n{place(f, 1, 'return ops.reshape(x, (n, 1))')}\n           ^"
    )


def test_what_a_caller_has_is_not_changed():
    """A list of the caller's, and a tensor of the function around, would keep their values."""

    def f(x):
        def add(xs):
            xs.append(x)
            return xs

        return add([x])

    def g(x):
        y = x + 0

        def change():
            y[0] = 1.0

        change()
        return y

    assert refused(f).startswith(
        "changing a list in place: it belongs to the caller is not supported in compiled code\n"
        f"{place(f, 2, 'xs.append(x)')}\n    ^\n  instead: copy it first"
    )
    assert refused(g).startswith(
        "changing a tensor in place: it belongs to what is around is not supported in compiled code\n"
        f"{place(g, 4, 'y[0] = 1.0')}\n    ^\n  instead: copy it first"
    )


def test_methods_that_change_a_list_are_refused_but_as_statements():
    """They would change what both branches of a condition see."""

    def f(x):
        xs = [x, x]
        return xs.pop()

    assert refused(f) == (
        "pop changes a list in place; compiled code knows the statements xs.append(x), xs.extend(ys), "
        "xs.insert(i, x), d.update(e), and x[i] = y\n"
        f"  next: make a new one, for example xs = xs[:-1]\n{place(f, 2, 'return xs.pop()')}\n           ^"
    )


def test_random_numbers_are_not_drawn_while_compiling():
    """They would be the same with every call."""
    assert refused(lambda x: x * np.random.rand()).startswith("a call of rand cannot be compiled; ")


FORM = "{}"


def join_up(x):
    return FORM.format(x[0])


def helper(x, scale):
    return x * scale


@dataclass
class Two:
    """Two values."""

    a: Any
    b: Any


NOTHING = None

MISTAKES = [
    (lambda x: {"a": x, 1: x}["b"], "a dict has no key 'b'; its keys are 'a', 1"),
    (
        lambda x: x + None,
        "an operand is None\n  rule: operands are tensors, arrays and numbers\n"
        "  next: return a value on every path of the function that gives it, or test `is None` first",
    ),
    (lambda x: x * "a", "an operand is 'a'\n  rule: operands are tensors, arrays and numbers, this is a str"),
    (lambda x: NOTHING(x), "None is called, it is no function but a NoneType"),
    (
        lambda x: np.sum(x),
        "a call of sum cannot be compiled; call operators (framework.ops: here ops.reduce_sum), Cells and "
        "plain Python functions, or compute it outside",
    ),
    (
        lambda x: x.item(),
        "a number of a tensor float64[3]: it must have one element\n"
        "  next: choose one, x[i], or reduce it with ops.reduce_sum, ops.reduce_mean ...",
    ),
    (
        lambda x: [x, x.sum()][x[0].astype("int32")],
        "which item of a list is meant is known at run time only\n"
        "  rule: then all have one type, these have float64[3], float64[]",
    ),
    (lambda x: (x, x)[x[0]], "the index of a tuple is float64[]; it must be one integer"),
    (
        lambda x: ops.sinus(x),
        "module framework.ops has no attribute 'sinus'; did you mean sin or sinh or silu?",
    ),
    (lambda x: Two(x, x).c, "a Two has no attribute 'c'; it must be set in __init__"),
]


@pytest.mark.parametrize(("function", "told"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_in_expressions_are_told_in_the_programs_words(function, told):
    """The object, the rule, the line, a caret; nothing about the classes of the compiler."""
    text = refused(function)
    assert text.startswith(f"{told}\n  {__file__}:{function.__code__.co_firstlineno}\n    ")
    assert text.splitlines()[-1].strip() == "^"


def test_a_wrong_call_of_a_function_is_told_with_both_lines():
    """That of its `def`, and that of the call."""

    def f(x):
        return helper(x)

    assert refused(f) == (
        f"helper is called without its argument 'scale'\n{place(helper, 0, 'def helper(x, scale):')}\n"
        f"{place(f, 1, 'return helper(x)')}\n           ^"
    )
    assert refused(helper) == (
        f"helper is called without its argument 'scale'\n{place(helper, 0, 'def helper(x, scale):')}"
    )


def test_texts_of_run_time_are_made_by_fstrings_only():
    """A method of a text would show the compiler's value."""
    assert refused(join_up).startswith(
        "the text method format is given a tensor, whose value is known at run time only\n"
        "  next: write an f-string in assert or raise, which shows it then\n"
    )


def test_items_are_chosen_by_integers_of_every_dtype():
    """Those of a tensor, too."""
    f = jit(lambda x, n: [x, x * 2, x * 3][n])
    for dtype in (np.int8, np.int32, np.int64, np.uint8):
        np.testing.assert_array_equal(f(X, Tensor(np.asarray(2, dtype))).numpy(), X.numpy() * 3)


class Net(nn.Cell):
    """A network with a layer that does not fit."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(4, 2)

    def construct(self, x):
        """Return what the layer makes of x."""
        return self.dense(x)


def test_a_mistake_in_a_layer_names_the_line_that_uses_it_too():
    """The line of the layer is followed by the user's."""
    text = refused(Net(), Tensor(np.ones((2, 3), np.float32)))
    assert text.startswith("matmul: float32[2, 3] and float32[2, 4] transposed do not match: ")
    assert "framework/nn/layers.py:" in text.splitlines()[1]
    assert text.endswith(f"{place(Net.construct, 2, 'return self.dense(x)')}\n           ^")


def test_no_message_comes_with_a_traceback_of_the_compiler():
    """It is one message, whatever it began as."""
    for function in (lambda x: {}["a"], lambda x: None + x, lambda x: Two(x), lambda x: 1 // 0):
        with pytest.raises(DavinciError) as caught:
            jit(function)(X)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def ping(x):
    return pong([x])


def pong(x):
    return ping([x])


def doubles(x):
    return doubles((x, x))


def test_recursion_without_end_shows_its_chain_of_calls():
    """Both functions, and what is repeated once; tuples of tuples are refused before they fill the memory."""
    assert refused(ping).startswith(
        "calls are nested more than 100 deep at ping: a function that calls itself with arguments of other "
        "types each time does not end here\n"
        "  next: let the arguments of the inner call have the types of the outer one's\n"
        "  then, 50 times over:\n"
        f"    @ping  {__file__}:{ping.__code__.co_firstlineno + 1}  return pong([x])\n"
        f"    @pong  {__file__}:{pong.__code__.co_firstlineno + 1}  return ping([x])\n"
    )
    assert refused(doubles).startswith("calls are nested more than 11 deep at doubles: ")


def even(n, x):
    return odd(n - 1, x)


def odd(n, x):
    return even(n - 1, x) + x


def test_a_circle_of_calls_on_every_path_is_told_with_each_call():
    """In the order in which they call one another."""
    assert refused(even, 3, X) == (
        "even calls itself on every path, so it never ends\n"
        f"  @even  {__file__}:{even.__code__.co_firstlineno + 1}  return odd(n - 1, x)\n"
        f"  @odd  {__file__}:{odd.__code__.co_firstlineno + 1}  return even(n - 1, x) + x\n"
        "  next: return something without a further call under some condition"
    )


def test_zip_may_demand_equal_lengths():
    """When compiling, or at run time."""

    def f(x, n):
        y = x[0]
        for a, b in zip(x, range(n), strict=True):
            y = y + a * b
        return y

    assert refused(lambda x: [a for a, _ in zip([x, x], [x], strict=True)]).startswith(
        "zip: argument 2 has 1 items, argument 1 has 2\n"
    )
    assert refused(f, X, 2) == (
        "ValueError: zip() argument 2 has 2 items, argument 1 has 3\n"
        f"{place(f, 2, 'for a, b in zip(x, range(n), strict=True):', 'zip')}"
    )
    assert float(jit(f)(X, 3)) == 5.0


class Empty(nn.Cell):
    """A Cell that computes nothing."""


def test_arguments_that_nothing_can_be_made_of_are_refused():
    """Integers of more than 64 bits, rows of different lengths, a Cell without a construct."""
    assert refused(lambda n: n * 2, 2**70).startswith(f"a number among the arguments is {2**70}\n")
    assert refused(Empty()).startswith("Empty has no construct method; define construct(self, ...)")
    with pytest.raises(DavinciError, match="a tensor is made of a list whose items have different lengths"):
        Tensor([[1, 2], [3]])
