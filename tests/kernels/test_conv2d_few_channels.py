"""Convolutions of maps of at most 4 channels that are not padded to 16: the first layer of a network."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from davinci_sim.isa import FP16, FP32
from kernels import find
from kernels.check import check
from kernels.run import place, random_inputs, run
from tests.kernels.equality import P, differences, engines_agree, shape_of

KERNELS = ("conv2d", "conv2d_bias", "conv2d_statistics", "conv2d_backward_filter")
STEM = {"n": 32, "c": 3, "h": 224, "w": 224, "o": 64, "kh": 7, "kw": 7, "stride": 2, "pad": 3}
ODD = {"n": 2, "c": 3, "h": 9, "w": 12, "o": 37, "kh": 3, "kw": 2, "stride": 2, "pad": 1}


@st.composite
def windows(draw):
    """Draw legal axes: few channels, rows of whole blocks."""
    kh, kw, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 2))
    extent = [(k - 1) * dilation + 1 for k in (kh, kw)]
    pad = draw(st.integers(0, min(2, min(extent) - 1)))
    h, w = draw(st.integers(1, 14)), 4 * draw(st.integers(1, 8))
    assume(h + 2 * pad >= extent[0] and w + 2 * pad >= extent[1])
    return {
        "n": draw(st.integers(1, 3)), "c": draw(st.integers(1, 4)), "h": h, "w": w,
        "o": draw(st.integers(1, 40)), "kh": kh, "kw": kw, "stride": draw(st.integers(1, 3)), "pad": pad,
        "dilation": dilation,
    }  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(axes=windows(), name=st.sampled_from(KERNELS), wide=st.booleans(), pick=st.integers(0, 13))
def test_whatever_the_window_and_the_tiling_only_rounding_differs(axes, name, wide, pick):
    """The padding of the results is zero, of the gradient to the filter that of its fourth channel, too."""
    given_type = {} if name == "conv2d_backward_filter" else {"out_dtype": FP32 if wide else FP16}
    assert not any(
        differences(find(name), shape_of(find(name), **axes, **given_type, few=1), pick, pick).values()
    )


@pytest.mark.parametrize("name", KERNELS)
def test_moving_data_late_changes_no_bit(name):
    """In the reference model data moves when the simulated move ends: every hand-off is guarded."""
    assert engines_agree(find(name), shape_of(find(name), **ODD, few=1))


@pytest.mark.parametrize("name", KERNELS)
def test_nothing_races_and_nothing_is_read_before_it_is_there(name):
    """The map in L1 is read by pixels of 8 bytes."""
    assert check(find(name), shape_of(find(name), **ODD, few=1), P) == []


def test_the_results_are_those_of_padded_channels():
    """Sums of fp32 go over the same products, in another order."""
    kernel = find("conv2d")
    few, padded = (shape_of(kernel, **ODD, few=few, out_dtype=FP32) for few in (1, 0))
    inputs = random_inputs(kernel, few, 3)
    found, expected = (run(kernel, shape, inputs, Chip(P))[0]["y"] for shape in (few, padded))
    assert abs(found - expected).max() < 1e-5 * abs(expected).max()


@pytest.mark.parametrize(
    ("name", "share"),
    [("conv2d", 0.35), ("conv2d_statistics", 0.47), ("conv2d_backward_filter", 0.46)],
)
def test_the_stem_of_resnet_50_takes_less_than_half_the_time(name, share):
    """13 fractals of the inner axis instead of 49; then the stores, V and the loads of dy are what counts."""
    kernel = find(name)
    splits = {} if name == "conv2d" else {"splits": 32}
    took = [place(kernel, shape_of(kernel, **STEM, **splits, few=few), None, Chip(P)) for few in (1, 0)]
    few, padded = (placed.chip.trace(placed.task).cycles for placed in took)
    assert few < share * padded


@pytest.mark.parametrize("changed", [{"c": 5}, {"w": 14}, {"c": 4, "o": 36, "groups": 2}], ids=str)
def test_many_channels_and_rows_of_broken_blocks_are_refused(changed):
    """Four positions of the map make a block of 32 bytes."""
    axes = {**ODD, **changed}
    with pytest.raises(BadShape) as refused:
        shape_of(find("conv2d"), **axes, few=1)
    assert str(refused.value) == (
        f"kernel conv2d: few=1, c={axes['c']}, groups={axes.get('groups', 1)}, w={axes['w']}\n"
        "  rule: at most 4 channels in one group, rows of whole blocks: w a multiple of 4\n"
        "  next: use few=0"
    )


@pytest.mark.parametrize("name", ["conv2d_backward_input", "conv2d_int8"])
def test_other_kernels_pad_channels(name):
    """The first layer's input needs no gradient."""
    with pytest.raises(BadShape) as refused:
        shape_of(find(name), **ODD, few=1)
    assert str(refused.value) == f"kernel {name}: few=1\n  rule: this kernel pads channels\n  next: use few=0"


def test_few_is_asked_for_or_not():
    """Another number is refused."""
    with pytest.raises(BadShape) as refused:
        shape_of(find("conv2d"), **ODD, few=2)
    assert str(refused.value) == "kernel conv2d: few=2\n  rule: 0 (channels by 16) or 1 (by 4)"
