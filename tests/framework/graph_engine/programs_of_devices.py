"""Programs for the device: counters, rooms that grow, views, products, parts of the host, and errors."""

# ruff: noqa: B007 - programs are written in all ways of users

from __future__ import annotations

import functools

import numpy as np

from framework import Tensor, grad, ops
from framework.autodiff import vmap
from tests.framework.graph_engine.on_device import curved, renewing, with_slopes

RANDOM = np.random.Generator(np.random.Philox(5))
PROGRAMS = []


def drawn(*shape, dtype=np.float32, scale=1.0):
    """Return a random tensor."""
    return Tensor((RANDOM.standard_normal(shape) * scale).astype(dtype))


X = Tensor(np.linspace(0.1, 1.0, 32, dtype=np.float32))
M = drawn(4, 8)
H, HW = drawn(16, 32, dtype=np.float16), drawn(32, 32, dtype=np.float16, scale=0.15)


def case(*rows, forms=()):
    """Enter a program with rows of arguments, and what else is made of it in the slow tests."""

    def enter(function):
        own = [functools.partial(renewing, x=rows[0][0]) if each is renewing else each for each in forms]
        PROGRAMS.append((function, rows, own))
        return function

    return enter


@case((3, 1), (45, 3), (41, -7))
def large_products(n, k):
    t = 1
    for i in range(n):
        t = t * 3 + k
    return t, t // 7, t % 11, -t // 5


@case((5, 2**40), (3, -(2**33)), (0, 2**31), (4, 2**31 - 3))
def beyond_32(n, k):
    t = 0
    while t < n:
        k = k + 1
        t += 1
    return k, t


@case((X, 10), (X, 2**33))
def counts_down_by_halves(x, n):
    while n > 1:
        n = n // 2
        x = x + 0.5
    return x, n


@case((X, 3), (X, -5), (X, 2**40))
def negative_steps(x, n):
    t = 0
    for i in range(5, -5, -3):
        t = t + i % 4 - i // 3
        x = x + t * 0.1
    return x, t * n, abs(n), min(n, t), max(n, 3)


@case((X, 7), (X, 0), forms=(with_slopes,))
def collatz(x, n):
    steps = 0
    while n > 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps = steps + 1
        x = x * 0.9 + steps * 0.01
    return ops.reduce_sum(x)


@case((Tensor(np.array([1, 2**40, -3])), 3), (Tensor(np.array([1, 2, -3])), 40))
def integer_vectors(v, n):
    for i in range(n):
        v = v * 3 - i
    return v, v.sum(), v % 5


@case((X, 2), (X, 0), (X, 31), (X, 33), (X, -33))
def element_of_turn(x, n):
    s = 0.0
    for i in range(n):
        s = s + x[i] * i
    return s + x[n]


@case((X, 0), (X, 3), (X, -4), forms=(with_slopes,))
def no_turns(x, n):
    y = x
    for i in range(n):
        y = y * x
    y = y + 1.0
    while n > 10:
        y = y * 2.0
        n -= 1
    for j in range(0):
        y = y * 0.0
    return ops.reduce_sum(y)


@case(
    (X, 3),
    (X, 70),
    (X, 300),
    (X, 5),
    forms=(
        with_slopes,
        renewing,
    ),
)
def room_of_one(x, n):
    for i in range(n):
        x = x * 0.99 + ops.relu(x - 0.3) * 0.01
    return ops.reduce_sum(x)


@case(
    (X, 3),
    (X, 70),
    forms=(
        with_slopes,
        curved,
        renewing,
    ),
)
def room_of_two(x, n):
    for i in range(n):
        k = 0
        while k < i % 3:
            x = x * x + 0.1
            k += 1
        x = x * 0.7
    return ops.reduce_sum(x)


@case((X, 66), (X, 2), forms=(with_slopes,))
def room_of_inner(x, n):
    for i in range(2):
        for k in range(n):
            x = x * 0.99 + 0.001 * x * x
        y = x
        while ops.reduce_max(y) > 0.2:
            y = y * 0.5
        x = x + y
    return ops.reduce_sum(x * x)


@case(
    (M, 0.5),
    (M, -0.5),
    forms=(
        with_slopes,
        curved,
    ),
)
def reshaped_in_branches(m, c):
    if c > 0:
        y, z = ops.reshape(m, (8, 4)), m
    else:
        y, z = ops.transpose(m, (1, 0)), m * 2.0
    return ops.reduce_sum(y * y) + ops.reduce_sum(z), y, z


