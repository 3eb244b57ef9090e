"""Areas and overlaps of region proposals, and which of them a better one suppresses, equal NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.isa import FP16, rpn_cor, rpn_cor_diag, vaadd, vcmpv_gt, viou, vmergech, vmuls, vrpac
from davinci_sim.isa.region import READ, WRITTEN
from davinci_sim.memory.dtypes import DTYPES
from davinci_sim.memory.spaces import Space

EXAMPLES = settings(max_examples=10, deadline=None)
SECOND, THIRD, FOURTH = 48 * 1024, 96 * 1024, 144 * 1024  # bytes: where operands begin
SEEDS = st.integers(0, 999)
OFFSETS = st.sampled_from([0.0, 1.0])


def put(machine, byte, values):
    """Write numbers to UB."""
    flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    machine.view(Space.UB)[byte : byte + flat.size] = flat


def get(machine, byte, shape, dtype):
    """Read numbers from UB."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return machine.view(Space.UB)[byte : byte + size].view(dtype).reshape(shape).copy()


def boxes(seed, count):
    """Return proposals: corners and sizes of quarter pixels, the rest NaN, which nothing may read."""
    generator = np.random.default_rng(seed)
    found = np.full((count, 8), np.nan, np.float16)
    found[:, :2] = generator.integers(0, 100, (count, 2)) / 4
    found[:, 2:4] = found[:, :2] + (generator.integers(0, 60, (count, 2)) / 4).astype(np.float16)
    return found


def area_of(found, offset):
    """Return the areas in float32."""
    sides = found[:, 2:4].astype(np.float32) - found[:, :2].astype(np.float32) + np.float32(offset)
    return sides[:, 0] * sides[:, 1]


def overlap_of(left, right, offset):
    """Return what each of the left proposals has in common with each of the right, in float32."""
    a, b = left[:, None, :4].astype(np.float32), right[None, :, :4].astype(np.float32)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + np.float32(offset)
    sides = np.maximum(sides, 0)
    return sides[..., 0] * sides[..., 1]


@EXAMPLES
@given(seed=SEEDS, repeat=st.integers(1, 5), offset=OFFSETS)
def test_areas_are_products_of_sides(shared_machine, seed, repeat, offset):
    """In place, too: an area is written where the proposals before were."""
    machine, found = shared_machine, boxes(seed, 16 * repeat)
    for to in (SECOND, 0):
        put(machine, 0, found)
        machine.run(
            vrpac,
            dst=machine.handle(Space.UB, to),
            src=machine.handle(Space.UB),
            repeat=repeat,
            offset=offset,
        )
        got = get(machine, to, len(found), np.float16)
        assert np.array_equal(got, area_of(found, offset).astype(np.float16))


@EXAMPLES
@given(seed=SEEDS, repeat=st.integers(1, 5), offset=OFFSETS)
def test_overlaps_of_all_pairs(shared_machine, seed, repeat, offset):
    """A row for each proposal of the first operand; boxes apart have nothing in common."""
    machine, left, right = shared_machine, boxes(seed, 16 * repeat), boxes(seed + 1, 16)
    put(machine, 0, left)
    put(machine, SECOND, right)
    machine.run(
        viou, dst=machine.handle(Space.UB, THIRD), src0=machine.handle(Space.UB),
        src1=machine.handle(Space.UB, SECOND), repeat=repeat, offset=offset,
    )  # fmt: skip
    got = get(machine, THIRD, (16 * repeat, 16), np.float16)
    want = overlap_of(left, right, offset).astype(np.float16)
    assert (want == 0).any()
    assert np.array_equal(got, want)


@EXAMPLES
@given(seed=SEEDS, repeat=st.integers(1, 5))
def test_sums_of_all_pairs_of_areas(shared_machine, seed, repeat):
    """A row for each number of the first operand; it has 16 a repeat, the second one 16 in all."""
    machine, generator = shared_machine, np.random.default_rng(seed)
    left, right = ((generator.standard_normal(n) * 100).astype(np.float16) for n in (16 * repeat, 16))
    put(machine, 0, left)
    put(machine, SECOND, right)
    machine.run(
        vaadd, dst=machine.handle(Space.UB, THIRD), src0=machine.handle(Space.UB),
        src1=machine.handle(Space.UB, SECOND), repeat=repeat,
    )  # fmt: skip
    assert np.array_equal(get(machine, THIRD, (16 * repeat, 16), np.float16), left[:, None] + right)


