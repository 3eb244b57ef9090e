"""The momentum update equals its reference, beside its weights and in their place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from davinci_sim.memory.dtypes import F32
from kernels.run import random_inputs, references
from tests.kernels.equality import P, differences, efficiency, engines_agree, memory_share, shape_of

MOMENTUM = kernels.find("apply_momentum")


@settings(max_examples=25)
@given(n=st.integers(1, 60000), pick=st.integers(0, 3), seed=st.integers(0, 99))
def test_weights_and_moments_equal_the_reference(n, pick, seed):
    assert differences(MOMENTUM, shape_of(MOMENTUM, n=n), pick, seed) == {"w_new": 0, "m_new": 0}


@settings(max_examples=10)
@given(n=st.integers(1, 60000), pick=st.integers(0, 3))
def test_an_update_in_place_gives_the_same_bits(n, pick):
    """Weights and moments may lie where the new ones go."""
    shape = shape_of(MOMENTUM, n=n)
    inputs, chip = random_inputs(MOMENTUM, shape, n), Chip(P)
    handles = {}
    for operand in MOMENTUM.operands(shape):
        if not operand.is_output:
            handles[operand.name] = chip.allocate(operand.nbytes)
            chip.write(handles[operand.name], operand.pack(inputs[operand.name]))
    handles |= {"w_new": handles["w"], "m_new": handles["m"]}
    choices = list(MOMENTUM.tiling_type.space(shape, P))
    chip.run(MOMENTUM.task(shape, handles, P, choices[pick % len(choices)]))
    expected = references(MOMENTUM, shape, inputs)
    for name in ("w_new", "m_new"):
        assert np.array_equal(chip.read(handles[name], (n,), F32), expected[name])


def test_both_engines_give_the_same_bits():
    assert engines_agree(MOMENTUM, shape_of(MOMENTUM, n=3000))


def test_large_updates_move_as_much_as_nine_tenths_of_the_memory():
    shape = shape_of(MOMENTUM, n=2_000_000)
    assert memory_share(MOMENTUM, shape) >= 0.9
    assert efficiency(MOMENTUM, shape) <= 1


def test_half_precision_weights_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(MOMENTUM, "fp16", n=10)
    assert str(refused.value) == (
        "kernel apply_momentum: dtype=fp16\n  rule: dtype is fp32\n  next: change the shape"
    )
