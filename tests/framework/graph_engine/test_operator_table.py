"""Every operator with a lowering gives on the device what it gives on the host, from the operator table."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim import Chip
from framework.graph_engine import compile_for_device
from framework.ir import Builder, TensorType, evaluate, verify
from framework.ops import OPERATORS, Op

CASES = [
    (op, sample)
    for op in OPERATORS.values()
    if op.lowering is not None and type(op) is Op
    for sample in op.samples
]
CUBE = ("conv2d", "conv2d_backward_input", "conv2d_backward_filter")
"""Operators that take half precision there."""


def name(value):
    return value.name if isinstance(value, Op) else str([arg.shape for arg in value.args])


@pytest.fixture(scope="module")
def chip():
    return Chip("ascend910a")


@pytest.mark.slow
@pytest.mark.parametrize(("op", "sample"), CASES, ids=name)
def test_the_device_gives_what_the_host_gives(op, sample, chip):
    """Whatever it takes there; what it does not take runs on the host."""
    dtype = "float16" if op.name in CUBE else "float32"
    narrower = {"f": dtype, "i": "int32"}
    drawn = sample.draw(np.random.default_rng(3))
    arrays = [array.astype(narrower.get(array.dtype.kind, array.dtype)) for array in drawn]
    builder = Builder()
    params = [builder.param(TensorType.of(array)) for array in arrays]
    narrow = {key: "float16" if value == "float64" else value for key, value in sample.attrs.items()}
    outputs = op(*params, **narrow)
    func = verify(builder.finish("f", outputs if isinstance(outputs, tuple) else [outputs]))
    found = compile_for_device(func, chip)(arrays)
    tolerance = 2e-3 if dtype == "float16" else 2e-5
    for device, host in zip(found, evaluate(func, arrays), strict=True):
        np.testing.assert_allclose(device, host, rtol=tolerance, atol=tolerance)
