"""Programs in which control flow is the point: each is a small method that somebody writes down like this."""

# ruff: noqa: B905, PERF401, RUF007 - programs are written in all ways of users

from __future__ import annotations

import dataclasses

from framework import grad, ops
from tests.framework.frontend.programs import M, X, case


@case(X, 5)
def inner_break_decides_on_the_outer(x, n):
    s = 0.0
    for i in range(n):
        is_large = False
        for each in x:
            s = s + each * i
            if s > 8.0:
                is_large = True
                break
        if is_large:
            break
    else:
        s = s * 10.0
    return s


@case(X, 4)
def else_of_an_inner_loop_breaks_the_outer(x, n):
    total = x * 0
    for i in range(1, n + 1):
        k = i
        while k < 10:
            k = k * 2 + 1
            if k == 7:
                total = total + x * i
                break
        else:
            break
    return total + i


@case(M)
def return_of_the_first_pair(m):
    for i in range(2):
        for j in range(3):
            for k in range(3):
                if k > j and m[i, j] * m[i, k] > 10.0:
                    return m[i, j] * m[i, k] + m[0, 1]
    return m[0, 0]


@case(X, 3)
def closures_made_in_a_loop_and_called_after(x, n):
    functions = []
    for k in (1.0, 2.0, 3.0):
        functions.append(lambda y, k=k: ops.sin(y * k) + n)
    total = 0.0
    for function in functions:
        total = total + function(x)
    return total


@case(X, 4)
def recursion_in_the_body_of_a_loop(x, n):
    def halved(y, k):
        return y if k == 0 else halved(y * 0.5 + 0.1, k - 1)

    s = x
    for i in range(n):
        s = s + halved(x * s, i)
    return s


@case(X, 3)
def loop_in_the_body_of_a_recursion(x, n):
    def down(y, k):
        if k == 0:
            return y
        for i in range(k):
            y = ops.sin(y) + i * 0.3
        return down(y, k - 1) * y

    return down(x, n)


