"""The scatter forms that compare, select and convert find each block at its own address, and equal NumPy."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.isa import (
    FP16,
    FP32,
    INSTRUCTIONS,
    INT8,
    INT16,
    INT32,
    UINT8,
    scatter_vcmp_lt,
    scatter_vconv,
    scatter_vmulconv,
    scatter_vsel,
)
from davinci_sim.isa.region import READ, WRITTEN
from davinci_sim.memory.dtypes import DTYPES
from davinci_sim.memory.spaces import Space

EXAMPLES = settings(max_examples=10, deadline=None)
SEEDS = st.integers(0, 999)
BLOCKS, REPEATS = 400, 4  # blocks of data at the begin of UB; of four in a row, each repeat takes the next
LISTS, REGISTER = 128 * 1024, 130 * 1024  # bytes
WIDTHS = pytest.mark.parametrize("code", [FP16, FP32], ids=["fp16", "fp32"])


def put(machine, byte, values):
    """Write numbers to UB."""
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    machine.view(Space.UB)[byte : byte + flat.size] = flat


def data(machine):
    """Return a copy of the blocks, as bytes."""
    return machine.view(Space.UB)[: BLOCKS * 32].reshape(BLOCKS, 32).copy()


def fill(machine, generator, code):
    """Fill the blocks with small numbers of a type, many of them equal."""
    dtype = DTYPES[code].numpy
    size = BLOCKS * 32 // np.dtype(dtype).itemsize
    low = 0 if np.issubdtype(dtype, np.unsignedinteger) else -20
    put(machine, 0, (generator.integers(low, 20, size) * (1 if low == 0 else 1.25)).astype(dtype))


def lists(machine, generator, count):
    """Write lists of block numbers, no block twice; return them as [count, 8] and their handles."""
    numbers = generator.permutation(BLOCKS // REPEATS)[: 8 * count].reshape(count, 8) * REPEATS
    put(machine, LISTS, np.pad(numbers, ((0, 0), (0, 8))).astype(np.uint16))
    return numbers, [machine.handle(Space.UB, LISTS + 32 * number) for number in range(count)]


@pytest.mark.parametrize("test", ["eq", "ne", "lt", "le", "gt", "ge"])
@WIDTHS
@EXAMPLES
@given(seed=SEEDS, mask=st.integers(0, 128))
def test_a_comparison_writes_one_bit_a_lane(shared_machine, test, code, seed, mask):
    """Lanes outside of the mask give 0."""
    machine, generator = shared_machine, np.random.default_rng(seed)
    fill(machine, generator, code)
    (left, right), (src0, src1) = lists(machine, generator, 2)
    put(machine, REGISTER, np.full(32, 255, np.uint8))
    machine.run(
        INSTRUCTIONS[f"scatter_vcmp_{test}"].emitter, dst=machine.handle(Space.UB, REGISTER), src0=src0,
        src1=src1, mask=mask, dtype=code,
    )  # fmt: skip
    values = data(machine).view(DTYPES[code].numpy)
    holds = getattr(operator, test)(values[left], values[right]).reshape(-1)
    holds = np.pad(holds & (np.arange(holds.size) < mask), (0, 128 - holds.size))
    got = machine.view(Space.UB)[REGISTER : REGISTER + 17]
    assert got.tolist() == [*np.packbits(holds, bitorder="little").tolist(), 255]


@WIDTHS
@EXAMPLES
@given(seed=SEEDS, mask=st.integers(0, 128))
def test_a_selection_takes_the_bits_in_the_order_of_the_lists(shared_machine, code, seed, mask):
    machine, generator = shared_machine, np.random.default_rng(seed)
    fill(machine, generator, code)
    (to, left, right), (dst, src0, src1) = lists(machine, generator, 3)
    bits = generator.integers(0, 256, 16).astype(np.uint8)
    put(machine, REGISTER, bits)
    want = data(machine).view(DTYPES[code].numpy)
    machine.run(
        scatter_vsel, dst=dst, sel=machine.handle(Space.UB, REGISTER), src0=src0, src1=src1, mask=mask,
        dtype=code,
    )  # fmt: skip
    shape = (8, want.shape[1])
    is_left = np.unpackbits(bits, bitorder="little")[: np.prod(shape)].reshape(shape).astype(bool)
    written = (np.arange(np.prod(shape)) < mask).reshape(shape)
    want[to] = np.where(written, np.where(is_left, want[left], want[right]), want[to])
    assert np.array_equal(data(machine), want.view(np.uint8))


def halves(values, lanes, half):
    """Return a view of the lanes that take part of each block: all, or one half."""
    first = half * lanes if values.shape[1] > lanes else 0
    return values[:, first : first + lanes]


def as_type(values, dtype):
    """Convert: integers to nearest even and saturated."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max).astype(dtype)
    return values.astype(dtype)


PAIRS = [(FP32, FP16), (FP16, FP32), (FP16, INT8), (FP16, UINT8), (INT8, FP16), (FP32, INT32), (INT16, FP16)]


