"""Matrix products equal their reference on any shape, transposition, epilogue and tiling."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.errors import BadShape, BadTiling
from davinci_sim.isa import FP16, FP32
from davinci_sim.platforms import assumed, platform
from kernels.check import check
from kernels.matmul import MatmulShape, MatmulTiling, activated, matmul
from kernels.run import place, random_inputs, references, run
from tests.kernels.equality import differences, efficiency, engines_agree

PLATFORM = platform("ascend910a")
NAMES = ("matmul", "matmul_bias", "matmul_add", "matmul_bias_add")
EDGES = st.integers(1, 90)


def shape_of(name: str, **axes: int):
    """Return a checked shape of a kernel, and the kernel."""
    kernel = kernels.find(name)
    return kernel.shape_type.of(name, axes), kernel


def tolerance(dtype: int, out_dtype: int, k: int) -> float:
    """Return the allowed error relative to the largest result.

    Rounding of the result, of k additions and, for fp32 operands, of their two halves: 3 * 2**-22 a product.
    """
    rounding = 2.0**-11 if out_dtype == FP16 else 2.0**-22
    halves = 3 * 2.0**-22 if dtype == FP32 else 0.0
    return 2 * rounding + k * (2.0**-24 + halves)


def worst(kernel, shape, inputs, outputs) -> float:
    """Return the largest error over the largest magnitude of the reference."""
    expected = references(kernel, shape, inputs)["c"].astype(np.float64)
    return float(
        np.abs(outputs["c"].astype(np.float64) - expected).max() / max(np.abs(expected).max(), 1e-30)
    )


AXES = {
    "m": EDGES,
    "k": EDGES,
    "n": EDGES,
    "b": st.integers(1, 3),
    "dtype": st.sampled_from([FP16, FP32]),
    "out_dtype": st.sampled_from([FP16, FP32]),
    "trans_a": st.integers(0, 1),
    "trans_b": st.integers(0, 1),
    "shared": st.integers(0, 2),
    "act": st.integers(0, 3),
}


@settings(max_examples=30, deadline=None)
@given(
    axes=st.fixed_dictionaries(AXES),
    name=st.sampled_from(NAMES),
    pick=st.integers(0, 15),
    edges=st.tuples(*[st.integers(1, 4)] * 4),
    seed=st.integers(0, 99),
)
def test_a_product_equals_its_reference_on_any_shape_and_tiling(axes, name, pick, edges, seed):
    """Whatever the edges, options, element types and tiling, only rounding differs."""
    shape, kernel = shape_of(name, **axes | {"shared": axes["shared"] if axes["b"] > 1 else 0})
    tilings = list(MatmulTiling.space(shape, PLATFORM))
    tiling = tilings[pick % len(tilings)]
    if pick % 2:
        m0, n0, k0, steps = (16 * edge for edge in edges)
        tiling = replace(
            tiling, m0=m0, n0=n0, k0=k0, l1_k=k0 * steps // 16, head_k=k0, part=max(16, n0 // 32 * 16), band=2
        )
    inputs = random_inputs(kernel, shape, seed)
    outputs, _ = run(kernel, shape, inputs, Chip(PLATFORM), tiling)
    assert worst(kernel, shape, inputs, outputs) <= tolerance(axes["dtype"], axes["out_dtype"], axes["k"])


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("matmul", {"trans_a": 1, "shared": 1}),
        ("matmul", {"trans_b": 1, "shared": 2}),
        ("matmul_bias", {"act": 1}),
        ("matmul_bias_add", {"act": 2, "out_dtype": FP32}),
    ],
)
def test_padding_of_a_product_is_zero(name, axes):
    """Whoever reads whole fractals of the result meets no garbage, nor the bias."""
    shape, kernel = shape_of(name, m=333, k=50, n=21, b=3, **axes)
    assert differences(kernel, shape, 0, 1) == {"c": 0}


def test_small_pieces_along_k_give_the_same_numbers():
    """The order of additions is that of k, however k is cut."""
    shape, _ = shape_of("matmul", m=33, k=200, n=47, out_dtype=FP32)
    inputs = random_inputs(matmul, shape, 3)
    default = MatmulTiling.default(shape, PLATFORM)
    whole, _ = run(matmul, shape, inputs, Chip(PLATFORM), default)
    cut, _ = run(matmul, shape, inputs, Chip(PLATFORM), replace(default, k0=16, l1_k=48, head_k=32))
    assert np.array_equal(whole["c"], cut["c"])


@pytest.mark.parametrize("dtype", [FP16, FP32])
@pytest.mark.parametrize(("name", "act"), [("matmul", 1), ("matmul_bias", 2), ("matmul_bias_add", 3)])
def test_the_simpy_core_computes_the_same_bits(name, act, dtype):
    """Data that move when the simulated move ends give what execution in order gives."""
    shape, kernel = shape_of(name, m=70, k=90, n=50, b=2, act=act, dtype=dtype)
    assert engines_agree(kernel, shape)


@pytest.mark.parametrize("act", [2, 3])
def test_gelu_of_extreme_sums_is_the_sum_or_zero(act):
    """Large sums stay as they are, large negative ones become zero, nothing becomes NaN."""
    values = np.array([-6e4, -300.0, -40.0, -6.0, -1e-4, 0.0, 1e-4, 6.0, 40.0, 300.0, 6e4], np.float16)
    shape, kernel = shape_of("matmul", m=11, k=1, n=1, act=act, out_dtype=FP32)
    inputs = {"a": values[:, None], "b": np.ones((1, 1), np.float16)}
    outputs, _ = run(kernel, shape, inputs, Chip(PLATFORM))
    expected = activated(act, values.astype(np.float32))
    np.testing.assert_allclose(outputs["c"][:, 0], expected, rtol=1e-6, atol=2e-7)


def test_infinite_residuals_stay_infinite():
    shape, kernel = shape_of("matmul_add", m=5, k=3, n=4, act=1)
    inputs = random_inputs(kernel, shape, 0)
    inputs["r"][:2, 0] = np.inf, -np.inf
    outputs, _ = run(kernel, shape, inputs, Chip(PLATFORM))
    assert outputs["c"][:2, 0].tolist() == [np.inf, 0.0]


@pytest.mark.parametrize(
    ("axes", "rule", "numbers"),
    [
        ({"shared": 1}, "what a batch shares needs a batch: shared is 0 where b is 1", "b=1, shared=1"),
        ({"shared": 3, "b": 2}, "shared is 0 or 1 or 2", "shared=3"),
        ({"act": 4}, "act is 0 or 1 or 2 or 3", "act=4"),
        ({"trans_a": 2}, "trans_a is 0 or 1", "trans_a=2"),
    ],
)
def test_an_option_out_of_range_is_refused(axes, rule, numbers):
    with pytest.raises(BadShape) as refused:
        shape_of("matmul", m=4, k=4, n=4, **axes)
    assert str(refused.value) == f"kernel matmul: {numbers}\n  rule: {rule}\n  next: change the shape"


def test_a_tiling_that_does_not_fit_names_the_buffer_and_the_bytes():
    """The error says which buffer, what it needs and what there is, at the kernel's line."""
    shape, _ = shape_of("matmul", m=512, k=512, n=512)
    tiling = MatmulTiling.of("matmul", {"m0": 512, "n0": 512, "k0": 16, "l1_k": 16}, shape, PLATFORM)
    with pytest.raises(BadTiling, match=r"needs 1048576 bytes, 262144 are available") as caught:
        place(matmul, shape, None, Chip(PLATFORM), tiling)
    assert "buffer l0c@L0C" in str(caught.value)
    assert "kernels/matmul_pipeline.py:" in str(caught.value)


