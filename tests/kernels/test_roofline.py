"""The roofline: right by hand, and never beaten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from davinci_sim.chip import Chip
from davinci_sim.core.columns import column
from davinci_sim.isa import data_move
from davinci_sim.platforms import assumed, platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape
from kernels.roofline import gm_bytes, roofline
from kernels.run import place
from kernels.samples import shapes

P = platform("ascend910a")


def shape_of(name: str, dtype: str | None = None, **axes: int):
    """Return a kernel and a shape of it."""
    kernel = kernels.find(name)
    return kernel, kernel.shape_type.of(name, axes, dtype)


def test_a_matmul_is_bound_by_its_products():
    """32 cores multiply 4096 pairs a cycle each; 3 fp16 matrices cross once."""
    bounds = roofline(*shape_of("matmul", m=1024, k=1024, n=1024), P)
    assert (bounds.macs, bounds.bound) == (1024**3, "cube")
    assert bounds.bound_cycles == bounds.cube_cycles == 1024**3 // (32 * 4096)
    assert (bounds.read_bytes, bounds.written_bytes) == (2 * 2 * 1024**2, 2 * 1024**2)
    assert bounds.intensity == 2 * 1024**3 / (6 * 1024**2)


def test_an_addition_is_bound_by_the_shared_memory():
    """Two fp32 rows in, 1024 bytes a cycle; the one that goes out stays in L2."""
    bounds = roofline(*shape_of("add", "fp32", n=1 << 20), P)
    assert (bounds.macs, bounds.bound, bounds.intensity) == (0, "memory", 0.0)
    assert bounds.bound_cycles == 2 * 4 * (1 << 20) // 1024


def test_what_neither_l2_nor_write_buffers_keep_goes_to_device_memory():
    """64 Mi fp32 numbers in and out: of the latter, 32 MiB stay in L2 and 1.25 MiB at each of 32 cores."""
    bounds = roofline(*shape_of("relu", "fp32", n=1 << 26), P)
    assert bounds.bound_cycles == ((8 << 26) - (72 << 20)) // 1024


def test_wide_device_memory_leaves_l2_as_the_limit():
    wide = P.with_figures("wide", hbm_bytes_per_cycle=assumed(10**6, "B/cycle", "a what-if"))
    assert roofline(*shape_of("add", "fp32", n=1 << 20), wide).bound_cycles == 12 * (1 << 20) // 3300


def test_wide_shared_memory_leaves_the_paths_of_the_cores_as_the_limit():
    wide = P.with_figures("wide", hbm_bytes_per_cycle=assumed(10**6, "B/cycle", "a what-if"))
    wide = wide.with_figures("wide", l2_chip_bytes_per_cycle=assumed(10**6, "B/cycle", "a what-if"))
    assert roofline(*shape_of("add", "fp32", n=1 << 20), wide).bound_cycles == 2 * 4 * (1 << 20) // (32 * 110)


@pytest.mark.parametrize("figure", ["hbm_bytes_per_cycle", "l2_read_bytes_per_cycle"])
def test_more_bandwidth_never_raises_the_bound(figure):
    case = shape_of("add", "fp32", n=1 << 20)
    more = P.with_figures("more", **{figure: assumed(2 * getattr(P, figure), "B/cycle", "a what-if")})
    assert roofline(*case, more).bound_cycles <= roofline(*case, P).bound_cycles


def test_an_addition_moves_each_operand_once():
    kernel, shape = shape_of("add", "fp32", n=1 << 16)
    assert gm_bytes(place(kernel, shape, None, Chip(P)).task) == (2 * 4 * (1 << 16), 4 * (1 << 16))


@given(m=st.integers(1, 300), k=st.integers(1, 300), n=st.integers(1, 300))
@settings(max_examples=12)
def test_no_matmul_beats_its_roofline(m, k, n):
    never_beaten("matmul", m=m, k=k, n=n)


@given(n=st.integers(1, 300_000))
@settings(max_examples=8)
def test_no_addition_beats_its_roofline(n):
    never_beaten("add", n=n)


@pytest.mark.parametrize("name", kernels.load())
def test_no_kernel_beats_its_roofline(name):
    """Every kernel of the kit, also one that is added later, on its first small shape."""
    kernel = kernels.find(name)
    never_faster(kernel, next(shapes(kernel)))


def never_beaten(name: str, **axes: int) -> None:
    """Assert that a kernel by name is not faster than its bound."""
    never_faster(*shape_of(name, **axes))


def never_faster(kernel: Kernel, shape: Shape) -> None:
    """Assert that the simulated time is at least the bound, and that no pipe works more than all the time."""
    placed = place(kernel, shape, None, Chip(P))
    trace = placed.chip.trace(placed.task)
    bounds = roofline(kernel, shape, P, placed.task)
    assert bounds.bound_cycles <= trace.cycles
    assert all(trace.utilization(pipe) <= 1 for pipe in ("V", "M", "MTE1", "MTE2", "MTE3"))


def test_a_program_keeps_back_no_more_than_its_longest_transfers():
    """64 Mi numbers: a core has two transfers of a tile behind it, not all that L1 and UB hold."""
    kernel, shape = shape_of("relu", n=1 << 26)
    placed = place(kernel, shape, None, Chip(P))
    words = placed.task.words
    moves = words[(words[:, 0] & 255) == data_move.instruction.opcode]
    tile = 32 * int(column(moves, "burst_len").max())
    kept = (32 << 20) + 32 * 2 * (tile + 1024)
    assert roofline(kernel, shape, P, placed.task).hbm_cycles == ((4 << 26) - kept) // 1024


def test_rows_that_are_moved_by_number_count():
    """Of a large table the rows that a list names, of a small one its own: what is read twice is in L2."""
    kernel, chip = kernels.find("gather"), platform("ascend910a")
    for rows, read in ((5000, 1024 * 512), (8, 8 * 512)):
        shape = kernel.shape_type.of("gather", {"n": 1024, "v": rows, "d": 256})
        task = place(kernel, shape, None, Chip(chip)).task
        assert gm_bytes(task) == (1024 * 512 + 1024 * 4, 1024 * 512)
        assert roofline(kernel, shape, chip, task).read_bytes == read + 1024 * 4
