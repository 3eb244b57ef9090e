"""Tensors, and the numeric promises of single operators."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.errors import DavinciError, ShapeMismatch, UnknownName
from framework import Parameter, Tensor, ops
from framework.dtypes import bfloat16, dtype, float16, float32, float64, int8, int32, promote, uint8


def test_python_numbers_are_single_precision_and_arrays_keep_their_dtype():
    """A dtype is chosen for lists only."""
    assert [Tensor(a).dtype for a in (1.5, 2, np.float64(1), np.int8([1]))] == [float32, int32, float64, int8]


def test_bfloat16_tensors_compute():
    """bf16 has a dtype of its own: 1 + 2^-9 rounds to 1."""
    x = Tensor([1.0, 2.0], bfloat16) + Tensor([2.0**-9, 1.0], bfloat16)
    assert x.dtype == bfloat16
    np.testing.assert_array_equal(x.astype("float32").numpy(), [1.0, 3.0])


def test_dtypes_promote_by_rank():
    """Floats win over integers, half types of different kinds meet in float32."""
    assert promote(float16, bfloat16) == float32
    assert promote(int32, float16) == float16
    assert str(promote(int8, uint8)) == "int16"
    assert (Tensor([1], "int32") * 0.5).dtype == float32
    assert (Tensor([1.0], "float16") * 0.5).dtype == float16


def test_an_unknown_dtype_is_answered_with_the_nearest():
    """fp61 is not fp16."""
    with pytest.raises(UnknownName, match="unknown dtype 'float61'"):
        dtype("float61")


def test_indexing_follows_numpy():
    """Slices, masks, new axes, index tensors and assignment."""
    x = Tensor(np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(x[1:, ::2].numpy(), x.numpy()[1:, ::2])
    np.testing.assert_array_equal(x[Tensor([0, 2]), None].numpy(), x.numpy()[[0, 2], None])
    np.testing.assert_array_equal(x[x > 5].numpy(), x.numpy()[x.numpy() > 5])
    x[0] = 7
    assert x[0, 3].item() == 7
    np.testing.assert_array_equal((np.ones(4) + x[0]).numpy(), [8.0] * 4)


def test_a_parameter_keeps_its_type():
    """Data of another shape is refused."""
    parameter = Parameter(np.zeros(3, np.float32), name="w")
    with pytest.raises(ShapeMismatch, match=r"parameter 'w' is float32\[3\], it cannot hold float32\[2\]"):
        parameter.set_data(np.zeros(2, np.float32))


def test_half_precision_products_are_summed_in_float32_and_rounded_once():
    """2048 + 1 + 1 is lost in fp16 sums and kept in fp32 ones."""
    a = Tensor(np.float16([[2048, 1, 1]]))
    b = Tensor(np.ones((3, 1), np.float16))
    assert ops.matmul(a, b).item() == 2050
    assert ops.matmul(a, b, out_dtype="float32").dtype == float32
    x, w = ops.reshape(a, (1, 3, 1, 1)), ops.reshape(b, (1, 3, 1, 1))
    assert ops.conv2d(x, w).item() == 2050
    assert ops.reduce_sum(a).item() == 2050


def convolved_slowly(x, w, stride, pad, dilation):
    """Return the convolution by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    o, _, kh, kw = w.shape
    ho = (x.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    wo = (x.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((x.shape[0], o, ho, wo))
    for i, j in np.ndindex(ho, wo):
        rows = slice(i * stride, i * stride + dilation * (kh - 1) + 1, dilation)
        columns = slice(j * stride, j * stride + dilation * (kw - 1) + 1, dilation)
        y[:, :, i, j] = np.einsum("nchw,ochw->no", x[:, :, rows, columns], w)
    return y


@pytest.mark.parametrize(("stride", "pad", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 0, 2)])
def test_convolution_equals_its_definition(stride, pad, dilation):
    """The fast way gives what the loops give."""
    generator = np.random.default_rng(3)
    x, w = generator.normal(size=(2, 3, 9, 8)), generator.normal(size=(4, 3, 3, 2))
    y = ops.conv2d(Tensor(x), Tensor(w), stride, pad, dilation).numpy()
    np.testing.assert_allclose(y, convolved_slowly(x, w, stride, pad, dilation), atol=1e-12)


def test_max_pool_takes_the_first_maximum_in_row_major_order():
    """Of equal values the first one wins, and argmax counts inside the window in the dtype of x."""
    x = Tensor(np.float16([[[[1, 5, 2, 2], [5, 0, 2, 2]]]]))
    y, argmax = ops.max_pool_with_argmax(x, 2)
    np.testing.assert_array_equal(y.numpy(), [[[[5, 2]]]])
    np.testing.assert_array_equal(argmax.numpy(), [[[[1, 0]]]])
    assert argmax.dtype == float16


def test_cross_entropy_of_huge_logits_is_finite():
    """The maximum is taken out before the exponential."""
    loss = ops.softmax_cross_entropy(Tensor([[1000.0, 0.0]]), Tensor([1]))
    assert loss.item() == 1000.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.add(Tensor(np.ones((2, 3))), Tensor(np.ones(2))),
            "add: float64[2, 3] and float64[2] do not broadcast; lengths must be equal or 1, from the right",
        ),
        (
            lambda: ops.reshape(Tensor([1.0, 2.0]), (3,)),
            "reshape: float32[2] has 2 elements, shape (3,) has 3",
        ),
        (
            lambda: ops.conv2d(Tensor(np.ones((1, 2, 5, 5))), Tensor(np.ones((1, 3, 3, 3)))),
            "conv2d: x[1, 2, 5, 5] has 2 channels, w[1, 3, 3, 3] expects 3",
        ),
        (
            lambda: ops.conv2d(Tensor(np.ones((1, 1, 2, 2))), Tensor(np.ones((1, 1, 3, 3)))),
            "conv2d: the filter w[1, 1, 3, 3] is larger than the padded image x[1, 1, 2, 2]",
        ),
        (lambda: ops.softmax(Tensor([1.0]), 3), "axis: axis 3 is outside float32[1] with 1 axes"),
        (
            lambda: ops.matmul(Tensor([[1.0]])),
            "ops.matmul(a, b, transpose_a, transpose_b, out_dtype): missing a required argument: 'b'",
        ),
    ],
)
def test_operators_refuse_what_does_not_fit(call, message):
    """One clear message with the shapes."""
    with pytest.raises(DavinciError) as caught:
        call()
    assert str(caught.value) == message