def test_a_product_never_beats_the_cube():
    """The busiest core cannot finish before its fractal products are done."""
    shape, _ = shape_of("matmul", m=256, k=256, n=256)
    chip = Chip(PLATFORM)
    trace = chip.trace(place(matmul, shape, None, chip).task)
    assert trace.cycles >= 256**3 / 4096 / int(PLATFORM.ai_cores)
    assert 0 < trace.utilization("M") <= 1


@pytest.mark.parametrize(
    ("m", "k", "n", "least"),
    [
        (1024, 1024, 1024, 0.60),
        (2048, 2048, 2048, 0.88),
        pytest.param(4096, 4096, 4096, 0.95, marks=pytest.mark.slow),
    ],
)
def test_square_products_keep_the_cube_busy(m, k, n, least):
    """Operands and results in device memory, L2 empty at first; of 262 TFLOPS of fp16."""
    shape, kernel = shape_of("matmul", m=m, k=k, n=n)
    assert efficiency(kernel, shape) >= least


@pytest.mark.parametrize(
    ("name", "axes", "least"),
    [
        ("matmul_bias", {"m": 4096, "k": 1024, "n": 1024}, 0.80),
        ("matmul_bias", {"m": 4096, "k": 1024, "n": 1024, "act": 2}, 0.70),
        ("matmul_bias_add", {"m": 4096, "k": 1024, "n": 1024}, 0.75),
        ("matmul", {"m": 128, "k": 64, "n": 128, "b": 384, "trans_b": 1}, 0.75),
        ("matmul", {"m": 32, "k": 2048, "n": 1001}, 0.60),
    ],
)
def test_products_of_networks_come_near_their_rooflines(name, axes, least):
    """Layers of BERT-Large with what is fused into them, its scores, and the head of ResNet-50."""
    shape, kernel = shape_of(name, **axes)
    assert efficiency(kernel, shape) >= least