@pytest.mark.parametrize(("source", "target"), [*PAIRS, (FP16, INT32)])
@EXAMPLES
@given(seed=SEEDS, repeat=st.integers(1, REPEATS), mask=st.integers(1, 128), half=st.integers(0, 1))
def test_a_conversion_takes_half_blocks_of_the_narrower_type(
    shared_machine, source, target, seed, repeat, mask, half
):
    machine, generator = shared_machine, np.random.default_rng(seed)
    fill(machine, generator, source)
    (to, start), (dst, src) = lists(machine, generator, 2)
    want = data(machine)
    machine.run(
        scatter_vconv, dst=dst, src=src, to=target, repeat=repeat, dtype=source, dst_rep=1, src_rep=1,
        mask=mask, half=half,
    )  # fmt: skip
    lanes = 32 // max(DTYPES[source].itemsize_bytes, DTYPES[target].itemsize_bytes)
    written = (np.arange(8 * lanes) < mask).reshape(8, lanes)
    inputs = halves(want.view(DTYPES[source].numpy), lanes, half)
    outputs = halves(want.view(DTYPES[target].numpy), lanes, half)
    for moved in range(repeat):
        results = as_type(inputs[start + moved], DTYPES[target].numpy)
        outputs[to + moved] = np.where(written, results, outputs[to + moved])
    assert np.array_equal(data(machine), want)


def test_accumulators_are_scaled_and_fp32_rounded_to_odd(machine):
    """The conversions `deq` and `f322f16o` of the lists."""
    (to, start), (dst, src) = lists(machine, np.random.default_rng(1), 2)
    put(machine, 0, np.arange(BLOCKS * 8, dtype=np.int32) * 7)
    sums = data(machine).view(np.int32)[start]
    machine.run(scatter_vconv, dst=dst, src=src, to=FP16, repeat=1, dtype=INT32, scale=0.5, half=1)
    assert np.array_equal(
        data(machine).view(np.float16)[to, 8:], (sums.astype(np.float32) * np.float32(0.5)).astype(np.float16)
    )
    put(machine, 0, np.full(BLOCKS * 8, 1 + 2**-20, np.float32))
    machine.run(scatter_vconv, dst=dst, src=src, to=FP16, repeat=1, dtype=FP32, rounding=6)
    assert (data(machine).view(np.float16)[to, :8] == np.float16(1 + 2**-10)).all()


@pytest.mark.parametrize(("source", "target"), [(FP32, INT8), (INT8, FP32), (INT32, UINT8)])
def test_a_conversion_by_four_widths_is_refused(machine, source, target):
    place = machine.handle(Space.UB)
    machine.emit(scatter_vconv, dst=place, src=place, to=target, repeat=1, dtype=source)
    assert "twice as wide" in machine.rule(scatter_vconv)


@pytest.mark.parametrize("target", [INT8, UINT8])
@EXAMPLES
@given(seed=SEEDS, repeat=st.integers(1, REPEATS), mask=st.integers(1, 128), half=st.integers(0, 1))
def test_a_product_fills_half_a_block_of_small_integers(shared_machine, target, seed, repeat, mask, half):
    machine, generator = shared_machine, np.random.default_rng(seed)
    fill(machine, generator, FP16)
    (to, left, right), (dst, src0, src1) = lists(machine, generator, 3)
    want = data(machine)
    machine.run(
        scatter_vmulconv, dst=dst, src0=src0, src1=src1, to=target, repeat=repeat, dst_rep=1, src0_rep=1,
        src1_rep=1, mask=mask, half=half,
    )  # fmt: skip
    written = (np.arange(128) < mask).reshape(8, 16)
    inputs, outputs = want.view(np.float16), halves(want.view(DTYPES[target].numpy), 16, half)
    for moved in range(repeat):
        a, b = (inputs[numbers + moved].astype(np.float32) for numbers in (left, right))
        results = as_type(a * b, DTYPES[target].numpy)
        outputs[to + moved] = np.where(written, results, outputs[to + moved])
    assert np.array_equal(data(machine), want)


def test_blocks_behind_the_end_of_ub_are_left_out(machine):
    """They move nothing, and their bits are 0."""
    put(machine, LISTS, np.full(16, 65535, np.uint16))
    place, register = machine.handle(Space.UB, LISTS), machine.handle(Space.UB, REGISTER)
    before = machine.memory.local.copy()
    machine.run(scatter_vsel, dst=place, sel=register, src0=place, src1=place, dtype=FP16)
    machine.run(scatter_vconv, dst=place, src=place, to=FP16, repeat=2, dtype=FP32)
    machine.run(scatter_vmulconv, dst=place, src0=place, src1=place, to=INT8, repeat=2)
    assert np.array_equal(machine.memory.local, before)
    put(machine, REGISTER, np.full(16, 255, np.uint8))
    machine.run(scatter_vcmp_lt, dst=register, src0=place, src1=place, dtype=FP16)
    assert not machine.view(Space.UB)[REGISTER : REGISTER + 16].any()


def test_lists_and_registers_are_what_the_checks_see(machine):
    a, b, c, register = (machine.handle(Space.UB, byte) for byte in (0, 1024, 2048, 4096))
    list_of = {place: set(range(place, place + 16)) for place in (a, b, c)}
    touched = machine.touched(scatter_vcmp_lt, dst=register, src0=a, src1=b, dtype=FP16)
    assert (touched[WRITTEN], touched[READ]) == (set(range(register, register + 16)), list_of[a] | list_of[b])
    touched = machine.touched(scatter_vsel, dst=a, sel=register, src0=b, src1=c, mask=20, dtype=FP16)
    bits = {register, register + 1, register + 2}
    assert (touched[WRITTEN], touched[READ]) == (set(), list_of[a] | list_of[b] | list_of[c] | bits)
    touched = machine.touched(scatter_vconv, dst=a, src=b, to=FP16, repeat=2, dtype=FP32)
    assert (touched[WRITTEN], touched[READ]) == (set(), list_of[a] | list_of[b])
    touched = machine.touched(scatter_vmulconv, dst=a, src0=b, src1=c, to=INT8, repeat=2)
    assert (touched[WRITTEN], touched[READ]) == (set(), list_of[a] | list_of[b] | list_of[c])
