"""Moves of rows by number: from a table in device memory, or added to one there.

On the chip the scalar unit reads each number, computes an address from it and issues one move after the
other. Here one record stands for that loop: the numbers stand in UB, as the block numbers of the scatter
forms do. Times must not depend on data, so what the moves find in L2 is that of rows spread evenly over
the table.

Model: every row takes the head of a move and the bus time of its blocks; the scalar unit's own work hides
behind the heads. Checks see the columns of the whole table that are moved.
Source: the moves, as data_move; heads and slots: tiling cycle model of the vendor's operator library.
"""

from typing import Any

from davinci_sim.isa.bus import atomic_bytes, bus_bytes
from davinci_sim.isa.fields import Declaration, Flag, In, Out, Size
from davinci_sim.isa.instruction import instruction
from davinci_sim.isa.jit import inner
from davinci_sim.isa.machine import Costs, Memory, Transfer, at, ceil_div, copy
from davinci_sim.isa.mte import add_run
from davinci_sim.isa.pipes import Pipe
from davinci_sim.isa.region import FORWARDED, READ, WRITTEN, Region, region, rows
from davinci_sim.isa.state import ADDRESS_MASK
from davinci_sim.memory.spaces import Space

BLOCK_BYTES, INDEX_BYTES = 32, 4


@inner
def _spread(i: Any, table: int, is_write: int, costs: Costs) -> Transfer:
    """Return the runs in GM of rows that are spread evenly over the table."""
    run, runs = i.burst_len * BLOCK_BYTES, min(i.count, i.rows)
    stride = i.rows // runs * i.stride
    size = bus_bytes(table & ADDRESS_MASK, i.count, i.burst_len, stride, costs)
    return Transfer(table & ADDRESS_MASK, run, runs, stride, size, is_write)


@inner
def _index(memory: Memory, handle: int, place: int) -> int:
    """Return row number `place` of a list in UB."""
    return int(memory.i32[at(memory, handle) // INDEX_BYTES + place])


@inner
def _gather_transfer(i: Any, costs: Costs) -> Transfer:
    """Return the rows in GM."""
    return _spread(i, i.src, 0, costs)


@instruction(Pipe.MTE2, ("uint8",))
class gather_rows(Declaration):
    """dst[i] = row index[i] of the table src; a number outside of its `rows` rows means the nearest one.

    `count` numbers of 32 bits; rows of the table are `stride` bytes apart. Of each row `burst_len` blocks of
    32 bytes are moved; between those written lie `dst_gap` blocks.
    """

    dst = Out(Space.UB)
    src = In(Space.GM)
    index = In(Space.UB)
    rows = Size((1 << 31) - 1, low=1)
    stride = Size((1 << 32) - 1)
    count = Size(4095, low=1)
    burst_len = Size(65535, low=1)
    dst_gap = Size(65535, default=0)

    def cycles(i: Any, costs: Costs) -> int:
        """Count a head and the bus time of each row."""
        size = ceil_div(_gather_transfer(i, costs).bus_bytes, i.count)
        return int(i.count * (costs.gm_to_ub_head_cycles + ceil_div(size, costs.gm_to_ub_bytes_per_cycle)))

    transfer = _gather_transfer

    def accesses(i: Any) -> tuple[Region, Region, Region]:
        """Return the rows written, the columns of the table and the numbers read."""
        run = i.burst_len * BLOCK_BYTES
        return (
            rows(WRITTEN, i.dst, run, i.count, run + i.dst_gap * BLOCK_BYTES),
            rows(READ, i.src, run, i.rows, i.stride),
            region(READ, i.index, i.count * INDEX_BYTES),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Copy row after row."""
        run = i.burst_len * BLOCK_BYTES
        for place in range(i.count):
            row = max(0, min(i.rows - 1, _index(memory, i.index, place)))
            to = at(memory, i.dst) + place * (run + i.dst_gap * BLOCK_BYTES)
            copy(memory.local, to, memory.gm, (i.src & ADDRESS_MASK) + row * i.stride, run)


@inner
def _scatter_transfer(i: Any, costs: Costs) -> Transfer:
    """Return the rows in GM; additions take longer than writes."""
    t = _spread(i, i.dst, 1, costs)
    size = atomic_bytes(t.bus_bytes, costs) if i.atomic else t.bus_bytes
    return Transfer(t.address, t.run_bytes, t.runs, t.stride_bytes, size, t.is_write)


@instruction(Pipe.MTE3, ("fp32", "fp16", "int32"), default_dtype="fp32")
class scatter_rows(Declaration):
    """Row index[i] of the table dst = src[i], in order; with `atomic` = 1 src[i] is added to it.

    `count` numbers of 32 bits; those outside of the table's `rows` rows are left out. Rows of the table are
    `stride` bytes apart. Of each row `burst_len` blocks of 32 bytes are moved; between those read lie
    `src_gap` blocks.
    """

    dst = Out(Space.GM)
    src = In(Space.UB)
    index = In(Space.UB)
    rows = Size((1 << 31) - 1, low=1)
    stride = Size((1 << 32) - 1)
    count = Size(4095, low=1)
    burst_len = Size(65535, low=1)
    src_gap = Size(65535, default=0)
    atomic = Flag()

    def cycles(i: Any, costs: Costs) -> int:
        """Count a head and the bus time of each row."""
        size = ceil_div(_scatter_transfer(i, costs).bus_bytes, i.count)
        return int(i.count * (costs.gm_write_head_cycles + ceil_div(size, costs.ub_to_gm_bytes_per_cycle)))

    transfer = _scatter_transfer

    def accesses(i: Any) -> tuple[Region, Region, Region, Region]:
        """Return the columns of the table, and the rows and numbers read; an addition reads the table."""
        run = i.burst_len * BLOCK_BYTES
        return (
            rows(WRITTEN, i.dst, run, i.rows, i.stride),
            rows(READ, i.src, run, i.count, run + i.src_gap * BLOCK_BYTES),
            region(READ, i.index, i.count * INDEX_BYTES),
            rows(FORWARDED, i.dst, run if i.atomic else 0, i.rows, i.stride),
        )

    def execute(i: Any, memory: Memory) -> None:
        """Write or add row after row."""
        run = i.burst_len * BLOCK_BYTES
        for place in range(i.count):
            row, start = _index(memory, i.index, place), at(memory, i.src)
            start += place * (run + i.src_gap * BLOCK_BYTES)
            to = (i.dst & ADDRESS_MASK) + row * i.stride
            if 0 <= row < i.rows and i.atomic:
                add_run(memory, i.dtype, to, start, run)
            elif 0 <= row < i.rows:
                copy(memory.gm, to, memory.local, start, run)
