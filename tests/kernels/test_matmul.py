"""Matrix products equal their reference on any shape, transposition and tiling."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.chip import Chip
from davinci_sim.errors import BadTiling
from davinci_sim.isa import FP16, FP32
from davinci_sim.platforms import platform
from kernels.matmul import MatmulShape, MatmulTiling, matmul, matmul_bias
from kernels.run import place, random_inputs, references, run

PLATFORM = platform("ascend910a")
EDGES = st.integers(1, 90)


def tolerance(dtype: int, out_dtype: int, k: int) -> float:
    """Return the allowed error relative to the largest sum.

    Rounding of the result, of k additions and, for fp32 operands, of their two halves: 3 * 2**-22 a product.
    """
    rounding = 2.0**-11 if out_dtype == FP16 else 2.0**-24
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
}
TRANSPOSED = {"trans_a": st.integers(0, 1), "trans_b": st.integers(0, 1)}


@settings(max_examples=25, deadline=None)
@given(
    axes=st.fixed_dictionaries(AXES | TRANSPOSED),
    bias=st.booleans(),
    pick=st.integers(0, 24),
    seed=st.integers(0, 99),
)
def test_a_product_equals_its_reference_on_any_shape_and_tiling(axes, bias, pick, seed):
    """Whatever the edges, transpositions, element type and tiling, only rounding differs."""
    kernel = matmul_bias if bias else matmul
    shape = MatmulShape.of(kernel.name, axes)
    tilings = list(MatmulTiling.space(shape, PLATFORM))
    inputs = random_inputs(kernel, shape, seed)
    outputs, _ = run(kernel, shape, inputs, Chip(PLATFORM), tilings[pick % len(tilings)])
    assert worst(kernel, shape, inputs, outputs) <= tolerance(axes["dtype"], axes["out_dtype"], axes["k"])


def test_small_pieces_along_k_give_the_same_numbers():
    """The order of additions is that of k, however k is cut."""
    shape = MatmulShape.of("matmul", {"m": 33, "k": 200, "n": 47, "out_dtype": FP32})
    inputs = random_inputs(matmul, shape, 3)
    default = MatmulTiling.default(shape, PLATFORM)
    whole, _ = run(matmul, shape, inputs, Chip(PLATFORM), default)
    cut, _ = run(matmul, shape, inputs, Chip(PLATFORM), replace(default, k0=16, l1_k=48))
    assert np.array_equal(whole["c"], cut["c"])


@pytest.mark.parametrize("dtype", ["fp16", "fp32"])
@pytest.mark.parametrize("kernel", [matmul, matmul_bias], ids=lambda kernel: kernel.name)
def test_the_simpy_core_computes_the_same_bits(kernel, dtype):
    """Data that move when the simulated move ends give what execution in order gives."""
    shape = MatmulShape.of(kernel.name, {"m": 70, "k": 90, "n": 50, "b": 2}, dtype)
    inputs = random_inputs(kernel, shape, 5)
    fast, _ = run(kernel, shape, inputs, Chip(PLATFORM))
    slow, _ = run(kernel, shape, inputs, Chip(PLATFORM), engine="reference")
    assert fast["c"].tobytes() == slow["c"].tobytes()


def test_a_tiling_that_does_not_fit_names_the_buffer_and_the_bytes():
    """The error says which buffer, what it needs and what there is, at the kernel's line."""
    shape = MatmulShape.of("matmul", {"m": 512, "k": 512, "n": 512})
    tiling = MatmulTiling.of("matmul", {"m0": 512, "n0": 512, "k0": 16, "l1_k": 16}, shape, PLATFORM)
    with pytest.raises(BadTiling, match=r"needs 2097152 bytes, 262144 are available") as caught:
        place(matmul, shape, None, Chip(PLATFORM), tiling)
    assert "buffer l0c@L0C" in str(caught.value)
    assert "kernels/matmul.py:" in str(caught.value)


def test_a_product_never_beats_the_cube():
    """The busiest core cannot finish before its fractal products are done."""
    shape = MatmulShape.of("matmul", {"m": 256, "k": 256, "n": 256})
    chip = Chip(PLATFORM)
    trace = chip.trace(place(matmul, shape, None, chip).task)
    assert trace.cycles >= 256**3 / 4096 / int(PLATFORM.ai_cores)
    assert 0 < trace.utilization("M") <= 1
