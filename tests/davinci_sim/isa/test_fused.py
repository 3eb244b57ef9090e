"""Vector instructions whose result has another type than their sources equal NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from davinci_sim.isa import (
    FP16,
    FP32,
    INT8,
    INT16,
    INT32,
    UINT8,
    vadddeqrelu,
    vaddreluconv,
    vaxpy_mixed,
    vmla_mixed,
    vmulconv,
    vsubreluconv,
)
from davinci_sim.memory.dtypes import DTYPES
from davinci_sim.memory.spaces import Space

SECOND, THIRD = 64 * 1024, 128 * 1024
REPEAT = 20


def run(machine, emitter, dtype, to, scale=1.0):
    """Run two contiguous sources; return them and the result, each [repeat, lanes]."""
    source, target = DTYPES[dtype], DTYPES[to]
    lanes = 256 // max(source.itemsize_bytes, target.itemsize_bytes)
    generator = np.random.default_rng(1)
    a, b = (generator.standard_normal((2, REPEAT, lanes)) * 20).astype(source.numpy)
    for byte, values in ((0, a), (SECOND, b)):
        machine.view(Space.UB)[byte : byte + values.nbytes] = values.reshape(-1).view(np.uint8)
    out = machine.view(Space.UB)[THIRD:][: REPEAT * lanes * target.itemsize_bytes].view(target.numpy)
    out[:] = 3
    step = lanes * source.itemsize_bytes // 32
    machine.run(
        emitter, dst=machine.handle(Space.UB, THIRD), src0=machine.handle(Space.UB),
        src1=machine.handle(Space.UB, SECOND), to=to, repeat=REPEAT, dtype=dtype, scale=scale,
        dst_rep=lanes * target.itemsize_bytes // 32, src0_rep=step, src1_rep=step,
    )  # fmt: skip
    return a, b, out.reshape(REPEAT, lanes)


def integers(values, dtype):
    """Round to nearest even and saturate."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


@pytest.mark.parametrize("to", [INT8, UINT8])
def test_a_product_is_converted_to_a_small_integer(machine, to):
    a, b, got = run(machine, vmulconv, FP16, to)
    want = integers(a.astype(np.float32) * b.astype(np.float32), DTYPES[to].numpy)
    assert np.array_equal(got, want)


@pytest.mark.parametrize(("dtype", "to"), [(FP32, FP16), (FP16, INT8), (INT16, INT8)])
@pytest.mark.parametrize(("emitter", "sign"), [(vaddreluconv, 1), (vsubreluconv, -1)], ids=["add", "sub"])
def test_a_sum_is_cut_at_zero_and_narrowed(machine, emitter, sign, dtype, to):
    a, b, got = run(machine, emitter, dtype, to)
    wide = np.float32 if dtype != INT16 else np.int64
    total = np.maximum(a.astype(wide) + sign * b.astype(wide), 0)
    want = integers(total, np.int8) if to == INT8 else total.astype(np.float16)
    assert np.array_equal(got, want)


def test_a_sum_of_accumulators_is_dequantised(machine):
    a, b, got = run(machine, vadddeqrelu, INT32, FP16, scale=0.125)
    want = (np.maximum(a + b, 0).astype(np.float32) * np.float32(0.125)).astype(np.float16)
    assert np.array_equal(got, want)


def test_products_of_half_floats_are_added_in_fp32(machine):
    a, b, got = run(machine, vmla_mixed, FP16, FP32)
    assert np.array_equal(got, 3 + a.astype(np.float32) * b.astype(np.float32))


def test_scaled_half_floats_are_added_in_fp32(machine):
    a = np.random.default_rng(1).standard_normal(128).astype(np.float16)
    machine.view(Space.UB, np.float16)[:128] = a
    out = machine.view(Space.UB, np.float32)[THIRD // 4 :][:128]
    out[:] = 1
    machine.run(
        vaxpy_mixed, dst=machine.handle(Space.UB, THIRD), src=machine.handle(Space.UB), repeat=2, dtype=FP16,
        src_rep=4, value=0.3,
    )  # fmt: skip
    assert np.array_equal(out, 1 + a.astype(np.float32) * np.float32(0.3))
