"""Compare, select, reduce and transpose equal NumPy."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.isa import (
    INSTRUCTIONS,
    vcadd,
    vcgadd,
    vcgmax,
    vcgmin,
    vcmax,
    vcmin,
    vcpadd,
    vnchwconv,
    vsel,
    vsel_cmpmask,
    vsels,
)
from davinci_sim.memory.dtypes import DTYPES
from davinci_sim.memory.spaces import Space

TESTS = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt,
         "ge": operator.ge}  # fmt: skip
EXAMPLES = settings(max_examples=10)
SECOND, THIRD, FOURTH = 48 * 1024, 96 * 1024, 144 * 1024  # bytes: where operands begin
FLOATS = pytest.mark.parametrize("code", [0, 1], ids=["fp16", "fp32"])


def put(machine, byte, values):
    """Write numbers to UB."""
    machine.view(Space.UB, values.dtype)[byte // values.itemsize : byte // values.itemsize + values.size] = (
        values.reshape(-1)
    )


def get(machine, byte, count, dtype):
    """Read numbers from UB."""
    return machine.view(Space.UB, dtype)[byte // dtype.itemsize : byte // dtype.itemsize + count].copy()


def numbers(seed, shape, dtype):
    """Return small integers as floats, so that equal ones are common, with a NaN here and there."""
    generator = np.random.default_rng(seed)
    values = generator.integers(-3, 4, shape).astype(dtype)
    values[generator.random(shape) < 0.05] = np.nan
    return values


@pytest.mark.parametrize("test", TESTS)
@FLOATS
@EXAMPLES
@given(seed=st.integers(0, 99), repeat=st.integers(1, 40))
def test_a_comparison_writes_one_bit_per_lane(shared_machine, test, code, seed, repeat):
    dtype, lanes = DTYPES[code].numpy, 256 // DTYPES[code].itemsize_bytes
    a, b = numbers(seed, (2, repeat, lanes), dtype)
    put(shared_machine, 0, a)
    put(shared_machine, SECOND, b)
    shared_machine.run(
        INSTRUCTIONS[f"vcmpv_{test}"].emitter, dst=shared_machine.handle(Space.UB, THIRD),
        src0=shared_machine.handle(Space.UB), src1=shared_machine.handle(Space.UB, SECOND),
        repeat=repeat, dtype=code,
    )  # fmt: skip
    bits = get(shared_machine, THIRD, repeat * lanes // 8, np.dtype(np.uint8))
    assert np.array_equal(np.unpackbits(bits, bitorder="little").astype(bool), TESTS[test](a, b).reshape(-1))


@FLOATS
@EXAMPLES
@given(seed=st.integers(0, 99), repeat=st.integers(1, 40), mask=st.integers(1, 128), apart=st.booleans())
def test_a_selection_takes_the_first_where_the_bit_is_set(shared_machine, code, seed, repeat, mask, apart):
    """Also in place; lanes outside of the mask stay as they were."""
    dtype, lanes = DTYPES[code].numpy, 256 // DTYPES[code].itemsize_bytes
    a, b = numbers(seed, (2, repeat, lanes), dtype)
    bits = np.random.default_rng(seed).integers(0, 256, repeat * lanes // 8).astype(np.uint8)
    to = FOURTH if apart else 0
    before = numbers(seed + 1, (repeat, lanes), dtype) if apart else a
    for byte, values in ((FOURTH, before), (0, a), (SECOND, b), (THIRD, bits)):
        put(shared_machine, byte, values)
    shared_machine.run(
        vsel, dst=shared_machine.handle(Space.UB, to), src0=shared_machine.handle(Space.UB),
        src1=shared_machine.handle(Space.UB, SECOND), sel=shared_machine.handle(Space.UB, THIRD),
        repeat=repeat, dtype=code, mask=mask,
    )  # fmt: skip
    chosen = np.where(np.unpackbits(bits, bitorder="little").reshape(repeat, lanes), a, b)
    want = np.where(np.arange(lanes) < mask, chosen, before)
    np.testing.assert_array_equal(get(shared_machine, to, want.size, dtype).reshape(want.shape), want)


def tree(values):
    """Add neighbours, float32, until one is left; an odd one waits."""
    values = values.astype(np.float32)
    while len(values) > 1:
        pairs = values[: len(values) // 2 * 2].reshape(-1, 2).sum(axis=1, dtype=np.float32)
        values = np.concatenate([pairs, values[len(pairs) * 2 :]])
    return values[0]


@FLOATS
@EXAMPLES
@given(seed=st.integers(0, 99), repeat=st.integers(1, 40), mask=st.integers(1, 128), gap=st.integers(1, 5))
def test_a_sum_is_a_tree_of_float32_rounded_once(shared_machine, code, seed, repeat, mask, gap):
    dtype, lanes = DTYPES[code].numpy, 256 // DTYPES[code].itemsize_bytes
    values = np.random.default_rng(seed).standard_normal((repeat, lanes)).astype(dtype)
    put(shared_machine, 0, values)
    shared_machine.run(
        vcadd, dst=shared_machine.handle(Space.UB, SECOND), src=shared_machine.handle(Space.UB),
        repeat=repeat, dtype=code, mask=mask, dst_rep=gap,
    )  # fmt: skip
    want = [tree(row[: min(mask, lanes)]).astype(dtype) for row in values]
    assert get(shared_machine, SECOND, repeat * gap, dtype)[::gap].tolist() == want


GROUPED = [
    pytest.param(vcgmax, 16, np.max, id="vcgmax"),
    pytest.param(vcgmin, 16, np.min, id="vcgmin"),
    pytest.param(vcgadd, 16, tree, id="vcgadd"),
    pytest.param(vcpadd, 2, tree, id="vcpadd"),
]


@pytest.mark.parametrize(("emitter", "group", "combine"), GROUPED)
@EXAMPLES
@given(seed=st.integers(0, 99), repeat=st.integers(1, 40), mask=st.integers(1, 128), in_place=st.booleans())
def test_a_reduction_combines_the_masked_lanes_of_each_group(
    shared_machine, emitter, group, combine, seed, repeat, mask, in_place
):
    """Groups without a lane are left alone; the result may replace its source."""
    values = np.random.default_rng(seed).standard_normal((repeat, 128)).astype(np.float16)
    to = 0 if in_place else SECOND
    put(shared_machine, SECOND, np.zeros(repeat * 128, np.float16))
    put(shared_machine, 0, values)
    before = get(shared_machine, to, repeat * 128, values.dtype).reshape(repeat, 128)
    shared_machine.run(
        emitter, dst=shared_machine.handle(Space.UB, to), src=shared_machine.handle(Space.UB), repeat=repeat,
        mask=mask, dst_rep=128,
    )  # fmt: skip
    want = before.copy()
    for row in range(repeat):
        for index in range((mask + group - 1) // group):
            lanes = values[row, index * group : min((index + 1) * group, mask)]
            want[row, index] = np.float16(combine(lanes))
    np.testing.assert_array_equal(get(shared_machine, to, want.size, values.dtype).reshape(want.shape), want)


@EXAMPLES
@given(
    seed=st.integers(0, 99), repeat=st.integers(1, 8), dst_row=st.integers(1, 3), src_row=st.integers(0, 3)
)
def test_a_transpose_swaps_rows_and_lanes(shared_machine, seed, repeat, dst_row, src_row):
    """With a source row stride of 0 each lane of one block is spread over a whole row."""
    source = np.random.default_rng(seed).integers(0, 65536, (repeat * 16 * 3, 16)).astype(np.uint16)
    put(shared_machine, 0, source)
    shared_machine.run(
        vnchwconv, dst=shared_machine.handle(Space.UB, SECOND), src=shared_machine.handle(Space.UB),
        repeat=repeat, dtype=6, dst_row=dst_row, src_row=src_row, dst_rep=48, src_rep=33,
    )  # fmt: skip
    out = get(shared_machine, SECOND, repeat * 48 * 16, source.dtype).reshape(-1, 16)
    for index in range(repeat):
        rows = (
            source[index * 33 : index * 33 + 16 * src_row : src_row] if src_row else source[[index * 33] * 16]
        )
        assert np.array_equal(out[index * 48 : index * 48 + 16 * dst_row : dst_row], rows.T)


def test_a_transpose_may_replace_its_source(machine):
    source = np.arange(256, dtype=np.uint16).reshape(16, 16)
    put(machine, 0, source)
    machine.run(vnchwconv, dst=machine.handle(Space.UB), src=machine.handle(Space.UB), repeat=1, dtype=6)
    assert np.array_equal(get(machine, 0, 256, source.dtype).reshape(16, 16), source.T)


@FLOATS
@pytest.mark.parametrize(("emitter", "pick"), [(vcmax, np.argmax), (vcmin, np.argmin)], ids=["max", "min"])
@EXAMPLES
@given(seed=st.integers(0, 99), repeat=st.integers(1, 20), mask=st.integers(1, 128), gap=st.integers(1, 3))
def test_an_extreme_comes_with_the_first_lane_that_holds_it(
    shared_machine, code, emitter, pick, seed, repeat, mask, gap
):
    """Value and lane lie side by side; NumPy's argmax takes the first of equal ones, and a NaN."""
    dtype, lanes = DTYPES[code].numpy, 256 // DTYPES[code].itemsize_bytes
    values = np.random.default_rng(seed).integers(-9, 9, (repeat, lanes)).astype(dtype)
    values[0, lanes // 2] = np.nan
    put(shared_machine, 0, values)
    shared_machine.run(
        emitter, dst=shared_machine.handle(Space.UB, SECOND), src=shared_machine.handle(Space.UB),
        repeat=repeat, dtype=code, mask=mask, dst_rep=gap,
    )  # fmt: skip
    pairs = get(shared_machine, SECOND, repeat * gap * 2, dtype).reshape(repeat, gap, 2)[:, 0]
    want = pick(values[:, : min(mask, lanes)], axis=1)
    found = np.ascontiguousarray(pairs[:, 1]).view(np.uint16 if code == 0 else np.uint32)
    assert found.tolist() == want.tolist()
    np.testing.assert_array_equal(pairs[:, 0], values[np.arange(repeat), want])


@FLOATS
@pytest.mark.parametrize("test", TESTS)
def test_a_comparison_with_a_constant_equals_one_with_a_tensor_of_it(machine, code, test):
    dtype = DTYPES[code].numpy
    a = numbers(1, (3, 256 // dtype.itemsize), dtype)
    put(machine, 0, a)
    emitter = INSTRUCTIONS[f"vcmpvs_{test}"].emitter
    place = machine.handle(Space.UB, SECOND)
    machine.run(emitter, dst=place, src=machine.handle(Space.UB), repeat=3, dtype=code, value=1.0)
    bits = get(machine, SECOND, a.size // 8, np.dtype(np.uint8))
    want = TESTS[test](a, dtype.type(1)).reshape(-1)
    assert np.array_equal(np.unpackbits(bits, bitorder="little").astype(bool), want)


@FLOATS
@pytest.mark.parametrize("test", TESTS)
def test_a_selection_by_the_compare_mask_uses_the_same_bits_in_every_repeat(machine, code, test):
    """Vcmp writes 128 bits, zeros for lanes outside of its mask."""
    dtype, lanes = DTYPES[code].numpy, 256 // DTYPES[code].itemsize_bytes
    a, b = numbers(1, (2, 3, lanes), dtype)
    put(machine, 0, a)
    put(machine, SECOND, b)
    first, second, bits, out = (machine.handle(Space.UB, byte) for byte in (0, SECOND, THIRD, FOURTH))
    machine.run(
        INSTRUCTIONS[f"vcmp_{test}"].emitter, dst=bits, src0=first, src1=second, dtype=code, mask=lanes - 5
    )
    machine.run(vsel_cmpmask, dst=out, src0=first, src1=second, sel=bits, repeat=3, dtype=code)
    holds = TESTS[test](a[0], b[0]) & (np.arange(lanes) < lanes - 5)
    np.testing.assert_array_equal(get(machine, FOURTH, a.size, dtype).reshape(a.shape), np.where(holds, a, b))


@FLOATS
def test_a_selection_with_a_constant_takes_it_where_the_bit_is_not_set(machine, code):
    dtype, lanes = DTYPES[code].numpy, 256 // DTYPES[code].itemsize_bytes
    a = numbers(1, (3, lanes), dtype)
    bits = np.random.default_rng(1).integers(0, 256, 3 * lanes // 8).astype(np.uint8)
    put(machine, 0, a)
    put(machine, THIRD, bits)
    machine.run(
        vsels, dst=machine.handle(Space.UB, SECOND), src=machine.handle(Space.UB), repeat=3, dtype=code,
        sel=machine.handle(Space.UB, THIRD), value=-7.0,
    )  # fmt: skip
    chosen = np.unpackbits(bits, bitorder="little").reshape(3, lanes).astype(bool)
    got = get(machine, SECOND, a.size, dtype).reshape(a.shape)
    np.testing.assert_array_equal(got, np.where(chosen, a, dtype.type(-7)))


@pytest.mark.parametrize(("dst_half", "src_half"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_one_byte_rows_are_transposed_by_halves(machine, dst_half, src_half):
    """The other half of each destination row stays as it was."""
    source = np.random.default_rng(1).integers(0, 256, (16, 32)).astype(np.uint8)
    put(machine, 0, source)
    put(machine, SECOND, np.zeros((16, 32), np.uint8))
    machine.run(
        vnchwconv, dst=machine.handle(Space.UB, SECOND), src=machine.handle(Space.UB), repeat=1, dtype=4,
        dst_half=dst_half, src_half=src_half,
    )  # fmt: skip
    want = np.zeros((16, 32), np.uint8)
    want[:, dst_half * 16 :][:, :16] = source[:, src_half * 16 :][:, :16].T
    assert np.array_equal(get(machine, SECOND, 512, source.dtype).reshape(16, 32), want)
