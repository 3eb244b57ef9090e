"""Parts of tensors are those that NumPy chooses, also in batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.errors import DavinciError
from framework import Tensor, grad, jit, ops, vmap
from framework.ir import Builder, TensorType, evaluate, verify
from framework.ir.subscript import taken_apart
from framework.ops.indexing import index

SIZE = 2
INSIDE = "  rule: from -3 to 2\n  next: ops.clip(i, 0, 2) keeps an index inside"


@st.composite
def indexed(draw):
    """Return an array and an index of it: numbers, slices, new axes, an ellipsis, tensors of integers."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    chosen = draw(st.sampled_from([(), (1,), (2,), (2, 1), (1, 3)]))
    rest = sorted(draw(st.tuples(*[st.integers(0, len(shape))] * 2)))
    rest = draw(st.sampled_from([rest, [rest[0]] * 2]))  # an ellipsis often stands for no axis
    parts = []
    for axis in range(len(shape) + 1):
        if axis == rest[0] and draw(st.booleans()):
            parts.append(...)
        if axis == len(shape):
            break
        if not rest[0] <= axis < rest[1] or ... not in {part for part in parts if part is ...}:
            parts.extend([None] * draw(st.integers(0, 1)))
            parts.append(draw(part_of_axis(shape[axis], chosen)))
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape), tuple(parts)


@st.composite
def part_of_axis(draw, length, chosen):
    """Return a number, a slice or a tensor of integers."""
    place, bound = st.integers(-length, length - 1), st.none() | st.integers(-5, 5)
    kind = draw(st.sampled_from(["number", "slice", "tensor"]))
    if kind == "number":
        return draw(place)
    if kind == "slice":
        return slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -3])))
    size = int(np.prod(chosen))
    return np.array(draw(st.lists(place, min_size=size, max_size=size)), np.int64).reshape(chosen)


@settings(max_examples=200, deadline=None)
@given(indexed())
def test_an_index_chooses_what_numpy_chooses(case):
    """Values and shape, and the shape is inferred without data."""
    x, key = case
    spec, inputs = taken_apart(key)
    np.testing.assert_array_equal(ops.index(Tensor(x), *inputs, spec=spec).numpy(), x[key])
    builder = Builder()
    assert builder.param(TensorType.of(x))[key].shape == x[key].shape


@settings(max_examples=100, deadline=None)
@given(indexed())
def test_writing_a_part_is_what_numpy_writes(case):
    """`x[i] = v` and `x[i] += v`, where one place that is named twice gets both."""
    x, key = case
    spec, inputs = taken_apart(key)
    value = -1.0 - np.arange(x[key].size).reshape(x[key].shape)
    written, added = x.copy(), x.copy()
    written[key] = value
    np.add.at(added, key, value)
    np.testing.assert_array_equal(ops.index_update(Tensor(x), value, *inputs, spec=spec).numpy(), written)
    np.testing.assert_array_equal(ops.index_add(Tensor(x), value, *inputs, spec=spec).numpy(), added)


@settings(max_examples=150, deadline=None)
@given(indexed(), st.data())
def test_a_part_of_a_batch_is_the_batch_of_the_parts(case, data):
    """Whether the tensor, some of the indices or all of them have a batch axis."""
    x, key = case
    spec, inputs = taken_apart(key)
    arrays = [x, *inputs]
    chosen = data.draw(st.lists(st.booleans(), min_size=len(arrays), max_size=len(arrays)).filter(any))
    stacked = [np.stack([each, each[..., ::-1] if each.ndim else each]) if one else each
               for each, one in zip(arrays, chosen, strict=True)]  # fmt: skip
    builder = Builder()
    params = [builder.param(TensorType.of(each)) for each in stacked]
    attrs = index.normalized((TensorType.of(x),), {"spec": spec})
    outputs = index.batch(params, chosen, attrs, SIZE)
    (found,) = evaluate(verify(builder.finish("batch", outputs)), stacked)
    singles = [
        [each[turn] if one else each for each, one in zip(stacked, chosen, strict=True)]
        for turn in range(SIZE)
    ]
    np.testing.assert_array_equal(found, np.stack([index.run(each, attrs)[0] for each in singles]))


PLACES = Tensor([1, 0])
BETWEEN = (
    lambda x: x[None, 0, 0, 0, ..., PLACES],
    lambda x: x[:, 1, PLACES, ..., 0],
    lambda x: x[:, :, PLACES, ..., PLACES],
    lambda x: x[:, 1, ..., None, PLACES, 0],  # the new axis keeps them apart
    lambda x: x[:, 1, ..., 0, 1],
)


