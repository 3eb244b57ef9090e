"""A kernel, emitted, simulated without data, and taken apart."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from davinci_sim.chip.engine.l2 import new_l2
from davinci_sim.chip.launch import Launch
from davinci_sim.chip.simulate import simulate_launches
from davinci_sim.chip.task import Task
from davinci_sim.core.trace import Trace
from davinci_sim.isa import mmad
from davinci_sim.platforms import Platform
from davinci_sim.trace.ledger import PIPE_NAMES, Ledger, ledger
from kernels.bounds import Bounds, bounds
from kernels.check import handles_of
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.profile.lines import LineHeat, hottest
from kernels.roofline import Roofline, gm_bytes, roofline


@dataclass(frozen=True)
class Profile:
    """One launch on the otherwise idle chip, from an empty L2."""

    kernel: Kernel
    shape: Shape
    platform: Platform
    tiling: Tiling
    task: Task
    trace: Trace
    ledger: Ledger
    roofline: Roofline
    bounds: Bounds

    @property
    def cycles(self) -> int:
        """From the start of the first block to the last result."""
        return self.ledger.cycles

    @property
    def us(self) -> float:
        """The simulated time in microseconds."""
        return self.cycles * 1e6 / self.trace.clock_hz

    @cached_property
    def lines(self) -> tuple[LineHeat, ...]:
        """Where time goes in the source, the hottest lines first."""
        return hottest(self.ledger)

    @property
    def limiting_pipe(self) -> str:
        """The pipe that works longest on the core that ends last."""
        book = self.ledger
        return max(PIPE_NAMES[1:], key=lambda pipe: book.work_cycles(pipe, book.critical_core))

    @property
    def efficiency(self) -> float:
        """The roofline's cycles over those simulated."""
        return self.roofline.bound_cycles / self.cycles if self.cycles else 0.0

    @property
    def use(self) -> dict[str, float]:
        """How much of the time parts of the chip work, 0 to 1: the units of all cores, L2, device memory."""
        cores, cycles = int(self.platform.ai_cores), max(1, self.cycles)
        pairs = (("the cube", "M"), ("the vector unit", "V"))
        found = {name: self.ledger.work_cycles(pipe) / (cores * cycles) for name, pipe in pairs}
        found["L2"] = sum(gm_bytes(self.task)) / (int(self.platform.l2_chip_bytes_per_cycle) * cycles)
        hbm = int(self.platform.hbm_bytes_per_cycle)
        return {**found, "the device memory": sum(self.ledger.hbm_bytes) / (hbm * cycles)}

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON can hold it.

        Keys: `kernel`, `platform`, `shape`: {axis: value}, `operands`: {name: type}, `tiling`: {field:
        value}; `cycles`, `us`, `instructions`, `cores` (with blocks), `limiting_pipe`; `bounds`: see
        Bounds.as_json; `roofline`: {ceilings: {name: cycles}, highest, bound_cycles, efficiency, macs,
        gm_bytes, flops_per_byte}; `use`: {part of the chip: share of the time}; `ledger`: see
        Ledger.as_json; `lines`: see LineHeat.as_json.
        """
        roof = self.roofline
        return {
            "kernel": self.kernel.name,
            "platform": self.platform.name,
            "shape": {axis: getattr(self.shape, axis) for axis in self.kernel.axes},
            "operands": {each.name: each.dtype_name for each in self.kernel.operands(self.shape)},
            "tiling": dataclasses.asdict(self.tiling),
            "cycles": self.cycles,
            "us": self.us,
            "instructions": self.task.instructions,
            "cores": len(self.trace.cores),
            "limiting_pipe": self.limiting_pipe,
            "bounds": self.bounds.as_json(),
            "roofline": {
                "ceilings": roof.ceilings,
                "highest": roof.highest,
                "bound_cycles": roof.bound_cycles,
                "efficiency": self.efficiency,
                "macs": roof.macs,
                "gm_bytes": sum(gm_bytes(self.task)),
                "flops_per_byte": roof.intensity,
            },
            "use": self.use,
            "ledger": self.ledger.as_json(),
            "lines": [heat.as_json() for heat in self.lines],
        }


def profile(kernel: Kernel, shape: Shape, platform: Platform, tiling: Tiling | None = None) -> Profile:
    """Emit a kernel, simulate it without data, and charge every cycle.

    Raises:
        DavinciError: the tiling does not fit, an instruction is illegal, the program deadlocks.
    """
    tiling = tiling or kernel.tiling(shape, platform)
    task = kernel.task(shape, handles_of(kernel, shape), platform, tiling)
    trace, launch = alone(task, platform), launch_of(task, platform)
    book = ledger([launch], platform, trace, macs=_macs(kernel, shape, task), queues=task.queues)
    roof = roofline(kernel, shape, platform, task)
    return Profile(kernel, shape, platform, tiling, task, trace, book, roof, bounds(kernel, shape, platform))


def alone(task: Task, platform: Platform) -> Trace:
    """Return the trace of a task on the otherwise idle chip, from an empty L2.

    What starting the task takes is left out.

    Raises:
        Deadlock: pipes wait for flags that nobody sets.
    """
    return simulate_launches([launch_of(task, platform)], platform, "fast", new_l2(platform))


def launch_of(task: Task, platform: Platform) -> Launch:
    """Return the launch of a task alone on a chip."""
    return Launch(task.programs, block_cycles=int(platform.block_start_cycles))


def _macs(kernel: Kernel, shape: Shape, task: Task) -> int:
    """Return the multiplications that the problem needs, where the cube multiplies its numbers as they are.

    Numbers that a kernel cuts into several narrower ones are multiplied more than once; then each
    instruction is asked for its own (0).
    """
    if kernel.macs is None:
        return 0
    products = task.words[task.words[:, 0] & 255 == mmad.instruction.opcode]
    types = {int(code) for code in (products[:, 0] >> 16) & 255}
    return int(kernel.macs(shape)) if types == {kernel.operands(shape)[0].dtype} else 0
