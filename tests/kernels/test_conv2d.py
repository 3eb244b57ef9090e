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
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of, tilings

RESNET = {
    "3x3": {"n": 32, "c": 64, "h": 56, "w": 56, "o": 64, "kh": 3, "kw": 3, "pad": 1},
    "3x3 stride 2": {"n": 32, "c": 256, "h": 28, "w": 28, "o": 256, "kh": 3, "kw": 3, "stride": 2, "pad": 1},
    "3x3 deep": {"n": 32, "c": 512, "h": 7, "w": 7, "o": 512, "kh": 3, "kw": 3, "pad": 1},
    "1x1": {"n": 32, "c": 256, "h": 56, "w": 56, "o": 64, "kh": 1, "kw": 1},
    "1x1 stride 2": {"n": 32, "c": 1024, "h": 14, "w": 14, "o": 2048, "kh": 1, "kw": 1, "stride": 2},
}
STEM = {"n": 32, "c": 3, "h": 224, "w": 224, "o": 64, "kh": 7, "kw": 7, "stride": 2, "pad": 3}
ODD = {"n": 2, "c": 20, "h": 9, "w": 11, "o": 37, "kh": 3, "kw": 2, "stride": 2, "pad": 1}
KERNELS = ("conv2d", "conv2d_bias", "conv2d_backward_input", "conv2d_backward_filter")


@st.composite
def windows(draw):
    """Draw legal axes: the filter fits the padded image, every window sees the image."""
    kh, kw, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    extent = [(k - 1) * dilation + 1 for k in (kh, kw)]
    pad = draw(st.integers(0, min(2, min(extent) - 1)))
    h, w = (max(1, e - 2 * pad) + draw(st.integers(0, 12)) for e in extent)
    groups = draw(st.sampled_from((1, 1, 2, 3, 7, 20)))
    c, o = (groups * draw(st.integers(1, max(1, 40 // groups))) for _ in range(2))
    return {
        "n": draw(st.integers(1, 5)), "c": c, "h": h, "w": w, "o": o, "kh": kh, "kw": kw,
        "stride": draw(st.integers(1, 4)), "pad": pad, "dilation": dilation, "groups": groups,
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


def test_a_convolution_is_near_its_roofline():
    """3x3 on 56x56 with 64 channels: the cube is busy most of the time; never quicker than possible."""
    for name, least in (("conv2d", 0.7), ("conv2d_backward_input", 0.7)):
        kernel = find(name)
        assert least < efficiency(kernel, shape_of(kernel, **RESNET["3x3"])) <= 1
    kernel = find("conv2d_backward_filter")
    splits = best_splits(shape_of(kernel, **RESNET["3x3"]), P)
    assert 0.5 < efficiency(kernel, shape_of(kernel, **RESNET["3x3"], splits=splits)) <= 1


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
