"""Which bytes an instruction touches, as boxes of equal strided runs."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from davinci_sim.isa.jit import inner
from davinci_sim.isa.state import ADDRESS_MASK, SPACE_SHIFT

READ, WRITTEN, FORWARDED = 0, 1, 2
"""How a range is touched; FORWARDED: a read that the unit itself orders behind earlier writes of its pipe."""


class Region(NamedTuple):
    """`outer` x `inner` runs of `run_bytes`, starting at `handle`; `written` says how: see READ and so on.

    A region without runs, or of empty ones, touches nothing: so a part that does not apply is said.
    """

    written: int
    handle: int
    run_bytes: int
    inner: int
    inner_stride_bytes: int
    outer: int
    outer_stride_bytes: int


@inner
def region(written: int, handle: int, run_bytes: int) -> Region:
    """Return one contiguous run."""
    return Region(written, handle, run_bytes, 1, 0, 1, 0)


@inner
def rows(written: int, handle: int, run_bytes: int, count: int, stride_bytes: int) -> Region:
    """Return `count` runs, `stride_bytes` from start to start."""
    return Region(written, handle, run_bytes, count, stride_bytes, 1, 0)


@inner
def grid(
    written: int,
    handle: int,
    run_bytes: int,
    count: int,
    stride_bytes: int,
    outer: int,
    outer_stride_bytes: int,
) -> Region:
    """Return `outer` times `count` runs: the general form."""
    return Region(written, handle, run_bytes, count, stride_bytes, outer, outer_stride_bytes)


@inner
def is_inside(box: Region, sizes: npt.NDArray[np.int64]) -> bool:
    """Tell whether a region stays within its memory space (`sizes[space]` in bytes)."""
    if box.inner <= 0 or box.outer <= 0 or box.run_bytes <= 0:
        return True
    start = box.handle & ADDRESS_MASK
    end = start + box.run_bytes
    end += (box.inner - 1) * box.inner_stride_bytes + (box.outer - 1) * box.outer_stride_bytes
    return end <= int(sizes[box.handle >> SPACE_SHIFT])
