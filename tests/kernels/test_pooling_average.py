"""Average pooling, of windows and of whole images, and the gradients equal their references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels import find
from kernels.run import run
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of
from tests.kernels.test_pooling import windows

DTYPES = ("fp16", "fp32")
NAMES = ("avg_pool", "avg_pool_grad")


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(NAMES), axes=windows(), include_pad=st.integers(0, 1), dtype=st.sampled_from(DTYPES),
    pick=st.integers(0, 5), seed=st.integers(0, 99),
)  # fmt: skip
def test_averages_and_their_gradients_equal_the_references(name, axes, include_pad, dtype, pick, seed):
    """Padding counts as zeros or not at all; every window, type and tiling."""
    kernel = find(name)
    shape = shape_of(kernel, dtype, **axes, include_pad=include_pad)
    assert not any(differences(kernel, shape, pick, seed).values())


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["global_avg_pool", "global_avg_pool_grad"]), n=st.integers(1, 40),
    c=st.integers(1, 70), h=st.integers(1, 30), w=st.integers(1, 30), dtype=st.sampled_from(DTYPES),
    pick=st.integers(0, 1),
)  # fmt: skip
def test_whole_images_are_averaged(name, n, c, h, w, dtype, pick):
    """Several planes at once where they are small."""
    kernel = find(name)
    assert not any(differences(kernel, shape_of(kernel, dtype, n=n, c=c, h=h, w=w), pick, 1).values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_windows_of_one_element_give_the_image(name, dtype):
    kernel = find(name)
    shape = shape_of(kernel, dtype, n=2, c=20, h=5, w=7, kh=1, kw=1)
    assert not any(differences(kernel, shape, 0, 1).values())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "axes",
    [
        {"h": 5, "w": 600, "kh": 3, "kw": 3, "stride": 40},
        {"h": 3, "w": 900, "kh": 1, "kw": 2, "stride": 300},
        {"h": 16, "w": 17, "kh": 16, "kw": 16, "stride": 1},
        {"h": 9, "w": 800, "kh": 3, "kw": 3, "stride": 1, "pad": 2, "include_pad": 0},
    ],
)
def test_rows_and_strides_beyond_the_reach_of_an_instruction(name, axes, dtype):
    kernel = find(name)
    assert not any(differences(kernel, shape_of(kernel, dtype, n=1, c=20, **axes), 0, 1).values())


def test_half_precision_is_summed_in_fp32():
    """Nine times 60000 is no number of half precision, their average is."""
    kernel = find("avg_pool")
    x = np.full((1, 16, 6, 6), 60000, np.float16)
    shape = shape_of(kernel, "fp16", n=1, c=16, h=6, w=6, kh=3, kw=3, stride=3)
    outputs, _ = run(kernel, shape, {"x": x}, Chip(P))
    assert (outputs["y"] == np.float16(60000)).all()


@pytest.mark.parametrize("name", [*NAMES, "global_avg_pool", "global_avg_pool_grad"])
def test_both_engines_give_the_same_bits(name):
    kernel = find(name)
    window = {"kh": 3, "kw": 3, "stride": 2, "pad": 1} if name in NAMES else {}
    assert engines_agree(kernel, shape_of(kernel, "fp16", n=2, c=20, h=11, w=23, **window))


def test_whole_images_are_averaged_at_the_speed_of_the_memory():
    kernel = find("global_avg_pool")
    assert 0.9 <= efficiency(kernel, shape_of(kernel, "fp16", n=128, c=64, h=56, w=56)) <= 1


def test_another_way_to_count_padding_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(find("avg_pool"), n=1, c=1, h=5, w=5, kh=3, kw=3, include_pad=2)
    assert str(refused.value) == (
        "kernel avg_pool: include_pad=2\n  rule: include_pad is 0 or 1\n  next: change the shape"
    )