@case((M, 0), (M, 1), (M, 4))
def reshaped_in_loops(m, n):
    v = ops.reshape(m, (32,))
    w = v
    while n > 0:
        m = ops.reshape(v * 2.0, (4, 8)) + m
        w, v = v, ops.reshape(m, (32,))
        n -= 1
    return m, v, w


@case((M, 0), (M, 1), (M, 4), forms=(with_slopes,))
def swapped_views(m, n):
    a = ops.reshape(m, (32,))
    b = ops.reshape(m * 2.0, (32,))
    for i in range(n):
        if i % 2 == 0:
            a, b = b, a
        else:
            a, b = ops.reshape(ops.reshape(b, (4, 8)), (32,)), ops.reshape(ops.reshape(a, (4, 8)), (32,))
    return ops.reduce_sum(a - 2.0 * b), a, b


@case((M, 0.5), (M, -0.5), forms=(with_slopes,))
def the_same_view_twice(m, c):
    v = ops.reshape(m, (2, 16))
    if c > 0:
        a, b = v, v
    else:
        a, b = v + 1.0, ops.reshape(m, (2, 16))
    return ops.reduce_sum(a * b), a, b, m


@case(
    (M, 0.5, 2),
    (M, -0.5, 0),
    (M, -0.5, 3),
    forms=(
        with_slopes,
        renewing,
    ),
)
def branch_gives_input(m, c, n):
    s = m
    for i in range(n):
        if c > i * 0.3:
            s = m
        elif i == 1:
            s = s if n > 2 else m
        else:
            s = s * 0.5
    return ops.reduce_sum(s * m)


@case((M, 1), (M, 0), (M, 3), forms=(with_slopes,))
def slices_in_loops(m, n):
    v = m[1:3]
    for i in range(n):
        v = v + m[i, 2:6].sum() * m[0:2] * 0.1
        m[i] = m[i] * 0.5
    return ops.reduce_sum(v) + ops.reduce_sum(m * m)


@case((M, 1), (M, 0), (M, 3), forms=(with_slopes,))
def split_and_joined(m, n):
    a, b = m[:, :4], m[:, 4:]
    while n > 0:
        a, b = b, a * 0.5 + b
        m = ops.concat([b, a], 1) + m
        n -= 1
    return ops.reduce_sum(m * m) + ops.reduce_sum(a)


@case((H, HW, 0), (H, HW, 1), (H, HW, 4), forms=(with_slopes,))
def products_in_while(x, w, n):
    while n > 0:
        x = ops.relu(ops.matmul(x, w))
        n -= 1
    return ops.reduce_sum(ops.cast(x, "float32")), x


@case(
    (H, HW, 0, 1.0),
    (H, HW, 1, -1.0),
    (H, HW, 4, 1.0),
    (H, HW, 3, -1.0),
    forms=(
        with_slopes,
        renewing,
    ),
)
def products_in_branches(x, w, n, c):
    y = x
    for i in range(n):
        if c > 0:
            y = ops.matmul(y, w)
        elif i == 1:
            y = x
        else:
            y = ops.matmul(ops.relu(y), w) + x
    return ops.reduce_sum(ops.cast(y * x, "float32"))


@case((HW, HW * 1.0, 0), (HW, HW * 1.0, 1), (HW, HW * 1.0, 5), forms=(with_slopes,))
def squares_of_matrices(a, b, n):
    while n > 0:
        a, b = ops.matmul(b, a), a
        n -= 1
    return ops.reduce_sum(ops.cast(a + b, "float32")), a, b, ops.transpose(a, (1, 0))


@case((H, HW, 2), (H, HW, 0), forms=(with_slopes,))
def products_of_views(x, w, n):
    v = ops.reshape(x, (512,))
    for i in range(n):
        x = ops.matmul(ops.reshape(v, (16, 32)), w)
        if i == 1:
            x = x + ops.reshape(v, (16, 32))
        v = ops.reshape(x, (512,))
    return ops.reduce_sum(ops.cast(v, "float32")), v, x


@case((H, HW, 2), (H, HW, 0), forms=(with_slopes,))
def softmax_layers(x, w, n):
    for i in range(n):
        q = ops.matmul(x, w)
        p = ops.softmax(ops.matmul(q, ops.transpose(x, (1, 0))), -1)
        x = ops.matmul(p, x) + x
    return ops.reduce_sum(ops.cast(x, "float32") * 0.01)


