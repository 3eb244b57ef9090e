"""Run one kernel on one shape and say everything about it: time, traffic, pipes, roofline, error."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from davinci_sim.chip import Chip, Task
from davinci_sim.chip.chip import ALIGN_BYTES
from davinci_sim.core.trace import Trace
from davinci_sim.errors import out_of_space
from davinci_sim.isa.fields import DTYPE_NAMES
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel
from kernels.lang.shapes import Shape, Tiling
from kernels.roofline import Roofline, gm_bytes, roofline
from kernels.run import place, random_inputs, references
from kernels.tolerance import Difference, compare

PIPES = ("V", "M", "MTE1", "MTE2", "MTE3")


@dataclass(frozen=True)
class Case:
    """What to run; the reference engine moves the data as time passes, the fast one beside it."""

    kernel: Kernel
    shape: Shape
    platform: Platform
    tiling: Tiling | None = None
    engine: str = "fast"
    with_data: bool = True
    seed: int = 0

    @property
    def dtype(self) -> str:
        """The element type, by name: that of the shape, or of the first operand."""
        return DTYPE_NAMES[getattr(self.shape, "dtype", self.kernel.operands(self.shape)[0].dtype)]

    @property
    def shape_text(self) -> str:
        """The shape with its types by name, as `n=64,dtype=fp16`."""
        values = {name: getattr(self.shape, name) for name in self.shape.names()}
        types = {name: DTYPE_NAMES[values[name]] for name in values if name.endswith("dtype")}
        return ",".join(f"{name}={value}" for name, value in {**values, **types}.items())


@dataclass(frozen=True)
class Measurement:
    """What came out; `differences` by output name, empty without data."""

    case: Case
    tiling: Tiling
    task: Task
    trace: Trace
    roofline: Roofline
    differences: dict[str, Difference]
    wall_s: float

    @property
    def ok(self) -> bool:
        """Tell whether every output is right (or was not computed)."""
        return not any(difference.wrong for difference in self.differences.values())

    @property
    def max_abs_error(self) -> float | None:
        """The largest distance from the reference; None without data."""
        errors = [difference.max_abs_error for difference in self.differences.values()]
        return max(errors) if errors else None

    @property
    def tiling_from(self) -> str:
        """Tell who chose the tiling: "given" by the user, "tuned" by a search that was kept, or "default"."""
        if self.case.tiling is not None:
            return "given"
        untuned = self.case.kernel.untuned(self.case.shape, self.case.platform)
        return "default" if self.tiling == untuned else "tuned"

    def complaints(self) -> list[str]:
        """Say, for each wrong output, how wrong it is."""
        name = self.case.kernel.name
        return [
            f"kernel {name}: output {output} differs from the reference in {found.wrong} elements; worst at "
            f"{list(found.worst)}, where {found.allowed:.3g} is allowed; "
            f"largest error {found.max_abs_error:.3g}"
            for output, found in self.differences.items()
            if found.wrong
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the keys that the command line promises."""
        us, moved = self.trace.us, sum(gm_bytes(self.task))
        busy, share = self.trace.busy_cycles, self.trace.utilization
        operands = self.case.kernel.operands(self.case.shape)
        macs = self.roofline.macs
        bound_us = self.roofline.bound_cycles * 1e6 / self.trace.clock_hz
        return {
            "kernel": self.case.kernel.name,
            "platform": self.case.platform.name,
            "shape": {axis: getattr(self.case.shape, axis) for axis in self.case.kernel.axes},
            "dtype": self.case.dtype,
            "operands": {operand.name: operand.dtype_name for operand in operands},
            "tiling": dataclasses.asdict(self.tiling),
            "tiling_from": self.tiling_from,
            "engine": self.case.engine,
            "seed": self.case.seed,
            "cores": self.task.block_dim,
            "cycles": self.trace.cycles,
            "us": us,
            "task_start_cycles": int(self.case.platform.task_start_cycles),
            "instructions": self.task.instructions,
            "wall_s": self.wall_s,
            "tflops": 2e-6 * macs / us if macs and us else None,
            "gm_bytes": moved,
            "gbps": 1e-3 * moved / us if us else 0.0,
            "pipes": {pipe: {"busy_cycles": busy(pipe), "utilization": share(pipe)} for pipe in PIPES},
            "roofline": {
                "bound": self.roofline.bound,
                "bound_us": bound_us,
                "bound_cycles": self.roofline.bound_cycles,
                "efficiency": self.roofline.bound_cycles / self.trace.cycles if self.trace.cycles else 0.0,
                "flops_per_byte": self.roofline.intensity,
            },
            "max_abs_error": self.max_abs_error,
            "ok": self.ok,
        }


def measure(case: Case) -> Measurement:
    """Run a case.

    Raises:
        DavinciError: the tiling does not fit, an instruction is illegal, the program deadlocks.
    """
    start = time.perf_counter()
    chip, handles = Chip(case.platform, engine=case.engine), _addresses(case)
    tiling = case.tiling or case.kernel.tiling(case.shape, case.platform)
    if case.with_data:
        task, trace, differences = _with_data(case, tiling, chip)
    else:
        task = case.kernel.task(case.shape, handles, case.platform, tiling)
        trace, differences = chip.trace(task), {}
    bounds = roofline(case.kernel, case.shape, case.platform, task)
    return Measurement(case, tiling, task, trace, bounds, differences, time.perf_counter() - start)


def _with_data(case: Case, tiling: Tiling, chip: Chip) -> tuple[Task, Trace, dict[str, Difference]]:
    inputs = random_inputs(case.kernel, case.shape, case.seed)
    placed = place(case.kernel, case.shape, inputs, chip, tiling)
    if case.engine == "reference":
        trace = chip.run_reference(placed.task)
    else:
        chip.run(placed.task)
        trace = chip.trace(placed.task)
    outputs = placed.outputs()
    with np.errstate(all="ignore"):  # a logarithm of a negative number is NaN on both sides
        expected = references(case.kernel, case.shape, inputs)
    return placed.task, trace, {name: compare(outputs[name], expected[name]) for name in expected}


def _addresses(case: Case) -> dict[str, int]:
    """Return an address in device memory for every operand.

    Raises:
        OutOfSpace: they do not fit.
    """
    handles, end = {}, 0
    for operand in case.kernel.operands(case.shape):
        handles[operand.name] = end
        end += -(-operand.nbytes // ALIGN_BYTES) * ALIGN_BYTES
    if end > int(case.platform.gm_bytes):
        tensors = (
            f"kernel {case.kernel.name} of shape {case.shape_text}: the set of tensors {', '.join(handles)}"
        )
        raise out_of_space(tensors, "GM", end, int(case.platform.gm_bytes), "use a smaller shape")
    return handles
