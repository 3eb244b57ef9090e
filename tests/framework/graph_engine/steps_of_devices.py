"""Steps for the device: branches and loops choose the new values of two variables."""

# ruff: noqa: B007, SIM108 - programs are written in all ways of users

from __future__ import annotations

import functools

import numpy as np

from framework import Parameter, Tensor, ops, value_and_grad
from tests.framework.graph_engine.programs_of_devices import RANDOM, X, drawn

STEPS = []


def step(*rows, dtype=np.float32, shape=(32,)):
    """Enter a step that renews two Parameters, `p` and `q`, its first arguments."""

    def enter(function):
        scale = 1 if dtype == np.float32 else 0.1
        values = [np.array(1), np.array(2)]
        if dtype != np.int64:
            values = [(RANDOM.standard_normal(shape) * scale).astype(dtype) for _ in values]
        p, q = (Parameter(Tensor(each), name=name) for name, each in zip("pq", values, strict=True))
        STEPS.append((functools.partial(function, p, q), rows))
        return function

    return enter


XS = [(X, c) for c in (0.5, -0.5, 0.5, 0.0)]
XN = [(X, c, n) for c, n in ((0.5, 3), (-0.5, 0), (0.5, 2), (0.0, 1), (-0.5, 3))]
XM = [(drawn(16, 32, dtype=np.float16, scale=0.1), *each[1:]) for each in XN[:4]]
XI = [(X, 0.5, n) for n in (3, 0, 2**31, 2**33, 5)]


@step(*XS)
def swapped_in_branch(p, q, x, c):
    if c > 0:
        a, b = q, p
    else:
        a, b = p, q
    ops.assign(p, a)
    ops.assign(q, b)
    return ops.reduce_sum(x * p - q)


@step(*XN)
def swapped_in_loop(p, q, x, c, n):
    a, b = p, q
    for i in range(n):
        a, b = b, a + x * c
    ops.assign(p, a)
    ops.assign(q, b)
    return ops.reduce_sum(x * p - q), a


@step(*XN)
def one_to_two(p, q, x, c, n):
    a = p
    while n > 0:
        a = a * 0.5 + x
        n -= 1
    ops.assign(p, a)
    ops.assign(q, a)
    return a, p - q


@step(*XN)
def old_shown(p, q, x, c, n):
    old = p
    a = p
    if c > 0:
        a = q * 2.0
    b = a
    for i in range(n):
        b = b - 0.1 * p
    ops.assign(p, b)
    ops.assign(q, old)
    return old, a, ops.reduce_sum(old * b)


@step(*XN)
def view_kept(p, q, x, c, n):
    v = ops.reshape(p, (4, 8))
    w = ops.reshape(q, (4, 8))
    if c > 0:
        v, w = w, v
    for i in range(n):
        v, w = w, ops.reshape(ops.reshape(v, (32,)) * 0.5, (4, 8))
    ops.assign(p, ops.reshape(w, (32,)))
    ops.assign(q, ops.reshape(v, (32,)))
    return v, ops.reduce_sum(w)


@step(*XN, (X, 0.7, 6), (X, 0.5, 1), (X, -0.5, 7), (X, 0.5, 2))
def assertion_behind(p, q, x, c, n):
    a = p
    if c > 0:
        a = p * 2.0 + x
    else:
        a = p
    ops.assign(p, a)
    ops.assign(q, q - 1.0)
    s = ops.reduce_sum(p)
    for i in range(n):
        assert i < 5, f"turn {i}"
        s = s * 0.5
    return s


@step(*XN, (X, 0.7, 6), (X, 0.5, 1), (X, -0.5, 33), (X, 0.5, 2))
def index_behind(p, q, x, c, n):
    ops.assign(q, q * 0.5 + x)
    ops.assign(p, p + q)
    s = 0.0
    for i in range(n):
        s = s + q[i] * p[n - 1]
    return s


@step(*XN, (X, 0.5, 70), (X, 0.5, 2))
def room_grows(p, q, x, c, n):
    def loss(x):
        y = x * p
        for i in range(n):
            y = y * y * 0.5 + q * 0.1
        return ops.reduce_sum(y)

    v, (g, gp) = value_and_grad(loss, 0, weights=(p,))(x)
    a = p - 0.1 * gp[0]
    if c > 0:
        a = p
    ops.assign(p, a)
    ops.assign(q, q + 1.0)
    return v, g


@step(*XN)
def nested_choices(p, q, x, c, n):
    a, b = p, q
    if c > 0:
        if n > 2:
            a = q
        else:
            a, b = b * 2.0, a
    elif n > 1:
        for i in range(n):
            b = b + p
    else:
        b = a
    ops.assign(p, a)
    ops.assign(q, b)
    return ops.reduce_sum(a), b


@step(*XN)
def read_after_branch(p, q, x, c, n):
    if c > 0:
        a = x
    else:
        a = p + x
    r = ops.reduce_sum(p)
    ops.assign(p, a)
    if c > 0:
        b = p * r
    else:
        b = q
    ops.assign(q, b)
    return r, ops.reduce_sum(q)


@step(*XN)
def recursion_on_params(p, q, x, c, n):
    def f(y, k):
        return y if k == 0 else f(y * 0.5 + p, k - 1) + q

    a = f(x, n)
    ops.assign(q, a * c + q)
    ops.assign(p, f(p, n))
    return a


@step(*XM, dtype=np.float16, shape=(32, 32))
def products_renew(p, q, x, c, n):
    a = p
    for i in range(n):
        a = ops.matmul(a, q) * 0.2
    if c > 0:
        b = ops.matmul(a, p)
    else:
        b = p
    ops.assign(p, a)
    ops.assign(q, b)
    return ops.matmul(x, a), ops.reduce_sum(ops.cast(b, "float32"))


@step(*XM, dtype=np.float16, shape=(32, 32))
def products_renew2(p, q, x, c, n):
    y = x
    while n > 0:
        y = ops.relu(ops.matmul(y, p))
        n -= 1
    a = p - ops.matmul(ops.transpose(x, (1, 0)), y) * 0.1
    if c > 0:
        b = a
    else:
        b = p
    ops.assign(p, b)
    ops.assign(q, ops.transpose(p, (1, 0)))
    return y, ops.matmul(x, p)


@step(*XM, dtype=np.float16, shape=(32, 32))
def products_grad(p, q, x, c, n):
    def loss(x):
        for i in range(n):
            x = ops.relu(ops.matmul(x, p)) + x
            if i == 1:
                x = ops.matmul(x, q)
        return ops.reduce_sum(ops.cast(x * x, "float32"))

    v, (_, (gp, gq)) = value_and_grad(loss, 0, weights=(p, q))(x)
    a, b = p - gp * 0.01, q - gq * 0.01
    if v > 1.0 + c:
        ops.reduce_sum(a)
    else:
        a, b = p, q
    ops.assign(p, a)
    ops.assign(q, b)
    return v


@step(*XI, dtype=np.int64, shape=())
def integer_parameters(p, q, x, c, n):
    k = p
    t = q
    while k < n and t < 20:
        k = k * 7 + 1
        t = t + 1
    ops.assign(p, k - n)
    ops.assign(q, t % 5)
    return k, t, p + q
