"""The L2 cache: which lines of device memory it holds, and what a transfer has to fetch.

Sets of `ways` lines; a line that is missing takes the place of the one that came first (first in, first
out). Writes allocate without fetching; a modified line is written back when it has to go. A table with a
byte for every line of device memory answers at once whether L2 holds it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.bus import unaligned_bursts
from davinci_sim.isa.jit import inlined, uncounted_jit
from davinci_sim.isa.machine import Costs, Transfer
from davinci_sim.platforms import Platform

EMPTY = -1
ABSENT, CLEAN, MODIFIED = 0, 1, 2


class L2(NamedTuple):
    """A cache: `lines[set, way]` or EMPTY; `oldest[set]` goes next; `state[line]` of all device memory."""

    lines: npt.NDArray[np.int32]
    oldest: npt.NDArray[np.int32]
    state: npt.NDArray[np.uint8]
    line_bytes: int


def new_l2(platform: Platform) -> L2:
    """Return an empty cache of the platform's size; one without L2 has no sets."""
    ways, line_bytes = int(platform.l2_ways), int(platform.l2_line_bytes)
    sets = int(platform.l2_bytes) // (ways * line_bytes)
    state = np.zeros(-(-int(platform.gm_bytes) // line_bytes), dtype=np.uint8)  # takes memory where touched
    return L2(np.full((sets, ways), EMPTY, dtype=np.int32), np.zeros(sets, dtype=np.int32), state, line_bytes)


def content_of(l2: L2) -> npt.NDArray[np.int32]:
    """Return [set, way] line << 1 | modified, or EMPTY, the line that goes next first.

    Caches of equal content have the same future.
    """
    ways = l2.lines.shape[1]
    lines = np.take_along_axis(l2.lines, (l2.oldest[:, None] + np.arange(ways)) % ways, axis=1)
    return np.where(lines == EMPTY, EMPTY, lines << 1 | (l2.state[lines] == MODIFIED)).astype(np.int32)


def l2_with(content: npt.NDArray[np.int32], platform: Platform) -> L2:
    """Return a cache of the platform with the content of another."""
    l2 = new_l2(platform)
    l2.lines[:] = content >> 1
    held = content[content != EMPTY]
    l2.state[held >> 1] = CLEAN + (held & 1)
    return l2


@inlined
def _replace(l2: L2, line: int, is_write: int) -> int:
    """Bring a missing line in; return 1 if a modified one has to be written back for it."""
    sets, ways = l2.lines.shape
    row = line % sets
    way = l2.oldest[row]
    l2.oldest[row] = way + 1 if way + 1 < ways else 0
    leaving = l2.lines[row, way]
    l2.lines[row, way], l2.state[line] = line, CLEAN + is_write
    if leaving == EMPTY:
        return 0
    was_modified = l2.state[leaving] == MODIFIED
    l2.state[leaving] = ABSENT
    return int(was_modified)


@uncounted_jit
def pass_through(l2: L2, transfer: Transfer, costs: Costs) -> tuple[int, int]:
    """Let a transfer pass the cache; return the bytes of bus time to fetch for it, and those to write back.

    Missing lines are fetched, modified ones that have to go are written back. Bursts that begin beside a
    fast boundary use the memory as badly as they use their own path. Without a cache, all is the transfer's.
    """
    if l2.lines.shape[0] == 0:
        return transfer.bus_bytes, 0
    missing, leaving = 0, 0
    for run in range(transfer.runs):
        start = transfer.address + run * transfer.stride_bytes
        for line in range(start // l2.line_bytes, (start + transfer.run_bytes - 1) // l2.line_bytes + 1):
            if l2.state[line] == ABSENT:
                missing += 1
                leaving += _replace(l2, line, transfer.is_write)
            elif transfer.is_write:
                l2.state[line] = MODIFIED
    size = 0 if transfer.is_write else missing * l2.line_bytes
    if size > 0:
        align, percent = costs.gm_fast_align_bytes, costs.gm_unaligned_percent
        slow = unaligned_bursts(transfer.address, transfer.runs, transfer.stride_bytes, align)
        size += size * slow * (100 - percent) // (percent * transfer.runs)
    return size, leaving * l2.line_bytes