@pytest.mark.parametrize(("m", "k", "n"), [(1024, 1024, 1024), (4096, 128, 1000), (300, 3000, 200)])
def test_the_estimate_of_a_tiling_is_near_what_the_engine_finds(m, k, n):
    """Within a tenth, so that the default tiling is a good one."""
    shape, kernel = shape_of("matmul", m=m, k=k, n=n)
    tiling, chip = MatmulTiling.default(shape, PLATFORM), Chip(PLATFORM)
    cycles = chip.trace(place(kernel, shape, None, chip, tiling).task).cycles
    assert tiling.cycles(shape, PLATFORM) == pytest.approx(cycles, rel=0.1)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("matmul", {"dtype": FP32, "out_dtype": FP32}),
        ("matmul_bias", {"b": 2, "act": 1, "trans_a": 1}),
        ("matmul_bias_add", {"act": 3, "trans_b": 1}),
        ("matmul_split", {"splits": 3}),
    ],
)
@pytest.mark.parametrize(
    "cut",
    [
        {"m0": 32, "n0": 32, "l1_k": 64, "part": 16, "stage": 512},
        {"m0": 48, "n0": 80, "l1_k": 32, "part": 32, "stage": 768, "band": 2},
        {"m0": 32, "n0": 48, "l1_k": 32, "part": 48, "stage": 512, "slots": 1},
        {"m0": 64, "n0": 64, "l1_k": 48, "part": 32, "stage": 1024, "lean": 16, "band": 1},
    ],
)
def test_two_cores_with_many_tiles_keep_their_hand_offs(name, axes, cut):
    """Nothing is read too early, whatever the parts, accumulators and slots; data move in simulated time."""
    few = PLATFORM.with_figures("few", ai_cores=assumed(2, "", "so that a core has many tiles"))
    shape, kernel = shape_of(name, m=100, k=150, n=90, **axes)
    tiling = replace(MatmulTiling.default(shape, few), k0=32, head_k=32, stages=2, **cut)
    assert [str(finding) for finding in check(kernel, shape, few, tiling)] == []
    inputs = random_inputs(kernel, shape, 4)
    fast, _ = run(kernel, shape, inputs, Chip(few), tiling)
    slow, _ = run(kernel, shape, inputs, Chip(few), tiling, engine="reference")
    assert all(fast[output].tobytes() == slow[output].tobytes() for output in fast)


def test_rows_of_tiles_become_lower_where_later_cores_start_later():
    """Each core has one tile; the sum of start and work is about the same for all."""
    shape, kernel = shape_of("matmul", m=1024, k=1024, n=1024)
    tiling = MatmulTiling.default(shape, PLATFORM)
    heights = tiling.heights(shape)
    assert tiling.lean >= 16
    assert heights == sorted(heights, reverse=True)
    level = replace(tiling, m0=256, lean=1)
    cycles = [
        Chip(PLATFORM).trace(place(kernel, shape, None, Chip(PLATFORM), each).task).cycles
        for each in (tiling, level)
    ]
    assert cycles[0] < 0.97 * cycles[1]


def test_lengths_of_a_tiling_need_not_be_whole_fractals():
    """They are rounded up, and no row of tiles is lower than a fractal."""
    shape, kernel = shape_of("matmul_bias", m=130, k=100, n=70)
    uneven = MatmulTiling(33, 17, 50, 40, 7, part=20, band=3, stage=4000, lean=30)
    inputs = random_inputs(kernel, shape, 0)
    outputs, _ = run(kernel, shape, inputs, Chip(PLATFORM), uneven)
    assert worst(kernel, shape, inputs, outputs) <= tolerance(FP16, FP16, 100)


def test_every_shape_has_a_tiling():
    """However long and thin."""
    for m, k, n in ((1, 1, 1), (1, 100_000, 1), (100_000, 1, 1), (1, 1, 100_000), (17, 70_000, 33)):
        shape = MatmulShape.of("matmul", {"m": m, "k": k, "n": n})
        assert matmul.overflow(shape, matmul.tiling(shape, PLATFORM), PLATFORM) is None


@pytest.mark.parametrize("dtypes", [(FP16, FP16), (FP16, FP32), (FP32, FP32)])
@pytest.mark.parametrize("name", ["matmul", "matmul_add"])
def test_columns_may_have_more_rows_than_a_gap_counts(name, dtypes):
    """A move skips at most 65535 blocks; columns further apart are moved one by one."""
    axes = {"m": 68_000, "k": 20, "n": 20, "dtype": dtypes[0], "out_dtype": dtypes[1]}
    shape, kernel = shape_of(name, **axes)
    inputs = random_inputs(kernel, shape, 3)
    outputs, _ = run(kernel, shape, inputs, Chip(PLATFORM))
    assert worst(kernel, shape, inputs, outputs) <= tolerance(*dtypes, 20)
