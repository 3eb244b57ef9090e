"""Programs with closures, recursion, functions as values, Cells and records."""

# ruff: noqa: B023, PERF401, SIM108 - programs are written in all ways of users

from __future__ import annotations

import dataclasses
import functools
import math
from collections import namedtuple

import numpy as np

from framework import Parameter, nn, ops
from tests.framework.frontend.programs import X, case


@case(X)
def lambda_sees_names(x):
    k = 2.0
    f = lambda y: y * k
    a = f(x)
    k = 3.0
    return a + f(x)


@case(X, 3)
def function_of_run_time(x, n):
    if n > 2:
        f = lambda y: y * 2
    else:
        f = lambda y: y + n
    return f(x)


@case(X, 3)
def conditional_function(x, n):
    def a(y):
        return y * x

    def b(y):
        return y + n

    f = a if n > 4 else b
    return f(x) + f(x * 2)


@case(X, 5)
def recursive_closure(x, n):
    def go(y, k):
        if k == 0:
            return y
        return go(y * 1.1, k - 1) + x

    return go(x, n)


def even(n):
    return True if n == 0 else odd(n - 1)


def odd(n):
    return False if n == 0 else even(n - 1)


@case(7)
def mutual_recursion(n):
    return even(n), odd(n)


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@case(9)
def fibonacci(n):
    return fib(n)


def ack(m, n):
    if m == 0:
        return n + 1
    if n == 0:
        return ack(m - 1, 1)
    return ack(m - 1, ack(m, n - 1))


@case(2, 3)
def ackermann(m, n):
    return ack(m, n)


@case(X)
def recursion_with_a_known_number(x):
    return fib(6) * x


@case(X, 2)
def functional_updates(x, n):
    x[n] = 5.0
    x[0] += 2
    m = x[..., None]
    return x, m[1:, 0], x[n - 1]


@dataclasses.dataclass
class Pt:
    a: object
    b: object

    def norm(self):
        return self.a * self.a + self.b


@case(X, 3)
def dataclasses_in_a_loop(x, n):
    p = Pt(x, 1.0)
    for i in range(n):
        p = Pt(p.a * 2, p.b + i)
    p.b = p.b + 1
    return p.norm(), p


@case(X, 3)
def functions_in_a_list(x, n):
    for f in [lambda y: y + 1, lambda y: y * 2, ops.exp]:
        x = f(x)
    for i, g in enumerate((ops.sin, ops.cos)):
        x = g(x) * i
    return x


@case(X)
def function_that_returns_a_function(x):
    def outer(a):
        def inner(b):
            return a * b + x

        return inner

    f = outer(x * 2)
    return f(x) + functools.partial(outer(x), b=x)()


@case(X, 4)
def loop_that_composes(x, n):
    f = lambda y: y
    for i in range(n):
        f = lambda y, g=f, i=i: g(y) * 2 + i
    return f(x)


@case(X, 4)
def recursion_that_composes(x, n):
    def power(k):
        if k == 0:
            return lambda y: y
        g = power(k - 1)
        return lambda y: g(y) * x

    return power(n)(x)


@case(X, 4)
def continuation_passing(x, n):
    def f(k, cont):
        if k == 0:
            return cont(x)
        return f(k - 1, lambda v: cont(v) * k)

    return f(n, lambda v: v)


@case(X)
def math_functions(x):
    s = x.sum()
    k = 2.0
    for i in range(2):
        k = k + math.sqrt(k) * i
    return s * k + math.pi


@case(X, 3)
def keyword_arguments(x, n):
    def f(a, /, b=2, *args, c, d=4.0, **rest):
        return a * b + sum(args) * c - d + rest["e"]

    options = {"c": 3.0, "e": n}
    return f(x, 5, 1, 2, **options) + f(x, c=1, e=0) + f(*[x, n], c=n, e=n, d=n)


@case(X, 3)
def late_binding(x, n):
    fs = []
    for k in ops.unroll(range(3)):
        fs.append(lambda y: y * k)
    total = 0.0
    for f in fs:
        total = total + f(x).sum()
    return total


@case(X, 3)
def a_closure_sees_later_values(x, n):
    def f(y):
        return y * scale

    scale = 2.0
    a = f(x)
    if n > 1:
        scale = 5.0
    return a + f(x)


@case(X, 3)
def named_tuples(x, n):
    state = Pair(x, 1.0)
    for i in range(n):
        state = Pair(second=state.second * 2, first=state.first + i)
    return state.first * state.second, state


Pair = namedtuple("Pair", "first second")


class Scaled(nn.Cell):
    """A Cell with a Parameter, a condition and recursion."""

    def __init__(self, by, steps):
        super().__init__()
        self.by = Parameter(np.float64(by))
        self.steps = steps

    def again(self, x, n):
        """Return x times the Parameter, n times."""
        if n == 0:
            return x
        return self.again(x * self.by, n - 1)

    def construct(self, x):
        """Return x scaled."""
        if x.sum() > 0:
            return self.again(x, self.steps)
        return x / self.by


CELLS = [Scaled(0.5 + at, 1 + at % 2) for at in range(6)]


@case(X)
def cells_in_a_list(x):
    for cell in CELLS:
        x = cell(x)
    return x


@case(X, 3)
def a_cell_of_run_time(x, n):
    cell = CELLS[0] if n > 2 else CELLS[1]
    return cell(x) + cell.by


@case(X, 3)
def choices_in_a_loop(x, n):
    f = ops.sin
    for i in range(n):
        x = f(x)
        if i % 2 == 0:
            f = ops.cos
        else:
            f = lambda y: y * n
    return x


@case(X, 3)
def functions_of_functions(x, n):
    def twice(f):
        return lambda y: f(f(y))

    def times(k):
        return lambda y: y * k

    return twice(twice(times(n)))(x) + twice(lambda y: y + x)(x)


@case(X, 7)
def mutual_closures(x, n):
    def ping(k):
        return x if k <= 0 else pong(k - 1) + k

    def pong(k):
        return x * 2 if k <= 0 else ping(k - 2) * 0.5

    return ping(n)


@case(X, 2)
def raise_in_a_helper(x, n):
    def checked(k):
        if k < 0:
            raise ValueError("negative")
        elif k > 100:
            raise ValueError("large")
        else:
            return k * 2

    return x * checked(n)


@case(X, 3)
def sum_by_recursion_over_a_tensor(x, n):
    def total(k):
        return x[k] + total(k + 1) if k < n else 0.0

    return total(0)


@case(X, 4)
def tree_recursion(x, n):
    def tree(y, depth):
        if depth == 0:
            return y
        if y.sum() > 3:
            return tree(y * 0.5, depth - 1)
        return tree(y + 1, depth - 1) * tree(y - 0.5, depth - 1)

    return tree(x, n)


scale = 3.0


@case(X, 2)
def names_of_nested_functions_are_theirs(x, n):
    def inner(y):
        scale = y * n
        return scale

    return inner(x) * scale
