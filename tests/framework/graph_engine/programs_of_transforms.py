"""Programs for the device that differentiate and batch within, and what loops keep for that."""

# ruff: noqa: B007 - programs are written in all ways of users

from __future__ import annotations

import numpy as np

from framework import Tensor, ops, value_and_grad
from framework.autodiff import hessian, jacrev, jvp, recompute, vmap
from tests.framework.graph_engine.on_device import curved, with_slopes
from tests.framework.graph_engine.programs_of_devices import HW, H, M, X, case, drawn

SMALL = Tensor(np.linspace(0.2, 1, 4, dtype=np.float32))
LANES = drawn(3, 4)
NO_ROWS = Tensor(np.zeros((0, 8), np.float32))
IMAGE = drawn(2, 16, 8, 8, dtype=np.float16, scale=0.3)
FILTER = drawn(16, 16, 3, 3, dtype=np.float16, scale=0.1)


@case((X, 3), (X, 0), (X, 9), forms=(with_slopes, curved))
def loops_left_with_what_they_keep(x, n):
    s = x * 0.0
    for i in range(n):
        t = x * i
        for k in range(n):
            if k > i:
                break
            t = t * x + s
            if ops.reduce_max(t) > 3.0:
                return ops.reduce_sum(t * s)
        else:
            continue
        s = s + t
    return ops.reduce_sum(s * s)


@case((X, 3), (X, 0), forms=(with_slopes,))
def blocks_that_are_computed_again(x, n):
    def block(y):
        for i in range(n):
            y = y * y + 0.1 * x
        return y

    for i in range(n):
        x = recompute(block)(x)
    return ops.reduce_sum(x)


@case((X, 2), (X, 0))
def slopes_ahead(x, n):
    def waves(y):
        for i in range(n):
            y = ops.sin(y) * y
        return y

    return jvp(waves, (x,), (x * 0.5,))


@case((SMALL, 2), (SMALL, 0))
def curvature_of_a_loop_with_branches(x, n):
    def cubes(y):
        s = 0.0
        for i in range(n):
            y = y * y if ops.reduce_sum(y) > 1.5 else y + y[0] * 0.3
            s = s + ops.reduce_sum(y * y * y)
        return s + ops.reduce_sum(y * y)

    return hessian(cubes)(x)


@case((SMALL, 2), (SMALL, 0))
def rows_of_slopes_of_a_loop(x, n):
    def grown(y):
        while n > 0 and ops.reduce_sum(y) < 3.0:
            y = y * 1.5 + y[1]
        return y

    return jacrev(grown)(x)


@case((LANES, 2), (LANES, 0), (LANES, 70))
def slopes_of_lanes_that_leave_early(x, n):
    def waves(y):
        for i in range(n):
            y = ops.sin(y) if ops.reduce_sum(y) > 0 else y * 0.9 + 0.1
            if i > 4 and ops.reduce_max(y) > 0.5:
                return ops.reduce_sum(y) * 2.0
        return ops.reduce_sum(y * y)

    return vmap(value_and_grad(waves))(x)


@case((X, 5), (X, 0), (X, 130), forms=(with_slopes, curved))
def rooms_that_grow_in_a_branch(x, n):
    if n > 3:
        for i in range(n):
            x = x * 0.98 + 0.01 * x * x
    elif n > 0:
        while n > 0:
            x = ops.sin(x)
            n -= 1
    y = x
    for i in range(2):
        if ops.reduce_sum(y) > 3.0:
            for k in range(i + 1):
                y = y * x
    return ops.reduce_sum(y * y)


@case((H, HW, 2, 1.0), (H, HW, 0, 1.0), (H, HW, 3, -1.0), forms=(with_slopes, curved))
def products_kept_in_inner_loops(x, w, n, c):
    for i in range(n):
        h = ops.matmul(x, w)
        if c > 0:
            k = 0
            while k < i:
                h = ops.gelu(ops.matmul(h, w)) * 0.5
                k += 1
        x = h + x
    return ops.reduce_sum(ops.cast(x * x, "float32") * 0.01)


@case((H, HW, 2), (H, HW, 0), (H, HW, 3), forms=(with_slopes,))
def weights_transposed_in_each_turn(x, w, n):
    a = w
    for i in range(n):
        a = ops.transpose(a, (1, 0))
        x = ops.matmul(x, a)
        if i == 1:
            a = ops.transpose(w, (1, 0))
    return ops.reduce_sum(ops.cast(x, "float32")), a, x[3:7], ops.concat([x, a], 0)


@case((IMAGE, FILTER, 2), (IMAGE, FILTER, 0), forms=(with_slopes,))
def convolutions_in_a_loop(x, w, n):
    for i in range(n):
        y = ops.conv2d(x, w, stride=1, pad=1)
        x = ops.relu(y) + x if i > 0 else y
    return ops.reduce_sum(ops.cast(x, "float32") * 0.1)


@case((NO_ROWS, M, 0), (NO_ROWS, M, 2), forms=(with_slopes,))
def tensors_without_elements(e, m, n):
    for i in range(n):
        e = ops.relu(e) + 1.0
        m = ops.concat([m, e], 0) * 0.5
    return ops.reduce_sum(e) + ops.reduce_sum(m), e, m, ops.reshape(e, (0, 2, 4)), m[2:2]
