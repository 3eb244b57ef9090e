"""The memory spaces of a chip; their sizes and alignments are figures of its platform."""

from __future__ import annotations

from enum import IntEnum

from davinci_sim.platforms import Platform


class Space(IntEnum):
    """A memory space; the number stands in instruction records."""

    GM = 0
    L2 = 1
    L1 = 2
    L0A = 3
    L0B = 4
    L0C = 5
    UB = 6
    BT = 7
    FB = 8

    def __str__(self) -> str:
        """Print as the name."""
        return self.name


def capacity_bytes(space: Space, platform: Platform) -> int:
    """Return the size of a space, 0 where the platform has none (BT and FB before the second generation).

    >>> from davinci_sim.platforms import platform
    >>> capacity_bytes(Space.UB, platform("ascend910a")), capacity_bytes(Space.BT, platform("ascend910a"))
    (262144, 0)
    """
    figure = platform.figures.get(f"{space.name.lower()}_bytes")
    return int(figure.value) if figure else 0


def alignment_bytes(space: Space, platform: Platform) -> int:
    """Return what an address in a space must be a multiple of.

    >>> from davinci_sim.platforms import platform
    >>> alignment_bytes(Space.L0A, platform("ascend910a"))
    512
    """
    figure = platform.figures.get(f"{space.name.lower()}_align_bytes")
    return int(figure.value) if figure else 1
