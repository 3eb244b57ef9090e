"""Programs with conditions, loops, assignments and indices."""

# ruff: noqa: B905, F821, F841, PERF401, SIM108, SIM201 - programs are written in all ways of users

from __future__ import annotations

from framework import ops
from tests.framework.frontend.programs import M, X, case


@case(X)
def condition(x):
    if x.sum() > 0:
        y = x * 2
    else:
        y = x - 1
    return y


@case(X, 3)
def early_returns(x, n):
    if n > 5:
        return x
    if n > 2:
        return x * 2.0
    return x * 3.0


@case(X, 1)
def returns_in_some_branches(x, n):
    if n > 5:
        return x
    elif n > 2:
        return x * 2.0
    y = x + 1
    if n > 0:
        y = y * 4
    return y


@case(X, 4)
def counted_sum(x, n):
    s = 0.0
    for i in range(n):
        s = s + x.sum() * i
    return s


@case(X)
def loops_with_known_bounds(x):
    for i in range(3):
        for j in range(i, 5, 2):
            x = x + i * j
    return x


@case(X, 7)
def break_and_continue(x, n):
    k = 0
    for i in range(n):
        if i == 4:
            break
        if i % 2 == 0:
            continue
        k += i
    else:
        k = 100
    return x * k


@case(X, 3)
def else_without_break(x, n):
    k = 0
    for i in range(n):
        if i == 4:
            break
        k += i
    else:
        k = 100
    return x * k


@case(X, 10)
def return_or_break(x, n):
    while True:
        x = x * 1.5
        n = n - 1
        if x.sum() > 20:
            return x
        if n == 0:
            break
    return x - 1


@case(X, 10)
def return_from_an_endless_loop(x, n):
    while True:
        x = x * 1.5
        n -= 1
        if n < 3:
            return x * n


@case(M)
def for_tensor(m):
    s = m[0] * 0
    for row in m:
        s = s + row * row
    return s


@case(X, M)
def enumerate_of_zip(x, m):
    s = 0.0
    for i, (a, b) in enumerate(zip(x, m.T)):
        s = s + a * b.sum() * i
    return s


@case(X)
def reversed_range(x):
    s = x[0]
    for i in reversed(range(3)):
        s = s * 2 + x[i]
    return s


@case(X)
def starred_arguments(x):
    a, *b = x

    def g(*args, **kw):
        return args[0] * kw["k"] + len(args)

    return a, g(*b, k=3.0), [y * 2 for y in x], {"a": a, "b": b}


@case(X)
def list_that_grows(x):
    xs = []
    for k in (1.0, 2.0, 3.0):
        xs.append(x * k)
    return sum(xs)


@case(X)
def lists_in_place(x):
    xs = [x]
    xs.append(x * 2)
    xs += [x + 1]
    return xs[0] + xs[-1] + xs[1]


@case(X, 3)
def truths(x, n):
    s = x.sum()
    if (s > 0 and n > 2) or not s < 5:
        s = s + 1
    return s, 0 < n < 5, n == 3 and s, (n in (1, 3)), n if n > 4 else 2.5


@case(X, 3)
def asserts(x, n):
    assert n > 2, f"n is {n} {n:03d}"
    if n > 10:
        raise ValueError(f"too large {n}")
    return x * n


@case(X, 3)
def assigned_on_some_paths(x, n):
    if n > 2:
        z = x * 2
    if n > 1:
        return z
    return x


@case(X, 4)
def return_from_two_loops(x, n):
    for i in range(n):
        for j in range(n):
            if i * j == 6:
                return x * i + j
        x = x + 1
    return x


@case(X, 3)
def collatz(x, n):
    c = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        c += 1
    return x * c


@case(X, 2)
def index_into_a_tuple(x, n):
    xs = (x, x * 2, x * 3)
    return xs[n], (10, 20, 30)[n]


@case(X, 4)
def value_of_the_turn_before(x, n):
    s = x * 0
    for i in range(n):
        if i > 0:
            s = s + prev
        prev = x * i
    return s


