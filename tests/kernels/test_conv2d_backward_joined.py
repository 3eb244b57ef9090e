"""Gradients to inputs that others join equal their references, are rounded once, and spare time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels import find
from kernels.run import place, random_inputs, references, run
from kernels.tolerance import compare
from tests.kernels.equality import P, differences, engines_agree, shape_of, tilings
from tests.kernels.test_conv2d import windows

ADD, RELU_GRAD, BOTH = KERNELS = tuple(
    f"conv2d_backward_input_{end}" for end in ("add", "relu_grad", "add_relu_grad")
)
ODD = {"n": 3, "c": 36, "h": 7, "w": 9, "o": 20, "kh": 2, "kw": 2}
ONE = {"n": 1, "c": 1, "h": 1, "w": 4, "o": 2, "kh": 1, "kw": 1}
REDUCE = {"n": 32, "c": 1024, "h": 14, "w": 14, "o": 256, "kh": 1, "kw": 1}
FILTER = {"n": 32, "c": 64, "h": 56, "w": 56, "o": 64, "kh": 3, "kw": 3, "pad": 1}


def axes_for(name, axes):
    """Return axes that a kernel takes: what is added asks for a stride of 1."""
    return axes if name == RELU_GRAD else {**axes, "stride": 1}


@settings(max_examples=25, deadline=None)
@given(axes=windows(), name=st.sampled_from(KERNELS), pick=st.integers(0, 13), seed=st.integers(0, 99))
def test_a_joined_gradient_equals_its_reference_on_any_window_and_tiling(axes, name, pick, seed):
    """Whatever the window, groups and tiling, only rounding differs and padding is zero."""
    kernel = find(name)
    assert not any(differences(kernel, shape_of(kernel, **axes_for(name, axes)), pick, seed).values())


@settings(max_examples=15, deadline=None)
@given(
    axes=windows(),
    name=st.sampled_from(KERNELS),
    cut=st.tuples(*(st.integers(1, top) for top in (5, 3, 3))),
)
def test_what_joins_meets_images_whose_rows_take_turns(axes, name, cut):
    """Some images in a tile, the last tile has fewer, pieces begin within rows."""
    kernel, (images, m0, n0) = find(name), cut
    shape = shape_of(kernel, **axes_for(name, axes))
    first, inputs = tilings(kernel, shape)[0], random_inputs(kernel, shape, m0)
    tall = replace(
        first, tile_cores=1, images=images, rows=99, m0=m0, n0=n0, k0=1, kb=2, chunk=min(2, first.map_groups)
    )
    found, expected = run(kernel, shape, inputs, Chip(P), tall)[0], references(kernel, shape, inputs)
    assert not compare(found["dx"], expected["dx"]).wrong


@pytest.mark.parametrize(("name", "stride"), [*((name, 1) for name in KERNELS), (RELU_GRAD, 2)])
def test_moving_data_late_changes_no_bit(name, stride):
    """In the reference model data moves when the simulated move ends: every hand-off is guarded."""
    kernel = find(name)
    shape = shape_of(kernel, **ODD, stride=stride)
    assert engines_agree(kernel, shape)
    inputs = random_inputs(kernel, shape, 2)
    for tiling in tilings(kernel, shape)[1:9:3]:
        fast, _ = run(kernel, shape, inputs, Chip(P), tiling)
        slow, _ = run(kernel, shape, inputs, Chip(P), tiling, engine="reference")
        assert fast["dx"].tobytes() == slow["dx"].tobytes()


@pytest.mark.parametrize("name", [ADD, BOTH])
def test_a_sum_of_gradients_is_rounded_once(name):
    """1 + 2^-11 would be rounded to 1, and with 2^-11 added once more: as one sum it is 1 + 2^-10."""
    kernel = find(name)
    inputs = {
        "dy": np.ones((1, 2, 1, 4), np.float16),
        "w": np.array([1.0, 2.0**-11], np.float16).reshape(2, 1, 1, 1),
        "r": np.full((1, 1, 1, 4), 2.0**-11, np.float16),
        "y": np.ones((1, 1, 1, 4), np.float16),
    }
    given = {name: inputs[name] for name in (("dy", "w", "r", "y") if name == BOTH else ("dy", "w", "r"))}
    found = run(kernel, shape_of(kernel, **ONE), given, Chip(P))[0]
    assert np.all(found["dx"] == 1 + 2.0**-10)


@pytest.mark.parametrize("name", [RELU_GRAD, BOTH])
def test_nothing_is_kept_where_the_result_of_relu_was_not_positive(name):
    """Zeros of either sign, negative numbers and numbers that are none keep nothing; infinity does."""
    kernel = find(name)
    y = np.array([0.0, -0.0, np.nan, np.inf], np.float16).reshape(1, 1, 1, 4)
    inputs = {"dy": np.ones((1, 2, 1, 4), np.float16), "w": np.ones((2, 1, 1, 1), np.float16)}
    inputs |= {"r": np.ones_like(y)} if name == BOTH else {}
    found = run(kernel, shape_of(kernel, **ONE), {**inputs, "y": y}, Chip(P))[0]["dx"]
    assert found.ravel().tolist() == [0.0, 0.0, 0.0, 3.0 if name == BOTH else 2.0]


def cycles(name, **axes):
    """Return the time of a kernel on an empty L2."""
    kernel = find(name)
    placed = place(kernel, shape_of(kernel, **axes), None, Chip(P, data=False))
    return placed.chip.trace(placed.task).cycles


@pytest.mark.parametrize("axes", [REDUCE, FILTER])
def test_what_joins_costs_less_than_passing_through_memory_again(axes):
    """Of a deep layer of 1x1 and of the first one of 3x3."""
    n = axes["n"] * axes["c"] * axes["h"] * axes["w"]
    gradient, mask, addition = (
        cycles("conv2d_backward_input", **axes),
        cycles("relu_grad", n=n),
        cycles("add", n=n),
    )
    assert gradient < cycles(RELU_GRAD, **axes) < gradient + mask
    assert gradient < cycles(ADD, **axes) < gradient + addition
    assert cycles(BOTH, **axes) < gradient + addition + mask


def test_a_stride_is_refused_where_something_is_added():
    with pytest.raises(BadShape) as refused:
        shape_of(find(ADD), **ONE, stride=2)
    assert str(refused.value) == (
        "kernel conv2d_backward_input_add: stride=2\n"
        "  rule: what is added is so before sums are rounded, not to rows of phases: stride is 1\n"
        "  next: use conv2d_backward_input, then add and relu_grad"
    )
