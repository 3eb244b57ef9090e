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
from davinci_sim.core.order import BARRIER, SET, WAIT
from davinci_sim.core.program import Program
from davinci_sim.errors import DavinciError
from davinci_sim.isa import mmad
from davinci_sim.isa.machine import Costs
from davinci_sim.platforms import Platform
from davinci_sim.trace.ledger import causes
from davinci_sim.trace.ledger.shared import BACK_END, FETCHED, HBM_END, L2_END, LEFT, PLACES, replay

Numbers = npt.NDArray[np.int64]
MMAD = mmad.instruction.opcode
_RUN, _RUNS, _BUS, _IS_WRITE = 1, 2, 4, 5  # columns of a transfer


class Described(NamedTuple):
    """What the records of all blocks are, before their times: each array has a row per record."""

    flag: Numbers  # of a hand-off
    transfer: Numbers  # row of the table of transfers, or -1
    cycles: Numbers  # for which the unit is held, of a transfer the least it can be
    plain: Numbers  # the same without bank conflicts and without heads of transfers
    table: Numbers  # [transfer, 6]


def describe(blocks: list[Program], rows: Rows, platform: Platform) -> Described:
    """Return what the records of blocks are; `rows` are theirs, without times."""
    table = described(blocks, rows, costs_of(platform), int(platform.gm_bytes))
    cycles, payload = rows["end"].copy(), rows["ready"].copy()
    plain = np.zeros(len(rows), dtype=np.int64)
    for first, words in batches(blocks):
        plain[first : first + len(words)] = count_cycles(words, without_losses(costs_of(platform)))
    is_flag = np.isin(rows["op"], (SET, WAIT))
    return Described(np.where(is_flag, payload, 0), np.where(is_flag, -1, payload), cycles, plain, table)


def first_rows(known: Described, count: int) -> Described:
    """Return what is known of the first `count` records (a table of rows may have spare ones)."""
    flag, transfer, cycles, plain, table = known
    return Described(flag[:count], transfer[:count], cycles[:count], plain[:count], table)


def parts(
    blocks: list[Program], records: Rows, known: Described, platform: Platform, cache: L2, macs: int
) -> tuple[npt.NDArray[np.int32], Numbers]:
    """Return [record, cause] the cycles from start to end of each record, and the bytes from and to HBM.

    `cache` is what L2 held at first.

    Raises:
        DavinciError: the trace belongs to another content of L2.
    """
    found = np.zeros((len(records), causes.HAND_OFF + 1), dtype=np.int32)
    held = records["end"] - records["start"]
    is_hand_off = np.isin(records["op"], (SET, WAIT, BARRIER))
    found[:, causes.HAND_OFF] = np.where(is_hand_off, held, 0)
    is_work = ~is_hand_off & (known.transfer < 0)
    ragged = _ragged(blocks, records, known, costs_of(platform), macs)
    found[:, causes.RAGGED] = ragged
    found[:, causes.CONFLICT] = np.where(is_work, known.cycles - known.plain, 0)
    found[:, causes.BUSY] = np.where(is_work, known.plain - ragged, 0)
    return found, _divide_transfers(found, records, known, platform, cache)


def _ragged(
    blocks: list[Program], records: Rows, known: Described, costs: Costs, macs: int
) -> npt.NDArray[np.int64]:
    """Return [record] the cycles of products that the problem does not need.

    `macs` are the multiplications that it needs; 0: of each instruction those that its m, k and n name.
    """
    found = np.zeros(len(records), dtype=np.int64)
    ours = np.flatnonzero(records["op"] == MMAD)
    if not len(ours):
        return found
    words = np.concatenate([program.words[program.words[:, 0] & 255 == MMAD] for program in blocks])
    products = known.plain[ours] - costs.mmad_head_cycles
    tile = costs.cube[(words[:, 0] >> 16) & 255]
    per_cycle = np.maximum(1, tile[:, :3].prod(axis=1)) / np.maximum(1, tile[:, 3])
    if macs == 0:
        named = column(words, "m") * column(words, "k") * column(words, "n")
        found[ours] = products - np.minimum(products, np.ceil(named / per_cycle).astype(np.int64))
        return found
    total = int(products.sum())
    wasted = max(0, total - int(np.ceil(macs / per_cycle.max())))
    shares = np.cumsum(products) * wasted // max(1, total)  # each its part, the sum exact
    found[ours] = np.diff(shares, prepend=0)
    return found


def _divide_transfers(
    found: npt.NDArray[np.int32], records: Rows, known: Described, platform: Platform, cache: L2
) -> Numbers:
    """Fill the rows of transfers: what each cause takes longer than the one before; return HBM's bytes."""
    ours = np.flatnonzero(known.transfer >= 0)
    if not len(ours):
        return np.zeros(2, dtype=np.int64)
    table = known.table[known.transfer[ours]]
    start, end = records["start"][ours], records["end"][ours]
    place = records["core"][ours].astype(np.int64) * PLACES + records["pipe"][ours]
    passed = replay(start, place, table, platform, cache)
    least, flow, bus = known.cycles[ours], known.plain[ours], table[:, _BUS]
    slow = flow * np.maximum(0, bus - table[:, _RUN] * table[:, _RUNS]) // np.maximum(1, bus)
    width = _width(platform, table[:, _IS_WRITE])
    alone = np.maximum(least, -(-bus // width[0]))  # over the core's own path and its path to L2
    times = {
        causes.L2_SHARE: passed[:, L2_END] - start,
        causes.L2_MISS: -(-passed[:, FETCHED] // width[1]),
        causes.HBM_SHARE: passed[:, HBM_END] - start,
        causes.WRITE_BACK: passed[:, BACK_END] - start,
    }
    found[ours, causes.HEAD], found[ours, causes.BURSTS] = least - flow, slow
    found[ours, causes.BUSY] = alone - (least - flow) - slow
    so_far = alone
    for cause, cycles in times.items():
        longer = np.maximum(so_far, cycles)
        found[ours, cause] = longer - so_far
        so_far = longer
    if not np.array_equal(so_far, end - start):
        raise DavinciError(
            "the trace belongs to another content of L2\n"
            "  rule: a ledger is made from a trace and from what L2 held before it\n"
            "  next: simulate with new_l2(platform), and give the ledger another new_l2(platform)"
        )
    return np.asarray(passed[:, [FETCHED, LEFT]].sum(axis=0))


def _width(platform: Platform, is_write: Numbers) -> tuple[Numbers, Numbers]:
    """Return the bytes a cycle that each transfer gets alone from L2, and from the device memory."""
    limits = np.array([int(platform.l2_read_bytes_per_cycle), int(platform.l2_write_bytes_per_cycle)])
    own = limits[is_write]
    l2, hbm = int(platform.l2_chip_bytes_per_cycle), int(platform.hbm_bytes_per_cycle)
    return np.minimum(own, l2), np.minimum(own, hbm)
