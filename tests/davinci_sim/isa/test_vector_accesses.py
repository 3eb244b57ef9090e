"""The bytes that a lane-wise instruction says it touches are those that it touches: no more, no less."""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.isa import FP16, FP32, INSTRUCTIONS, INT8, vadd, vcadd, vcmpv_eq, vconv, vector_dup, vsel
from davinci_sim.isa.region import READ, WRITTEN
from davinci_sim.isa.state import ADDRESS_MASK
from davinci_sim.memory.spaces import Space

EXAMPLES = settings(max_examples=40, deadline=None)
STRIDES = st.sampled_from([0, 1, 1, 2, 5])
STEPS = st.sampled_from([0, 1, 8, 8, 9])


@cache
def regions_function(accesses, takes_variant):
    """Return a function that Python can call; what the declarations hold only compiled code can."""
    if takes_variant:
        return numba.njit(lambda i, variant: accesses(i, variant))  # noqa: PLW0108 - a way in for Python
    return numba.njit(lambda i, variant: accesses(i))


def bytes_of(declared, words, how):
    """Return the set of addresses in regions of one kind."""
    takes_variant = declared.accesses.py_func.__code__.co_argcount > 1
    regions = regions_function(declared.accesses, takes_variant)(declared.decode(words, 0), declared.variant)
    found = set()
    for box in regions:
        if box.written == how:
            start = np.arange(box.outer)[:, None, None] * box.outer_stride_bytes
            start = start + np.arange(box.inner)[:, None] * box.inner_stride_bytes + np.arange(box.run_bytes)
            found |= set((start + (box.handle & ADDRESS_MASK)).reshape(-1).tolist())
    return found


def lanes_bytes(place, blk, rep, repeat, lanes, size):
    """Return the addresses of the first lanes of every repeat."""
    lane = np.arange(lanes * size)
    one = place + lane // 32 * blk * 32 + lane % 32
    return set((one + np.arange(repeat)[:, None] * rep * 32).reshape(-1).tolist())


@pytest.mark.parametrize("name", ["vadd", "vmla", "vmax"])
@EXAMPLES
@given(
    mask=st.integers(0, 64), repeat=st.integers(1, 9), blk=STRIDES, rep=STEPS, src_blk=STRIDES, src_rep=STEPS
)
def test_two_sources(shared_machine, name, mask, repeat, blk, rep, src_blk, src_rep):
    """Vmla also reads what it adds to."""
    machine, declared = shared_machine, INSTRUCTIONS[name]
    words = machine.emit(
        declared.emitter, dst=machine.handle(Space.UB), src0=machine.handle(Space.UB, 65536),
        src1=machine.handle(Space.UB, 131072), repeat=repeat, mask=mask, dtype=FP32, dst_blk=blk, dst_rep=rep,
        src0_blk=src_blk, src0_rep=src_rep,
    )  # fmt: skip
    dst = lanes_bytes(0, blk, rep, repeat, mask, 4)
    left = lanes_bytes(65536, src_blk, src_rep, repeat, mask, 4)
    right = lanes_bytes(131072, 1, 8, repeat, mask, 4)
    assert bytes_of(declared, words, WRITTEN) == dst
    assert bytes_of(declared, words, READ) == left | right | (dst if name == "vmla" else set())


@pytest.mark.parametrize(("source", "to"), [(FP16, FP32), (FP32, FP16), (FP16, INT8)])
@EXAMPLES
@given(mask=st.integers(0, 128), repeat=st.integers(1, 9), blk=STRIDES, rep=STEPS)
def test_a_conversion_of_widths(shared_machine, source, to, mask, repeat, blk, rep):
    machine, sizes = shared_machine, {FP16: 2, FP32: 4, INT8: 1}
    words = machine.emit(
        vconv, dst=machine.handle(Space.UB), src=machine.handle(Space.UB, 65536), to=to, repeat=repeat,
        mask=mask, dtype=source, dst_blk=blk, dst_rep=rep,
    )  # fmt: skip
    lanes = min(mask, 256 // max(sizes[source], sizes[to]))
    assert bytes_of(vconv.instruction, words, WRITTEN) == lanes_bytes(0, blk, rep, repeat, lanes, sizes[to])
    assert bytes_of(vconv.instruction, words, READ) == lanes_bytes(65536, 1, 8, repeat, lanes, sizes[source])


def test_a_selection_reads_the_bits_of_its_lanes(machine):
    words = machine.emit(
        vsel, dst=machine.handle(Space.UB), src0=machine.handle(Space.UB, 65536),
        src1=machine.handle(Space.UB, 131072), sel=machine.handle(Space.UB, 196608), repeat=3, mask=20,
        dtype=FP32,
    )  # fmt: skip
    bits = {196608 + 8 * repeat + byte for repeat in range(3) for byte in range(3)}
    read = lanes_bytes(65536, 1, 8, 3, 20, 4) | lanes_bytes(131072, 1, 8, 3, 20, 4) | bits
    assert bytes_of(vsel.instruction, words, READ) == read


def test_a_constant_reads_nothing(machine):
    words = machine.emit(vector_dup, dst=machine.handle(Space.UB), repeat=2, mask=5, dtype=FP16, value=1.0)
    assert bytes_of(vector_dup.instruction, words, READ) == set()
    assert bytes_of(vector_dup.instruction, words, WRITTEN) == lanes_bytes(0, 1, 8, 2, 5, 2)


def test_a_comparison_writes_its_bits_and_a_sum_its_results(machine):
    src = machine.handle(Space.UB, 65536)
    words = machine.emit(vcmpv_eq, dst=machine.handle(Space.UB), src0=src, src1=src, repeat=3, dtype=FP32)
    assert bytes_of(vcmpv_eq.instruction, words, WRITTEN) == set(range(24))
    words = machine.emit(
        vcadd, dst=machine.handle(Space.UB), src=src, repeat=3, mask=9, dtype=FP32, dst_rep=2
    )
    assert bytes_of(vcadd.instruction, words, WRITTEN) == {8 * r + b for r in range(3) for b in range(4)}
    assert bytes_of(vcadd.instruction, words, READ) == lanes_bytes(65536, 1, 8, 3, 9, 4)


def test_the_limits_of_the_encoding(machine):
    """255 repeats, source block strides and repeat strides; destination block strides of 65535."""
    there = machine.handle(Space.UB)
    for given_, is_legal in (
        ({"repeat": 255}, True), ({"repeat": 256}, False), ({"repeat": 0}, False),
        ({"dst_blk": 65535}, True), ({"dst_blk": 65536}, False),
        ({"src0_blk": 255}, True), ({"src0_blk": 256}, False),
        ({"dst_rep": 255}, True), ({"dst_rep": 256}, False), ({"src1_rep": 256}, False),
        ({"mask": 129}, False),
    ):  # fmt: skip
        machine.emit(
            vadd, **{"dst": there, "src0": there, "src1": there, "repeat": 1, "dtype": FP16, **given_}
        )
        assert (machine.refusal[0] == 0) == is_legal, given_
