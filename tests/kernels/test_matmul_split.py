"""Products whose inner axis is shared by cores equal plain ones, always with the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape
from davinci_sim.isa.fields import FP16, FP32
from kernels.matmul import MatmulShape, matmul
from kernels.matmul_split import best_splits, cut_points, matmul_join, matmul_split
from kernels.run import place, random_inputs, references, run
from tests.kernels.equality import P, differences, engines_agree, shape_of

EDGES, DEPTHS = st.integers(1, 70), st.integers(33, 200)


@settings(max_examples=15, deadline=None)
@given(
    axes=st.fixed_dictionaries({"m": EDGES, "k": DEPTHS, "n": EDGES, "b": st.integers(1, 2)}),
    options=st.fixed_dictionaries({name: st.integers(0, 1) for name in ("trans_a", "trans_b")}),
    splits=st.integers(1, 3),
    dtype=st.sampled_from(["fp16", "fp32"]),
    pick=st.integers(0, 15),
)
def test_parts_are_products_of_parts(axes, options, splits, dtype, pick):
    """Of whole fractals along k, however the tiles are cut; their padding is zero."""
    shape = matmul_split.shape_type.of(
        "matmul_split", axes | options | {"splits": splits, "out_dtype": FP32}, dtype
    )
    assert differences(matmul_split, shape, pick, 1) == {"parts": 0}


@settings(max_examples=10, deadline=None)
@given(
    axes=st.fixed_dictionaries({"m": EDGES, "n": EDGES, "b": st.integers(1, 2), "splits": st.integers(1, 9)}),
    out_dtype=st.sampled_from([FP16, FP32]),
    pick=st.integers(0, 9),
)
def test_parts_are_added_in_their_order(axes, out_dtype, pick):
    """The very bits of adding one after the other, rounded once."""
    shape = shape_of(matmul_join, **axes, out_dtype=out_dtype)
    inputs = random_inputs(matmul_join, shape, pick)
    outputs, _ = run(matmul_join, shape, inputs, Chip(P))
    assert np.array_equal(outputs["c"], references(matmul_join, shape, inputs)["c"])


def test_both_launches_together_give_the_product():
    """And the same bits again on the SimPy core."""
    split = shape_of(matmul_split, m=60, k=500, n=40, trans_a=1, splits=4)
    inputs = random_inputs(matmul_split, split, 2)
    parts, _ = run(matmul_split, split, inputs, Chip(P))
    joined, _ = run(matmul_join, shape_of(matmul_join, m=60, n=40, splits=4), parts, Chip(P))
    whole = references(matmul, shape_of(matmul, m=60, k=500, n=40, trans_a=1, out_dtype=FP32), inputs)
    np.testing.assert_allclose(joined["c"], whole["c"], rtol=1e-5, atol=1e-4)
    assert engines_agree(matmul_split, split, inputs)


def test_parts_of_an_axis_differ_by_at_most_one_fractal():
    """100 is 7 fractals of 16, the last of them not full."""
    assert cut_points(shape_of(matmul_split, m=1, k=100, n=1, splits=3)) == [0, 32, 64, 100]


def cycles(kernel, **axes: int) -> int:
    """Return the cycles of a launch from an empty L2."""
    chip = Chip(P)
    return int(chip.trace(place(kernel, shape_of(kernel, **axes), None, chip).task).cycles)


def test_a_long_inner_axis_is_better_cut():
    """A gradient of a weight over 16,000 examples: both launches and a start are faster than one product."""
    axes = {"m": 512, "k": 16_000, "n": 256, "trans_a": 1, "out_dtype": FP32}
    splits = best_splits(shape_of(matmul, **axes), P)
    both = cycles(matmul_split, **axes, splits=splits) + cycles(matmul_join, m=512, n=256, splits=splits)
    assert splits > 1
    assert both + int(P.task_start_cycles) < 0.85 * cycles(matmul, **axes)


@pytest.mark.parametrize("axes", [(1024, 1024, 1024), (64, 64, 64), (4096, 100, 4096)])
def test_an_inner_axis_that_cores_need_not_share_stays_whole(axes):
    m, k, n = axes
    assert best_splits(MatmulShape.of("matmul", {"m": m, "k": k, "n": n}), P) == 1


@pytest.mark.parametrize(
    ("axes", "rule", "numbers"),
    [
        ({"splits": 4}, "splits is at most 3 for k=40", "splits=4"),
        ({"act": 1}, "act is 0: parts of a sum are not the sum", "act=1"),
        ({"out_dtype": FP16}, "out_dtype is fp32", "out_dtype=fp16"),
    ],
)
def test_parts_that_cannot_be_are_refused(axes, rule, numbers):
    with pytest.raises(BadShape) as refused:
        shape_of(matmul_split, m=4, k=40, n=4, **axes)
    assert str(refused.value) == f"kernel matmul_split: {numbers}\n  rule: {rule}\n  next: change the shape"
