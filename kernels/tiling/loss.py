"""Shapes and tilings of losses with one label per row: 16 rows at once, in pieces of their columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from davinci_sim.platforms import Platform
from kernels.lang import Shape, Tiling
from kernels.lang.buffers import UB_GAP
from kernels.lang.flat import MAX_REPEAT
from kernels.rules import require

EDGE, LINE, FRACTAL_BYTES = 16, 256, 1024
MAX_COLUMNS = 1 << 24
"""Numbers of columns are compared in fp32."""
TILES = 3
"""Fractals that are transposed together: of 16 rows, what is known of each lane."""
SIDE_BYTES, MATCH_BYTES = 128, LINE + 4 * 8
"""What comes with a piece, labels and weights; numbers of columns and bits of each fractal."""
WORK_BYTES = (2 * TILES + 2 + 2 * TILES) * FRACTAL_BYTES + 12 * LINE + 5 * 32 + 12 * UB_GAP
"""More than what lies in UB beside the pieces."""
MOST_FRACTALS = 64
"""Of a piece: larger ones save nothing."""


@dataclass(frozen=True)
class LossShape(Shape):
    """logits[m, n]; n is the number of classes."""

    SAMPLES: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 3, "n": 10},
        {"m": 40, "n": 1000},
        {"m": 33, "n": 129},
        {"m": 3, "n": 2600},
    )
    NETWORKS: ClassVar[tuple[Mapping[str, int], ...]] = (
        {"m": 12288, "n": 1024}, {"m": 32, "n": 1001}, {"m": 480, "n": 30522},
    )  # fmt: skip
    m: int
    n: int

    def check(self, kernel: str) -> None:
        """Refuse more columns than fp32 can count."""
        require(
            kernel, self.n <= MAX_COLUMNS, f"n is at most {MAX_COLUMNS}, as far as fp32 counts", f"n={self.n}"
        )

    @property
    def fractals(self) -> int:
        """Fractals of 16 rows."""
        return -(-self.n // EDGE)


@dataclass(frozen=True)
class LossTiling(Tiling):
    """Fractals of a piece of 16 rows, and buffers of arriving pieces."""

    LENGTHS: ClassVar[tuple[str, ...]] = ("fractals",)
    fractals: int
    slots: int = 2

    @classmethod
    def default(cls, shape: LossShape, platform: Platform) -> Self:
        """Return whole rows where they fit, if need be in one buffer; else pieces of equal size."""
        most = min(MOST_FRACTALS, cls.fitting(2, platform))
        if most < shape.fractals <= cls.fitting(1, platform):
            return cls(shape.fractals, 1)
        pieces = -(-shape.fractals // most)
        return cls(-(-shape.fractals // pieces))

    @staticmethod
    def fitting(slots: int, platform: Platform) -> int:
        """Return how many fractals fit: arriving pieces, a result, the numbers of its columns."""
        room = int(platform.ub_bytes) - WORK_BYTES - slots * SIDE_BYTES
        return min(MAX_REPEAT, room // ((slots + 1) * FRACTAL_BYTES + MATCH_BYTES))

    @classmethod
    def space(cls, shape: LossShape, platform: Platform) -> Iterator[Self]:
        """Yield the default tiling, smaller pieces and single buffering."""
        first = cls.default(shape, platform)
        yield first
        if first.fractals > 1:
            yield cls(-(-first.fractals // 2), first.slots)
        if first.slots > 1:
            yield cls(first.fractals, 1)

    def blocks(self, shape: LossShape, platform: Platform) -> int:
        """Return one core per 16 rows, as many as there are."""
        return min(int(platform.ai_cores), -(-shape.m // EDGE))