@case(
    (X, 0),
    (X, 3),
    forms=(
        with_slopes,
        renewing,
    ),
)
def recursion_within_loop(x, n):
    def half(y, k):
        return y if k == 0 else half(y * 0.5 + 0.1, k - 1)

    s = x
    for i in range(n):
        s = s + half(x * s, i) * 0.1
    return ops.reduce_sum(s * s)


@case((X, 0), (X, 3), forms=(with_slopes,))
def loop_before_and_behind_recursion(x, n):
    def f(y, k):
        if k <= 0:
            return ops.sin(y)
        for i in range(k):
            y = y * 0.9
        return f(y, k - 1) + y

    for i in range(n):
        x = x * x
    y = f(x, n)
    z = y
    while n > 0:
        z = z * y + 0.1
        n -= 1
    return ops.reduce_sum(z)


@case((X, 0, 0.5), (X, 3, -0.5), (X, 4, 0.5), forms=(with_slopes,))
def functions_as_values(x, n, c):
    g = lambda y: y + x
    for i in range(n):
        g = (lambda y, g=g, i=i: g(y) * 0.5 + i) if c > 0 else (lambda y, g=g: ops.sin(g(y)))
    return ops.reduce_sum(g(x * 2.0))


@case(
    (X, 2),
    (X, 5),
    (X, 0),
    forms=(
        with_slopes,
        renewing,
    ),
)
def assertion_in_loop(x, n):
    for i in range(n):
        assert i < 3, f"turn {i} of {n}"
        x = x * 0.5
    return ops.reduce_sum(x)


@case(
    (X, 2, 1),
    (X, 40, 1),
    (X, 40, 0),
    (X, -40, 2),
    forms=(
        with_slopes,
        renewing,
    ),
)
def index_outside(x, n, c):
    s = ops.reduce_sum(x)
    if c > 0:
        for i in range(c):
            s = s + x[n - i] * x[0]
    return s


@case((X, 2), (X, 5), forms=(with_slopes,))
def assertion_in_recursion(x, n):
    def f(y, k):
        assert k < 4, f"depth {k}"
        return y if k == 0 else f(y * 0.5, k - 1)

    return ops.reduce_sum(f(x, n))


@case((X, 2), (X, 0), (X, -3))
def division_by_zero(x, n):
    t = 0
    for i in range(3):
        t = t + 10 // (n - i * 0)
    return x * t, 7 % n


@case(
    (X, 2),
    (X, 7),
    forms=(
        with_slopes,
        renewing,
    ),
)
def raises(x, n):
    for i in range(n):
        if i == 5:
            raise ValueError(f"too many turns, {n}")
        x = x * 0.9
    return ops.reduce_sum(x)


@case(
    (X, 3.0, 2),
    (X, 0.1, 2),
    (X, 0.1, 0),
    forms=(
        with_slopes,
        curved,
    ),
)
def early_returns(x, limit, n):
    for i in range(n):
        y = x * i
        while True:
            y = y + 0.5
            if ops.reduce_sum(y) > limit:
                if i == 1:
                    return ops.reduce_sum(y * x)
                break
            if ops.reduce_max(y) > 5.0:
                return ops.reduce_sum(x)
        x = x + y
    return ops.reduce_sum(x * x)


@case((X, 2), (X, 3), forms=(with_slopes,))
def kept_in_lists(x, n):
    found = [x, x * 2.0]
    for i in range(n):
        found[0], found[1] = found[1], found[0] * 0.5 + found[1]
    total = {"a": found[0], "b": found[1]}
    return ops.reduce_sum(total["a"] * total["b"])


@case((drawn(5, 8), 2), (drawn(5, 8), 0))
def lanes(x, n):
    def one(v):
        s = 0.0
        k = 0
        while ops.reduce_sum(v) + s < 3.0 and k < 5 + n:
            s = s + 0.7
            k += 1
            if k == 2:
                continue
            v = v * 1.1
        return s * ops.reduce_sum(v), k

    return vmap(one)(x)


@case((drawn(5, 8), 2), (drawn(5, 8), 0))
def lanes_of_gradients(x, n):
    def one(v):
        s = ops.reduce_sum(v * 0.0)
        k = 0
        while ops.reduce_sum(v) + s < 3.0 and k < 5 + n:
            s = s + ops.reduce_sum(v * v) * 0.5 + 0.2
            k += 1
            if k == 2:
                continue
            v = v * 1.1
        return s * ops.reduce_sum(v)

    return vmap(grad(one))(x)
