"""Moves of rows by number: what moves, what they touch, and how long they take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davinci_sim.core.costs import costs_of
from davinci_sim.core.dispatch import count_cycles, transfer_of
from davinci_sim.isa import FP32, data_move, gather_rows, scatter_rows
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN
from davinci_sim.memory.spaces import Space
from davinci_sim.platforms import platform

CHIP = platform("ascend910a")
TABLE, ROWS, STRIDE = 3200, 20, 100
NUMBERS = st.lists(st.integers(-5, 30), min_size=1, max_size=9)
LIST = 131072


def prepared(machine, numbers):
    """Fill device memory and UB with small fp32 numbers, and the list; return both as arrays of fp32."""
    generator = np.random.default_rng(1)
    for space in (Space.GM, Space.UB):
        view = machine.view(space).view(np.float32)
        view[:] = generator.integers(-9, 9, view.size)
    machine.view(Space.UB)[LIST : LIST + 4 * len(numbers)].view(np.int32)[:] = numbers
    return machine.view(Space.GM).view(np.float32), machine.view(Space.UB).view(np.float32)


@settings(max_examples=20)
@given(numbers=NUMBERS, burst=st.integers(1, 3), gap=st.integers(0, 2))
def test_rows_of_a_table_are_gathered(shared_machine, numbers, burst, gap):
    """A number outside means the nearest row; gaps stay as they were."""
    gm, ub = prepared(shared_machine, numbers)
    want = ub.copy()
    for place, number in enumerate(numbers):
        row = (TABLE + min(ROWS - 1, max(0, number)) * STRIDE) // 4
        want[place * (burst + gap) * 8 :][: burst * 8] = gm[row : row + burst * 8]
    shared_machine.run(
        gather_rows, dst=shared_machine.handle(Space.UB), src=shared_machine.handle(Space.GM, TABLE),
        index=shared_machine.handle(Space.UB, LIST), rows=ROWS, stride=STRIDE, count=len(numbers),
        burst_len=burst, dst_gap=gap,
    )  # fmt: skip
    assert ub.tobytes() == want.tobytes()


@settings(max_examples=20)
@given(numbers=NUMBERS, burst=st.integers(1, 3), gap=st.integers(0, 2), atomic=st.integers(0, 1))
def test_rows_are_written_or_added_in_order(shared_machine, numbers, burst, gap, atomic):
    """Numbers outside of the table are left out; equal ones meet in the order of the list."""
    gm, ub = prepared(shared_machine, numbers)
    want = gm.copy()
    for place, number in enumerate(numbers):
        row = slice((TABLE + number * STRIDE) // 4, (TABLE + number * STRIDE) // 4 + burst * 8)
        if 0 <= number < ROWS:
            want[row] = ub[place * (burst + gap) * 8 :][: burst * 8] + (want[row] if atomic else 0)
    shared_machine.run(
        scatter_rows, dst=shared_machine.handle(Space.GM, TABLE), src=shared_machine.handle(Space.UB),
        index=shared_machine.handle(Space.UB, LIST), rows=ROWS, stride=STRIDE, count=len(numbers),
        burst_len=burst, src_gap=gap, atomic=atomic, dtype=FP32,
    )  # fmt: skip
    assert gm.tobytes() == want.tobytes()


@pytest.mark.parametrize("atomic", [0, 1])
def test_a_move_by_number_says_which_bytes_it_may_touch(machine, atomic):
    """The columns of the whole table, since the numbers are data."""
    table, src, listed = (machine.handle(*at) for at in ((Space.GM, 64), (Space.UB, 0), (Space.UB, LIST)))
    columns = {table + row * STRIDE + byte for row in range(ROWS) for byte in range(32)}
    rows = {src + row * 64 + byte for row in range(3) for byte in range(32)}
    numbers = {listed + byte for byte in range(12)}
    operands = {"index": listed, "rows": ROWS, "stride": STRIDE, "count": 3, "burst_len": 1}
    touched = machine.touched(gather_rows, dst=src, src=table, dst_gap=1, **operands)
    assert touched == {READ: columns | numbers, WRITTEN: rows, FORWARDED: set()}
    touched = machine.touched(scatter_rows, dst=table, src=src, src_gap=1, atomic=atomic, **operands)
    assert touched == {READ: rows | numbers, WRITTEN: columns, FORWARDED: columns if atomic else set()}


def test_each_row_takes_as_long_as_a_move_of_its_own(machine):
    """And goes through the shared memory as rows that are spread evenly over the table."""
    costs = costs_of(CHIP)
    gm, ub = machine.handle(Space.GM), machine.handle(Space.UB)
    operands = {"index": ub, "rows": 1000, "stride": 512, "count": 10, "burst_len": 4}
    words = machine.emit(gather_rows, dst=ub, src=gm, **operands)
    one = machine.emit(data_move, dst=ub, src=gm, nburst=1, burst_len=4)
    assert count_cycles(words, costs)[0] == 10 * count_cycles(one, costs)[0]
    transfer = transfer_of(words, 0, costs)
    assert (transfer.run_bytes, transfer.runs, transfer.stride_bytes) == (128, 10, 51200)
