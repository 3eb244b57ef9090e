"""What no launch can beat, in closed form: known before anything is emitted or simulated."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape
from kernels.roofline import Roofline, roofline


@dataclass(frozen=True)
class Bounds:
    """Three lower bounds of a problem on a chip, in cycles.

    Attributes:
        ideal_cycles: the products alone, on all cubes at their peak; 0 where there are none.
        port_cycles: every byte of an operand once over the ports, the longest of the cores' paths, L2 and
            device memory.
        port: which of the three: "paths", "l2" or "hbm".
        capacity_cycles: what a matrix product must move again and again because on-chip memory holds so
            much and not more; 0 where it is no more than nothing, or no bound is known.
    """

    ideal_cycles: int
    port_cycles: int
    port: str
    capacity_cycles: int

    @property
    def cycles(self) -> int:
        """No launch takes fewer."""
        return max(self.ideal_cycles, self.port_cycles, self.capacity_cycles)

    @property
    def binding(self) -> str:
        """Name the bound that is highest: "ideal", "port" or "capacity"."""
        named = {"ideal": self.ideal_cycles, "port": self.port_cycles, "capacity": self.capacity_cycles}
        return max(named, key=lambda name: named[name])

    def as_json(self) -> dict[str, Any]:
        """Return keys `cycles`, `binding`, `ideal_cycles`, `port_cycles`, `port`, `capacity_cycles`."""
        return {
            "cycles": self.cycles, "binding": self.binding, "ideal_cycles": self.ideal_cycles,
            "port_cycles": self.port_cycles, "port": self.port, "capacity_cycles": self.capacity_cycles,
        }  # fmt: skip


def bounds(kernel: Kernel, shape: Shape, platform: Platform) -> Bounds:
    """Return the closed-form bounds of a kernel on a shape: nothing is emitted, nothing simulated."""
    roof = roofline(kernel, shape, platform)
    ports = {"paths": roof.path_cycles, "l2": roof.l2_cycles, "hbm": roof.hbm_cycles}
    port = max(ports, key=lambda name: ports[name])
    return Bounds(roof.cube_cycles, ports[port], port, _capacity_cycles(kernel, shape, platform, roof))


def _capacity_cycles(kernel: Kernel, shape: Shape, platform: Platform, roof: Roofline) -> int:
    """Return the cycles of what a matrix product must at least move into a core, and into L2.

    With room for s numbers, f multiplications of a matrix product read at least 2 f / sqrt(s) - 2 s numbers.
    For a core all its buffers are room, for L2 it is L2 and the buffers of all cores; a core may read and
    write at once.

    Source: Smith, Lowery, Langou, van de Geijn: A Tight I/O Lower Bound for Matrix Multiplication
    (arXiv 1702.02017).
    """
    if not {"m", "k", "n"} <= set(shape.names()):
        return 0
    item = kernel.operands(shape)[0].device_dtype.itemsize_bytes
    cores = int(platform.ai_cores)
    on_chip = sum(int(getattr(platform, f"{space}_bytes")) for space in ("l1", "l0a", "l0b", "l0c", "ub"))
    own = _least_numbers(roof.macs // cores, on_chip // item) * item
    shared = _least_numbers(roof.macs, (int(platform.l2_bytes) + cores * on_chip) // item) * item
    path = int(platform.l2_read_bytes_per_cycle) + int(platform.l2_write_bytes_per_cycle)
    return max(
        own // path,
        own * cores // int(platform.l2_chip_bytes_per_cycle),
        shared // int(platform.hbm_bytes_per_cycle),
    )


def _least_numbers(macs: int, room: int) -> int:
    """Return how many numbers so many multiplications of a matrix product read with `room` for some."""
    return max(0, 2 * macs // (isqrt(room) + 1) - 2 * room) if room else 0
