"""Maps and weights of few channels are laid out as the host packs them, bit for bit; weights come back."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.check import check
from kernels.run import place
from tests.kernels.equality import P, differences, efficiency, engines_agree, shape_of

MAP = "nchw_to_nc1hwc0_c04"
WEIGHTS = {"oihw_to_fractal_z_c04": "y", "fractal_z_c04_to_oihw": "w"}


@settings(max_examples=30)
@given(
    n=st.integers(1, 3), c=st.integers(1, 4), h=st.integers(1, 40), w=st.integers(1, 12),
    pick=st.integers(0, 2), seed=st.integers(0, 99),
)  # fmt: skip
@example(n=40, c=3, h=50, w=3, pick=1, seed=1)  # a core has pieces of several lengths
def test_maps_are_converted_exactly(n, c, h, w, pick, seed):
    """Missing channels are zero."""
    kernel = kernels.find(MAP)
    assert differences(kernel, shape_of(kernel, n=n, c=c, h=h, w=4 * w), pick, seed) == {"y": 0}


def test_the_images_of_resnet_50_take_less_than_half_the_time_of_padding_them():
    """A third of the bytes, and V transposes half as many squares: it stays the pipe that counts."""
    axes = {"n": 32, "c": 3, "h": 224, "w": 224}
    took = [place(kernels.find(name), shape_of(kernels.find(name), **axes), None, Chip(P)) for name in
            (MAP, "nchw_to_nc1hwc0")]  # fmt: skip
    few, padded = (placed.chip.trace(placed.task).cycles for placed in took)
    assert few < padded / 2
    assert 0.35 <= efficiency(kernels.find(MAP), shape_of(kernels.find(MAP), **axes)) <= 1


@settings(max_examples=40)
@given(
    name=st.sampled_from(list(WEIGHTS)), o=st.integers(1, 70), c=st.integers(1, 4), kh=st.integers(1, 7),
    kw=st.integers(1, 7), dtype=st.sampled_from(["fp16", "fp32"]), pick=st.integers(0, 1),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_weights_are_converted_exactly(name, o, c, kh, kw, dtype, pick, seed):
    """Rows of less than a block and broken ones included; nothing beside the weights is written."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, o=o, c=c, kh=kh, kw=kw)
    assert differences(kernel, shape, pick, seed) == {WEIGHTS[name]: 0}


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_the_largest_filter_fits(name, dtype):
    """Of 11 x 11 elements and four channels."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, o=17, c=4, kh=11, kw=11)
    assert differences(kernel, shape, 0, 1) == {WEIGHTS[name]: 0}
    assert check(kernel, shape, P) == []


@pytest.mark.parametrize("name", [MAP, *WEIGHTS])
def test_both_engines_give_the_same_bits_and_nothing_races(name):
    """Of a map, and of weights of four bytes."""
    kernel = kernels.find(name)
    axes = {"n": 2, "c": 3, "h": 30, "w": 20} if name == MAP else {"o": 20, "c": 3, "kh": 5, "kw": 3}
    shape = shape_of(kernel, "fp16" if name == MAP else "fp32", **axes)
    assert engines_agree(kernel, shape)
    assert check(kernel, shape, P) == []


def test_more_channels_and_broken_blocks_are_refused():
    """The messages say what takes them."""
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find(MAP), n=1, c=3, h=4, w=6)
    assert str(refused.value) == (
        "kernel nchw_to_nc1hwc0_c04: c=3, w=6\n"
        "  rule: at most 4 channels, rows of whole blocks: w a multiple of 4\n  next: use nchw_to_nc1hwc0"
    )
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("fractal_z_c04_to_oihw"), o=1, c=5, kh=12, kw=12)
    assert str(refused.value) == (
        "kernel fractal_z_c04_to_oihw: c=5, kh=12, kw=12\n"
        "  rule: at most 4 input channels and 121 elements of the filter\n  next: use FRACTAL_Z"
    )
