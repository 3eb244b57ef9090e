"""The cube multiplies fractals: ZZ by ZN to NZ."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles
from davinci_sim.isa import BF16, FP16, FP32, INT4, INT8, UINT8, mmad
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN
from davinci_sim.memory.dtypes import F16, F32, I8, I32, to_device
from davinci_sim.memory.layout import LAYOUTS
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import assumed, platform

EXAMPLES = settings(max_examples=15)
SIZES = {"m": st.integers(1, 70), "k": st.integers(1, 70), "n": st.integers(1, 70)}
CHIP = platform("ascend910a")


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


def multiply(machine, a, b, c, k, code, accumulate, edge, **options):
    """Run one product; a, b and c are whole fractals, k is exact."""
    for space, packed in ((Space.L0A, zz(a, edge)), (Space.L0B, zn(b, edge)), (Space.L0C, nz(c))):
        raw = to_device(packed)
        machine.view(space)[: raw.size] = raw
    machine.run(
        mmad, c=machine.handle(Space.L0C), a=machine.handle(Space.L0A), b=machine.handle(Space.L0B),
        m=a.shape[0], k=k, n=b.shape[1], accumulate=accumulate, dtype=code, **options,
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


FLOATS = [(FP16, np.float16, 16), (BF16, ml_dtypes.bfloat16, 16), (FP32, np.float32, 8)]


@pytest.mark.parametrize("case", FLOATS, ids=["fp16", "bf16", "fp32"])
@EXAMPLES
@given(**SIZES, accumulate=st.booleans(), seed=st.integers(0, 99))
def test_floats_are_multiplied_and_added_in_float32_in_order(shared_machine, case, m, k, n, accumulate, seed):
    """Products of 16-bit numbers are exact."""
    code, numbers, edge = case
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((up(m, 16), up(k, edge))).astype(numbers)
    b = generator.standard_normal((up(k, edge), up(n, 16))).astype(numbers)
    c = generator.standard_normal((up(m, 16), up(n, 16))).astype(np.float32)
    got = multiply(shared_machine, a, b, c, k, code, accumulate, edge)
    want = in_order(a[:, :k], b[:k], c if accumulate else np.zeros_like(c))
    assert np.array_equal(got.view(np.uint32), want.view(np.uint32))


@EXAMPLES
@given(**SIZES, accumulate=st.booleans(), seed=st.integers(0, 99))
def test_halves_may_accumulate_in_halves(shared_machine, m, k, n, accumulate, seed):
    """They are rounded once per instruction."""
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((up(m, 16), up(k, 16))).astype(np.float16)
    b = generator.standard_normal((up(k, 16), up(n, 16))).astype(np.float16)
    c = generator.standard_normal((up(m, 16), up(n, 16))).astype(np.float16)
    got = multiply(shared_machine, a, b, c, k, FP16, accumulate, 16, to_fp16=1)
    start = c.astype(np.float32) if accumulate else np.zeros(c.shape, np.float32)
    want = in_order(a[:, :k], b[:k], start).astype(np.float16)
    assert np.array_equal(got.view(np.uint16), want.view(np.uint16))


S8, U8, S4 = (-128, 127, np.int8), (0, 255, np.uint8), (-8, 7, ml_dtypes.int4)
INTEGERS = [(INT8, S8, S8, 32, 0), (UINT8, U8, U8, 32, 0), (UINT8, U8, S8, 32, 1), (INT4, S4, S4, 64, 0)]


@pytest.mark.parametrize("case", INTEGERS, ids=["s8s8", "u8u8", "u8s8", "s4s4"])
@EXAMPLES
@given(m=SIZES["m"], k=st.integers(1, 140), n=SIZES["n"], accumulate=st.booleans(), seed=st.integers(0, 99))
def test_integers_are_multiplied_to_32_bits(shared_machine, case, m, k, n, accumulate, seed):
    """Of either sign, and of both."""
    code, of_a, of_b, edge, b_int8 = case
    generator = np.random.default_rng(seed)
    whole_a = generator.integers(of_a[0], of_a[1] + 1, (up(m, 16), up(k, edge)))
    whole_b = generator.integers(of_b[0], of_b[1] + 1, (up(k, edge), up(n, 16)))
    c = generator.integers(0, 1000, (up(m, 16), up(n, 16))).astype(np.int32)
    a, b = whole_a.astype(np.int8).astype(of_a[2]), whole_b.astype(np.int8).astype(of_b[2])
    got = multiply(shared_machine, a, b, c, k, code, accumulate, edge, b_int8=b_int8)
    want = whole_a[:, :k] @ whole_b[:k] + (c if accumulate else 0)
    assert np.array_equal(got, want)


@pytest.mark.parametrize(
    ("code", "of", "start", "sign", "end"),
    [
        (INT8, np.int8, 2**31 - 5, 1, 2**31 - 1),
        (INT8, np.int8, -(2**31) + 5, -1, -(2**31)),
        (UINT8, np.uint8, 2**32 - 5, 1, 2**32 - 1),
        (UINT8, np.uint8, 2**31 - 5, 1, 2**31 + 11),
    ],
)
def test_integers_saturate(machine, code, of, start, sign, end):
    """int8 at the ends of int32, uint8 at that of uint32."""
    a, b = np.full((16, 32), 1, of), np.full((32, 16), sign, of)
    c = np.full((16, 16), start, np.int64).astype(np.uint32).view(np.int32)
    got = multiply(machine, a, b, c, 16, code, True, 32)
    assert (got.astype(np.int64) & 0xFFFFFFFF == end & 0xFFFFFFFF).all()


@pytest.mark.parametrize(("code", "numbers", "edge"), [*FLOATS, (INT8, np.int8, 32)])
def test_one_row_is_a_vector_that_lies_in_a_run(machine, code, numbers, edge):
    """With m = 1 the cube reads k numbers in a row and touches the first row of each fractal of c."""
    k, n = 2 * edge + 5, 40
    generator = np.random.default_rng(1)
    a = generator.integers(-4, 5, k).astype(numbers)
    b = generator.integers(-4, 5, (up(k, edge), up(n, 16))).astype(numbers)
    machine.view(Space.L0A)[: a.nbytes] = to_device(a)
    machine.view(Space.L0B)[: b.nbytes] = to_device(zn(b, edge))
    out = machine.view(Space.L0C, np.int32 if code == INT8 else np.float32)
    out[:] = 7
    given = {
        "c": machine.handle(Space.L0C), "a": machine.handle(Space.L0A), "b": machine.handle(Space.L0B),
        "m": 1, "k": k, "n": n, "accumulate": 1, "dtype": code,
    }  # fmt: skip
    machine.run(mmad, **given)
    want = a.astype(np.int64) @ b[:k].astype(np.int64) + 7
    got = out[: 3 * 256].reshape(3, 16, 16)
    assert np.array_equal(got[:, 0].reshape(-1), want)
    assert (got[:, 1:] == 7).all()
    touched = machine.touched(mmad, **given)
    c = given["c"]
    assert touched[WRITTEN] == {c + f * 1024 + byte for f in range(3) for byte in range(64)}
    assert {given["a"] + byte for byte in range(a.nbytes)} <= touched[READ]
    assert given["a"] + a.nbytes not in touched[READ]


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


def cycles(machine, chip, m, k, n, code=FP16):
    """Return how long a product holds the cube beyond its head."""
    words = machine.emit(
        mmad, c=machine.handle(Space.L0C), a=machine.handle(Space.L0A), b=machine.handle(Space.L0B),
        m=m, k=k, n=n, accumulate=0, dtype=code,
    )  # fmt: skip
    return int(count_cycles(words, costs_of(chip))[0]) - chip.mmad_head_cycles


@pytest.mark.parametrize(
    ("code", "k", "products"), [(FP16, 64, 4), (FP16, 65, 5), (INT8, 64, 2), (INT8, 65, 3), (UINT8, 65, 3)]
)
def test_a_product_takes_a_cycle_per_fractal_behind_a_head(machine, code, k, products):
    assert cycles(machine, CHIP, 64, k, 32, code) == 8 * products


@pytest.mark.parametrize(
    ("m", "k", "n", "conflicts"),
    [(48, 16, 48, 0), (48, 32, 48, 0), (48, 48, 48, 1), (48, 160, 32, 8), (32, 160, 48, 8), (32, 160, 32, 0)],
)
def test_odd_fractals_meet_conflicts_in_l0c_on_the_first_generation(machine, m, k, n, conflicts):
    """A cycle for each k fractal beyond two; none where the platform has no such conflict."""
    products = (m // 16) * (k // 16) * (n // 16)
    assert cycles(machine, CHIP, m, k, n) == products + conflicts
    later = CHIP.with_figures("later", mmad_l0c_conflict=assumed(0, "", "a what-if"))
    assert cycles(machine, later, m, k, n) == products


def test_fp32_takes_a_quarter_of_the_rate_of_halves_where_the_cube_takes_it(machine):
    """Fractals of 8 along k, two cycles each; a cube without fp32 counts one."""
    later = CHIP.with_figures(
        "later", cube_k_fp32=assumed(8, "", "a what-if"), cube_cycles_fp32=assumed(2, "cycles", "a what-if")
    )
    assert cycles(machine, later, 64, 64, 64, FP32) == 4 * cycles(machine, later, 64, 64, 64, FP16)
    assert cycles(machine, CHIP, 64, 64, 64, FP32) == 4 * 8 * 4
    assert cycles(machine, CHIP, 64, 64, 64, INT4) == 4 * 4


@pytest.mark.parametrize("code", [FP16, FP32, INT8, INT4])
@pytest.mark.parametrize("k", [16, 64, 70])
def test_what_is_read_ends_where_k_does(machine, code, k):
    """Of each row of a and column of b, the bytes of k numbers; c is written whole."""
    edge, bits = {FP16: (16, 16), FP32: (8, 32), INT8: (32, 8), INT4: (64, 4)}[code]
    base = {"c": machine.handle(Space.L0C), "a": machine.handle(Space.L0A), "b": machine.handle(Space.L0B)}
    touched = machine.touched(mmad, **base, m=40, k=k, n=20, accumulate=0, dtype=code)
    k_fractals = -(-k // edge)

    def reads(start, fractal_of, lines):
        """Return the bytes of k numbers in each line of 16-line fractals."""
        return {
            start + (fractal_of(line // 16, x // edge) * 16 + line % 16) * 32 + x % edge * bits // 8 + byte
            for line in range(lines)
            for x in range(k)
            for byte in range(max(1, bits // 8))
        }

    a = reads(base["a"], lambda m1, k1: m1 * k_fractals + k1, 48)
    b = reads(base["b"], lambda n1, k1: k1 * 2 + n1, 32)
    assert touched == {
        READ: a | b, WRITTEN: {base["c"] + byte for byte in range(6 * 1024)}, FORWARDED: set()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("m", "n", "kind"), [(48, 48, READ), (144, 16, READ), (160, 16, FORWARDED), (64, 64, FORWARDED)]
)
def test_accumulators_that_are_added_to_are_read(machine, m, n, kind):
    """From ten fractals on the cube orders the read itself."""
    c = machine.handle(Space.L0C)
    touched = machine.touched(
        mmad, c=c, a=machine.handle(Space.L0A), b=machine.handle(Space.L0B), m=m, k=16, n=n, accumulate=1
    )
    accumulators = {c + byte for byte in range(m * n * 4)}
    assert touched[WRITTEN] == accumulators
    assert accumulators <= touched[kind]
    assert not accumulators & touched[READ if kind == FORWARDED else FORWARDED]


def test_options_of_other_types_are_refused(machine, legal):
    """Only halves accumulate in halves, only uint8 has an int8 partner."""
    machine.emit(mmad, **{**legal(mmad.instruction), "dtype": INT8, "to_fp16": 1})
    assert machine.rule(mmad) == "to_fp16 = 1 takes dtype fp16; other types accumulate in 32 bits"
    machine.emit(mmad, **{**legal(mmad.instruction), "dtype": INT8, "b_int8": 1})
    assert machine.rule(mmad) == "b_int8 = 1 (an int8 b) goes with dtype uint8, that of a"
