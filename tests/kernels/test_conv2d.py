"""Convolutions and their gradients equal their references on any window and tiling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape, BadTiling
from davinci_sim.isa import FP16, FP32
from kernels import find
from kernels.run import place, random_inputs, references, run
from kernels.tiling.conv2d_filter import best_splits
from kernels.tolerance import compare
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of, tilings

RESNET = {
    "3x3": {"n": 32, "c": 64, "h": 56, "w": 56, "o": 64, "kh": 3, "kw": 3, "pad": 1},
    "3x3 stride 2": {"n": 32, "c": 256, "h": 28, "w": 28, "o": 256, "kh": 3, "kw": 3, "stride": 2, "pad": 1},
    "3x3 28": {"n": 32, "c": 128, "h": 28, "w": 28, "o": 128, "kh": 3, "kw": 3, "pad": 1},
    "3x3 14": {"n": 32, "c": 256, "h": 14, "w": 14, "o": 256, "kh": 3, "kw": 3, "pad": 1},
    "3x3 deep": {"n": 32, "c": 512, "h": 7, "w": 7, "o": 512, "kh": 3, "kw": 3, "pad": 1},
    "3x3 56 2": {"n": 32, "c": 128, "h": 56, "w": 56, "o": 128, "kh": 3, "kw": 3, "stride": 2, "pad": 1},
    "3x3 deep 2": {"n": 32, "c": 512, "h": 14, "w": 14, "o": 512, "kh": 3, "kw": 3, "stride": 2, "pad": 1},
    "1x1": {"n": 32, "c": 256, "h": 56, "w": 56, "o": 64, "kh": 1, "kw": 1},
    "1x1 stride 2": {"n": 32, "c": 1024, "h": 14, "w": 14, "o": 2048, "kh": 1, "kw": 1, "stride": 2},
}
STEM = {"n": 32, "c": 3, "h": 224, "w": 224, "o": 64, "kh": 7, "kw": 7, "stride": 2, "pad": 3}
ODD = {"n": 2, "c": 20, "h": 9, "w": 11, "o": 37, "kh": 3, "kw": 2, "stride": 2, "pad": 1}
KERNELS = (
    "conv2d", "conv2d_bias", "conv2d_statistics", "conv2d_int8", "conv2d_backward_input",
    "conv2d_backward_filter",
)  # fmt: skip


@st.composite
def windows(draw):
    """Draw legal axes: the filter fits the padded image, every window sees the image."""
    kh, kw, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    extent = [(k - 1) * dilation + 1 for k in (kh, kw)]
    pad = draw(st.integers(0, min(2, min(extent) - 1)))
    h, w = (max(1, e - 2 * pad) + draw(st.integers(0, 12)) for e in extent)
    groups = draw(st.sampled_from((1, 1, 2, 3, 7, 20)))
    more = {}
    if draw(st.booleans()):
        axes = {"more_top": 0, "more_bottom": 0, "more_left": 1, "more_right": 1}
        more = {side: draw(st.integers(0, min(2, extent[axis] - 1 - pad))) for side, axis in axes.items()}
    c, o = (groups * draw(st.integers(1, max(1, 40 // groups))) for _ in range(2))
    return {
        "n": draw(st.integers(1, 5)), "c": c, "h": h, "w": w, "o": o, "kh": kh, "kw": kw,
        "stride": draw(st.integers(1, 4)), "pad": pad, "dilation": dilation, "groups": groups, **more,
    }  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(axes=windows(), bias=st.booleans(), wide=st.booleans(), relu=st.booleans(), pick=st.integers(0, 13))
def test_a_convolution_equals_its_reference_on_any_window_and_tiling(axes, bias, wide, relu, pick):
    """Whatever the window, groups, result type and tiling, only rounding differs and padding is zero."""
    kernel, seed = find("conv2d_bias" if bias else "conv2d"), pick
    shape = shape_of(kernel, **axes, relu=int(relu), out_dtype=FP32 if wide else FP16)
    assert not any(differences(kernel, shape, pick, seed).values())


@settings(max_examples=25, deadline=None)
@given(axes=windows(), wide=st.booleans(), pick=st.integers(0, 10), seed=st.integers(0, 99))
def test_the_gradient_to_the_input_equals_its_reference(axes, wide, pick, seed):
    """Strides, rows that no window reaches, and dilated filters included."""
    kernel = find("conv2d_backward_input")
    shape = shape_of(kernel, **axes, out_dtype=FP32 if wide else FP16)
    assert not any(differences(kernel, shape, pick, seed).values())


@settings(max_examples=25, deadline=None)
@given(axes=windows(), splits=st.integers(1, 3), pick=st.integers(0, 6), seed=st.integers(0, 99))
def test_the_gradient_to_the_filter_equals_its_reference(axes, splits, pick, seed):
    """Each part is FRACTAL_Z of the sum over its split's images, zero where the channels are padding."""
    kernel = find("conv2d_backward_filter")
    shape = shape_of(kernel, **axes, splits=min(splits, axes["n"]))
    assert not any(differences(kernel, shape, pick, seed).values())


