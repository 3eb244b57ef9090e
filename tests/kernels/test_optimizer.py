"""Weight updates equal their references, beside their weights and in their place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from davinci_sim.memory.dtypes import F32
from kernels.run import random_inputs, run
from tests.kernels.equality import P, differences, efficiency, engines_agree, memory_share, shape_of

MOMENTUM = kernels.find("apply_momentum")
UPDATES = ("apply_momentum", "apply_momentum_decay", "apply_sgd", "apply_adam", "apply_adamw", "apply_ftrl")
LAMB = ("lamb_update", "lamb_apply")
NESTEROV = ("apply_momentum", "apply_momentum_decay", "apply_adam", "apply_adamw")
PLACES = {"w_new": "w", "m_new": "m", "v_new": "v", "squares_new": "squares", "linear_new": "linear"}
"""Where a result goes that takes the place of a source."""


def update_shape(name: str, n: int, half: int = 0, nesterov: int = 0):
    """Return a shape of an update; only some have the option."""
    option = {"nesterov": nesterov} if name in NESTEROV else {}
    return shape_of(kernels.find(name), n=n, grad_dtype=1 - half, **option)


@settings(max_examples=40)
@given(
    name=st.sampled_from([*UPDATES, *LAMB]), n=st.integers(1, 60000), half=st.integers(0, 1),
    nesterov=st.integers(0, 1), pick=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_weights_and_moments_equal_the_reference(name, n, half, nesterov, pick, seed):
    """Gradients of either type, with and without a look ahead."""
    shape = update_shape(name, n, half, nesterov)
    assert set(differences(kernels.find(name), shape, pick, seed).values()) == {0}


@settings(max_examples=20)
@given(name=st.sampled_from(UPDATES), n=st.integers(1, 60000), pick=st.integers(0, 3))
def test_an_update_in_place_gives_the_same_bits(name, n, pick):
    """Weights and moments may lie where the new ones go."""
    kernel, shape, chip = kernels.find(name), update_shape(name, n), Chip(P)
    inputs = random_inputs(kernel, shape, n)
    beside, _ = run(kernel, shape, inputs, Chip(P))
    handles = {}
    for operand in kernel.operands(shape):
        if operand.is_output:
            handles[operand.name] = handles[PLACES[operand.name]]
        else:
            handles[operand.name] = chip.allocate(operand.nbytes)
            chip.write(handles[operand.name], operand.pack(inputs[operand.name]))
    choices = list(kernel.tiling_type.space(shape, P))
    chip.run(kernel.task(shape, handles, P, choices[pick % len(choices)]))
    for made, expected in beside.items():
        assert np.array_equal(chip.read(handles[made], (n,), F32), expected)


@settings(max_examples=10)
@given(
    name=st.sampled_from([*UPDATES[:-1], LAMB[0]]), n=st.integers(1, 60000), half=st.integers(0, 1),
    shift=st.integers(1, 30), pick=st.integers(0, 3),
)  # fmt: skip
def test_gradients_of_a_scaled_loss_are_divided_by_the_scale(name, n, half, shift, pick):
    """By a power of two, while they come by."""
    shape = shape_of(kernels.find(name), n=n, grad_dtype=1 - half, grad_shift=shift)
    assert set(differences(kernels.find(name), shape, pick, n).values()) == {0}


def test_a_scale_beyond_the_powers_of_two_of_fp32_is_refused():
    with pytest.raises(BadShape, match="rule: grad_shift is 0 to 30"):
        shape_of(kernels.find("apply_sgd"), n=8, grad_dtype=1, grad_shift=31)


def test_adam_without_the_powers_of_beta_leaves_the_bias():
    """As MindSpore's AdamWeightDecay: rate * m / (sqrt(v) + epsilon)."""
    kernel = kernels.find("apply_adam")
    shape = update_shape("apply_adam", 1)
    inputs = {operand.name: np.float32([0]) for operand in kernel.operands(shape)}
    inputs |= {"g": np.float32([2]), "learning_rate": np.float32([1]), "epsilon": np.float32([1])}
    inputs |= {"beta1": np.float32([0.5]), "beta2": np.float32([0.75])}
    outputs, _ = run(kernel, shape, inputs, Chip(P))
    assert [float(outputs[name][0]) for name in ("w_new", "m_new", "v_new")] == [-0.5, 1.0, 1.0]


def test_weights_of_ftrl_whose_linear_term_is_small_are_zero():
    kernel = kernels.find("apply_ftrl")
    shape = update_shape("apply_ftrl", 300)
    inputs = random_inputs(kernel, shape, 0)
    inputs["l1"] = np.float32([1e6])
    outputs, _ = run(kernel, shape, inputs, Chip(P))
    assert not outputs["w_new"].any()


@settings(max_examples=10)
@given(n=st.integers(1, 60000), dtype=st.sampled_from(["fp16", "fp32", "int32"]), pick=st.integers(0, 3))
def test_what_is_added_in_place_equals_the_reference(n, dtype, pick):
    kernel = kernels.find("assign_add")
    assert differences(kernel, shape_of(kernel, dtype, n=n), pick, n) == {"x_new": 0}


def test_both_engines_give_the_same_bits():
    for name in UPDATES:
        assert engines_agree(kernels.find(name), update_shape(name, 3000))


@pytest.mark.parametrize("name", [*UPDATES, *LAMB])
def test_large_updates_move_as_much_as_nine_tenths_of_the_memory(name):
    """Two million weights, whose results stay in L2."""
    kernel, shape = kernels.find(name), update_shape(name, 2_000_000)
    assert memory_share(kernel, shape) >= 0.9
    assert efficiency(kernel, shape) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["apply_momentum", "apply_adam", "lamb_update"])
def test_updates_of_whole_networks_move_as_much_as_nine_tenths_of_the_memory(name):
    """The weights of ResNet-50, far more than L2 holds."""
    assert memory_share(kernels.find(name), update_shape(name, 25_000_000)) >= 0.9


def test_half_precision_weights_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(MOMENTUM, "fp16", n=10)
    assert str(refused.value) == (
        "kernel apply_momentum: dtype=fp16\n  rule: dtype is fp32\n  next: change the shape"
    )