@pytest.mark.parametrize("part", BETWEEN)
def test_an_ellipsis_for_no_axis_keeps_points_apart(part):
    """The axes of tensors come first then, as in NumPy: eager, compiled, in gradients and in batches."""
    x = np.arange(24.0).reshape(2, 3, 2, 2)

    def slope(x):
        return ops.reduce_sum(part(x) * ops.cast(weights, "float64"))

    class Numbers:
        """Take an index with the places as an array."""

        def __getitem__(self, key):
            return x[tuple(each.numpy() if each is PLACES else each for each in key)]

    wanted = part(Numbers())
    weights = Tensor(np.arange(1.0, wanted.size + 1).reshape(wanted.shape))
    for found in (part(Tensor(x)), jit(part)(Tensor(x))):
        np.testing.assert_array_equal(found.numpy(), wanted)
    dx = np.zeros_like(x)
    np.add.at(dx.reshape(-1), wanted.astype(int), weights.numpy())
    np.testing.assert_array_equal(grad(slope)(Tensor(x)).numpy(), dx)
    np.testing.assert_array_equal(vmap(part)(Tensor(np.stack([x, x]))).numpy(), [wanted, wanted])


def test_an_empty_axis_has_no_position():
    with pytest.raises(DavinciError) as caught:
        ops.index(Tensor(np.ones((2, 0))), spec=(0, 1))
    assert str(caught.value) == (
        "index: position 1 is outside axis 1 of [2, 0]\n"
        "  rule: an axis of length 0 has no position\n  next: use a tensor that has elements there"
    )


def test_the_value_that_stays_gets_the_gradient():
    """Of two values written to one place the last one stays, and the other one has gradient zero."""
    places = Tensor([2, 0, 2])

    def f(v):
        x = ops.index_update(ops.zeros(3), v, places, spec=(("at", 0),))
        return ops.reduce_sum(x * x)

    slopes = grad(f)(Tensor([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(slopes.numpy(), [0.0, 4.0, 6.0])


def test_compiled_code_indexes_as_numpy_does():
    """Negative numbers, new axes, an ellipsis, a tensor of integers, a mask that is known."""
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    mask = np.array([True, False, True])

    def f(x, at):
        return x[-1, ..., None], x[:, at], x[..., ::-2], x[:, mask], x[[1, 0], at[0]]

    found = jit(f)(Tensor(x), Tensor([2, 0]))
    wanted = x[-1, ..., None], x[:, [2, 0]], x[..., ::-2], x[:, mask], x[[1, 0], 2]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


def test_a_constant_tensor_takes_an_index_of_the_program():
    """`table[i]` with i known at run time only."""
    table = Tensor([1.0, 2.0, 3.0])
    assert jit(lambda i: table[i])(Tensor(1)).item() == 2.0


def test_an_array_around_takes_an_index_of_the_program():
    """NumPy arrays are constants."""
    table = np.array([1.0, 2.0, 3.0])
    assert jit(lambda i: table[i])(Tensor(1)).item() == 2.0


def test_an_item_is_a_number():
    """It takes on the dtype of what it meets, and has a gradient."""

    def f(x):
        return x[0].item() * x * 0.5

    x = Tensor(np.float16([3.0, 2.0]))
    assert str(jit(f)(x).dtype) == "float16"
    assert grad(lambda x: f(x).sum())(x).numpy().tolist() == [4.0, 1.5]
    with pytest.raises(DavinciError, match="it must have one element"):
        jit(lambda x: x.item())(x)


def test_a_slice_may_start_anywhere():
    """Its length is known, its start is not."""
    x = Tensor(np.arange(10.0))
    assert ops.dynamic_slice(x, Tensor(3), 2).numpy().tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda x, i: x[3], "index: position 3 is outside axis 0 of [3, 4]\n" + INSIDE),
        (
            lambda x, i: x[0, 0, 0],
            "index: 3 indices for float32[3, 4], which has 2 axes\n  next: leave out 1",
        ),
        (lambda x, i: x[i + 2.5], "index: an index is float32[], it must be integers"),
        (lambda x, i: x[..., 1, ...], "index: an index has one `...` at most, found 2"),
        (
            lambda x, i: x[x > 0],
            "an index is a mask bool[3, 4]\n"
            "  rule: shapes are known when compiling, how many of it are true is not\n"
            "  next: write ops.select(mask, x, other)",
        ),
        (
            lambda x, i: x[i:],
            "a slice has a bound int32[] that is known at run time only\n"
            "  rule: shapes are known when compiling\n"
            "  next: write ops.dynamic_slice(x, start, size), or ops.select with a condition",
        ),
        (lambda x, i: x[i], "index: position 7 is outside axis 0 of [3, 4]\n" + INSIDE),
    ],
)
def test_an_index_that_chooses_nothing_is_refused(part, message):
    """When compiling where that is possible, else when running."""
    with pytest.raises(DavinciError) as caught:
        jit(part)(Tensor(np.ones((3, 4), np.float32)), Tensor(7))
    assert str(caught.value).split("\n  File")[0].startswith(message)
