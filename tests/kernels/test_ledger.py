"""The ledger of every kernel of the kit sums to its time."""

from __future__ import annotations

from itertools import islice

import pytest

import kernels
from davinci_sim.chip.engine.l2 import new_l2
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.platforms import platform
from davinci_sim.trace.ledger import Ledger, ledger
from kernels.check import handles_of
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape
from kernels.samples import LARGE, SMALL, shapes

P = platform("ascend910a")


def book_of(kernel: Kernel, shape: Shape) -> Ledger:
    """Return the ledger of a kernel, after checking every column."""
    task = kernel.emitted(shape, handles_of(kernel, shape), P)
    launch = Launch(task.programs, block_cycles=int(P.block_start_cycles))
    trace = simulate_launches([launch], P, "fast", new_l2(P))
    macs = int(kernel.macs(shape)) if kernel.macs is not None else 0
    book = ledger([launch], P, trace, macs=macs, queues=task.queues)
    assert book.cycles == trace.cycles
    assert (book.table >= 0).all()
    assert (book.table.sum(axis=2) == book.cycles).all()
    for pipe, numbers in trace.pipes().items():
        assert book.work_cycles(pipe) == numbers["busy_cycles"]
    if book.blocks == len(trace.cores):  # none of them was done before the last block began
        began = book.cycles_of("S", "block_start", book.critical_core)
        assert sum(step.cycles for step in book.path) == book.cycles - began
    return book


@pytest.mark.parametrize("name", kernels.load())
def test_columns_of_small_launches_sum_to_their_times(name):
    """Two of every kernel of the kit, also of one that is added later."""
    kernel = kernels.find(name)
    assert [book_of(kernel, shape) for shape in islice(shapes(kernel, SMALL), 2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", kernels.load())
def test_columns_of_large_launches_sum_to_their_times(name):
    """Every element type and option, many cores that share the memory."""
    kernel = kernels.find(name)
    assert [book_of(kernel, shape) for shape in shapes(kernel, LARGE)]


def test_queues_tell_buffers_that_are_not_free_from_data_that_is_not_there():
    """A bias goes from V to M, against the usual way, and is no buffer that is handed back."""
    kernel = kernels.find("matmul_bias")
    shape = kernel.shape_type.of("matmul_bias", {"m": 256, "k": 64, "n": 512})
    task = kernel.emitted(shape, handles_of(kernel, shape), P)
    rows = {tuple(row) for block in task.queues for row in block.tolist()}
    assert len(rows) == 6
    waits = {(wait.flag.src, wait.flag.dst): wait.is_hand_back for wait in book_of(kernel, shape).flags}
    assert waits.get((2, 3)) in {None, False}
