"""Where buffers begin in UB: neighbours in different groups of banks, inside what tilings count on."""

from __future__ import annotations

from itertools import pairwise

import pytest

import kernels
from davinci_sim.chip import Chip
from davinci_sim.isa import vadd, vmul
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform
from kernels.check import handles_of
from kernels.run import place

P = platform("ascend910a")
GROUPS_BYTES = int(P.ub_bank_groups) * 32


def buffers_in_ub(name: str, tiling=None, **axes: int) -> list[tuple[int, int]]:
    """Return start and bytes of the buffers in UB of a kernel's first block, as they were allocated."""
    kernel = kernels.find(name)
    shape = kernel.shape_type(**axes)
    task = kernel.emitted(shape, handles_of(kernel, shape), P, tiling)
    return [(start, size) for space, start, size, *_ in task.buffers[0].tolist() if space == int(Space.UB)]


@pytest.mark.parametrize("axes", [{"n": 37}, {"n": 100_000}, {"n": 40 * 1001, "rows": 40, "pattern": 2}])
def test_neighbours_begin_half_of_the_groups_apart(axes):
    starts = [start for start, _ in buffers_in_ub("add", **axes)]
    steps = {(after - before) % GROUPS_BYTES for before, after in pairwise(starts)}
    assert steps == {GROUPS_BYTES // 2}


def test_less_than_a_row_of_groups_stays_unused_before_a_buffer():
    rows = buffers_in_ub("softmax_cross_entropy", m=40, n=100)
    gaps = [start - (before + size) for (before, size), (start, _) in pairwise(rows)]
    assert all(0 <= gap < GROUPS_BYTES for gap in gaps)


@pytest.mark.parametrize(("name", "op", "dtype"), [("add", vadd, "fp16"), ("mul", vmul, "fp32")])
def test_two_sources_cost_one_cycle_a_repeat(name, op, dtype):
    """As many cycles as repeats, or the least time of an instruction for the last ones."""
    kernel, chip = kernels.find(name), Chip(P)
    shape = kernel.shape_type.of(name, {"n": 400_000}, dtype)
    task = place(kernel, shape, None, chip).task
    repeats = -(-400_000 * {"fp16": 2, "fp32": 4}[dtype] // 256)
    records = sum(
        int((program.words[:, 0] & 255 == op.instruction.opcode).sum()) for program in task.programs
    )
    assert repeats <= chip.trace(task).busy_cycles("V") <= repeats + records * int(P.vector_min_cycles)


@pytest.mark.parametrize("name", ["max_pool", "max_pool_grad"])
def test_the_tilings_of_pooling_count_every_byte_in_ub(name):
    """Gaps included: what is counted is never less than what is allocated."""
    kernel = kernels.find(name)
    axes = {"n": 2, "c": 64, "h": 57, "w": 31, "kh": 3, "kw": 3, "stride": 2}
    shape = kernel.shape_type(**axes)
    for tiling in kernel.tiling_type.space(shape, P):
        assert max(start + size for start, size in buffers_in_ub(name, tiling, **axes)) <= tiling.used_bytes(
            shape
        )
