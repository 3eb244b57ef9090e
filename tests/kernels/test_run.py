"""Running one kernel: placing, computing, reading back."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import ShapeMismatch, UnknownName
from kernels.run import place, random_inputs, references, run
from kernels.tolerance import compare

MATMUL = kernels.find("matmul")
SHAPE = MATMUL.shape_type.of("matmul", {"m": 33, "k": 47, "n": 21})


def test_both_engines_compute_the_same_bits_and_the_reference():
    inputs = random_inputs(MATMUL, SHAPE, 0)
    fast, no_trace = run(MATMUL, SHAPE, inputs, Chip())
    slow, trace = run(MATMUL, SHAPE, inputs, Chip(), engine="reference")
    assert no_trace is None
    assert trace is not None
    assert fast["c"].tobytes() == slow["c"].tobytes()
    assert compare(fast["c"], references(MATMUL, SHAPE, inputs)["c"]).wrong == 0


def test_data_take_no_time():
    """The simulated time is the same with data and without."""
    inputs = random_inputs(MATMUL, SHAPE, 0)
    placed = place(MATMUL, SHAPE, inputs, Chip())
    assert placed.chip.run_reference(placed.task) == placed.chip.trace(placed.task)


def test_random_inputs_depend_on_the_seed_alone():
    first, again, other = (random_inputs(MATMUL, SHAPE, seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["a"], other["a"])


def test_an_input_of_the_wrong_shape_is_refused():
    inputs = {**random_inputs(MATMUL, SHAPE, 0), "b": np.zeros((47, 22), np.float16)}
    with pytest.raises(ShapeMismatch) as refused:
        place(MATMUL, SHAPE, inputs, Chip())
    assert str(refused.value) == (
        "kernel matmul: input b has shape (47, 22)\n  rule: the kernel's shape makes it (47, 21)\n"
        "  next: change the array or the shape"
    )


def test_a_missing_input_is_named():
    with pytest.raises(ShapeMismatch) as refused:
        place(MATMUL, SHAPE, {"a": np.zeros((33, 47), np.float16)}, Chip())
    assert str(refused.value) == "kernel matmul: input b is missing\n  rule: it wants (47, 21)"


def test_an_unknown_engine_is_answered_with_the_known_ones():
    with pytest.raises(UnknownName) as refused:
        run(MATMUL, SHAPE, {}, Chip(), engine="quick")
    assert str(refused.value) == "unknown engine 'quick'; known: fast, reference"


def test_kernels_are_found_by_name():
    assert kernels.find("matmul") is kernels.load()["matmul"]
