"""Element-wise kernels equal their references on any shape and tiling, and fill the memory path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from kernels.run import place, random_inputs
from tests.kernels.equality import P, differences, efficiency, engines_agree, memory_share, shape_of

BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
UNARY = (
    "relu",
    "exp",
    "log",
    "neg",
    "abs",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "square",
    "logical_not",
    "relu_grad",
    "select",
)
TYPES = ("fp16", "fp32", "int32")
FLOATS = st.sampled_from(["fp16", "fp32"])
PICK, SEED = st.integers(0, 3), st.integers(0, 99)


def all_right(wrong: dict[str, int]) -> bool:
    """Tell whether no element is wrong."""
    return not any(wrong.values())


@settings(max_examples=25)
@given(
    name=st.sampled_from(BINARY), rows=st.integers(1, 70), columns=st.integers(1, 400),
    pattern=st.integers(0, 3), dtype=FLOATS, pick=PICK, seed=SEED,
)  # fmt: skip
def test_two_sources_equal_the_reference_for_every_broadcast(name, rows, columns, pattern, dtype, pick, seed):
    """Equal shapes, a number, a row or a column; rows that are whole blocks and rows that are not."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, n=rows * columns, rows=rows, pattern=pattern)
    assert all_right(differences(kernel, shape, pick, seed))


@pytest.mark.parametrize("pattern", [2, 3])
@pytest.mark.parametrize(("rows", "columns"), [(40, 10), (9, 1001), (2, 20000), (3, 12345), (300, 1)])
def test_short_and_long_rows_take_their_own_ways(pattern, rows, columns):
    """Packed, repeated and piecewise rows: one case at least of each."""
    kernel = kernels.find("sub")
    shape = shape_of(kernel, "fp32", n=rows * columns, rows=rows, pattern=pattern)
    assert all_right(differences(kernel, shape, 0, 1))


@settings(max_examples=10)
@given(name=st.sampled_from(["add", "sub", "mul", "maximum"]), n=st.integers(1, 5000), seed=SEED)
def test_integers_are_exact(name, n, seed):
    kernel = kernels.find(name)
    assert all_right(differences(kernel, shape_of(kernel, "int32", n=n), 0, seed))


@settings(max_examples=25)
@given(name=st.sampled_from(UNARY), n=st.integers(1, 40000), dtype=FLOATS, pick=PICK, seed=SEED)
def test_one_source_equals_the_reference(name, n, dtype, pick, seed):
    """Also where the result is no number: the logarithm and the roots of negative arguments."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, n=n)
    inputs = random_inputs(kernel, shape, seed)
    if name == "select":
        inputs["cond"] = (inputs["cond"] > 0).astype(inputs["cond"].dtype)
    assert all_right(differences(kernel, shape, pick, seed, inputs))


@settings(max_examples=25)
@given(n=st.integers(1, 20000), source=st.sampled_from(TYPES), to=st.integers(0, 2), pick=PICK, seed=SEED)
def test_casts_round_to_nearest_even(n, source, to, pick, seed):
    kernel = kernels.find("cast")
    shape = shape_of(kernel, source, n=n, out_dtype=to)
    assert all_right(differences(kernel, shape, pick, seed))


def test_a_cast_to_integers_rounds_halves_to_even_and_saturates():
    kernel = kernels.find("cast")
    x = np.array([0.5, 1.5, -2.5, 3e9, -3e9, np.nan], np.float32)
    assert all_right(differences(kernel, shape_of(kernel, "fp32", n=6, out_dtype=2), 0, 0, {"x": x}))


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("add", {"n": 5000}),
        ("sub", {"n": 330, "rows": 33, "pattern": 2}),
        ("sub", {"n": 330, "rows": 33, "pattern": 3}),
        ("mul", {"n": 3010, "rows": 10, "pattern": 2}),
        ("mul", {"n": 500, "pattern": 1}),
        ("relu_grad", {"n": 3000}),
        ("cast", {"n": 3000, "out_dtype": 2}),
    ],
)
def test_both_engines_give_the_same_bits(name, axes):
    kernel = kernels.find(name)
    assert engines_agree(kernel, shape_of(kernel, **axes))


@pytest.mark.parametrize(
    ("name", "dtype", "axes"),
    [
        ("add", "fp32", {"n": 1_000_000}),
        ("relu", "fp16", {"n": 1_000_000}),
        ("relu_grad", "fp32", {"n": 1_000_000}),
        ("mul", "fp32", {"n": 1 << 20, "rows": 1024, "pattern": 2}),
    ],
)
def test_long_streams_move_as_much_as_nine_tenths_of_the_memory(name, dtype, axes):
    """And are never quicker than their roofline: what they write stays in L2."""
    kernel = kernels.find(name)
    shape = shape_of(kernel, dtype, **axes)
    assert memory_share(kernel, shape) >= 0.9
    assert efficiency(kernel, shape) <= 1


@pytest.mark.parametrize("n", [1000, 20_480, 131_072])
def test_small_problems_use_as_many_cores_as_end_soonest(n):
    """Each block costs its start: no number of cores is more than a twentieth faster than the default."""
    kernel = kernels.find("add")
    shape = shape_of(kernel, "fp32", n=n)
    default = kernel.tiling(shape, P)
    times = {
        cores: Chip(P).cycles(place(kernel, shape, None, Chip(P), replace(default, cores=cores)).task)
        for cores in {1, 2, 4, 8, 16, 32, default.cores}
    }
    assert times[default.cores] <= 1.05 * min(times.values())


def test_a_middling_problem_takes_few_instructions():
    """One tile on each core: two loads, the sum, a store, their hand-offs and the barriers."""
    kernel = kernels.find("add")
    task = place(kernel, shape_of(kernel, "fp32", n=20_480), None, Chip(P)).task
    assert (task.block_dim, task.instructions) == (6, 6 * 20)


def test_rows_that_do_not_divide_the_length_are_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("add"), n=10, rows=3, pattern=2)
    assert str(refused.value) == "kernel add: n=10, rows=3\n  rule: rows divides n\n  next: change the shape"


@pytest.mark.parametrize(
    ("axes", "found", "rule"),
    [
        ({"n": 10, "pattern": 4, "d2": 4}, "n=10, axes d0 to d2 and rows make 4", "the axes divide n"),
        ({"n": 5, "pattern": 4, "lacks": 16 + 16 * 32}, "lacks=528", "a or b has each of five axes"),
        ({"n": 5, "lacks": 1}, "pattern=0, lacks=1", "pattern 4 alone names axes"),
        ({"n": 5, "pattern": 5}, "pattern=5", "pattern is 0, 1, 2, 3 or 4"),
    ],
)
def test_axes_that_contradict_each_other_are_refused(axes, found, rule):
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("add"), **axes)
    assert str(refused.value) == f"kernel add: {found}\n  rule: {rule}\n  next: change the shape"


def test_an_integer_division_is_refused():
    with pytest.raises(BadShape) as refused:
        shape_of(kernels.find("div"), "int32", n=10)
    assert str(refused.value) == (
        "kernel div: dtype=int32\n  rule: dtype is fp16 or fp32\n  next: change the shape"
    )


@pytest.mark.parametrize("n", [60_000, 333_333, 12_582_912])
def test_the_default_tiles_begin_where_transfers_are_fastest(n):
    """At multiples of 512 bytes: beside them a burst gets 70 % of the bandwidth."""
    add = kernels.find("add")
    shape = shape_of(add, "fp16", n=n)
    assert add.untuned(shape, P).tile * 2 % 512 == 0
