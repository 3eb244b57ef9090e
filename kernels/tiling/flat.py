"""Plain arrays cut into tiles that stream through UB.

A tile of 20 KB or more hides the head of a transfer; small problems take few cores, with one tile each.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from davinci_sim.platforms import Platform
from kernels.lang import FP16, FP32, Shape, Tiling
from kernels.lang.shapes import SLOTS
from kernels.rules import item_bytes, require_dtype, round_up

LONG_TILE_BYTES = 26 * 1024
MIN_TILE, MOST_STEPS = 256, 16
"""Tiles of so many elements begin at multiples of 512 bytes in every type, where transfers are fastest."""


@dataclass(frozen=True)
class FlatShape(Shape):
    """n elements of type `dtype`."""

    LIVE: ClassVar[int] = 2
    """Arrays of `dtype` that a tile needs in UB."""
    n: int
    dtype: int = FP16

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per element of a tile and slot."""
        return self.LIVE * item_bytes(self.dtype)

    def check(self, kernel: str) -> None:
        """Refuse types that the vector unit cannot compute with."""
        require_dtype(kernel, self.dtype, FP16, FP32)


@dataclass(frozen=True)
class FlatTiling(Tiling):
    """Elements of a tile (rounded down to whole repeats), buffers of each hand-off, cores to use."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    LONGEST_BYTES: ClassVar[int] = LONG_TILE_BYTES
    """No tile is longer; kernels that compute much take longer ones than those that move data."""
    tile: int
    slots: int = 2
    cores: int = 1

    @classmethod
    def default(cls, shape: Any, platform: Platform) -> Self:
        """Return the tiling that cuts a core's share into few equal tiles, at least two of a long one."""
        return cls.of_slots(shape, platform, 2)

    @classmethod
    def of_slots(cls, shape: Any, platform: Platform, slots: int) -> Self:
        """Return the tiling for a number of buffers."""
        stream = cls.streamed(shape)
        return cls._cut(stream, platform, slots, cores_for(stream.n * stream.live_bytes, platform))

    @classmethod
    def streamed(cls, shape: Any) -> FlatShape:
        """Return the plain array that a shape comes down to; another one where it is none itself."""
        plain: FlatShape = shape
        return plain

    @classmethod
    def _cut(cls, shape: FlatShape, platform: Platform, slots: int, cores: int) -> Self:
        """Return the tiling for a number of cores."""
        size = item_bytes(shape.dtype)
        limit = int(platform.ub_bytes) * 9 // 10 // (slots * shape.live_bytes)
        limit = min(limit, cls.LONGEST_BYTES // size) // MIN_TILE * MIN_TILE
        share = -(-shape.n // cores)
        steps = max(-(-share // limit), 2 if share * size >= 40 * 1024 else 1)
        tile = -(-share // steps)
        return cls(max(MIN_TILE, -(-tile // MIN_TILE) * MIN_TILE), slots, cores)

    @classmethod
    def space(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, halves of it, one without double buffering, other numbers of cores."""
        first = cls.default(shape, platform)
        yield first
        for part in (2, 4):
            if first.tile // part >= MIN_TILE:
                yield replace(first, tile=first.tile // part // MIN_TILE * MIN_TILE)
        yield replace(first, slots=1)
        for cores in (first.cores // 2, first.cores * 2):
            if 1 <= cores <= int(platform.ai_cores):
                yield cls._cut(cls.streamed(shape), platform, 2, cores)

    @classmethod
    def candidates(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield those of the space, and a core's share in 1 to 16 equal tiles with any number of slots."""
        yield from super().candidates(shape, platform)
        first = cls.default(shape, platform)
        share = -(-cls.streamed(shape).n // first.cores)
        for steps in range(1, MOST_STEPS + 1):
            made = first._with("tile", round_up(-(-share // steps), MIN_TILE))
            yield from (made._with("slots", slots) for slots in SLOTS)

    def blocks(self, shape: Any, platform: Platform) -> int:
        """Return the cores to use, as many as there are."""
        return min(int(platform.ai_cores), self.cores)


def cores_for(moved_bytes: int, platform: Platform) -> int:
    """Return how many cores end soonest when so many bytes are moved in equal shares.

    Blocks start one after the other, so that each costs `block_start_cycles`, and saves a part of the time
    that its bytes take on a core's own path: the sum of both is least at the root of their quotient.
    """
    path = int(platform.l2_read_bytes_per_cycle)
    best = math.isqrt(moved_bytes // (path * max(1, int(platform.block_start_cycles))))
    return max(1, min(int(platform.ai_cores), best))
