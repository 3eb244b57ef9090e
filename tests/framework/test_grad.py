"""`grad` and `value_and_grad` as users call them."""

from __future__ import annotations

import numpy as np
import pytest

from framework import Parameter, Tensor, grad, jit, nn, ops, value_and_grad
from framework.autodiff import GradientError


def cube(x):
    return ops.reduce_sum(x * x * x)


def product(x, y):
    return ops.reduce_sum(x * x * y)


def test_the_third_derivative_of_a_polynomial_is_exact():
    """Grad composes with itself: the third derivative of x^4 at 2 is 48."""
    assert float(grad(grad(grad(lambda x: x * x * x * x)))(2.0)) == 48.0


def test_repeated_differentiation_keeps_a_cubic_small():
    """Each further derivative of x^3 has no more operators than the first, once optimised."""
    first = jit(grad(lambda x: x * x * x))
    third = jit(grad(grad(grad(lambda x: x * x * x))))
    first(Tensor(2.0))
    assert float(third(Tensor(2.0))) == 6.0
    size = [text.ir["dead_code"].count(" = ") for text in (first, third)]
    assert size[1] <= size[0]


def test_an_inner_gradient_sees_the_values_around_it():
    """d/dx of d/dy (y y x) at y = x is 2."""

    def outer(x):
        return grad(lambda y: y * y * x)(x)

    assert float(jit(outer)(Tensor(3.0))) == 18.0
    assert float(grad(outer)(3.0)) == 12.0


def test_gradients_of_weights_can_be_taken_inside_compiled_code():
    """With value v = x x p: v + dv/dx + dv/dp has the gradients that calculus gives."""
    p = Parameter(np.float32(2.0), name="x")  # the name of an argument, too

    def outer(x):
        value, (by_x, by_p) = value_and_grad(lambda y: y * y * p, 0, p)(x)
        return value + by_x + by_p

    assert float(jit(outer)(Tensor(3.0))) == 18 + 12 + 9
    assert float(grad(outer)(3.0)) == 12 + 4 + 6
    assert float(grad(outer, None, p)(3.0)) == 9 + 6


def test_parameters_are_read_at_every_call():
    """A compiled function sees the new value of a Parameter, a closed-over Tensor is a constant."""
    p = Parameter(np.float32(2.0), name="p")
    f = jit(lambda x: x * p)
    assert float(f(Tensor(3.0))) == 6.0
    p.set_data(np.float32(5.0))
    assert float(f(Tensor(3.0))) == 15.0


def test_position_chooses_the_arguments():
    """An int gives one gradient, a tuple gives a tuple."""
    x, y = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    np.testing.assert_array_equal(grad(product, 1)(x, y).numpy(), [1.0, 4.0])
    by_x, by_y = grad(product, (0, 1))(x, y)
    np.testing.assert_array_equal(by_x.numpy(), [6.0, 16.0])
    np.testing.assert_array_equal(by_y.numpy(), [1.0, 4.0])


def test_a_tuple_argument_has_a_tuple_of_gradients():
    """Gradients have the structure of the argument."""

    def f(pair):
        a, b = pair
        return ops.reduce_sum(a * b)

    a, b = grad(f)((Tensor([2.0]), Tensor([5.0])))
    assert (a.item(), b.item()) == (5.0, 2.0)


def test_weights_and_aux_come_in_mindspore_order():
    """value_and_grad gives ((loss, others), gradients), grad gives (gradients, others)."""
    w = Parameter(np.float32([2.0]), name="w")

    def f(x):
        y = w * x
        return ops.reduce_sum(y), y

    x = Tensor([3.0])
    (loss, y), gradient = value_and_grad(f, None, w, has_aux=True)(x)
    assert (loss.item(), y.item(), gradient.item()) == (6.0, 6.0, 3.0)
    (by_x, by_w), others = grad(f, 0, (w,), has_aux=True)(x)
    assert (by_x.item(), by_w[0].item(), others[0].item()) == (2.0, 3.0, 6.0)


def test_what_the_result_does_not_depend_on_gets_zeros():
    """An argument without influence has a gradient of zeros, as has what stop_gradient hides."""

    def f(x, y, z):
        return ops.reduce_sum(x * ops.stop_gradient(y))

    x = Tensor([1.0, 2.0])
    for gradient in grad(f, (1, 2))(x, x, x):
        np.testing.assert_array_equal(gradient.numpy(), [0.0, 0.0])


def test_half_precision_layers_give_their_weights_full_gradients():
    """The gradient of an fp32 weight that is used in fp16 is not rounded to fp16 on its way."""
    dense = nn.Dense(3, 2).to_float("float16")

    def f(x):
        return ops.reduce_sum(dense(x))

    compiled = grad(f, None, dense.trainable_params()).compiled(Tensor(np.ones((4, 3), np.float32)))
    products = [b for b in compiled.func.bindings if b.op == "matmul"]
    assert [str(b.outputs[0].type.dtype) for b in products] == ["float32"]


def test_a_gradient_needs_a_scalar():
    """A result with axes is refused, with the way out."""

    def f(x):
        return x * x

    with pytest.raises(GradientError) as caught:
        grad(f)(Tensor([1.0, 2.0]))
    assert str(caught.value) == (
        "gradient of @f: its result is float32[2], it must be a float scalar; reduce it with "
        "ops.reduce_sum or ops.reduce_mean, or return other values after it with has_aux=True\n"
        f"  {__file__}:{f.__code__.co_firstlineno + 1}\n    return x * x\n           ^"
    )


def test_integers_have_no_gradient():
    """Asking for the gradient of an integer argument is a mistake."""
    with pytest.raises(GradientError, match=r"%n is int32\[\]; integers and booleans have no gradient"):
        grad(lambda x, n: x * n, 1)(Tensor(2.0), Tensor(3))


def test_a_call_with_the_same_types_does_not_compile_again():
    """The second call with equal types finds the first one's Func."""
    f = jit(cube)
    first = f.compiled(Tensor([1.0, 2.0]))
    assert f.compiled(Tensor([3.0, 4.0])) is first
    assert f.compiled(Tensor([3.0])) is not first


def test_a_method_can_be_jitted():
    """Jit binds like a function, alone and inside other compiled code."""

    class Twice(nn.Cell):
        @jit
        def construct(self, x):
            return x + x

    assert float(Twice()(Tensor(2.0))) == 4.0
    assert float(grad(Twice())(2.0)) == 2.0


def test_compiled_and_eager_agree():
    """Jit changes nothing but the way a Cell is run."""
    net = nn.SequentialCell(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dense(8, 3))
    x = Tensor(np.random.default_rng(0).normal(size=(2, 1, 6, 6)).astype(np.float32))
    np.testing.assert_array_equal(jit(net)(x).numpy(), net(x).numpy())
    assert [name for name, _ in net.parameters_and_names()] == ["0.weight", "4.weight", "4.bias"]
