"""Max pooling and its gradient equal their references exactly, or within the rounding of their sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels import find
from kernels.run import place, random_inputs, references, run
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of, tilings

DTYPES = ("fp16", "fp32")


@st.composite
def windows(draw):
    """Draw legal axes: the window lies inside the image."""
    kh, kw = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    pad, more = draw(st.integers(0, min(kh, kw) - 1)), {}
    if draw(st.booleans()):
        most = {"more_top": kh, "more_bottom": kh, "more_left": kw, "more_right": kw}
        more = {side: draw(st.integers(0, length - 1 - pad)) for side, length in most.items()}
    return {
        "n": draw(st.integers(1, 3)), "c": draw(st.integers(1, 40)),
        "h": kh + draw(st.integers(0, 20)), "w": kw + draw(st.integers(0, 40)),
        "kh": kh, "kw": kw, "stride": draw(st.integers(1, 5)), "pad": pad, **more,
    }  # fmt: skip


def grad_inputs(shape, seed):
    """Return dy and indices that lie in the window."""
    generator = np.random.Generator(np.random.Philox(seed))
    kernel = find("max_pool_grad")
    dy = random_inputs(kernel, shape, seed)["dy"]
    return {"dy": dy, "argmax": generator.integers(0, shape.kh * shape.kw, dy.shape).astype(dy.dtype)}


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["max_pool", "max_pool_plain"]), axes=windows(), dtype=st.sampled_from(DTYPES),
    pick=st.integers(0, 5), seed=st.integers(0, 99),
)  # fmt: skip
def test_pooling_finds_the_largest_of_each_window(name, axes, dtype, pick, seed):
    """Whatever the window, type and tiling; padding is zero."""
    kernel = find(name)
    assert not any(differences(kernel, shape_of(kernel, dtype, **axes), pick, seed).values())


@settings(max_examples=25, deadline=None)
@given(axes=windows(), dtype=st.sampled_from(DTYPES), pick=st.integers(0, 5), seed=st.integers(0, 99))
def test_the_gradient_goes_to_the_maxima(axes, dtype, pick, seed):
    """Overlapping windows add up, everything else is zero."""
    kernel = find("max_pool_grad")
    shape = shape_of(kernel, dtype, **axes)
    assert not any(differences(kernel, shape, pick, seed, grad_inputs(shape, seed)).values())


@pytest.mark.parametrize("window", [(3, 3, 2), (5, 2, 1), (2, 4, 2), (4, 1, 1), (7, 3, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_of_equal_maxima_counts(dtype, window):
    """Indices count the window row by row; ties, zeros of both signs among them, go to the first.

    Also where windows share rows: then the first row with the maximum counts, and in it the first column.
    """
    kernel = find("max_pool")
    kh, kw, stride = window
    shape = shape_of(kernel, dtype, n=2, c=17, h=9, w=20, kh=kh, kw=kw, stride=stride)
    few = np.random.Generator(np.random.Philox(1)).integers(-1, 2, (2, 17, 9, 20)) * 0.5
    few[few == 0] *= -1
    inputs = {"x": few.astype(np.float16 if dtype == "fp16" else np.float32)}
    expected = references(kernel, shape, inputs)
    for tiling in tilings(kernel, shape):
        found, _ = run(kernel, shape, inputs, Chip(P), tiling)
        assert np.array_equal(found["y"], expected["y"])
        assert np.array_equal(found["argmax"], expected["argmax"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "axes",
    [
        {"h": 3, "w": 700, "kh": 2, "kw": 2, "stride": 2},
        {"h": 5, "w": 600, "kh": 3, "kw": 3, "stride": 40},
        {"h": 3, "w": 900, "kh": 1, "kw": 2, "stride": 300},
        {"h": 16, "w": 17, "kh": 16, "kw": 16, "stride": 1},
        {"h": 150, "w": 9, "kh": 2, "kw": 3, "stride": 2},
        {"h": 9, "w": 800, "kh": 3, "kw": 3, "stride": 1, "pad": 2},
        {"h": 30, "w": 30, "kh": 2, "kw": 2, "stride": 2},
    ],
)
def test_rows_and_strides_beyond_the_reach_of_an_instruction(axes, dtype):
    """Where a stride is more than 255 blocks or a column more than 255 rows, instructions are cut."""
    for name in ("max_pool", "max_pool_grad"):
        kernel = find(name)
        shape = shape_of(kernel, dtype, n=1, c=20, **axes)
        inputs = grad_inputs(shape, 1) if name == "max_pool_grad" else None
        assert not any(differences(kernel, shape, 0, 1, inputs).values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_window_of_two_thousand_elements_fits(dtype):
    kernel = find("max_pool")
    shape = shape_of(kernel, dtype, n=1, c=20, h=45, w=45, kh=45, kw=45)
    assert not any(differences(kernel, shape, 0, 1).values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_moving_data_late_changes_no_bit(dtype):
    """In the reference model data moves when the simulated move ends: every hand-off is guarded."""
    axes = {"n": 2, "c": 20, "h": 11, "w": 23, "kh": 3, "kw": 2, "stride": 2}
    pool, grad = find("max_pool"), find("max_pool_grad")
    assert engines_agree(pool, shape_of(pool, dtype, **axes))
    shape = shape_of(grad, dtype, **axes)
    assert engines_agree(grad, shape, grad_inputs(shape, 1))


@pytest.mark.parametrize("name", ["max_pool", "max_pool_grad"])
def test_one_core_with_many_tiles_guards_its_slots(name):
    """The slots of one core are used again and again, with one slot and with two."""
    kernel = find(name)
    shape = shape_of(kernel, n=2, c=20, h=11, w=23, kh=3, kw=3, stride=2)
    inputs = grad_inputs(shape, 3) if name == "max_pool_grad" else random_inputs(kernel, shape, 3)
    for slots in (1, 2):
        tiling = kernel.tiling_type(cores=1, rows=2, cols=5, slots=slots)
        fast, _ = run(kernel, shape, inputs, Chip(P), tiling)
        slow, _ = run(kernel, shape, inputs, Chip(P), tiling, engine="reference")
        assert all(fast[key].tobytes() == slow[key].tobytes() for key in fast)


@pytest.mark.parametrize("name", ["max_pool", "max_pool_grad"])
def test_lenets_pooling_uses_all_cores_and_takes_some_microseconds(name):
    """28x28 to 14x14, batch 32: two tiles a core, whose load, vector instructions and store add up."""
    kernel = find(name)
    shape = shape_of(kernel, n=32, c=6, h=28, w=28, kh=2, kw=2, stride=2)
    placed = place(kernel, shape, None, Chip(P))
    assert placed.task.block_dim == P.ai_cores
    assert efficiency(kernel, shape) <= 1
    assert placed.chip.trace(placed.task).us < 5


@pytest.mark.parametrize(("name", "least"), [("max_pool", 0.8), ("max_pool_grad", 0.75)])
def test_pooling_of_resnet_50_keeps_the_vector_unit_busy(name, least):
    """3x3, stride 2, on 112x112: loads go on while the vector unit works; it binds, and not the memory."""
    kernel = find(name)
    shape = shape_of(kernel, n=32, c=64, h=112, w=112, kh=3, kw=3, stride=2, pad=1)
    placed = place(kernel, shape, None, Chip(P))
    assert placed.chip.trace(placed.task).utilization("V") > least
    assert efficiency(kernel, shape) <= 1


def test_an_instruction_works_on_all_rows_of_many_small_planes():
    """A few instructions per element of the window, however many rows the planes have."""
    kernel = find("max_pool")
    placed = place(kernel, shape_of(kernel, n=64, c=16, h=10, w=10, kh=2, kw=2, stride=2), None, Chip(P))
    assert placed.task.instructions < 64 * 32


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_is_less_than_any_number(dtype):
    """Windows at the border find the largest of negative numbers, and never the padding."""
    kernel = find("max_pool")
    shape = shape_of(kernel, dtype, n=3, c=18, h=9, w=11, kh=3, kw=3, stride=2, pad=1)
    x = -1 - np.arange(3 * 18 * 99).reshape(3, 18, 9, 11) % 97
    inputs = {"x": x.astype(np.float16 if dtype == "fp16" else np.float32)}
    for pick in range(len(tilings(kernel, shape))):
        assert not any(differences(kernel, shape, pick, 0, inputs).values())


def test_a_window_larger_than_the_image_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("max_pool"), n=1, c=1, h=2, w=5, kh=3, kw=3)
    assert str(refused.value) == (
        "kernel max_pool: the window is 3 x 3, the image 2 x 5\n"
        "  rule: windows lie inside the image and its padding\n  next: use a smaller window"
    )


def test_padding_as_wide_as_the_window_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("max_pool"), n=1, c=1, h=5, w=5, kh=3, kw=2, pad=2)
    assert str(refused.value) == (
        "kernel max_pool: pad=2, kh=3, kw=2\n  rule: every window sees the image\n  next: change the shape"
    )


def test_padding_on_one_side_as_wide_as_the_window_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("max_pool"), n=1, c=1, h=5, w=5, kh=3, kw=2, pad=1, more_right=1)
    assert str(refused.value) == (
        "kernel max_pool: pad=1, more_right=1, kh=3, kw=2\n"
        "  rule: every window sees the image\n  next: change the shape"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_as_in_tensorflow_is_less_than_any_number(dtype):
    """SAME with stride 2 pads the bottom and the right of an even image alone."""
    kernel = find("max_pool")
    axes = {"n": 3, "c": 18, "h": 10, "w": 12, "kh": 3, "kw": 3, "stride": 2}
    shape = shape_of(kernel, dtype, **axes, more_bottom=1, more_right=1)
    x = -1 - np.arange(3 * 18 * 120).reshape(3, 18, 10, 12) % 97
    inputs = {"x": x.astype(np.float16 if dtype == "fp16" else np.float32)}
    assert (shape.oh, shape.ow) == (5, 6)
    for pick in range(len(tilings(kernel, shape))):
        assert not any(differences(kernel, shape, pick, 0, inputs).values())


def test_a_window_whose_indices_are_not_exact_is_refused():
    with pytest.raises(BadShape, match="at most 2048, so that indices are exact in fp16"):
        shape_of(find("max_pool"), n=1, c=1, h=60, w=60, kh=50, kw=50)
