"""Reductions over any axes come down to launches of the reduction kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from kernels.run import run
from kernels.tiling.axes import reduction_launches
from kernels.tolerance import compare
from tests.kernels.equality import P

FUNCTIONS = {"reduce_sum": np.sum, "reduce_max": np.max, "reduce_mean": np.mean, "reduce_min": np.min}


@st.composite
def tensors(draw):
    """Draw a shape of up to five axes and the axes to reduce."""
    shape = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, max_size=len(shape)))
    return tuple(shape[:2] + [min(n, 9) for n in shape[2:]]), tuple(axes)


def reduced(name, x, axes, cores, launch):
    """Return what the launches make of x, flat."""
    for step in reduction_launches(name, x.shape, axes, "fp32", cores):
        kernel = kernels.find(step.kernel)
        types = {"dtype": 1, "out_dtype": 1}
        shape = kernel.shape_type.of(step.kernel, {**step.axes, **types})
        x = launch(kernel, shape, x.reshape(kernel.operands(shape)[0].shape))
    return x.reshape(-1)


@settings(max_examples=60)
@given(tensor=tensors(), name=st.sampled_from(sorted(FUNCTIONS)), cores=st.sampled_from([1, 4, 32]))
def test_the_launches_reduce_what_numpy_reduces(tensor, name, cores):
    """By the kernels' references, which tell what each launch means."""
    shape, axes = tensor
    x = np.random.Generator(np.random.Philox(1)).standard_normal(shape).astype(np.float32)
    found = reduced(name, x, axes, cores, lambda kernel, shape, x: kernel.reference(shape, x)[0])
    wanted = FUNCTIONS[name](x.astype(np.float64), axis=axes).astype(np.float32).reshape(-1)
    assert compare(found, wanted).wrong == 0


@pytest.mark.parametrize(
    ("shape", "axes", "launches"),
    [
        ((100_000,), (0,), 2), ((20_000, 10), (0,), 3), ((4, 3, 5, 7), (1, 3), 2),
        ((8, 5, 30, 30), (0, 2, 3), 2), ((3, 40_000), (1,), 2), ((5, 1, 6), (1,), 0), ((4000, 64), (0,), 2),
    ],
)  # fmt: skip
def test_the_launches_compute_on_the_chip(shape, axes, launches):
    """A whole vector, few columns, axes that alternate, channels, few rows, nothing, one line of columns."""
    x = np.random.Generator(np.random.Philox(1)).standard_normal(shape).astype(np.float32)

    def launch(kernel, problem, given):
        outputs, _ = run(kernel, problem, {"x": given}, Chip(P))
        return outputs["y"]

    found = reduced("reduce_mean", x, axes, 32, launch)
    assert compare(found, x.astype(np.float64).mean(axis=axes).astype(np.float32).reshape(-1)).wrong == 0
    assert len(reduction_launches("reduce_mean", shape, axes, "fp32", 32)) == launches


def test_few_columns_use_all_cores():
    """Sixty-four columns are one core's work as they are, and 32 cores' in parts."""
    first, second = reduction_launches("reduce_sum", (500_000, 64), (0,), "fp16", 32)
    assert (first.axes["parts"], first.dtype, first.out_dtype) == (32, "fp16", "fp32")
    assert (second.axes["m"], second.dtype, second.out_dtype) == (32, "fp32", "fp16")
