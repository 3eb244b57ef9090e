"""Programs that call: gradients, Cells, builtins, functions kept in structures."""

# ruff: noqa: B007, F841 - programs are written in all ways of users

from __future__ import annotations

import functools
import math

import numpy as np

from framework import Parameter, Tensor, grad, jit, nn, ops
from tests.framework.frontend.programs import X, case


def norm(x):
    if x.sum() > 0:
        return ops.sqrt((x * x).sum())
    return (x * x).sum()


@case(X)
def condition_that_calls(x):
    while norm(x) > 1.0:
        x = x * 0.7
    return x


def quad(x):
    return (x * x * x).sum()


@case(X, 5)
def gradients_in_a_loop(x, n):
    for i in range(n):
        x = x - 0.05 * grad(quad)(x)
    return x


@case(X, 3)
def gradient_of_a_closure(x, n):
    g = grad(lambda y: (y * y * x).sum() * n)
    s = 0.0
    for i in range(n):
        s = s + g(x * i).sum()
    return s


@jit
def fact(n):
    return 1 if n <= 1 else n * fact(n - 1)


@case(5)
def recursion_of_a_jitted_function(n):
    return fact(n) + fact(3)


class Net(nn.Cell):
    """A Cell with keywords and a list of Parameters."""

    def __init__(self, k):
        super().__init__()
        self.w = Parameter(np.float64(k))
        self.b = [Parameter(np.float64(1.0)), Parameter(np.float64(2.0))]

    def construct(self, x, *, flag=True, **kw):
        """Return x scaled and moved."""
        y = x * self.w + self.b[0]
        if kw.get("more", False):
            y = y * self.b[1]
        return super().construct(y) if False else y


N1, N2 = Net(2.0), Net(3.0)


@case(X, 2)
def cells_with_keywords(x, n):
    return N1(x, more=True) + N2(x, flag=False)


@case(X, 2)
def cell_from_a_dict(x, n):
    nets = {"a": N1, "b": N2}
    net = nets["a"] if n > 1 else nets["b"]
    for _ in range(n):
        x = net(x)
    return x


@case(X, 2)
def strings_that_are_known(x, n):
    mode = "sum" if x.ndim == 1 else "mean"
    table = dict(sum=ops.reduce_sum, mean=ops.reduce_mean)
    return table[mode](x) * len(mode) + (1 if mode.upper().startswith("S") else 2)


@case(X, 2)
def several_targets(x, n):
    a = b = x * n
    (c, d), e = [a, b], n
    a += 1
    del b
    pass
    return a + c + d * e


@case(X, 4)
def builtins_of_generators(x, n):
    return (
        sum(x[i] * i for i in range(3))
        + max(v for v in x)
        + min([1, n])
        + any([n > 3, n < 0])
        + all(v > -5 for v in x)
    )


@case(X, 4)
def list_in_loop(x, n):
    xs = [x, x * 2]
    for i in range(n):
        xs[0] = xs[0] + xs[1]
        xs = [xs[1], xs[0]]
    return xs


@case(X, 4)
def dict_in_loop(x, n):
    d = {"a": x, "k": 0}
    for i in range(n):
        d["a"] = d["a"] * 1.5
        d["k"] += i
    return d


@case(X, 4)
def tensor_matrix(x, n):
    m = ops.zeros((3, 3), "float64")
    for i in range(3):
        for j in range(3):
            m[i, j] = x[i] * x[j] + n
    return m @ x


@case(X, 3)
def functions_in_a_dict(x, n):
    def a(y):
        return y + 1

    fs = {"a": a, "b": lambda y: a(y) * 2}
    f = fs["a"]
    if n > 2:
        f = fs["b"]
    return f(x)


@case(X, 3)
def ternary_chain(x, n):
    return x if n < 1 else x * 2 if n < 2 else x * 3 if n < 4 else x * 4


@case(X, 3)
def lambda_in_lambda(x, n):
    f = lambda k: lambda y: y * k if k > 2 else y - k
    return f(n)(x) + f(1)(x)


@case(X, 3)
def loop_else_return(x, n):
    for i in range(n):
        if x[i] > 2:
            return x * i
    return x * 100


@case(X, 3)
def endless_loop_with_continue(x, n):
    c = 0
    while True:
        c += 1
        if c > n:
            break
        if c == 2:
            continue
        x = x + c
    return x, c


@case(X, 3)
def arguments_that_are_none(x, n, y=None):
    if y is None:
        y = x * 2
    z = None
    for i in range(n):
        z = x * i
    return y


def memo_key(x, k=3):
    return x * k


@case(X, 3)
def default_arguments(x, n):
    return memo_key(x) + memo_key(x, 3) + memo_key(x, k=n) + functools.partial(memo_key, k=2)(x)


@case(X, 6)
def hanoi(x, n):
    def moves(n, a, b, c):
        if n == 0:
            return 0
        return moves(n - 1, a, c, b) + 1 + moves(n - 1, c, b, a)

    return x * moves(n, 0, 1, 2)


@case(X, 3)
def recursion_with_a_function(x, n):
    def apply_n(f, k, y):
        return y if k == 0 else apply_n(f, k - 1, f(y))

    return apply_n(lambda y: y * 1.5 + n, n, x) + apply_n(ops.sin, 2, x)


@case(X, 3)
def constants_of_numpy(x, n):
    w = np.array([1.0, 2.0, 3.0])
    return x * Tensor(w) + np.pi * n + np.float64(2.0)


@case(X, 3)
def integers_from_a_tensor(x, n):
    i = Tensor(np.array([2, 0]))
    k = i[n - 3]
    return x[i] * k + x[k]


@case(X, 3)
def builtins_of_numbers(x, n):
    s = x.sum().item() if n > 2 else 1.0
    k = math.floor(s * 1.7) + math.ceil(s / 3) + math.trunc(-s) + int(s) + round(s * 1.2)
    total = functools.reduce(lambda a, b: a * b + n, [x, x + 1, 2.0])
    return total * k + sum(map(lambda v: v * 2, [n, 1.5]))


class Base(nn.Cell):
    """A Cell that others build on."""

    slope = 0.5

    def __init__(self):
        super().__init__()
        self.w = Parameter(np.float64(1.5))

    @property
    def twice(self):
        """Return the Parameter, doubled."""
        return self.w * 2 if self.slope > 0 else self.w

    def construct(self, x):
        """Return x scaled."""
        return x * self.twice

    @staticmethod
    def moved(x, by=1.0):
        """Return x moved."""
        return x + by


class Derived(Base):
    """A Cell that uses what it is built on."""

    def construct(self, x):
        """Return x scaled by the other Cell, and moved."""
        y = super().construct(x)
        return self.moved(y) * self.slope


DERIVED = Derived()


class Power:
    """An object that is called."""

    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        """Return the power of x."""
        y = x
        for _ in range(self.n - 1):
            y = y * x
        return y


CUBE = Power(3)


@case(X, 2)
def inheritance_and_objects_that_are_called(x, n):
    return DERIVED(x) + CUBE(x) * n + DERIVED.twice


@case(X, 3)
def generator_arguments_and_unpacking(x, n):
    pairs = {name: (x * at, n + at) for at, name in enumerate("ab")}
    (first, k), (second, m) = pairs.values()
    return first * m + second * k, [*pairs], {**pairs, "c": x}["c"]


@case(X, 3)
def tensors_of_numbers_of_run_time(x, n):
    m = Tensor([[1.0, n], [x.sum(), 2.0]], "float64")
    if (n, 1) == (3, 1) and [n] != [2]:
        return m * n
    return m
