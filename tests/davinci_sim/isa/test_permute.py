"""Instructions that move elements between lanes: transpose, broadcast, gather, scatter, filter, sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.isa import (
    INSTRUCTIONS,
    scatter_vadd,
    scatter_vaxpy,
    scatter_vector_mov,
    scatter_vnchwconv,
    vbitsort,
    vbrcb,
    vconcat,
    vextract,
    vgather,
    vgatherb,
    vmrgsort4,
    vreduce,
    vreduce_fixed,
    vscatter,
    vtranspose,
)
from davinci_sim.memory.dtypes import DTYPES
from davinci_sim.memory.spaces import Space

EXAMPLES = settings(max_examples=10)
SECOND, THIRD, FOURTH = 48 * 1024, 96 * 1024, 144 * 1024  # bytes: where operands begin
WIDTHS = pytest.mark.parametrize("code", [6, 1], ids=["uint16", "fp32"])


def put(machine, byte, values):
    """Write numbers to UB."""
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    machine.view(Space.UB)[byte : byte + flat.size] = flat


def get(machine, byte, count, dtype):
    """Read numbers from UB."""
    size = np.dtype(dtype).itemsize
    return machine.view(Space.UB)[byte : byte + count * size].view(dtype).copy()


def places(machine, *bytes_):
    """Return the handles of some bytes of UB."""
    return [machine.handle(Space.UB, byte) for byte in bytes_]


def counted(count, code):
    """Return different numbers of a type."""
    return np.random.default_rng(count).permutation(count).astype(DTYPES[code].numpy)


def test_one_matrix_is_transposed_in_place(machine):
    source = counted(256, 6)
    put(machine, 0, source)
    machine.run(vtranspose, dst=machine.handle(Space.UB), src=machine.handle(Space.UB), dtype=6)
    assert np.array_equal(get(machine, 0, 256, np.uint16).reshape(16, 16), source.reshape(16, 16).T)


@WIDTHS
def test_each_element_fills_a_block(machine, code):
    """Two repeats with gaps between the blocks."""
    source, lanes = counted(16, code), 32 // DTYPES[code].itemsize_bytes
    put(machine, 0, source)
    put(machine, SECOND, np.zeros(4096, source.dtype))
    src, dst = places(machine, 0, SECOND)
    machine.run(vbrcb, dst=dst, src=src, repeat=2, dtype=code, dst_blk=2, dst_rep=20)
    blocks = get(machine, SECOND, 40 * lanes, source.dtype).reshape(2, 20, lanes)
    assert np.array_equal(blocks[:, 0:16:2], np.repeat(source.reshape(2, 8, 1), lanes, axis=2))
    assert not blocks[:, 1:16:2].any()


@WIDTHS
@EXAMPLES
@given(seed=st.integers(0, 99), repeat=st.integers(1, 5), mask=st.integers(1, 128))
def test_a_gather_takes_the_element_at_each_offset(shared_machine, code, seed, repeat, mask):
    """Lanes outside of the mask stay; an offset behind the end of UB moves nothing."""
    dtype, lanes = DTYPES[code].numpy, 256 // DTYPES[code].itemsize_bytes
    source = counted(2048, code)
    index = np.random.default_rng(seed).integers(0, 2048, (repeat, lanes))
    offsets = (index * dtype.itemsize).astype(np.uint32)
    offsets[0, 0] = 2**32 - 32
    for byte, values in ((0, source), (SECOND, offsets), (THIRD, np.zeros((repeat, lanes), dtype))):
        put(shared_machine, byte, values)
    src, there, dst = places(shared_machine, 0, SECOND, THIRD)
    shared_machine.run(vgather, dst=dst, src=src, offsets=there, repeat=repeat, dtype=code, mask=mask)
    want = np.where(np.arange(lanes) < mask, source[index], 0)
    want[0, 0] = 0
    assert np.array_equal(get(shared_machine, THIRD, want.size, dtype).reshape(want.shape), want)


@WIDTHS
def test_a_scatter_puts_each_element_at_its_offset(machine, code):
    dtype, lanes = DTYPES[code].numpy, 256 // DTYPES[code].itemsize_bytes
    source, index = counted(2 * lanes, code), np.random.default_rng(1).permutation(1024)[: 2 * lanes]
    for byte, values in ((0, source), (SECOND, (index * dtype.itemsize).astype(np.uint32))):
        put(machine, byte, values)
    put(machine, THIRD, np.zeros(1024, dtype))
    src, there, dst = places(machine, 0, SECOND, THIRD)
    machine.run(vscatter, dst=dst, src=src, offsets=there, repeat=2, dtype=code)
    want = np.zeros(1024, dtype)
    want[index] = source
    assert np.array_equal(get(machine, THIRD, 1024, dtype), want)


def test_a_gather_of_blocks_takes_32_bytes_at_each_offset(machine):
    source, index = counted(1024, 6).reshape(64, 16), np.random.default_rng(1).integers(0, 64, 16)
    put(machine, 0, source)
    put(machine, SECOND, (index * 32).astype(np.uint32))
    src, there, dst = places(machine, 0, SECOND, THIRD)
    machine.run(vgatherb, dst=dst, src=src, offsets=there, repeat=2, dtype=6)
    assert np.array_equal(get(machine, THIRD, 256, np.uint16).reshape(16, 16), source[index])


@WIDTHS
@pytest.mark.parametrize("pattern", range(1, 8))
def test_a_fixed_pattern_keeps_every_second_or_fourth_lane(machine, code, pattern):
    source = counted(3 * 256 // DTYPES[code].itemsize_bytes, code)
    put(machine, 0, source)
    src, dst = places(machine, 0, SECOND)
    machine.run(vreduce_fixed, dst=dst, src=src, pattern=pattern, repeat=3, dtype=code)
    first, step = {1: (0, 2), 2: (1, 2), 7: (0, 1)}.get(pattern, (pattern - 3, 4))
    want = source[first::step]
    assert np.array_equal(get(machine, SECOND, want.size, source.dtype), want)


@WIDTHS
def test_a_filter_keeps_the_elements_whose_bit_is_set(machine, code):
    source = counted(3 * 256 // DTYPES[code].itemsize_bytes, code)
    bits = np.random.default_rng(1).integers(0, 256, source.size // 8).astype(np.uint8)
    put(machine, 0, source)
    put(machine, THIRD, bits)
    src, dst, there = places(machine, 0, SECOND, THIRD)
    machine.run(vreduce, dst=dst, src=src, bits=there, repeat=3, dtype=code)
    want = source[np.unpackbits(bits, bitorder="little").astype(bool)]
    assert np.array_equal(get(machine, SECOND, want.size, source.dtype), want)


def proposals(seed, count):
    """Return proposals[count, 8] fp16 with few different scores."""
    generator = np.random.default_rng(seed)
    found = generator.standard_normal((count, 8)).astype(np.float16)
    found[:, 4] = generator.integers(0, 9, count)
    return found


def by_score(found):
    """Sort proposals by falling score, the earlier first."""
    return found[np.argsort(-found[:, 4], kind="stable")]


def test_proposals_are_built_and_taken_apart_field_by_field(machine):
    fields = np.random.default_rng(1).standard_normal((6, 32)).astype(np.float16)
    put(machine, SECOND, np.zeros((32, 8), np.float16))
    for field in range(6):
        put(machine, 0, fields[field])
        src, there, back = places(machine, 0, SECOND, THIRD)
        machine.run(vconcat, dst=there, src=src, field=field, repeat=2)
        machine.run(vextract, dst=back, src=there, field=field, repeat=2)
        assert np.array_equal(get(machine, THIRD, 32, np.float16), fields[field])
    built = get(machine, SECOND, 256, np.float16).reshape(32, 8)
    assert np.array_equal(built[:, :6], fields.T)


def test_each_sixteen_proposals_are_sorted_by_score(machine):
    """In place, too; of equal scores the earlier comes first."""
    found = proposals(1, 48)
    put(machine, 0, found)
    there = machine.handle(Space.UB)
    machine.run(vbitsort, dst=there, src=there, repeat=3)
    want = np.concatenate([by_score(found[start : start + 16]) for start in (0, 16, 32)])
    assert np.array_equal(get(machine, 0, 48 * 8, np.float16).reshape(48, 8), want)


@EXAMPLES
@given(lengths=st.lists(st.integers(0, 40), min_size=4, max_size=4).filter(lambda n: n[0] > 0))
def test_four_sorted_lists_are_merged_to_one(shared_machine, lengths):
    """A list of length 0 is left out; of equal scores that of the earlier list comes first."""
    lists = [by_score(proposals(seed, length)) for seed, length in enumerate(lengths)]
    given_ = {}
    for number, found in enumerate(lists):
        put(shared_machine, number * 8192, found)
        given_ |= {
            f"src{number}": shared_machine.handle(Space.UB, number * 8192),
            f"len{number}": lengths[number],
        }
    shared_machine.run(vmrgsort4, dst=shared_machine.handle(Space.UB, FOURTH), **given_)
    want = by_score(np.concatenate(lists))
    assert np.array_equal(get(shared_machine, FOURTH, want.size, np.float16).reshape(want.shape), want)


def lists_of(machine, seed, *bytes_):
    """Write a list of eight block numbers to each place; return them as [list, 8]."""
    numbers = np.random.default_rng(seed).permutation(400)[: 8 * len(bytes_)].reshape(len(bytes_), 8)
    for byte, row in zip(bytes_, numbers, strict=True):
        put(machine, byte, row.astype(np.uint16))
    return numbers


@pytest.mark.parametrize("code", [0, 1, 2], ids=["fp16", "fp32", "int32"])
def test_the_scatter_form_finds_each_block_at_its_own_address(machine, code):
    """Two repeats, the second one 400 blocks on; the mask counts lanes in the order of the list."""
    dtype, lanes = DTYPES[code].numpy, 32 // DTYPES[code].itemsize_bytes
    before = np.random.default_rng(5).integers(-50, 50, (800, lanes)).astype(dtype)
    put(machine, 0, before)
    to, left, right = lists_of(machine, 1, FOURTH, FOURTH + 32, FOURTH + 64)
    dst, src0, src1 = places(machine, FOURTH, FOURTH + 32, FOURTH + 64)
    machine.run(
        scatter_vadd, dst=dst, src0=src0, src1=src1, repeat=2, dtype=code, mask=5 * lanes + 3, dst_rep=200,
        src0_rep=200, src1_rep=200,
    )  # fmt: skip
    want = before.copy()
    written = (np.arange(8 * lanes) < 5 * lanes + 3).reshape(8, lanes)
    for moved in (0, 200):
        total = want[left + moved] + want[right + moved]
        want[to + moved] = np.where(written, total, want[to + moved])
    assert np.array_equal(get(machine, 0, want.size, dtype).reshape(want.shape), want)


def test_the_scatter_form_with_a_constant_adds_to_its_destination(machine):
    before = np.random.default_rng(5).standard_normal((400, 8)).astype(np.float32)
    put(machine, 0, before)
    to, source = lists_of(machine, 1, FOURTH, FOURTH + 32)
    dst, src = places(machine, FOURTH, FOURTH + 32)
    machine.run(scatter_vaxpy, dst=dst, src=src, repeat=1, dtype=1, value=3.0)
    want = before.copy()
    want[to] = before[to] + before[source] * np.float32(3)
    assert np.array_equal(get(machine, 0, want.size, np.float32).reshape(want.shape), want)


def test_a_block_number_behind_the_end_of_ub_moves_nothing(machine):
    put(machine, FOURTH, np.full(8, 65535, np.uint16))
    put(machine, FOURTH + 32, np.arange(8, dtype=np.uint16))
    before = machine.memory.local.copy()
    dst, src = places(machine, FOURTH, FOURTH + 32)
    machine.run(scatter_vector_mov, dst=dst, src=src, repeat=3, dtype=6)
    assert np.array_equal(machine.memory.local, before)


def test_a_transpose_takes_each_row_from_its_own_address(machine):
    source = counted(16 * 400, 6).reshape(400, 16)
    put(machine, 0, source)
    rows = np.random.default_rng(1).permutation(400)[:16]
    put(machine, FOURTH, rows.astype(np.uint16))
    put(machine, FOURTH + 32, np.arange(500, 516, dtype=np.uint16))
    src, dst = places(machine, FOURTH, FOURTH + 32)
    machine.run(scatter_vnchwconv, dst=dst, src=src, repeat=1, dtype=6)
    assert np.array_equal(get(machine, 500 * 32, 256, np.uint16).reshape(16, 16), source[rows].T)


def test_every_scatter_form_has_a_plain_one():
    """But for the move of blocks, which is vcopy's, and that of rows to device memory."""
    forms = {name.removeprefix("scatter_") for name in INSTRUCTIONS if name.startswith("scatter_")}
    assert forms - {"vector_mov", "rows"} <= INSTRUCTIONS.keys()
