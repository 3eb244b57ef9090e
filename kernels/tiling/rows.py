"""Rows that pass UB without arithmetic: a tile is a number of bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from davinci_sim.platforms import Platform
from kernels.lang import Shape, Tiling
from kernels.rules import round_up
from kernels.tiling.flat import cores_for

TILE_BYTES, ODD_TILE_BYTES, MIN_TILE_BYTES = 32 * 1024, 80 * 1024, 1024
BLOCK_BYTES, SLOT_BYTES = 32, 256


class RowsShape(Shape):
    """A problem whose result is `rows` rows, each of parts that are `widths` bytes long."""

    IS_INDEXED: ClassVar[bool] = False
    """Whether each row comes by a move of its own."""

    @property
    def rows(self) -> int:
        """Rows of the result."""
        raise NotImplementedError

    @property
    def widths(self) -> tuple[int, ...]:
        """Bytes of the parts of a row."""
        raise NotImplementedError

    @property
    def is_odd(self) -> bool:
        """Tell whether a part is no whole number of blocks, so that rows are packed or written by phases."""
        return any(width % BLOCK_BYTES for width in self.widths) and self.rows > 1


@dataclass(frozen=True)
class RowTiling(Tiling):
    """Bytes of a tile in UB (whole rows of it are used), buffers of each hand-off, cores to use."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("tile",)
    tile: int
    slots: int = 2
    cores: int = 1

    @classmethod
    def default(cls, shape: RowsShape, platform: Platform) -> Self:
        """Return tiles of 32 KB, of 80 KB where rows begin beside blocks, or two for each core if less."""
        total, bus = shape.rows * sum(shape.widths), 0
        for width in shape.widths:  # a burst takes whole slots of the bus; beside a block, more of them
            bus += shape.rows * (2 * round_up(width, SLOT_BYTES) if shape.is_odd else width)
        if shape.IS_INDEXED:
            bus += shape.rows * int(platform.gm_to_ub_head_cycles * platform.l2_read_bytes_per_cycle)
        cores = cores_for(2 * bus, platform)
        most = min(ODD_TILE_BYTES if shape.is_odd else TILE_BYTES, int(platform.ub_bytes) // 3)
        tile = min(most, max(MIN_TILE_BYTES, -(-total // cores) if shape.is_odd else -(-total // cores // 2)))
        return cls(round_up(tile, MIN_TILE_BYTES), 2, cores)

    @classmethod
    def space(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, one of half the bytes, one of one buffer, and one of more cores."""
        first = cls.default(shape, platform)
        yield first
        if first.tile >= 2 * MIN_TILE_BYTES:
            yield replace(first, tile=first.tile // 2)
        yield replace(first, slots=1)
        if first.cores < int(platform.ai_cores):
            yield replace(first, cores=min(int(platform.ai_cores), 2 * first.cores))

    def blocks(self, shape: Any, platform: Platform) -> int:
        """Return the cores to use, as many as there are."""
        return min(int(platform.ai_cores), self.cores)
