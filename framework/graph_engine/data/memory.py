"""The memory plan: where every value lies, reusing what is no longer read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

    def text(self) -> str:
        """Print the three sizes."""
        return (
            f"workspace {self.peak_bytes:,} bytes; alive at most {self.live_bytes:,}; "
            f"without reuse {self.unshared_bytes:,}"
        )


def plan(blocks: Sequence[Lifetime]) -> MemoryPlan:
    """Place blocks so that no two that are alive together overlap: largest first, at the lowest gap."""
    placed: list[tuple[Lifetime, int]] = []
    for block in sorted(blocks, key=lambda b: (-b.padded_bytes, b.first, b.name)):
        busy = sorted((offset, offset + b.padded_bytes) for b, offset in placed if b.meets(block))
        start = 0
        for begin, end in busy:
            if begin - start >= block.padded_bytes:
                break
            start = max(start, end)
        placed.append((block, start))
    peak = max((offset + block.padded_bytes for block, offset in placed), default=0)
    unshared = sum(block.padded_bytes for block in blocks)
    return MemoryPlan({b.name: offset for b, offset in placed}, peak, _alive(blocks), unshared)


def _alive(blocks: Sequence[Lifetime]) -> int:
    moments = sorted({block.first for block in blocks})
    return max((sum(b.padded_bytes for b in blocks if b.first <= m <= b.last) for m in moments), default=0)
