"""Collectives: what several chips compute together, over the links between them, in the time of a ring.

Words of the vendor's library (HCCL): a rank is a chip that takes part. In a ring each rank sends a part of
the data to the next one and takes one from the rank before, p - 1 times; an all-reduce is a reduce-scatter,
after which each rank has a part of the sum, and an all-gather of these parts. With n bytes, p ranks, a step's
latency alpha and a time per byte beta that is 2 (p - 1) alpha + 2 (p - 1) / p n beta, each half of it half.

Model: as many rings side by side as a rank has links to others (planes), each with its part of the data; the
slowest link of the chip in all of them. The reduction itself takes no time: the copy engine (SDMA) adds what
it brings. Links take nothing from the cores' memory. All ranks arrive at once: on a chip that is timed
alone, nobody waits for a partner.

Source: costs of algorithms in the documentation of HCCL; figures of links from the platform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from davinci_sim.errors import DavinciError, unknown

if TYPE_CHECKING:
    from davinci_sim.chip.chip import Chip
    from davinci_sim.platforms import Platform

PASSES = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}
"""How often the data go round the ring, but for the part that each rank has."""


class NoLinks(DavinciError):
    """A chip that has no links to so many others."""


@dataclass(frozen=True)
class Links:
    """The links of one chip to those that take part with it."""

    bytes_per_cycle: int
    planes: int
    step_cycles: int

    def ring_cycles(self, nbytes: int, ranks: int) -> int:
        """Return one pass around the ring: `ranks` - 1 steps, each with a part of the data on every plane.

        >>> Links(bytes_per_cycle=10, planes=2, step_cycles=100).ring_cycles(8000, ranks=4)
        600
        """
        part = -(-nbytes // (ranks * self.planes))
        return (ranks - 1) * (self.step_cycles - (-part // self.bytes_per_cycle))


def links(platform: Platform, ranks: int) -> Links:
    """Return the links of a chip among so many ranks: one plane for each of the others, as far as there are.

    Raises:
        NoLinks: nothing is known of the chip's links, or they do not join so many.
    """
    if "link_ranks" not in platform.figures:
        raise NoLinks(
            f"{platform.name} has no links to other chips: none of its figures says how fast they are\n"
            f"  rule: {ranks} ranks meet over links\n"
            '  next: take a chip that has them, as "ascend910a", or give link_bytes_per_cycle, link_planes, '
            "link_step_cycles and link_ranks with platform.with_figures(...)"
        )
    most = int(platform.link_ranks)
    if ranks > most:
        raise NoLinks(
            f"{ranks} ranks of {platform.name}: its links join at most {most}, the chips of one server\n"
            f"  next: take at most {most}; the network between servers is not modelled"
        )
    planes = min(int(platform.link_planes), ranks - 1)
    return Links(int(platform.link_bytes_per_cycle), planes, int(platform.link_step_cycles))


def collective_cycles(platform: Platform, operator: str, nbytes: int, ranks: int) -> int:
    """Return what a collective takes from its first step on; `nbytes` is the larger of input and result.

    Raises:
        UnknownName: there is no such collective.
        NoLinks: the chip has no links to so many others.

    >>> from davinci_sim.platforms import platform
    >>> for ranks in (1, 2, 8):
    ...     collective_cycles(platform("ascend910a"), "all_reduce", 100_000_000, ranks)
    0
    5559672
    2459380
    """
    if operator not in PASSES:
        raise unknown("collective", operator, PASSES)
    if ranks == 1:
        return 0
    return PASSES[operator] * links(platform, ranks).ring_cycles(nbytes, ranks)


@dataclass(frozen=True)
class CollectiveTask:
    """One collective on a stream; where there are data, `compute` meets the other ranks."""

    name: str
    compute: Callable[[], None]
    operator: str
    nbytes: int
    ranks: int
    kind: ClassVar[str] = "collective"

    def run(self, chip: Chip) -> None:
        """Compute its data, together with the others."""
        self.compute()

    def cycles(self, chip: Chip) -> int:
        """Return the start of the task and its steps; of a rank alone it is a copy."""
        if self.ranks == 1:
            return chip.copy_cycles(self.nbytes)
        return chip.start_cycles + collective_cycles(chip.platform, self.operator, self.nbytes, self.ranks)
