"""Plain arrays cut into tiles that stream through UB.

A tile of 20 KB or more hides the head of a transfer; small problems are cut so that every core gets one tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from davinci_sim.platforms import Platform
from kernels.lang import FP16, FP32, Shape, Tiling
from kernels.rules import item_bytes, require_dtype

MIN_SHARE_BYTES, LONG_TILE_BYTES = 1024, 26 * 1024
MIN_TILE = 128


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
    """Elements of a tile (rounded down to a multiple of 128) and buffers of each hand-off."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    tile: int
    slots: int = 2

    @classmethod
    def default(cls, shape: Any, platform: Platform) -> Self:
        """Return the tiling that cuts a core's share into few equal tiles, at least two of a long one."""
        return cls.of_slots(shape, platform, 2)

    @classmethod
    def of_slots(cls, shape: Any, platform: Platform, slots: int) -> Self:
        """Return the tiling for a number of buffers."""
        size = item_bytes(shape.dtype)
        limit = int(platform.ub_bytes) * 9 // 10 // (slots * shape.live_bytes)
        limit = min(limit, LONG_TILE_BYTES // size) // MIN_TILE * MIN_TILE
        share = -(-shape.n // cls._cores(shape, platform))
        steps = max(-(-share // limit), 2 if share * size >= 40 * 1024 else 1)
        tile = -(-share // steps)
        return cls(max(MIN_TILE, -(-tile // MIN_TILE) * MIN_TILE), slots)

    @classmethod
    def space(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, halves of it, and one without double buffering."""
        first = cls.default(shape, platform)
        yield first
        for part in (2, 4):
            if first.tile // part >= MIN_TILE:
                yield cls(first.tile // part // MIN_TILE * MIN_TILE)
        yield cls(first.tile, 1)

    @staticmethod
    def _cores(shape: Any, platform: Platform) -> int:
        kibibytes = -(-shape.n * item_bytes(shape.dtype) // MIN_SHARE_BYTES)
        return min(int(platform.ai_cores), int(kibibytes))

    def blocks(self, shape: Any, platform: Platform) -> int:
        """Return one core per KiB, as many as there are."""
        return self._cores(shape, platform)