def test_rows_that_a_filter_of_one_row_skips_stay_in_memory():
    """A wide 1x1 convolution of stride 2 reads half the rows, a tile of a whole image in one transfer."""
    for name in ("conv2d", "conv2d_backward_filter"):
        kernel = find(name)
        for h in (8, 9):
            shape = shape_of(kernel, n=2, c=20, h=h, w=30, o=20, kh=1, kw=1, stride=2)
            for pick in range(len(tilings(kernel, shape))):
                assert not any(differences(kernel, shape, pick, 3).values())


@settings(max_examples=15, deadline=None)
@given(
    axes=windows(),
    name=st.sampled_from(
        ("conv2d", "conv2d_bias", "conv2d_statistics", "conv2d_int8", "conv2d_backward_input")
    ),
    cut=st.tuples(*(st.integers(1, top) for top in (5, 3, 3))),
)
def test_images_whose_rows_take_turns_give_the_numbers_of_each(axes, name, cut):
    """Whatever the window: some images in a tile, the last tile has fewer, pieces begin within rows."""
    kernel = find(name)
    shape, (images, m0, n0) = shape_of(kernel, **axes), cut
    first, inputs = tilings(kernel, shape)[0], random_inputs(kernel, shape, m0)
    tall = replace(
        first, tile_cores=1, images=images, rows=99, m0=m0, n0=n0, k0=1, kb=2, chunk=min(2, first.map_groups)
    )
    found, expected = run(kernel, shape, inputs, Chip(P), tall)[0], references(kernel, shape, inputs)
    assert not any(compare(found[each], expected[each]).wrong for each in expected)


def test_a_stride_that_leaves_a_filter_row_no_row_of_the_image_is_no_matter():
    """Of images of one row the outer rows of a filter see padding alone, whichever rows take turns."""
    kernel = find("conv2d")
    shape = shape_of(kernel, n=4, c=16, h=1, w=5, o=16, kh=3, kw=3, stride=2, pad=1)
    for pick in range(len(tilings(kernel, shape))):
        assert not any(differences(kernel, shape, pick, 3).values())


def test_weights_and_maps_that_pass_through_l1_give_the_same_numbers():
    """Sums run over k in its order, whether the weights and the map stay in L1 or pass through."""
    kernel = find("conv2d")
    shape = shape_of(kernel, n=1, c=70, h=6, w=6, o=40, kh=3, kw=3, pad=1, out_dtype=FP32)
    inputs = random_inputs(kernel, shape, 5)
    results = [run(kernel, shape, inputs, Chip(P), tiling)[0]["y"] for tiling in tilings(kernel, shape)]
    assert len(results) > 5
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize("name", KERNELS)
def test_moving_data_late_changes_no_bit(name):
    """In the reference model data moves when the simulated move ends: every hand-off is guarded."""
    kernel = find(name)
    assert engines_agree(kernel, shape_of(kernel, **ODD))