@case(X, 3)
def sums_of_generators(x, n):
    pairs = [(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i < j]
    return sum(a * b for a, b in pairs) + max(a + b for a, b in pairs) * n


@case(X, 3)
def sine_and_cosine_by_each_other(x, n):
    def sine(y, k):
        return y if k == 0 else 2 * sine(y / 2, k - 1) * cosine(y / 2, k - 1)

    def cosine(y, k):
        return 1.0 - y * y / 2 if k == 0 else cosine(y / 2, k - 1) ** 2 - sine(y / 2, k - 1) ** 2

    return sine(x, n) + cosine(x, n)


@case(X, 20)
def bisection(x, n):
    f = lambda y: y * y * y + y - abs(x[0]) - 2.0
    low, high = 0.0 * x[0], 4.0 + 0.0 * x[0]
    for _ in range(n):
        middle = (low + high) / 2
        if f(middle) > 0:
            high = middle
        else:
            low = middle
    return low - f(low) / (3 * low * low + 1)


@case(X, 10)
def newton_until_it_is_there(x, n):
    eccentricity, mean = 0.3, x[0]
    e = mean
    while n > 0:
        step = (e - eccentricity * ops.sin(e) - mean) / (1 - eccentricity * ops.cos(e))
        e = e - step
        n -= 1
        if abs(step) < 1e-12:
            break
    else:
        raise ValueError("no root")
    return e


@case(X, 8)
def descent_that_looks_along_its_way(x, n):
    loss = lambda y: ((y * y - 1.0) ** 2).sum() + y.sum() * 0.1
    for _ in range(n):
        slope, rate = grad(loss)(x), 0.5
        while loss(x - rate * slope) > loss(x) - 0.3 * rate * (slope * slope).sum():
            rate *= 0.5
            if rate < 1e-3:
                break
        x = x - rate * slope
    return x


@case(X, 40)
def ball_that_bounces(x, n):
    height, speed, bounces = abs(x[0]), x[2] * 0.1, 0
    for _ in range(n):
        speed = speed - 0.1 * 9.81
        height = height + 0.1 * speed
        if height > 0:
            continue
        height, speed, bounces = -height, -0.8 * speed, bounces + 1
        if bounces == 3:
            break
    return height + speed * bounces


@case(X, 12)
def step_that_adapts(x, n):
    f = lambda y: ops.cos(y) - 0.5 * y
    y, time, h = x[0], 0.0, 0.5
    while time < 2.0 and n > 0:
        n -= 1
        once = y + h * f(y)
        half = y + h / 2 * f(y)
        twice = half + h / 2 * f(half)
        if abs(once - twice) > 0.02:
            h *= 0.5
            continue
        y, time = twice, time + h
        h = min(h * 1.5, 2.0 - time)
    return y


@case(X, 3)
def sorting(x, n):
    for i in range(n):
        for j in range(n - 1 - i):
            if x[j] > x[j + 1]:
                a, b = x[j + 1], x[j]
                x[j], x[j + 1] = a, b
    return x[0] * 100.0 + x[1] * 10.0 + x[2]


@case(M, 5)
def power_by_squaring(m, n):
    base = m @ m.T * 0.1
    result = base
    while n > 1:
        n -= 1
        if n % 2 == 1:
            result = result @ base
        base = base @ base
        n = (n + 1) // 2
    return result


@case(X, 2)
def fold_and_its_functions(x, n):
    def fold(function, start, items):
        for item in items:
            start = function(start, item)
        return start

    add, larger = lambda a, b: a + b * n, lambda a, b: a if a > b else b
    return fold(add, 0.0, x) * fold(larger, x[0], x[1:])


@case(X, 6)
def fixed_point(x, n):
    def iterated(f, y, k):
        z = f(y)
        return z if k == 0 or abs(z - y) < 1e-3 else iterated(f, z, k - 1)

    return iterated(lambda y: ops.cos(y) * 0.5 + x[0] * 0.1, x[1], n)


@case(X, 4)
def simpson_where_it_is_needed(x, n):
    def rule(f, a, b):
        return (b - a) / 6 * (f(a) + 4 * f((a + b) / 2) + f(b))

    def integral(f, a, b, depth):
        middle = (a + b) / 2
        whole, parts = rule(f, a, b), rule(f, a, middle) + rule(f, middle, b)
        if depth == 0 or abs(whole - parts) < 1e-4:
            return parts
        return integral(f, a, middle, depth - 1) + integral(f, middle, b, depth - 1)

    return integral(lambda t: ops.exp(-t * t * x[2]), x[1], x[0], n)


@case(X)
def tree_of_tuples(x):
    def value(tree):
        if not isinstance(tree, tuple):
            return tree
        kind, left, right = tree
        if kind == "+":
            return value(left) + value(right)
        return value(left) * value(right)

    return value(("+", ("*", x, ("+", x, 2.0)), ("*", ("+", 1.0, x), 0.5)))


@case(X, 5)
def continued_fraction(x, n):
    def fraction(k):
        return 2 * k + 1.0 + 0.0 * x if k >= n else 2 * k + 1.0 + x * x / fraction(k + 1)

    return x / fraction(0)


@case(M, 3)
def most_likely_path(m, n):
    score = [m[0, 0], m[0, 1], m[0, 2]]
    for t in range(n):
        ways = [[score[j] - abs(j - k) * m[1, t] * 0.3 for j in range(3)] for k in range(3)]
        score = [max(each) + m[1, k] for k, each in enumerate(ways)]
    return max(score)


@case(X, 4)
def distance_of_edits(x, n):
    target = [0.5, -1.5, 2.0, 2.5]
    row = [0.0, 1.0, 2.0, 3.0, 4.0]
    for i in range(3):
        corner, row = row[0], [row[0] + 1.0, *row[1:]]
        for j in range(4):
            cheapest = min(corner + abs(x[i] - target[j]), row[j] + 1.0, row[j + 1] + 1.0)
            corner = row[j + 1]
            row = [cheapest if k == j + 1 else each for k, each in enumerate(row)]
    return row[4] * n


@dataclasses.dataclass
class Walk:
    a: object
    b: object


@case(X, 30)
def walk_of_a_record(x, n):
    walk, seed = Walk(x[0], x[1]), 7
    while n > 0:
        n, seed = n - 1, (seed * 75 + 74) % 65537
        if seed % 4 == 0:
            continue
        if seed % 4 == 1:
            walk = Walk(walk.a + 0.1 * walk.b, walk.b)
        elif walk.a > walk.b:
            walk.b = walk.b * 0.9 + walk.a * 0.05
        else:
            walk.a = ops.sin(walk.a)
        if walk.b > 5.0:
            return walk.a
    return walk.a * walk.b


@case(X, 6)
def two_endless_loops(x, n):
    s, k = x.sum(), 0
    while True:
        s = s * 0.9
        while True:
            k += 1
            if k % 3 == 0:
                break
            if k > n:
                return s * k
            s = s + 0.2 * x[1]
        if s < 0.0:
            return s - 1.0


@case(X, 3)
def functions_that_keep_state(x, n):
    def counter(start):
        def after(k):
            return start + k, counter(start + k)

        return after

    step, s = counter(x[0]), 0.0
    for i in range(n):
        value, step = step(i * x[1])
        s = s + value
    return s


@case(X, 3, 2)
def ackermann_that_carries(x, m, n):
    def ack(y, m, n):
        if m == 0:
            return y * 1.01, n + 1
        if n == 0:
            return ack(y + 0.01, m - 1, 1)
        y, k = ack(y, m, n - 1)
        return ack(y, m - 1, k)

    return ack(x, m - 1, n)[0]


@case(X)
def recursion_that_data_ends(x):
    def smaller(y):
        return y if y < 1.0 else ops.sqrt(smaller(y * 0.45)) + 0.1 * y

    return smaller(x[0] + x[2])


@case(X, 3)
def loop_over_parts_that_differ(x, n):
    s = 0.0
    for before, after in zip(x, x[1:]):
        if after < before:
            s = s - before * after
            continue
        for k in range(n):
            s = s + after * k
            if s > 5.3:
                break
        else:
            s = s * 2.0
    return s


@case(X, 2)
def condition_that_recurs(x, n):
    def is_small(y, k):
        return y < 2.0 if k == 0 else is_small(y * 0.9, k - 1)

    while not is_small(x.sum(), n):
        x = x * 0.8 if is_small(x[2], 0) else x - 0.1
    return x


@case(X, 4)
def gradient_of_a_loop_in_a_loop(x, n):
    def energy(y, k):
        while k > 0:
            y = y * y * 0.5 if y.sum() > 1.0 else ops.sin(y) + 0.3
            k -= 1
        return y.sum()

    for k in range(n):
        x = x - 0.1 * grad(energy)(x, k)
    return x


@case(X, 3)
def break_or_return_but_no_else(x, n):
    for i in range(4):
        if n > 2:
            break
        return x * i
    else:
        x = x + 5.0
    return x + 1.0
