"""What single operators promise beyond their gradients."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import DavinciError
from framework import Tensor, grad, ops, value_and_grad
from framework.autodiff import differentiate
from framework.ir import Builder, evaluate
from framework.ir.types import parse_type


def test_small_whole_powers_are_products():
    """Of `x ** 3` come two products, x ** 3.5 is a power, x ** 0 is one and x ** -2 a reciprocal."""
    builder = Builder()
    x = builder.param(parse_type("float32[2]"))
    func = builder.finish("f", [x**3, x**3.5, x**0, x**-2, x**0.5])
    assert func.ops() == ("mul", "mul", "pow", "pow", "mul", "reciprocal", "sqrt")
    found = evaluate(func, [np.float32([2.0, 4.0])])
    wanted = [[8.0, 64.0], [2**3.5, 128.0], [1.0, 1.0], [0.25, 0.0625], [2**0.5, 2.0]]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_powers_have_gradients_where_base_or_exponent_is_zero():
    """d(x**2)/dx and its derivatives at 0, d(0**y)/dy, d(x**0)/dx."""
    slope = grad(lambda x, y: x**y, (0, 1))
    assert [each.item() for each in slope(0.0, 2.0)] == [0.0, 0.0]
    assert [each.item() for each in slope(2.0, 0.0)] == pytest.approx([0.0, np.log(2.0)])
    assert grad(grad(lambda x, y: x**y))(0.0, 2.0).item() == 2.0
    assert grad(grad(grad(lambda x, y: x**y)))(0.0, 3.0).item() == 6.0


def test_integers_have_no_negative_powers():
    """There is no integer that is a half."""
    with pytest.raises(DavinciError) as caught:
        ops.pow(Tensor([2]), Tensor([-1]))
    assert str(caught.value) == (
        "pow: an integer int32[1] is raised to -1\n"
        "  rule: integers have integers as powers\n"
        "  next: cast the base to a float"
    )


def test_the_gradient_of_a_product_with_a_zero_is_the_product_of_the_others():
    """Nothing is divided by what may be zero."""
    slopes = grad(ops.reduce_prod)(Tensor([2.0, 0.0, 3.0, 5.0, 1.0]))
    assert slopes.numpy().tolist() == [0.0, 30.0, 0.0, 0.0, 0.0]


def test_what_is_empty_has_a_sum_a_product_and_gradients():
    """Of no elements the sum is 0 and the product 1; neither moves."""

    def f(x):
        return ops.reduce_prod(x[2:]) + ops.reduce_sum(x[2:]) + x[0]

    value, slopes = value_and_grad(f)(Tensor([5.0, 7.0]))
    assert (value.item(), slopes.numpy().tolist()) == (6.0, [1.0, 0.0])


def test_vectors_are_rows_on_the_left_and_columns_on_the_right():
    """`@` takes vectors, matrices and batches as NumPy does."""
    generator = np.random.default_rng(1)
    shapes = [
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((4, 3), (3,)),
        ((2, 4, 3), (3,)),
        ((3,), (2, 3, 4)),
        ((5, 1, 2, 3), (4, 3, 2)),
    ]
    for left, right in shapes:
        a, b = generator.normal(size=left), generator.normal(size=right)
        np.testing.assert_allclose((Tensor(a) @ Tensor(b)).numpy(), a @ b, rtol=1e-12)
        np.testing.assert_allclose((a @ Tensor(b)).numpy(), a @ b, rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_what_is_packed_comes_apart_again(axis):
    """Splitting undoes concat, pack stacks as NumPy does, tile repeats and flip turns around."""
    x = np.arange(12.0).reshape(3, 4)
    y = Tensor(x)
    np.testing.assert_array_equal(ops.pack([y, -y], axis).numpy(), np.stack([x, -x], axis))
    parts = ops.split(ops.concat([y, -y], axis), 2, axis)
    np.testing.assert_array_equal(parts[1].numpy(), -x)
    np.testing.assert_array_equal(ops.flip(y, axis).numpy(), np.flip(x, axis))
    np.testing.assert_array_equal(ops.tile(y, (2, 1, 3)).numpy(), np.tile(x, (2, 1, 3)))
    assert ops.squeeze(ops.expand_dims(y, axis)).shape == x.shape


def test_truths_combine():
    """`& | ^ ~` and what holds for all or any; of integers they combine the bits."""
    x = Tensor([-2.0, 0.0, 0.5])
    inside = (x > -1) & (x < 1)
    found = inside, ~inside | (x == 0), inside ^ (x > 0), inside.all(), inside.any()
    wanted = [[False, True, True], [True, True, False], [False, True, False], False, True]
    assert [each.numpy().tolist() for each in found] == wanted
    n = Tensor([5, 6])
    bits = n & 3, 1 | n, n ^ True, ~n, n << 2, 64 >> n
    assert [each.numpy().tolist() for each in bits] == [[1, 2], [5, 7], [4, 7], [-6, -7], [20, 24], [2, 1]]


def test_half_precision_functions_are_rounded_once():
    """They are computed in float32, also bfloat16."""
    x = np.linspace(-2, 2, 41).astype(np.float16)
    np.testing.assert_array_equal(
        ops.tanh(Tensor(x)).numpy(), np.tanh(x.astype(np.float32)).astype(np.float16)
    )
    assert str(ops.erf(Tensor([0.5], "bfloat16")).dtype) == "bfloat16"


def test_the_function_of_the_normal_distribution():
    """gelu(1) is the probability of less than one standard deviation."""
    assert ops.gelu(Tensor(1.0)).item() == pytest.approx(0.8413447)
    assert ops.gelu(Tensor(-30.0)).item() == 0.0


def test_the_gradient_of_a_part_holds_no_constant_of_the_size_of_the_whole():
    """Zeros are made when they are needed, so that programs with large tables stay small."""
    builder = Builder()
    table = builder.param(parse_type("float32[1000, 1000]"))
    func = differentiate(builder.finish("f", [ops.reduce_sum(table[3])]), [0])
    assert len(str(func)) < 1000
    assert evaluate(func, [np.ones((1000, 1000), np.float32)])[0].sum() == 1000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.concat([Tensor([[1.0]]), Tensor([[1.0, 2.0]])]),
            "concat: float32[1, 1] and float32[1, 2] differ in more than axis 0",
        ),
        (lambda: ops.concat([]), "concat: there is nothing to put together; give it one tensor at least"),
        (lambda: ops.pack([]), "pack: there is nothing to put together; give it one tensor at least"),
        (
            lambda: ops.split(Tensor([1.0, 2.0, 3.0]), 2),
            "split: axis 0 of length 3 does not come apart in 2 equal parts",
        ),
        (
            lambda: ops.split(Tensor([1.0, 2.0, 3.0]), (1, 1)),
            "split: parts [1, 1] have 2 of 3 along axis 0",
        ),
        (lambda: ops.squeeze(Tensor([1.0, 2.0]), 0), "squeeze: axis 0 of float32[2] must have length 1"),
        (
            lambda: ops.pad(Tensor([1.0]), ((1, -1),)),
            "pad: widths ((1, -1),) must be (before, after), not negative, for each axis of float32[1]",
        ),
        (
            lambda: Tensor(1.0) @ Tensor([1.0]),
            "() @ (1,): a scalar has no axis to sum over; multiply with *",
        ),
        (
            lambda: ops.matmul(Tensor(np.ones((2, 1, 1))), Tensor(np.ones((3, 1, 1)))),
            "matmul: the batches: float64[2] and float64[3] do not broadcast; "
            "lengths must be equal or 1, from the right",
        ),
        (
            lambda: ops.index_update(Tensor([1.0, 2.0]), Tensor([1.0, 2.0, 3.0]), spec=(("slice", 0, 2, 1),)),
            "index_update: float32[3] and float32[2] do not broadcast; "
            "lengths must be equal or 1, from the right",
        ),
        (
            lambda: ops.einsum("ij,jk->ix", Tensor([[1.0]]), Tensor([[1.0]])),
            "einsum: 'ij,jk->ix' is no sum of products\n"
            "  rule: letters name axes, each once in a term; those of the result appear on the left\n"
            "  next: write it such as 'ij,jk->ik'",
        ),
        (
            lambda: ops.einsum("ij,jk->ik", Tensor([[1.0, 2.0]]), Tensor([[1.0]])),
            "einsum: axis j of 'ij,jk->ik' is 2 long, and 1 in float32[1, 1]",
        ),
        (
            lambda: ops.einsum("ij->i", Tensor([1.0])),
            "einsum: 'ij->i' names 2 axes of float32[1], which has 1",
        ),
        (lambda: ops.einsum("i,i", Tensor([1.0])), "einsum: 'i,i' names 2 tensors, 1 are given"),
        (
            lambda: ops.logical_and(Tensor([1]), Tensor([2])),
            "logical_and: int32[1] is not boolean\n"
            "  rule: it combines truths\n"
            "  next: compare it first, such as x != 0",
        ),
        (
            lambda: Tensor([1.0]) & Tensor([2]),
            "bitwise_and: float32[1] has no bits\n"
            "  rule: integers and booleans have\n"
            "  next: cast it to int32",
        ),
        (
            lambda: Tensor([1]) << -1,
            "left_shift: by -1 bits\n  rule: the number of bits is not negative\n  next: shift the other way",
        ),
        (lambda: ops.full((2, -1), 0.0), "full: shape (2, -1) has a negative length"),
    ],
)
def test_operators_refuse_what_does_not_fit(call, message):
    """One clear message with the shapes."""
    with pytest.raises(DavinciError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij,bkj->bik", [(2, 3, 4), (2, 5, 4)]),
        ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("i,j->ij", [(3,), (4,)]),
        ("i,i", [(3,), (3,)]),
        ("ijk->kj", [(2, 3, 4)]),
        ("ij,j,jk->k", [(2, 3), (3,), (3, 4)]),
        ("ab,bc,cd->da", [(2, 3), (3, 4), (4, 5)]),
        ("ij,kj->i", [(2, 3), (4, 3)]),
    ],
)
def test_einsum_sums_what_numpy_sums(equation, shapes):
    """Batches, outer products, transposes, sums and chains."""
    generator = np.random.default_rng(2)
    arrays = [generator.normal(size=shape) for shape in shapes]
    found = ops.einsum(equation, *map(Tensor, arrays))
    np.testing.assert_allclose(found.numpy(), np.einsum(equation, *arrays), rtol=1e-12, atol=1e-12)


def test_composed_functions_are_what_they_are_composed_of():
    """Also where the numbers are large."""
    x = np.array([[0.5, 2.0, 1.0], [700.0, 2.0, 800.0]])
    cases = [
        (ops.logsumexp(Tensor(x), 1), np.logaddexp.reduce(x, axis=1)),
        (ops.log_softmax(Tensor(x)), x - np.logaddexp.reduce(x, axis=1)[:, None]),
        (ops.std(Tensor(x), 0), x.std(axis=0)),
        (ops.variance(Tensor(x)), x.var()),
        (ops.norm(Tensor(x), 1), np.linalg.norm(x, axis=1)),
        (ops.log2(Tensor(x)), np.log2(x)),
        (ops.log10(Tensor(x)), np.log10(x)),
        (ops.exp2(Tensor(x[0])), np.exp2(x[0])),
        (ops.hypot(Tensor(x), 3.0), np.hypot(x, 3)),
        (ops.outer(Tensor(x[0]), Tensor(x[1])), np.outer(x[0], x[1])),
        (ops.silu(Tensor(x[0])), x[0] / (1 + np.exp(-x[0]))),
        (ops.clip(Tensor(x), 1.0, 700.0), np.clip(x, 1, 700)),
        (ops.softplus(Tensor(x)), np.logaddexp(x, 0)),
        (ops.where(Tensor(x) > 1, 1, Tensor(x)), np.where(x > 1, 1, x)),
    ]
    for found, wanted in cases:
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12)


def test_smooth_functions_are_smooth_where_they_are_written_with_a_maximum():
    """The slope of softplus at 0 is a half, that of logsumexp of equal numbers is shared."""
    assert grad(ops.softplus)(0.0).item() == 0.5
    assert grad(ops.logsumexp)(Tensor([3.0, 3.0])).numpy().tolist() == [0.5, 0.5]
