"""What the time for which a unit holds an instruction consists of."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.chip.engine.l2 import L2
from davinci_sim.chip.engine.simulate import batches, described
from davinci_sim.chip.records import Rows
from davinci_sim.core.columns import column
from davinci_sim.core.costs import costs_of, without_losses
from davinci_sim.core.dispatch import count_cycles
from davinci_sim.core.order import SET, WAIT
from davinci_sim.core.program import Program
from davinci_sim.core.trace import TRACE_DTYPE
from davinci_sim.errors import DavinciError
from davinci_sim.isa import mmad
from davinci_sim.isa.machine import Costs
from davinci_sim.platforms import Platform
from davinci_sim.trace.ledger import causes
from davinci_sim.trace.ledger.shared import BACK_END, FETCHED, HBM_END, L2_END, LEFT, PLACES, replay

Numbers = npt.NDArray[np.int64]
LEAST_ROWS = 2
"""Columns of a single row have another memory layout; all would be compiled once more for them."""
MMAD = mmad.instruction.opcode
_RUN, _RUNS, _BUS, _IS_WRITE = 1, 2, 4, 5  # columns of a transfer


class Work(NamedTuple):
    """What the records of all blocks are; `transfers` has a row per transfer, the others one per record."""

    payload: Numbers  # of a hand-off its flag, of others the row of `transfers`, or -1
    cycles: Numbers  # for which the unit is held, of a transfer the least it can be
    plain: npt.NDArray[np.int32]  # the same without bank conflicts and without heads of transfers
    ragged: npt.NDArray[np.int32]  # of these, products of padding
    transfers: npt.NDArray[np.int32]  # [row, cause]: what a transfer's time consists of


def work_of(
    blocks: list[Program], records: Rows, platform: Platform, cache: L2, macs: int
) -> tuple[Work, Numbers]:
    """Return what the records consist of, and the bytes from and to device memory.

    `cache` is what L2 held at first; `macs` see `ledger`.

    Raises:
        DavinciError: the trace belongs to another content of L2.
    """
    count, costs = max(LEAST_ROWS, len(records)), costs_of(platform)
    rows = np.zeros(count, dtype=TRACE_DTYPE)  # the engine's preparation fills columns of a trace
    table = described(blocks, rows, costs, int(platform.gm_bytes))
    plain = np.zeros(count, dtype=np.int32)
    for first, words in batches(blocks):
        plain[first : first + len(words)] = count_cycles(words, without_losses(costs))
    parts = np.zeros((max(1, len(table)), causes.HAND_OFF), dtype=np.int32)
    work = Work(rows["ready"], rows["end"], plain, np.zeros(count, dtype=np.int32), parts)
    _find_ragged(work, blocks, records, costs, macs)
    return work, _divide_transfers(work, records, table, platform, cache)


def _find_ragged(work: Work, blocks: list[Program], records: Rows, costs: Costs, macs: int) -> None:
    """Fill ragged[record] with the cycles of products that the problem does not need.

    `macs` are the multiplications that it needs; 0: of each instruction those that its m, k and n name.
    """
    ours = np.flatnonzero(records["op"] == MMAD)
    if not len(ours):
        return
    words = np.concatenate([program.words[program.words[:, 0] & 255 == MMAD] for program in blocks])
    products = work.plain[ours].astype(np.int64) - costs.mmad_head_cycles
    tile = costs.cube[(words[:, 0] >> 16) & 255]
    per_cycle = np.maximum(1, tile[:, :3].prod(axis=1)) / np.maximum(1, tile[:, 3])
    if macs == 0:
        named = column(words, "m") * column(words, "k") * column(words, "n")
        work.ragged[ours] = products - np.minimum(products, np.ceil(named / per_cycle).astype(np.int64))
        return
    total = int(products.sum())
    wasted = max(0, total - int(np.ceil(macs / per_cycle.max())))
    shares = np.cumsum(products) * wasted // max(1, total)  # each its part, the sum exact
    work.ragged[ours] = np.diff(shares, prepend=0)


def _divide_transfers(work: Work, records: Rows, table: Numbers, platform: Platform, cache: L2) -> Numbers:
    """Fill the rows of transfers: what each cause takes longer than the one before; return HBM's bytes."""
    has_row = work.payload[: len(records)] >= 0
    ours = np.flatnonzero(has_row & (records["op"] != SET) & (records["op"] != WAIT))
    if not len(ours):
        return np.zeros(2, dtype=np.int64)
    table, found = table[work.payload[ours]], np.zeros((len(ours), causes.HAND_OFF), dtype=np.int64)
    start, end = records["start"][ours], records["end"][ours]
    place = records["core"][ours].astype(np.int64) * PLACES + records["pipe"][ours]
    passed = replay(start, place, table, platform, cache)
    least, flow, bus = work.cycles[ours], work.plain[ours].astype(np.int64), table[:, _BUS]
    slow = flow * np.maximum(0, bus - table[:, _RUN] * table[:, _RUNS]) // np.maximum(1, bus)
    width = _width(platform, table[:, _IS_WRITE])
    so_far = np.maximum(least, -(-bus // width[0]))  # over the core's own path and its path to L2
    found[:, causes.HEAD], found[:, causes.BURSTS] = least - flow, slow
    found[:, causes.BUSY] = so_far - (least - flow) - slow
    for cause, cycles in {
        causes.L2_SHARE: passed[:, L2_END] - start,
        causes.L2_MISS: -(-passed[:, FETCHED] // width[1]),
        causes.HBM_SHARE: passed[:, HBM_END] - start,
        causes.WRITE_BACK: passed[:, BACK_END] - start,
    }.items():
        longer = np.maximum(so_far, cycles)
        found[:, cause] = longer - so_far
        so_far = longer
    if not np.array_equal(so_far, end - start):
        raise _other_content()
    work.transfers[work.payload[ours]] = found
    return np.asarray(passed[:, [FETCHED, LEFT]].sum(axis=0))


def _width(platform: Platform, is_write: Numbers) -> tuple[Numbers, Numbers]:
    """Return the bytes a cycle that each transfer gets alone from L2, and from the device memory."""
    limits = np.array([int(platform.l2_read_bytes_per_cycle), int(platform.l2_write_bytes_per_cycle)])
    own = limits[is_write]
    l2, hbm = int(platform.l2_chip_bytes_per_cycle), int(platform.hbm_bytes_per_cycle)
    return np.minimum(own, l2), np.minimum(own, hbm)


def _other_content() -> DavinciError:
    """Return the error for a trace that started from another content of L2."""
    return DavinciError(
        "the trace belongs to another content of L2\n"
        "  rule: a ledger is made from a trace and from what L2 held before it\n"
        "  next: simulate with new_l2(platform), and give the ledger another new_l2(platform)"
    )