@case(X)
def numbers_that_must_be_known(x):
    m = ops.reshape(x, (1, 3, 1))
    for axis in (0, 0):
        m = m.sum(axis)
    return m


@case(X, 3)
def while_with_else(x, n):
    while n > 0:
        n -= 1
        if x.sum() < 0:
            break
    else:
        x = x + 7
    return x


@case(X)
def written_out(x):
    for i in ops.unroll(range(3)):
        x = x * (i + 1)
    return x


@case(X, 4)
def while_with_two_conditions(x, n):
    total = 0.0
    while n > 0 and total < 100.0:
        total = total + x.sum() * n
        n -= 1
    return total


@case(X, 4)
def comprehension_in_a_loop(x, n):
    s = 0.0
    for i in range(n):
        parts = [v * k for k, v in enumerate([x, x + 1, x * i]) if k != 1]
        s = s + sum(p.sum() for p in parts)
    return s


@case(X, 6)
def triple_loop(x, n):
    c = 0
    for i in range(n):
        for j in range(i, n):
            k = j
            while k > 0:
                if k % 4 == 3:
                    break
                k -= 1
                if (i + j + k) % 2:
                    continue
                c += i * k
    return x * c


@case(X, 5)
def return_from_three_loops(x, n):
    for i in range(n):
        for j in range(n):
            k = 0
            while True:
                k += 1
                if k > j:
                    break
                if i * j * k == 6:
                    return x * (i + 10 * j + 100 * k)
            x = x * 1.01
    return x


@case(X, 5)
def else_of_loops(x, n):
    for i in range(n):
        for j in range(n):
            if j == i:
                break
        else:
            x = x + 100.0
            continue
        x = x + j
    x = x * 2
    return x


@case(X, 3)
def newton(x, n):
    a = abs(x.sum()) + 2.0
    r = a
    for _ in range(n):
        r = 0.5 * (r + a / r)
    while abs(r * r - a) > 1e-10:
        r = 0.5 * (r + a / r)
    return r


@case(X, 2)
def nested_structures(x, n):
    state = {"a": (x, [1.0, x * 2]), "n": 0}
    while state["n"] < n:
        a, (b, c) = state["a"]
        state = {"a": (a + b, [b + 1, c * 0.5]), "n": state["n"] + 1}
    return state


@case(X, 12)
def binary_search(x, n):
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if middle * middle < 50:
            low = middle + 1
        else:
            high = middle
    return x * low


@case(X, 3)
def walrus_and_chain(x, n):
    if (k := n * 2) > 5 and 0 <= n < k <= 6:
        x = x + k
    return x if not n == 3 or x is None else x * 2


@case(M, 1)
def indices(m, n):
    row = m[n] + 0
    m[0, n] = 10.0
    m[..., 2] *= row[1]
    m[1] = row[::-1] if False else row + 1
    i = n - 1
    return m[i:][0] if n is None else m[i], m[-1, n], m[:, None, 1:], m.T[n]


@case(X, 3)
def starred(x, n):
    first, *middle, last = [x, x * 2, x * n, x - 1]
    (a, b), c = (first, last), middle
    return a + b + c[0] + c[-1] + max(n, 2) + min(x.sum(), 1.0) + abs(-n) + round(2.5) + int(n / 2) + float(n)


@case(X, 3)
def power_of_numbers(x, n):
    return x * n**2 + 2**n + x**n + n / 2 + n // 2 + n % 2 + (-n) // 2 + (-n) % 4 + divmod(n, 2)[1]


@case(X, 20)
def last_item_of_a_loop(x, n):
    for i in range(5, n, 4):
        x = x + i
    return x * i


@case(X)
def count_down(x):
    for i in range(5, -1, -2):
        x = x * (i + 1)
    return x + i


@case(X, -2)
def step_of_run_time(x, n):
    s = 0
    for i in range(9, 0, n):
        s = s * 3 + i
    return x * s


@case(X, 0)
def no_turns(x, n):
    y = x
    for i in range(n):
        y = y * i
    while n > 0:
        y = y + 1
        n -= 1
    return y
