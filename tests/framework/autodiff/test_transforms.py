"""vjp, jvp, Jacobians, vmap, own gradient rules, recomputation and hooks, on Python functions."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import DavinciError
from framework import (
    Tensor,
    custom_vjp,
    grad,
    hessian,
    hook,
    jacfwd,
    jacrev,
    jit,
    jvp,
    nn,
    ops,
    recompute,
    vjp,
    vmap,
)
from framework.autodiff import GradientError

X = np.array([0.3, -1.2, 2.0])


def power(x, n):
    """Return x ** 2 ** n."""
    while n > 0:
        x = x * x
        n -= 1
    return x


def factorial(n):
    """Return n (n - 1) (n - 2) ..."""
    if n <= 1:
        return n
    return n * factorial(n - 1)


def mixed(x, y):
    """Two results of two vectors."""
    return ops.sin(x) * y[0], ops.reduce_sum(x * y * y)


def test_factorial_by_recursion_has_derivative_11_at_3():
    """It is n (n - 1) (n - 2) there: 3 n ** 2 - 6 n + 2, and then 6 n - 6."""
    assert float(grad(factorial)(3.0)) == 11.0
    assert float(grad(grad(factorial))(3.0)) == 12.0


def test_an_operator_is_a_function_like_others():
    """Each transform takes one as it is."""
    zero, one = Tensor(0.0), Tensor(1.0)
    assert float(grad(ops.sin)(zero)) == float(vjp(ops.sin, zero)[1](one)[0]) == 1.0
    assert [float(each) for each in jvp(ops.sin, zero, one)] == [0.0, 1.0]
    assert vmap(ops.sin)(Tensor([0.0])).shape == (1,)


def test_three_gradients_of_a_cube():
    """3 x ** 3 has 18 everywhere; a gradient of what is compiled is the gradient."""

    def cube(x):
        return 3 * x**3

    assert float(grad(grad(grad(cube)))(2.0)) == 18.0
    assert float(jit(grad(jit(cube)))(2.0)) == float(grad(cube)(2.0)) == 36.0


@pytest.mark.parametrize("turns", [0, 3, 7])
def test_one_derivative_serves_all_numbers_of_turns(turns):
    """It is compiled once and holds a loop."""
    derivative = jit(grad(power))
    found = derivative(1.01, turns)
    np.testing.assert_allclose(float(found), 2.0**turns * 1.01 ** (2**turns - 1), rtol=1e-12)
    text = str(derivative.compiled(1.01, turns).func)
    assert text.count("= while") + text.count("= scan") == 2
    assert text.count("mul(") < 6


def test_vjp_and_jvp_are_transposes():
    """<dy, J v> is <J^T dy, v>, for all arguments and results."""
    generator = np.random.default_rng(3)
    x, y, v, w, d = (generator.normal(size=3) for _ in range(5))
    e = np.float64(0.7)
    value, pull = vjp(mixed, x, y)
    dx, dy = pull((Tensor(d), Tensor(e)))
    pushed_value, (a, b) = jvp(mixed, (x, y), (v, w))
    np.testing.assert_array_equal(pushed_value[0].numpy(), value[0].numpy())
    left = (d * a.numpy()).sum() + e * float(b)
    right = (dx.numpy() * v).sum() + (dy.numpy() * w).sum()
    np.testing.assert_allclose(left, right, rtol=1e-12)


def test_vjp_keeps_what_a_recursion_needs():
    """Also functions as values: the way back runs later."""
    value, pull = vjp(factorial, 4.0)
    assert (float(value), float(pull(1.0)[0]), float(pull(2.0)[0])) == (24.0, 50.0, 100.0)


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians_have_the_axes_of_results_and_arguments(jacobian):
    """By position, for each result, in either mode."""
    (by_x, by_y), (sum_x, sum_y) = jacobian(mixed, (0, 1))(X, X + 1)
    np.testing.assert_allclose(by_x.numpy(), np.diag(np.cos(X) * (X[0] + 1)))
    np.testing.assert_allclose(by_y.numpy()[:, 0], np.sin(X))
    assert by_y.shape == (3, 3)
    np.testing.assert_allclose(sum_x.numpy(), (X + 1) ** 2)
    np.testing.assert_allclose(sum_y.numpy(), 2 * X * (X + 1))


def test_a_hessian_is_symmetric_and_right():
    """Of a loop that runs as often as an argument says."""

    def f(x, n):
        while n > 0:
            x = x * x[::-1]
            n -= 1
        return ops.reduce_sum(x * x)

    found = hessian(f)(X, 1).numpy()
    np.testing.assert_allclose(found, found.T, rtol=1e-12)
    step = 1e-5
    for at in range(3):
        shift = step * np.eye(3)[at]
        column = (grad(f)(X + shift, 1).numpy() - grad(f)(X - shift, 1).numpy()) / (2 * step)
        np.testing.assert_allclose(found[at], column, rtol=1e-6, atol=1e-6)


def test_vmap_takes_each_place_its_own_way():
    """Loops of different lengths, recursion of different depth, and their gradients."""
    counts = np.array([0, 3, 1])
    found = vmap(grad(power))(np.array([1.1, 1.2, 0.9]), counts).numpy()
    expected = [float(grad(power)(x, int(n))) for x, n in zip([1.1, 1.2, 0.9], counts, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(vmap(grad(factorial))(np.arange(1.0, 5.0)).numpy(), [1, 3, 11, 50])


def test_the_turns_of_a_loop_are_kept_for_the_lanes_that_enter_it():
    """A gradient over a batch, some places of which pass by a loop: what its turns saved is of the others."""

    def power_of_large(x, n):
        if x > 1.0:
            while n > 0:
                x = x * x
                n -= 1
        return x * 3.0

    x, n = np.array([1.1, 0.9, 1.2]), np.array([2, 5, 0])
    expected = [3 * 4 * 1.1**3, 3.0, 3.0]
    np.testing.assert_allclose(vmap(grad(power_of_large))(x, n).numpy(), expected, rtol=1e-12)
    none_enters = vmap(grad(power_of_large))(x - 1.0, n).numpy()
    np.testing.assert_allclose(none_enters, [3.0, 3.0, 3.0])


def test_a_loop_that_some_lanes_enter_may_keep_functions():
    """What recursion in a turn leaves for its gradient is a function: it is that of the lanes in the loop."""

    def grown(x, n):
        return x if n == 0 else grown(x * x, n - 1) * 0.5

    def grown_if_large(x, n):
        if x > 1.0:
            while n > 0:
                x = grown(x, n)
                n -= 1
        return x * 3.0

    x, n = np.array([1.1, 0.9, 1.2]), np.array([2, 5, 0])
    expected = [float(grad(grown_if_large)(*each)) for each in zip(x, n.tolist(), strict=True)]
    np.testing.assert_allclose(vmap(grad(grown_if_large))(x, n).numpy(), expected, rtol=1e-12)


def test_lanes_recur_to_different_depths_through_loops_in_loops():
    """A turn that no lane entered keeps no turns, in each lane that has recurred no further."""

    def nested(x, n):
        if n == 0:
            return x
        for i in range(n):
            k = i
            while k > 0:
                x = x * x
                k -= 1
            x = x * 1.5
        return nested(x, n - 1)

    x, n = np.array([0.8, 0.9, 0.7]), np.array([2, 3, 0])
    expected = [float(grad(nested)(*each)) for each in zip(x, n.tolist(), strict=True)]
    np.testing.assert_allclose(vmap(grad(nested))(x, n).numpy(), expected, rtol=1e-12)


def test_lanes_may_hold_different_functions():
    """What each of them captured has the cotangents of the lanes that hold it."""

    def chained(x, n):
        f = lambda y: y * x
        if n > 0:
            f = lambda y, g=f, z=x * x: ops.sin(g(y)) * z
        while n > 1:
            f = lambda y, g=f, k=n: ops.sin(g(y)) * x + k
            n -= 1
        return f(x)

    x, n = np.array([1.1, 0.9, 1.2, 0.8]), np.array([2, 0, 4, 1])
    expected = [float(grad(chained)(*each)) for each in zip(x, n.tolist(), strict=True)]
    np.testing.assert_allclose(vmap(grad(chained))(x, n).numpy(), expected, rtol=1e-12)


def test_axes_of_vmap():
    """Where the batch is in each argument and in the results."""
    a, b = np.arange(6.0).reshape(2, 3), np.arange(2.0)
    found = vmap(lambda x, y, k: x * k + y, (1, None, None), out_axes=1)(a, b, 2.0)
    np.testing.assert_array_equal(found.numpy(), a * 2 + b[:, np.newaxis])
    np.testing.assert_array_equal(vmap(vmap(lambda x: x * x))(a).numpy(), a * a)


def test_vmap_says_which_sizes_differ():
    """And which argument lacks the axis."""
    with pytest.raises(GradientError, match="the batch needs one size, found argument 0: 3, argument 1: 2"):
        vmap(lambda x, y: x + y)(np.zeros(3), np.zeros(2))
    with pytest.raises(GradientError, match="say None in in_axes for what is the same for the whole batch"):
        vmap(lambda x, y: x + y)(np.zeros(3), 1.0)


@custom_vjp
def doubled(x, y):
    """A function whose rule is not its derivative."""
    if x > 0:
        return x * y
    return y


def _ahead(x, y):
    return doubled.function(x, y), (x, y)


def _back(kept, dy):
    return dy * 100 * kept[1], None


doubled.defvjp(_ahead, _back)


def test_a_rule_of_ones_own_is_used_and_differentiated():
    """What is kept comes back; None is zero; the rule has derivatives itself."""
    assert [float(each) for each in grad(doubled, (0, 1))(2.0, 3.0)] == [300.0, 0.0]
    assert float(grad(lambda y: grad(doubled)(2.0, y))(3.0)) == 100.0
    assert float(jit(lambda x: doubled(x, 3.0))(2.0)) == 6.0


class Squared(nn.Cell):
    """A Cell with its own gradient rule."""

    def construct(self, x):
        """Return x * x."""
        return x * x

    def bprop(self, x, value, dy):
        """Return seven times too little and too much."""
        return (dy * 7.0 * x,)


def test_a_cell_with_a_bprop_is_made_outside_like_others():
    """The rule belongs to its objects, not to the class."""
    with pytest.raises(DavinciError) as caught:
        grad(lambda x: Squared()(x) + 1.0)(3.0)
    assert str(caught.value).startswith(
        "an object of Squared is made in compiled code; make it outside, a Cell in __init__\n"
    )


def test_a_cell_brings_its_bprop_along():
    """As the whole function and inside of one."""
    cell = Squared()
    assert float(grad(cell)(3.0)) == 21.0
    assert float(grad(lambda x: cell(x) * x)(3.0)) == 72.0


@pytest.mark.parametrize(
    ("back", "message"),
    [
        (
            lambda kept, dy: (dy,),
            "its `back` gives 1 cotangents, there are 2 arguments; give None for those without",
        ),
        (lambda kept, dy: (dy, ops.zeros((2,))), "cotangent 1 is float32[2], argument 1 is float64[]"),
        (lambda kept, dy: (dy, (dy, dy)), "cotangent 1 has 2 tensors, argument 1 has 1"),
    ],
)
def test_a_wrong_rule_is_told(back, message):
    """Count, shape and structure of cotangents."""
    wrong = custom_vjp(lambda x, y: x * y)
    wrong.defvjp(lambda x, y: (x * y, ()), back)
    with pytest.raises(GradientError) as error:
        grad(wrong)(1.0, 2.0)
    assert message in str(error.value)


def test_hooks_see_and_change_cotangents():
    """On the way back, in the order of the way back."""
    assert float(grad(lambda x: hook(x, lambda dx: dx * 10.0) ** 2)(3.0)) == 60.0


def test_what_is_computed_again_is_not_kept():
    """The derivative calls it again with its arguments; the numbers stay."""

    def f(x):
        return ops.exp(ops.sin(x)) * x

    again = grad(recompute(f))
    np.testing.assert_allclose(float(again(1.0)), float(grad(f)(1.0)), rtol=1e-14)
    assert "keep=True" in str(again.compiled(1.0).func)
    np.testing.assert_allclose(float(grad(again)(1.0)), float(grad(grad(f))(1.0)), rtol=1e-13)


def test_calls_of_calls_do_not_multiply_what_is_written():
    """Nine levels that call the next one three times: what is kept grows, the program does not."""

    def level(n):
        if n == 0:
            return ops.sin
        below = level(n - 1)
        return lambda x: below(below(x)) + below(x * 0.5)

    f = level(8)
    derivative = jit(grad(f))
    expected = jvp(f, Tensor(np.float64(0.3)), Tensor(np.float64(1.0)))[1]
    np.testing.assert_allclose(float(derivative(0.3)), float(expected), rtol=1e-9)
    assert len(str(derivative.compiled(0.3).func).splitlines()) < 10_000
