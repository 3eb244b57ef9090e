"""The L2 cache: which lines of device memory it holds, and what a transfer has to fetch.

Sets of `ways` lines; a line that is missing takes the place of the one that came first (first in, first
out). Writes allocate without fetching; a modified line is written back when it has to go.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.bus import unaligned_bursts
from davinci_sim.isa.jit import inlined, jit
from davinci_sim.isa.machine import Costs, Transfer

EMPTY = -1


class L2(NamedTuple):
    """Content of the cache: `lines[set, way]` is line << 1 | modified, or EMPTY; `oldest[set]` goes next."""

    lines: npt.NDArray[np.int32]
    oldest: npt.NDArray[np.int32]
    line_bytes: int


def new_l2(platform: Any) -> L2:
    """Return an empty cache of the platform's size; one without L2 has no sets."""
    ways, line_bytes = int(platform.l2_ways), int(platform.l2_line_bytes)
    sets = int(platform.l2_bytes) // (ways * line_bytes)
    return L2(np.full((sets, ways), EMPTY, dtype=np.int32), np.zeros(sets, dtype=np.int32), line_bytes)


def copy_of(l2: L2) -> L2:
    """Return a cache of equal content."""
    return L2(l2.lines.copy(), l2.oldest.copy(), l2.line_bytes)


def in_order(l2: L2) -> npt.NDArray[np.int32]:
    """Return lines[set, way] with the line that goes next first: caches that are alike become equal."""
    ways = l2.lines.shape[1]
    order = (l2.oldest[:, None] + np.arange(ways)) % ways
    return np.take_along_axis(l2.lines, order, axis=1)


@inlined
def _touch(l2: L2, line: int, is_write: int) -> tuple[int, int]:
    """Bring one line in; return how many lines are fetched for it (0 or 1) and how many modified ones leave."""
    sets, ways = l2.lines.shape
    row, held = line % sets, -1
    for way in range(ways):  # no way out in the middle: the whole set is compared at once
        if l2.lines[row, way] >> 1 == line:
            held = way
    if held >= 0:
        l2.lines[row, held] |= is_write
        return 0, 0
    way = l2.oldest[row]
    l2.oldest[row] = (way + 1) % ways
    leaving = l2.lines[row, way]
    l2.lines[row, way] = line << 1 | is_write
    return 1 - is_write, 1 if leaving != EMPTY and leaving & 1 else 0


@jit
def pass_through(l2: L2, transfer: Transfer, costs: Costs) -> tuple[int, int]:
    """Let a transfer pass the cache; return the bytes of bus time to fetch for it, and those to write back.

    Missing lines are fetched, modified ones that have to go are written back. Bursts that begin beside a
    fast boundary use the memory as badly as they use their own path. Without a cache, all is the transfer's.
    """
    if l2.lines.shape[0] == 0:
        return transfer.bus_bytes, 0
    fetched, leaving, last = 0, 0, -1
    for run in range(transfer.count):
        start = transfer.address + run * transfer.stride_bytes
        for line in range(start // l2.line_bytes, (start + transfer.run_bytes - 1) // l2.line_bytes + 1):
            if line != last:
                missing, old = _touch(l2, line, transfer.is_write)
                fetched, leaving, last = fetched + missing, leaving + old, line
    size = fetched * l2.line_bytes
    if size > 0:
        align, percent = costs.gm_fast_align_bytes, costs.gm_unaligned_percent
        slow = unaligned_bursts(transfer.address, transfer.count, transfer.stride_bytes, align)
        size += size * slow * (100 - percent) // (percent * transfer.count)
    return size, leaving * l2.line_bytes
