"""The memory plan: where every value lies, reusing what is no longer read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]

ALIGN_BYTES = 512
"""Blocks begin here, as the device's allocator and its fastest transfers have it."""


@dataclass(frozen=True)
class Lifetime:
    """How many bytes a block has, and the first and last task that touches it."""

    name: str
    nbytes: int
    first: int
    last: int

    @property
    def padded_bytes(self) -> int:
        """Bytes up to the next block."""
        return -(-max(self.nbytes, 1) // ALIGN_BYTES) * ALIGN_BYTES

    def meets(self, other: Lifetime) -> bool:
        """Tell whether both are alive at some task."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets of blocks in one workspace."""

    offsets: Mapping[str, int]
    peak_bytes: int
    """What the workspace takes."""
    live_bytes: int
    """The most that is alive at one task: no plan can do with less."""
    unshared_bytes: int
    """What it would take without reuse."""
    blocks: tuple[Lifetime, ...] = ()
    """What was placed,"""
    reuse: bool = True
    """and whether blocks share memory."""

    @cached_property
    def dense(self) -> MemoryPlan:
        """The plan of the same blocks that wastes least: they begin where the allocator lets them."""
        return plan(self.blocks, self.reuse)

    def text(self) -> str:
        """Print the three sizes, of the plan that wastes least; blocks that lie further apart leave gaps."""
        needed = self.dense.peak_bytes
        sizes = (
            f"workspace {needed:,} bytes; alive at most {self.live_bytes:,}; "
            f"without reuse {self.unshared_bytes:,}"
        )
        apart = self.peak_bytes - needed
        return f"{sizes}; {apart:,} more between blocks that are spread" if apart > 0 else sizes


def plan(blocks: Sequence[Lifetime], reuse: bool = True, align_bytes: int = ALIGN_BYTES) -> MemoryPlan:
    """Place blocks so that no two that are alive together overlap: largest first, at the lowest gap.

    Without `reuse` no two overlap at all. Blocks begin at multiples of `align_bytes`.
    """
    order = sorted(blocks, key=lambda b: (-b.padded_bytes, b.first, b.name))
    first, last, size = (
        np.array([getattr(block, key) for block in order], dtype=np.int64)
        for key in ("first", "last", "padded_bytes")
    )
    begin, room = np.zeros(len(order), dtype=np.int64), -(-size // align_bytes) * align_bytes
    for place in range(1, len(order)):
        meets = (first[:place] <= last[place]) & (first[place] <= last[:place]) | (not reuse)
        begin[place] = _lowest_gap(begin[:place][meets], room[:place][meets], room[place])
    offsets = {block.name: int(at) for block, at in zip(order, begin, strict=True)}
    peak = int((begin + size).max(initial=0))
    return MemoryPlan(offsets, peak, alive_bytes(order), int(size.sum()), tuple(order), reuse)


def _lowest_gap(begin: Numbers, size: Numbers, wanted: int) -> int:
    """Return the lowest place between blocks that leaves room for so many bytes, or the place behind them."""
    order = np.argsort(begin, kind="stable")
    starts = begin[order]
    ends = np.maximum.accumulate(np.append(0, starts + size[order]))
    gaps = np.flatnonzero(starts - ends[:-1] >= wanted)
    return int(ends[gaps[0] if len(gaps) else -1])


def alive(blocks: Sequence[Lifetime]) -> Numbers:
    """Return the bytes that are alive at each task, from the first one on."""
    changes = np.zeros(max((block.last for block in blocks), default=-1) + 2, dtype=np.int64)
    for block in blocks:
        changes[block.first] += block.padded_bytes
        changes[block.last + 1] -= block.padded_bytes
    return np.cumsum(changes[:-1])


def alive_bytes(blocks: Sequence[Lifetime]) -> int:
    """Return the most bytes that are alive at one task."""
    return int(alive(blocks).max(initial=0))
