"""Run one kernel: place its tensors on a chip, launch it, bring the results back, time it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from davinci_sim.chip import Chip, Task
from davinci_sim.core.checks import HazardsFound
from davinci_sim.core.trace import Trace
from davinci_sim.errors import ShapeMismatch, unknown
from davinci_sim.isa.fields import FP16, FP32, INT32
from davinci_sim.platforms import Platform
from kernels.lang.kernel import Kernel, Operand
from kernels.lang.shapes import Shape, Tiling

Arrays = dict[str, npt.NDArray[Any]]
ENGINES = ("fast", "reference")


@dataclass(frozen=True)
class Placed:
    """A kernel whose tensors lie on a chip, ready to run."""

    kernel: Kernel
    shape: Shape
    task: Task
    chip: Chip

    def outputs(self) -> Arrays:
        """Return the kernel's results in their logical shapes."""
        return {
            o.name: _read(self.chip, o, self.task.operands[o.name])
            for o in self.kernel.operands(self.shape)
            if o.is_output
        }


def place(
    kernel: Kernel, shape: Shape, inputs: Arrays | None, chip: Chip, tiling: Tiling | None = None
) -> Placed:
    """Allocate a kernel's tensors, upload the inputs and emit its programs.

    Raises:
        ShapeMismatch: an input is missing or has another shape than the operand.
    """
    handles = {}
    for operand in kernel.operands(shape):
        handles[operand.name] = chip.allocate(operand.nbytes, operand.name)
        if inputs is not None and not operand.is_output:
            chip.write(handles[operand.name], operand.pack(_checked(kernel, operand, inputs)))
    return Placed(kernel, shape, kernel.task(shape, handles, chip.platform, tiling), chip)


def run(
    kernel: Kernel,
    shape: Shape,
    inputs: Arrays,
    chip: Chip,
    tiling: Tiling | None = None,
    engine: str = "fast",
    check: bool = False,
) -> tuple[Arrays, Trace | None]:
    """Compute a kernel on a chip and return its outputs; the reference engine gives the trace, too.

    Raises:
        HazardsFound: with `check`, the checkers found something; nothing was computed.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if check:
        refuse_hazards(kernel, shape, inputs, chip.platform, tiling)
    placed = place(kernel, shape, inputs, chip, tiling)
    trace = None
    if engine == "reference":
        trace = chip.run_reference(placed.task)
    else:
        chip.run(placed.task)
    return placed.outputs(), trace


def refuse_hazards(
    kernel: Kernel, shape: Shape, inputs: Arrays, platform: Platform, tiling: Tiling | None = None
) -> None:
    """Raise HazardsFound with everything that the checkers find in a kernel on these inputs."""
    from kernels.check import check

    findings = check(kernel, shape, platform, tiling, inputs)
    if findings:
        raise HazardsFound(kernel.name, findings)


def random_inputs(kernel: Kernel, shape: Shape, seed: int) -> Arrays:
    """Return inputs for a kernel, drawn as its operands say."""
    generator = np.random.Generator(np.random.Philox(seed))
    return {
        operand.name: _drawn(operand, generator)
        for operand in kernel.operands(shape)
        if not operand.is_output
    }


def _drawn(operand: Operand, generator: np.random.Generator) -> npt.NDArray[Any]:
    """Return random values of an operand."""
    low, high = operand.between or (0, 8 if operand.dtype == INT32 else 100)
    values: npt.NDArray[Any]
    if operand.dtype not in (FP16, FP32):
        values = generator.integers(int(low), int(high), operand.shape)
    elif operand.between is None:
        values = generator.standard_normal(operand.shape)
    else:
        values = generator.uniform(low, high, operand.shape)
    if operand.is_whole:
        values = np.floor(values)
    if operand.some_zeros:
        values = values * generator.integers(0, 2, operand.shape)
    return np.asarray(values.astype(operand.device_dtype.numpy))


def references(kernel: Kernel, shape: Shape, inputs: Arrays) -> Arrays:
    """Return what the kernel's NumPy reference computes, by output name."""
    arguments = [inputs[o.name] for o in kernel.operands(shape) if not o.is_output]
    results = kernel.reference(shape, *arguments)
    names = [o.name for o in kernel.operands(shape) if o.is_output]
    return dict(zip(names, results, strict=True))


def _checked(kernel: Kernel, operand: Operand, inputs: Arrays) -> npt.NDArray[Any]:
    if operand.name not in inputs:
        raise ShapeMismatch(
            f"kernel {kernel.name}: input {operand.name} is missing\n  rule: it wants {operand.shape}"
        )
    array = np.asarray(inputs[operand.name])
    if array.shape != operand.shape:
        raise ShapeMismatch(
            f"kernel {kernel.name}: input {operand.name} has shape {array.shape}\n"
            f"  rule: the kernel's shape makes it {operand.shape}\n  next: change the array or the shape"
        )
    return array


def _read(chip: Chip, operand: Operand, handle: int) -> npt.NDArray[Any]:
    from davinci_sim.memory.layout import LAYOUTS

    packed = LAYOUTS[operand.layout].device_shape(operand.shape, operand.device_dtype)
    return operand.unpack(chip.read(handle, tuple(packed), operand.device_dtype))