def joined(rows):
    """Return the bits of all rows together."""
    return np.bitwise_or.reduce(rows, initial=0)


@EXAMPLES
@given(seed=SEEDS, repeat=st.integers(1, 5), steps=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_rows_of_kept_proposals_are_joined(shared_machine, seed, repeat, steps):
    """What the register held before stays in it."""
    machine, generator = shared_machine, np.random.default_rng(seed)
    matrix = (1 << generator.integers(0, 16, (16, 16))).astype(np.uint16)
    suppressed = generator.choice([0, 1, 7], (16, 16), p=[0.1, 0.8, 0.1]).astype(np.uint16)
    for byte, values in ((0, matrix), (SECOND, suppressed), (THIRD, np.array([256, 99], np.uint16))):
        put(machine, byte, values)
    machine.run(
        rpn_cor, ir=machine.handle(Space.UB, THIRD), src0=machine.handle(Space.UB),
        src1=machine.handle(Space.UB, SECOND), repeat=repeat, src0_rep=steps[0], src1_rep=steps[1],
    )  # fmt: skip
    want = 256
    for number in range(repeat):
        want |= joined(matrix[number * steps[0]][suppressed[number * steps[1]] == 0])
    assert get(machine, THIRD, 2, np.uint16).tolist() == [want, 99]


def walked(matrix, register):
    """Return which of 16 are suppressed, one after the other."""
    suppressed = [(register >> k) & 1 for k in range(16)]
    for j in range(16):
        for k in range(j + 1, 16):
            suppressed[k] |= 0 if suppressed[j] else (int(matrix[j]) >> k) & 1
    return suppressed


@EXAMPLES
@given(seed=SEEDS, register=st.integers(0, 65535))
def test_a_suppressed_proposal_suppresses_none(shared_machine, seed, register):
    """Nor does one suppress itself, or a better one."""
    machine, generator = shared_machine, np.random.default_rng(seed)
    matrix = (generator.integers(0, 65536, 16) & generator.integers(0, 65536, 16)).astype(np.uint16)
    put(machine, 0, matrix | (1 << np.arange(16)).astype(np.uint16))
    put(machine, SECOND, np.array([register], np.uint16))
    for to in (THIRD, 0):
        machine.run(
            rpn_cor_diag, dst=machine.handle(Space.UB, to), src=machine.handle(Space.UB),
            ir=machine.handle(Space.UB, SECOND),
        )  # fmt: skip
        assert get(machine, to, 16, np.uint16).tolist() == walked(matrix, register)
    assert get(machine, SECOND, 1, np.uint16) == register


def greedy(found, threshold):
    """Return which proposals are suppressed, best first: those that overlap a kept one too much."""
    common, areas = overlap_of(found, found, 1).astype(np.float16), area_of(found, 1).astype(np.float16)
    too_much = common > threshold * (areas[:, None] + areas[None, :])
    suppressed = np.zeros(len(found), bool)
    for j in range(len(found)):
        if not suppressed[j]:
            suppressed[j + 1 :] |= too_much[j, j + 1 :]
    return suppressed


@EXAMPLES
@given(seed=SEEDS, groups=st.integers(1, 4))
def test_the_parts_together_are_non_maximum_suppression(shared_machine, seed, groups):
    """As the open kernels use them: 16 new proposals at a time against all before, then among themselves."""
    machine, found = shared_machine, boxes(seed, 16 * groups)
    proposals, areas, common, sums, matrix, vector, register = (
        machine.handle(Space.UB, byte) for byte in range(0, 7 * 16384, 16384)
    )
    threshold = np.float16(0.25)
    put(machine, 0, found)
    put(machine, 5 * 16384, np.ones(16 * groups, np.uint16))
    machine.run(vrpac, dst=areas, src=proposals, repeat=groups)
    for group in range(groups):
        machine.run(viou, dst=common, src0=proposals, src1=proposals + 256 * group, repeat=group + 1)
        machine.run(vaadd, dst=sums, src0=areas, src1=areas + 32 * group, repeat=group + 1)
        machine.run(vmuls, dst=sums, src=sums, repeat=2 * (group + 1), value=float(threshold), dtype=FP16)
        machine.run(vcmpv_gt, dst=matrix, src0=common, src1=sums, repeat=2 * (group + 1), dtype=FP16)
        put(machine, 6 * 16384, np.zeros(1, np.uint16))
        if group > 0:
            machine.run(rpn_cor, ir=register, src0=matrix, src1=vector, repeat=group)
        machine.run(rpn_cor_diag, dst=vector + 32 * group, src=matrix + 32 * group, ir=register)
    got = get(machine, 5 * 16384, 16 * groups, np.uint16)
    assert got.tolist() == greedy(found, threshold).astype(int).tolist()


@pytest.mark.parametrize("code", vmergech.instruction.dtypes)
@EXAMPLES
@given(repeat=st.integers(1, 5))
def test_four_elements_of_each_block_are_kept(shared_machine, code, repeat):
    """In place, too."""
    machine, dtype = shared_machine, DTYPES[code].numpy
    lanes = 32 // DTYPES[code].itemsize_bytes
    source = np.random.default_rng(repeat).integers(0, 100, (8 * repeat, lanes)).astype(dtype)
    for to in (SECOND, 0):
        put(machine, 0, source)
        machine.run(
            vmergech,
            dst=machine.handle(Space.UB, to),
            src=machine.handle(Space.UB),
            repeat=repeat,
            dtype=code,
        )
        assert np.array_equal(get(machine, to, (8 * repeat, 4), dtype), source[:, :4])


def span(handle, size):
    """Return the addresses of a range."""
    return set(range(handle, handle + size))


def test_only_the_corners_of_proposals_are_read(machine):
    """So that proposals of which a kernel has written no more count as written."""
    dst, src, other = (machine.handle(Space.UB, byte) for byte in (0, SECOND, THIRD))
    corners = {src + 16 * p + byte for p in range(32) for byte in range(8)}
    touched = machine.touched(vrpac, dst=dst, src=src, repeat=2)
    assert touched[WRITTEN] == span(dst, 64)
    assert touched[READ] == corners
    touched = machine.touched(viou, dst=dst, src0=src, src1=other, repeat=2)
    assert touched[WRITTEN] == span(dst, 32 * 32)
    assert touched[READ] == corners | {other + 16 * p + byte for p in range(16) for byte in range(8)}


def test_all_numbers_that_are_added_are_read(machine):
    dst, src, other = (machine.handle(Space.UB, byte) for byte in (0, SECOND, THIRD))
    touched = machine.touched(vaadd, dst=dst, src0=src, src1=other, repeat=2)
    assert (touched[WRITTEN], touched[READ]) == (span(dst, 1024), span(src, 64) | span(other, 32))


def test_the_suppression_register_is_written_and_read(machine):
    register, matrix, vector = (machine.handle(Space.UB, byte) for byte in (0, SECOND, THIRD))
    touched = machine.touched(rpn_cor, ir=register, src0=matrix, src1=vector, repeat=3, src0_rep=2)
    assert touched[WRITTEN] == span(register, 2)
    rows = span(matrix, 32) | span(matrix + 64, 32) | span(matrix + 128, 32)
    assert touched[READ] == span(register, 2) | rows | span(vector, 96)
    touched = machine.touched(rpn_cor_diag, dst=vector, src=matrix, ir=register)
    assert touched[WRITTEN] == span(vector, 32)
    assert touched[READ] == span(matrix, 32) | span(register, 2)


def test_what_is_left_out_of_a_block_is_not_read(machine):
    dst, src = machine.handle(Space.UB), machine.handle(Space.UB, SECOND)
    touched = machine.touched(vmergech, dst=dst, src=src, repeat=2, dtype=FP16)
    assert touched[WRITTEN] == span(dst, 128)
    assert touched[READ] == {src + 32 * block + byte for block in range(16) for byte in range(8)}
