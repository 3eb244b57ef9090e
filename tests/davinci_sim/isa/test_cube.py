"""The cube multiplies fractals: ZZ by ZN to NZ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles
from davinci_sim.isa import FP16, INT8, mmad
from davinci_sim.memory.dtypes import F16, F32, I8, I32
from davinci_sim.memory.layout import LAYOUTS
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

EXAMPLES = settings(max_examples=15)
SIZES = {"m": st.integers(1, 70), "k": st.integers(1, 70), "n": st.integers(1, 70)}


def zz(matrix, k_edge):
    """Return a[m, k] as fractals (m1, k1, m0, k0)."""
    m, k = matrix.shape
    return matrix.reshape(m // 16, 16, k // k_edge, k_edge).transpose(0, 2, 1, 3)


def zn(matrix, k_edge):
    """Return b[k, n] as fractals (k1, n1, n0, k0)."""
    k, n = matrix.shape
    return matrix.reshape(k // k_edge, k_edge, n // 16, 16).transpose(0, 2, 3, 1)


def nz(matrix):
    """Return c[m, n] as fractals (n1, m1, m0, n0)."""
    m, n = matrix.shape
    return matrix.reshape(m // 16, 16, n // 16, 16).transpose(2, 0, 1, 3)


def up(value, edge):
    """Round up to a whole number of fractals."""
    return -(-value // edge) * edge


def multiply(machine, a, b, c, k, code, accumulate, edge):
    """Run one product; a, b and c are whole fractals, k is exact."""
    for space, packed in ((Space.L0A, zz(a, edge)), (Space.L0B, zn(b, edge)), (Space.L0C, nz(c))):
        machine.view(space, packed.dtype)[: packed.size] = packed.reshape(-1)
    machine.run(
        mmad, c=machine.handle(Space.L0C), a=machine.handle(Space.L0A), b=machine.handle(Space.L0B),
        m=a.shape[0], k=k, n=b.shape[1], accumulate=accumulate, dtype=code,
    )  # fmt: skip
    n1, m1 = c.shape[1] // 16, c.shape[0] // 16
    out = machine.view(Space.L0C, c.dtype)[: c.size].reshape(n1, m1, 16, 16)
    return out.transpose(1, 2, 0, 3).reshape(c.shape)


def in_order(a, b, c):
    """Add the products of one accumulator in the order of k, in float32, without fused steps."""
    total = c.copy()
    for step in range(a.shape[1]):
        total += a[:, step, None].astype(np.float32) * b[None, step, :].astype(np.float32)
    return total


@EXAMPLES
@given(**SIZES, accumulate=st.booleans(), seed=st.integers(0, 99))
def test_halves_are_multiplied_exactly_and_added_in_float32_in_order(
    shared_machine, m, k, n, accumulate, seed
):
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((up(m, 16), up(k, 16))).astype(np.float16)
    b = generator.standard_normal((up(k, 16), up(n, 16))).astype(np.float16)
    c = generator.standard_normal((up(m, 16), up(n, 16))).astype(np.float32)
    got = multiply(shared_machine, a, b, c, k, FP16, accumulate, 16)
    want = in_order(a[:, :k], b[:k], c if accumulate else np.zeros_like(c))
    assert np.array_equal(got.view(np.uint32), want.view(np.uint32))


@EXAMPLES
@given(**SIZES, accumulate=st.booleans(), seed=st.integers(0, 99))
def test_bytes_are_multiplied_to_int32(shared_machine, m, k, n, accumulate, seed):
    generator = np.random.default_rng(seed)
    a = generator.integers(-128, 128, (up(m, 16), up(k, 32))).astype(np.int8)
    b = generator.integers(-128, 128, (up(k, 32), up(n, 16))).astype(np.int8)
    c = generator.integers(-1000, 1000, (up(m, 16), up(n, 16))).astype(np.int32)
    got = multiply(shared_machine, a, b, c, k, INT8, accumulate, 32)
    want = a[:, :k].astype(np.int32) @ b[:k].astype(np.int32) + (c if accumulate else 0)
    assert np.array_equal(got, want)


def test_what_lies_beyond_k_is_not_read(machine):
    """The rest of the last fractal may be anything, even NaN."""
    a, b = np.full((16, 16), np.nan, np.float16), np.full((16, 16), np.nan, np.float16)
    a[:, :5], b[:5] = 1, 2
    got = multiply(machine, a, b, np.zeros((16, 16), np.float32), 5, FP16, False, 16)
    assert (got == 10).all()


def test_the_layouts_of_the_memory_package_are_those_of_the_cube(machine):
    """ZZ, ZN and NZ pack a matrix as the instruction wants it."""
    a = np.arange(32 * 48, dtype=np.float16).reshape(32, 48)
    c = np.arange(32 * 48, dtype=np.float32).reshape(32, 48)
    assert np.array_equal(LAYOUTS["ZZ"].pack(a).reshape(-1), zz(a, 16).reshape(-1))
    assert np.array_equal(LAYOUTS["ZN"].pack(a).reshape(-1), zn(a, 16).reshape(-1))
    assert np.array_equal(LAYOUTS["NZ"].pack(c).reshape(-1), nz(c).reshape(-1))
    assert (F16.itemsize_bytes, F32.itemsize_bytes, I8.itemsize_bytes, I32.itemsize_bytes) == (2, 4, 1, 4)


@pytest.mark.parametrize(
    ("code", "k", "products"), [(FP16, 64, 4), (FP16, 65, 5), (INT8, 64, 2), (INT8, 65, 3)]
)
def test_a_product_takes_a_cycle_per_fractal_behind_a_head(machine, code, k, products):
    words = machine.emit(
        mmad, c=machine.handle(Space.L0C), a=machine.handle(Space.L0A), b=machine.handle(Space.L0B),
        m=33, k=k, n=16, accumulate=0, dtype=code,
    )  # fmt: skip
    chip = platform("ascend910a")
    cycles, traffic = count_cycles(words, costs_of(chip))
    assert (cycles[0], traffic[0]) == (3 * products + chip.mmad_head_cycles, 0)