@pytest.mark.parametrize("pick", [0, 1, 6, 7, 8])
def test_moving_data_late_changes_no_bit_of_other_tilings(pick):
    """The same where weights or maps pass through L1 and several tiles follow each other on a core."""
    for name in KERNELS:
        kernel = find(name)
        shape = shape_of(kernel, n=3, c=36, h=7, w=9, o=20, kh=2, kw=2, stride=2)
        choices, inputs = tilings(kernel, shape), random_inputs(kernel, shape, 2)
        tiling = choices[pick % len(choices)]
        fast, _ = run(kernel, shape, inputs, Chip(P), tiling)
        slow, _ = run(kernel, shape, inputs, Chip(P), tiling, engine="reference")
        assert all(fast[key].tobytes() == slow[key].tobytes() for key in fast)


@pytest.mark.parametrize("name", ["conv2d", "conv2d_backward_input", "conv2d_backward_filter"])
@pytest.mark.parametrize("layer", RESNET)
def test_the_layers_of_resnet_50_fit(name, layer):
    """Batch 32 on all the cores; the gradient to the filter in as many sums as are best."""
    kernel = find(name)
    shape = shape_of(kernel, **RESNET[layer])
    if name == "conv2d_backward_filter":
        shape = replace(shape, splits=best_splits(shape, P))
    task = place(kernel, shape, None, Chip(P)).task
    assert task.instructions > 0
    assert task.block_dim == P.ai_cores


def test_the_stem_of_resnet_50_fits():
    """7x7, stride 2, on 224x224: only rows fit L1."""
    kernel = find("conv2d")
    assert place(kernel, shape_of(kernel, **STEM), None, Chip(P)).task.block_dim == P.ai_cores


@pytest.mark.parametrize(("c", "w"), [(16, 2000), (512, 500), (2048, 7), (512, 1)])
def test_the_default_tiling_fits_wide_and_deep_maps(c, w):
    """The buffers hold rows of any usual image: columns are not cut."""
    for name in ("conv2d", "conv2d_backward_input", "conv2d_backward_filter"):
        kernel = find(name)
        shape = shape_of(kernel, n=1, c=c, h=5, w=w, o=c, kh=3, kw=3, pad=1, stride=2)
        assert place(kernel, shape, None, Chip(P)).task.instructions > 0


@pytest.mark.parametrize(
    ("layer", "forward", "to_input", "to_filter"),
    [
        ("3x3", 0.84, 0.83, 0.75),
        ("3x3 28", 0.84, 0.83, 0.77),
        ("3x3 14", 0.80, 0.80, 0.77),
        ("3x3 deep", 0.80, 0.80, 0.67),
        ("3x3 deep 2", 0.77, 0.61, 0.65),
        ("3x3 stride 2", 0.77, 0.69, 0.75),
        ("3x3 56 2", 0.75, 0.73, 0.66),
        ("1x1", 0.85, 0.46, 0.92),
    ],
)
def test_the_layers_of_resnet_50_are_near_their_rooflines(layer, forward, to_input, to_filter):
    """The start of 32 blocks takes 7 % of the larger ones."""
    least = {"conv2d": forward, "conv2d_backward_input": to_input, "conv2d_backward_filter": to_filter}
    for name, share in least.items():
        kernel = find(name)
        shape = shape_of(kernel, **RESNET[layer])
        if name == "conv2d_backward_filter":
            shape = replace(shape, splits=best_splits(shape, P))
        assert share < efficiency(kernel, shape) <= 1


def test_rows_and_columns_that_no_window_sees_do_not_count_for_the_roofline():
    """1x1 with stride 2: a quarter of x must be read; the gradient to the filter is not quicker than that."""
    kernel = find("conv2d_backward_filter")
    axes = {"n": 32, "c": 256, "h": 56, "w": 56, "o": 128, "kh": 1, "kw": 1, "stride": 2}
    assert shape_of(kernel, **axes).seen_bytes == 32 * 256 * 28 * 28 * 2
    assert shape_of(kernel, **{**axes, "kh": 3, "kw": 3, "pad": 1}).seen_bytes == 32 * 256 * 56 * 56 * 2
    assert 0.45 < efficiency(kernel, shape_of(kernel, **axes, splits=8)) <= 1


