"""Matrices cut into tiles of whole rows, or rows cut into pieces where a tile would hold too few of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from davinci_sim.platforms import Platform
from kernels.lang import FP16, FP32, Shape, Tiling
from kernels.rules import item_bytes, require_dtype, round_up

GROUP = 16
PIECE_BYTES = 24 * 1024
MIN_PIECE = 256
MAX_ROWS = 256
FIXED_BYTES = 12 * 1024


@dataclass(frozen=True)
class RowShape(Shape):
    """x[m, n] of type `dtype`; each row is worked on as a whole."""

    SAMPLES: ClassVar[tuple[dict[str, int], ...]] = tuple(
        {"m": m, "n": n, "dtype": dtype}
        for m, n in ((37, 10), (21, 128), (19, 333), (3, 2000))
        for dtype in (FP16, FP32)
    )
    SOURCES: ClassVar[int] = 1
    PIECES: ClassVar[int] = 1
    """Arrays of which pieces arrive together."""
    WIDE: ClassVar[int] = 1
    """Arrays in fp32 beside a tile of fp16."""
    ROW_BYTES: ClassVar[int] = 600
    """Bytes in UB per row beside the tile itself."""
    UNIT: ClassVar[int] = 1
    """Shares of cores are multiples of so many rows: 8 where a number per row is written."""
    m: int
    n: int
    dtype: int = FP16

    @property
    def slots(self) -> int:
        """Buffers of arriving tiles: one of fp16, which is converted first and then free again."""
        return 1 if self.dtype == FP16 else 2

    @property
    def pitch(self) -> int:
        """Bytes from row to row in UB."""
        return round_up(self.n * item_bytes(self.dtype), 32)

    @property
    def fixed_bytes(self) -> int:
        """Bytes of UB for gaps, and for what does not grow with the rows of a tile."""
        return FIXED_BYTES

    @property
    def live_bytes(self) -> int:
        """Bytes of UB per row: sources, the result, arrays of fp32, numbers of the row."""
        wide = 2 * self.pitch * self.WIDE if self.dtype == FP16 else 0
        return (self.slots * self.SOURCES + 1) * self.pitch + wide + self.ROW_BYTES

    def check(self, kernel: str) -> None:
        """Refuse types that the vector unit cannot compute with."""
        require_dtype(kernel, self.dtype, FP16, FP32)


@dataclass(frozen=True)
class RowTiling(Tiling):
    """Rows of a tile and, for rows longer than this, columns of a piece; buffers of the arriving tiles."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("rows", "columns")
    rows: int
    columns: int
    slots: int = 2

    @classmethod
    def default(cls, shape: Any, platform: Platform) -> Self:
        """Return whole rows where one fits, in tiles of equal height; else pieces of a row."""
        size = item_bytes(shape.dtype)
        ends = 0 if shape.pitch == shape.n * size else GROUP * shape.pitch
        fitting = (int(platform.ub_bytes) - shape.fixed_bytes - ends) // shape.live_bytes
        if fitting < 1:
            piece = min(PIECE_BYTES // size // shape.PIECES, shape.n // 2)
            return cls(1, max(MIN_PIECE, piece // MIN_PIECE * MIN_PIECE))
        share = -(-shape.m // int(platform.ai_cores))
        tiles = -(-share // min(fitting, MAX_ROWS))
        rows = min(fitting, -(-share // tiles))
        rows = round_up(rows, 8) if round_up(rows, 8) <= fitting else rows
        if shape.UNIT > 1 and rows % shape.UNIT:
            rows = rows // shape.UNIT * shape.UNIT or (4 if rows >= 4 else min(rows, 2))
        return cls(rows, shape.n, shape.slots)

    @classmethod
    def space(cls, shape: Any, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, one of fewer rows, one with a single buffer and one of pieces."""
        first = cls.default(shape, platform)
        yield first
        if first.rows > 1:
            yield cls(first.rows // 2, first.columns, first.slots)
        yield cls(max(1, first.rows // 2), first.columns, 3 - first.slots)
        if shape.n > MIN_PIECE:
            yield cls(1, min(first.columns // 2, shape.n // 2) // MIN_PIECE * MIN_PIECE or MIN_PIECE)

    def blocks(self, shape: Any, platform: Platform) -> int:
        """Return one core per block of rows that is written as a whole, as many as there are."""
        row_bytes = shape.n * item_bytes(shape.dtype)
        unit = GROUP if row_bytes < 32 else int(shape.UNIT)
        return min(int(platform.ai_cores), -(-int(shape.m) // unit))