def test_a_depthwise_convolution_keeps_up_with_memory():
    """The cube multiplies whole fractals of which a sixteenth counts, and still waits for device memory."""
    kernel = find("conv2d")
    shape = shape_of(kernel, n=32, c=32, h=112, w=112, o=32, kh=3, kw=3, pad=1, groups=32)
    assert 0.7 < efficiency(kernel, shape) <= 1


@settings(max_examples=12, deadline=None)
@given(axes=windows(), splits=st.integers(1, 3), wide=st.booleans(), pick=st.integers(0, 13))
def test_sums_by_channel_are_those_of_the_accumulators(axes, splits, wide, pick):
    """Of each split of the images, whatever the tiling; channels that are padding sum up to zero."""
    kernel = find("conv2d_statistics")
    axes = {**axes, "splits": min(splits, axes["n"])}
    shape = shape_of(kernel, **axes, out_dtype=FP32 if wide else FP16)
    assert not any(differences(kernel, shape, pick, pick).values())


def test_sums_are_taken_before_results_are_rounded():
    """The sums of 1 and of 2^-12 differ from those of the fp16 results, which are 1."""
    kernel = find("conv2d_statistics")
    shape = shape_of(kernel, n=1, c=2, h=1, w=4, o=1, kh=1, kw=1)
    x = np.full((1, 2, 1, 4), 1.0, np.float16)
    w = np.array([1.0, 2.0**-12], np.float16).reshape(1, 2, 1, 1)
    found = run(kernel, shape, {"x": x, "w": w}, Chip(P))[0]
    assert np.all(found["y"] == 1.0)
    assert found["sums"][0, 0] == 4 * (1 + 2.0**-12)
    assert found["squares"][0, 0] == np.float32(4 * (1 + 2.0**-12) ** 2)


@settings(max_examples=12, deadline=None)
@given(axes=windows(), pick=st.integers(0, 13))
def test_a_convolution_of_int8_equals_its_reference(axes, pick):
    """Sums are exact; a scale per channel brings them to fp16."""
    kernel = find("conv2d_int8")
    assert not any(differences(kernel, shape_of(kernel, **axes), pick, pick).values())


def test_a_convolution_of_int8_takes_little_more_than_half_the_time():
    wide, narrow = (find(name) for name in ("conv2d", "conv2d_int8"))
    took = [place(kernel, shape_of(kernel, **RESNET["3x3"]), None, Chip(P)) for kernel in (wide, narrow)]
    cycles = [placed.chip.trace(placed.task).cycles for placed in took]
    assert cycles[1] < 0.6 * cycles[0]


def test_a_convolution_of_int8_refuses_other_types():
    with pytest.raises(BadShape, match="operands are int8, results fp16"):
        shape_of(find("conv2d_int8"), "fp16", n=1, c=1, h=4, w=4, o=1, kh=1, kw=1)


def test_a_fused_relu_costs_nothing():
    kernel = find("conv2d")
    axes = {**RESNET["3x3"], "n": 4}
    assert efficiency(kernel, shape_of(kernel, **axes)) == efficiency(
        kernel, shape_of(kernel, **axes, relu=1)
    )


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("conv2d"), n=1, c=6, h=4, w=4, o=8, kh=1, kw=1, groups=4)
    assert str(refused.value) == (
        "kernel conv2d: c=6, o=8, groups=4\n"
        "  rule: groups divide the channels of both sides\n  next: pad the channels"
    )


def test_a_relu_is_asked_for_or_not():
    with pytest.raises(BadShape) as refused:
        shape_of(find("conv2d"), n=1, c=6, h=4, w=4, o=8, kh=1, kw=1, relu=2)
    assert str(refused.value) == "kernel conv2d: relu=2\n  rule: 0 (as it is) or 1 (what is positive)"


def test_the_images_are_split_where_it_pays():
    """LeNet's filters are small: each core sums its images alone. A deep filter is not stored 32 times."""
    kernel = find("conv2d_backward_filter")
    assert best_splits(shape_of(kernel, n=32, c=1, h=32, w=32, o=6, kh=5, kw=5), P) == 32
    assert best_splits(shape_of(kernel, **RESNET["3x3 deep"]), P) <= 2


def test_parts_add_up_to_the_whole_gradient():
    """The sum over splits is the gradient over all images."""
    kernel = find("conv2d_backward_filter")
    whole, split = (shape_of(kernel, **{**ODD, "n": 5}, splits=splits) for splits in (1, 3))
    inputs = random_inputs(kernel, whole, 4)
    expected = references(kernel, whole, inputs)["dw_parts"][0]
    parts = run(kernel, split, inputs, Chip(P))[0]["dw_parts"]
    assert np.allclose(parts.sum(axis=0), expected, rtol=0, atol=1e-3)


def test_a_filter_that_does_not_fit_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("conv2d"), n=1, c=1, h=4, w=4, o=1, kh=7, kw=3, pad=1)
    assert str(refused.value) == (
        "kernel conv2d: the filter spans 7 x 3, the padded image is 6 x 6\n"
        "  rule: the filter must fit\n  next: raise pad"
    )


def test_padding_that_hides_the_image_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("conv2d"), n=1, c=1, h=4, w=4, o=1, kh=1, kw=1, pad=1)
    assert str(refused.value) == (
        "kernel conv2d: pad=1, the filter spans 1 x 1\n"
        "  rule: 0 <= pad < what the filter spans, so that windows see the image\n  next: lower pad"
    )


def test_padding_on_one_side_that_hides_the_image_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("conv2d"), n=1, c=1, h=4, w=4, o=1, kh=3, kw=3, pad=1, more_bottom=1, more_left=2)
    assert str(refused.value) == (
        "kernel conv2d: pad=1, more_bottom=1, more_left=2, the filter spans 3 x 3\n"
        "  rule: 0 <= pad < what the filter spans, so that windows see the image\n  next: lower pad"
    )


def test_each_side_has_its_own_padding():
    """With a filter of one tap in a corner the result is the image, moved by what a side has more."""
    kernel = find("conv2d")
    shape = shape_of(kernel, n=1, c=1, h=4, w=4, o=1, kh=3, kw=3, pad=1, more_bottom=1, more_left=1)
    x, w = np.arange(16, dtype=np.float16).reshape(1, 1, 4, 4), np.zeros((1, 1, 3, 3), np.float16)
    w[..., 1, 2] = 1
    y = run(kernel, shape, {"x": x, "w": w}, Chip(P))[0]["y"][0, 0]
    assert y.shape == (5, 5)
    assert np.array_equal(y, np.pad(x[0, 0], ((0, 1), (0, 1))))


def test_padding_as_in_tensorflow_halves_an_even_image():
    """SAME with stride 2 pads the bottom and the right alone; the time is that of padding all sides."""
    kernel = find("conv2d")
    axes = {"n": 8, "c": 64, "h": 28, "w": 28, "o": 64, "kh": 3, "kw": 3, "stride": 2}
    both, one = shape_of(kernel, **axes, pad=1), shape_of(kernel, **axes, more_bottom=1, more_right=1)
    assert (one.oh, one.ow) == (both.oh, both.ow) == (14, 14)
    launches = [place(kernel, shape, None, Chip(P)) for shape in (both, one)]
    times = [placed.chip.trace(placed.task).cycles for placed in launches]
    assert abs(times[0] - times[1]) < 0.02 * times[0]


def test_operands_of_another_type_are_refused():
    with pytest.raises(BadShape, match="operands are fp16, results fp16 or fp32"):
        shape_of(find("conv2d"), "fp32", n=1, c=1, h=4, w=4, o=1, kh=1, kw=1)


def test_more_splits_than_images_are_refused():
    with pytest.raises(BadShape, match="every split sums at least one image"):
        shape_of(find("conv2d_backward_filter"), n=2, c=1, h=4, w=4, o=1, kh=1, kw=1, splits=3)


def test_a_tiling_that_does_not_fit_names_the_buffer():
    kernel = find("conv2d")
    shape = shape_of(kernel, **RESNET["3x3"])
    too_large = kernel.tiling_type.of("conv2d", {"rows": 56, "m0": 196}, shape, P)
    with pytest.raises(BadTiling, match=r"needs \d+ bytes, \d+ are available"):
        place(kernel, shape, None, Chip(P), too_large)
